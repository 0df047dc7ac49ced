"""Samples of which torch's own `default_collate` makes a batch: padded, sparse and text as well.

A `DataLoader` without a `collate_fn` looks the type of a sample up in a table of torch's, in which
`Sample` stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate
from torch.utils.data._utils.collate import default_collate_fn_map

from h5stream.collation.options import Collation
from h5stream.collation.ragged import collate_ragged
from h5stream.collation.sparse import Pairs, collate_sparse
from h5stream.columns import Ragged, Sparse
from h5stream.errors import ConfigError

__all__ = ["Sample"]


class Sample(dict[str, Any]):
    """The values of one row.

    Parameters
    ----------
    values : mapping
        Tensors, strings, and what `collate` makes of others.
    options : Collation
        How batches are made of such samples.
    """

    def __init__(self, values: Any, options: Collation) -> None:
        super().__init__(values)
        self.options = options

    def __reduce__(self) -> Any:
        return Sample, (dict(self), self.options)


def _collate_samples(samples: Sequence[Sample], *, collate_fn_map: Any = None) -> dict[str, Any]:
    first = samples[0]
    for number, sample in enumerate(samples):
        if sample.keys() != first.keys():
            raise ConfigError(
                f"sample {number} of a batch has the keys {sorted(sample)}, the first one "
                f"{sorted(first)}"
            )
    batch: dict[str, Any] = {}
    for name in first:
        batch.update(_collated(name, [sample[name] for sample in samples], first.options))
    return batch


def _collated(name: str, values: list[Any], options: Collation) -> dict[str, Any]:
    """Make one column of a batch, and what stands beside it."""
    first = values[0]
    if isinstance(first, Pairs):
        return {name: _joined_pairs(values)}
    if isinstance(first, str | bytes):
        return {name: values}
    if not isinstance(first, torch.Tensor):
        return {name: default_collate(values)}
    if first.layout is torch.sparse_csr:
        return {name: collate_sparse(name, _joined_csr(values), "csr")}
    alike = len({value.shape for value in values}) == 1
    if alike and not (first.ndim and options.treats_as_ragged(name)):
        return {name: torch.stack(values)}
    rows = Ragged.from_rows([value.numpy() for value in values])
    return dict(collate_ragged(name, rows, options)[0])


def _joined_csr(rows: Sequence[torch.Tensor]) -> Sparse:
    data = np.concatenate([row.values().numpy() for row in rows])
    indices = np.concatenate([row.col_indices().numpy() for row in rows])
    lengths = np.array([len(row.values()) for row in rows], np.int64)
    width = rows[0].shape[-1]
    return Sparse.placed(data, indices, np.cumsum(lengths) - lengths, lengths, width)


def _joined_pairs(rows: Sequence[Pairs]) -> Pairs:
    lengths = torch.tensor([0, *(len(row.values) for row in rows)])
    indices, values = (torch.cat(parts) for parts in zip(*(row[:2] for row in rows), strict=True))
    return Pairs(indices, values, lengths.cumsum(0))


default_collate_fn_map[Sample] = _collate_samples
