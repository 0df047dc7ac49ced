"""Reads and replaces single rows of a file that a writer has open."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import h5py
import numpy as np

from h5stream.columns import Ragged, Sparse

__all__ = ["read_row", "read_texts", "replace_row"]

_PIECE = 2**20
"""Elements that are moved at once."""

_PARTS = {
    "ragged": (("values",), "offsets"),
    "text": (("values",), "offsets"),
    "sparse": (("data", "indices"), "indptr"),
}
"""Kind of a column of elements -> where these lie, and where each row begins."""


def read_row(file: h5py.File, name: str, kind: str, row: int) -> Any:
    """Return a row: an array or number, text, or of sparse columns (indices, values)."""
    node = file[name]
    if kind == "dense":
        return node[row]
    if kind == "strings":
        return node.asstr()[row]
    parts, offsets = _PARTS[kind]
    start, stop = map(int, node[offsets][row : row + 2])
    found = [node[part][start:stop] for part in parts]
    if kind == "text":
        return bytes(found[0]).decode()
    return found[0] if kind == "ragged" else (found[1], found[0])


def read_texts(file: h5py.File, name: str, kind: str) -> list[str]:
    """Return all rows of a column of text."""
    node = file[name]
    if kind == "strings":
        return list(node.asstr()[:])
    (part,), offsets = _PARTS[kind]
    data = bytes(node[part][:])
    return [data[start:stop].decode() for start, stop in pairwise(node[offsets][:].tolist())]


def replace_row(file: h5py.File, name: str, kind: str, row: int, column: Any) -> None:
    """Write a row over another, and move those behind it if it is longer or shorter.

    Parameters
    ----------
    file : h5py.File
        With all rows so far.
    name, kind : str
        Of the column.
    row : int
        Which.
    column : array, Ragged or Sparse
        One row that fits.
    """
    node = file[name]
    if kind in ("dense", "strings"):
        node[row] = column[0] if kind == "dense" else column.strings()[0]
        return
    parts, offsets = _PARTS[kind]
    bounds = node[offsets]
    start, stop = map(int, bounds[row : row + 2])
    elements = _elements(column)
    change = len(elements[0]) - (stop - start)
    for part, values in zip(parts, elements, strict=True):
        _move(node[part], stop, change)
        node[part][start : start + len(values)] = values
    if change:
        for at in range(row + 1, len(bounds), _PIECE):
            bounds[at : at + _PIECE] = bounds[at : at + _PIECE] + change


def _elements(column: Ragged | Sparse) -> list[np.ndarray]:
    if isinstance(column, Sparse):
        return [column.data, column.indices]
    return [column.values]


def _move(dataset: h5py.Dataset, first: int, change: int) -> None:
    """Move the elements from `first` on by some places, and make the dataset as long."""
    length = len(dataset)
    if change > 0:
        dataset.resize(length + change, axis=0)
        starts = list(range(first, length, _PIECE))[::-1]
    else:
        starts = list(range(first, length, _PIECE))
    for start in starts if change else []:
        stop = min(start + _PIECE, length)
        dataset[start + change : stop + change] = dataset[start:stop]
    if change < 0:
        dataset.resize(length + change, axis=0)
