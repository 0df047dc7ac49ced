"""Columns of every kind, drawn by hypothesis, each with the rows that it should hold."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import strategies as st

from h5stream.columns import Column, Ragged, Slices, Sparse

Drawn = tuple[Any, list[Any]]
"""A column, and its rows."""

ELEMENTS = st.sampled_from(["i1", "f4", "i8", "c8", "bool", "S3", [("a", "i2"), ("b", "f8")]])
TEXTS = st.text(st.characters(codec="utf-8"), max_size=5)


def numbers(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> np.ndarray:
    """Make an array of any type."""
    raw = np.random.default_rng(seed).integers(0, 9, shape)
    array = np.zeros(shape, np.dtype(dtype))
    if array.dtype.names is None:
        return raw.astype(array.dtype)
    array["a"], array["b"] = raw, -raw
    return array


@st.composite
def arrays(draw: st.DrawFn, least: int = 0) -> Drawn:
    shape = (draw(st.integers(least, 9)), *draw(st.lists(st.integers(0, 3), max_size=2)))
    array = numbers(shape, draw(ELEMENTS), draw(st.integers(0, 9)))
    return array, list(array)


@st.composite
def ragged(draw: st.DrawFn, least: int = 0) -> Drawn:
    lengths = draw(st.lists(st.integers(0, 4), min_size=least, max_size=9))
    element = draw(st.sampled_from([(), (2,), (0,), (2, 1)]))
    first, spare = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    stored = numbers((first + sum(lengths) + spare, *element), draw(ELEMENTS))
    offsets = first + np.cumsum([0, *lengths])
    rows = [stored[a:b] for a, b in pairwise(offsets)]
    return Ragged(stored, offsets), rows


@st.composite
def text(draw: st.DrawFn, least: int = 0) -> Drawn:
    rows = draw(st.lists(TEXTS, min_size=max(1, least), max_size=9))
    column = Ragged.from_rows(rows)
    return (column, rows) if least or draw(st.booleans()) else (column[:0], [])


@st.composite
def sparse(draw: st.DrawFn, least: int = 0) -> Drawn:
    n_rows, n_columns = draw(st.integers(least, 7)), draw(st.integers(1, 5))
    lengths = [draw(st.integers(0, 6)) for _ in range(n_rows)]
    indptr = np.cumsum([0, *lengths])
    columns = st.lists(st.integers(0, n_columns - 1), min_size=sum(lengths), max_size=sum(lengths))
    indices = np.array(draw(columns), draw(st.sampled_from(["i4", "i8", "u2", "u8"])))
    data = numbers((len(indices),), draw(st.sampled_from(["f4", "i8", "c8"])), 1)
    rows = []
    for start, stop in pairwise(indptr):
        dense = np.zeros(n_columns, data.dtype)
        for place in range(start, stop):
            dense[int(indices[place])] += data[place]
        rows.append(dense)
    return Sparse(data, indices, indptr, (n_rows, n_columns)), rows


@st.composite
def slices(draw: st.DrawFn, least: int = 0) -> Drawn:
    n, length = draw(st.integers(1, 9)), draw(st.one_of(st.none(), st.integers(0, 6)))
    values = numbers((n, *draw(st.sampled_from([(), (2,), (2, 2)]))), draw(ELEMENTS))
    if length is None or (length <= n and draw(st.booleans())):
        most = n - (length or 1)
        starts = draw(st.lists(st.integers(0, most), min_size=least, max_size=9))
        rows = [values[s] if length is None else values[s : s + length] for s in starts]
        return Slices(values, np.array(starts, np.int64), length), rows
    mode = draw(st.sampled_from(["constant", "edge", "reflect"]))
    bounds: list[tuple[int, int, int]] = []
    for _ in range(draw(st.integers(least, 7))):
        low = draw(st.integers(0, n - (mode != "constant")))
        high = draw(st.integers(low + (mode != "constant"), n))
        bounds.append((draw(st.integers(-8, n + 8)), low, high))
    starts, low, high = np.array(bounds, np.int64).reshape(-1, 3).T
    rows = [padded_slice(values, *bound, length, mode) for bound in bounds]
    return Slices(values, starts, length, limits=(low, high), padding=mode), rows


def padded_slice(
    values: np.ndarray, start: int, low: int, high: int, length: int, mode: Any
) -> np.ndarray:
    """Cut a slice out of an array that np.pad made long enough."""
    shown = values[low:high]
    around = 40
    if mode == "constant":
        padded = np.zeros((len(shown) + 2 * around, *values.shape[1:]), values.dtype)
        padded[around : around + len(shown)] = shown
    else:
        padded = shown[np.pad(np.arange(len(shown)), around, mode=mode)]
    return padded[around + start - low :][:length]


KINDS: dict[str, Callable[..., st.SearchStrategy[Drawn]]] = {
    "array": arrays,
    "ragged": ragged,
    "text": text,
    "sparse": sparse,
    "slices": slices,
}


def rows_of(column: Column) -> list[Any]:
    """Take a column apart row by row; sparse rows become dense."""
    rows = list(column)
    return [row.dense()[0] for row in rows] if isinstance(column, Sparse) else rows


def assert_rows(column: Any, expected: list[Any]) -> None:
    """Compare a column, whole and row by row, with the rows it should hold."""
    assert len(column) == len(expected)
    for found, wanted in zip(rows_of(column), expected, strict=True):
        assert_row(found, wanted)
    for place, wanted in enumerate(expected):
        row = column[place]
        assert_row(row.dense()[0] if isinstance(column, Sparse) else row, wanted)


def assert_row(found: Any, wanted: Any) -> None:
    if isinstance(wanted, str):
        assert found == wanted
        return
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    assert np.asarray(found).tobytes() == np.asarray(wanted).tobytes()
