"""Batches and samples of tensors -> `TensorDict`s."""

from __future__ import annotations

from typing import Any

from h5stream.collation.ragged import Packed
from h5stream.collation.sparse import Pairs
from h5stream.errors import ConfigError

__all__ = ["batch_as_tensordict", "sample_as_tensordict"]


def sample_as_tensordict(sample: dict[str, Any]) -> Any:
    """Make a TensorDict without batch size of a sample."""
    return _tensordict(sample, [])


def batch_as_tensordict(batch: dict[str, Any]) -> Any:
    """Make a TensorDict of a batch, whose batch size is its number of rows.

    Raises
    ------
    ConfigError
        If a column does not have one entry for each row.

    Examples
    --------
    >>> import torch
    >>> batch_as_tensordict({"x": torch.zeros(3, 2), "name": ["a", "b", "c"]}).batch_size
    torch.Size([3])
    """
    rows = {name: _rows(name, value) for name, value in batch.items()}
    different = sorted(set(rows.values()))
    if len(different) != 1:
        raise ConfigError(
            f"a TensorDict needs columns of equally many rows, but they have {rows}; leave some "
            'out, or write output="torch"'
        )
    return _tensordict(batch, different)


def _rows(name: str, value: Any) -> int:
    while isinstance(value, dict):
        value = next(iter(value.values()))
    if isinstance(value, Packed | Pairs):
        write = 'sparse="csr"' if isinstance(value, Pairs) else 'ragged="nested" or "padded"'
        raise ConfigError(
            f"{type(value).__name__} of {name!r} has no place in a TensorDict; write {write}"
        )
    return len(value) if isinstance(value, list) else int(value.shape[0])


def _tensordict(values: dict[str, Any], batch_size: list[int]) -> Any:
    from tensordict import TensorDict

    return TensorDict(values, batch_size=batch_size)
