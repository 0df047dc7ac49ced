"""Sparse columns -> tensors: CSR, dense, or their parts."""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch

from h5stream.collation.tensors import to_tensor
from h5stream.columns import Sparse

__all__ = ["Pairs", "collate_sparse", "ignore_csr_warning"]


class Pairs(NamedTuple):
    """The stored elements of sparse rows."""

    indices: torch.Tensor
    """Shape (nnz,): the column of each element, as the file orders them."""

    values: torch.Tensor
    """Shape (nnz,): the elements."""

    indptr: torch.Tensor
    """int64, shape (rows + 1,): row i has elements ``indptr[i]`` to ``indptr[i + 1]``."""


def collate_sparse(name: str, column: Sparse, form: str, *, sample: bool = False) -> Any:
    """Turn sparse rows into a tensor, or into `Pairs`.

    Parameters
    ----------
    name : str
        Field, for messages.
    column : Sparse
        Rows of a matrix.
    form : {"csr", "dense", "pairs"}
        What to make of them.
    sample : bool
        It is one row, and dense it becomes a vector.
    """
    if form == "dense":
        dense = column.dense()
        return to_tensor(dense[0] if sample else dense, name)
    if form == "pairs":
        parts = (column.indices, column.data, column.indptr)
        return Pairs(*(to_tensor(_owned(part), name) for part in parts))
    ignore_csr_warning()
    rows = column.in_order()
    indices = rows.indices
    kind = np.int32 if indices.dtype == np.int32 else np.int64  # both must be of one type
    return torch.sparse_csr_tensor(
        torch.from_numpy(rows.indptr.astype(kind)),
        torch.from_numpy(_owned(indices.astype(kind, copy=False))),
        to_tensor(_owned(rows.data), name),
        rows.shape,
        check_invariants=False,
    )


def _owned(array: np.ndarray) -> np.ndarray:
    return array if array.flags.writeable else array.copy()


@lru_cache(maxsize=1)
def ignore_csr_warning() -> None:
    """Let torch say what it says once a process of its CSR tensors while nobody listens.

    It says so also in a process that only receives such tensors, from workers.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        offsets = torch.zeros(2, dtype=torch.int64)
        torch.sparse_csr_tensor(offsets, offsets[:0], torch.zeros(0), (1, 1))
