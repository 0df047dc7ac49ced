"""Rows of every kind of column, and what a plain reader finds of them in a file."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import h5stream as h5s
from h5stream.columns import Ragged, Sparse

SPECS: dict[str, Any] = {
    "image": h5s.DenseColumn((2, 3), "u1"),
    "label": h5s.DenseColumn((), "<i8"),
    "score": h5s.DenseColumn((4,), "<f4"),
    "flag": h5s.DenseColumn((), "?"),
    "code": h5s.DenseColumn((), "S5"),
    "nothing": h5s.DenseColumn((0,), "<f8"),
    "tokens": h5s.RaggedColumn("<i4"),
    "points": h5s.RaggedColumn("<f8", (3,)),
    "counts": h5s.SparseColumn(40, "<f4"),
    "text": h5s.TextColumn(),
    "strings": h5s.TextColumn(vlen=True),
}


def make_rows(n_rows: int, seed: int = 0) -> dict[str, Any]:
    """Make rows of all columns, each a list."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 9, n_rows)
    matrix = rng.random((n_rows, 40)).astype("<f4") * (rng.random((n_rows, 40)) < 0.1)
    words = ["", "a", "zwei", "τρία", "四つ", "x" * 30]
    return {
        "image": list(rng.integers(0, 256, (n_rows, 2, 3), np.uint8)),
        "label": list(rng.integers(-9, 9, n_rows)),
        "score": list(rng.standard_normal((n_rows, 4)).astype("<f4")),
        "flag": list(rng.random(n_rows) < 0.5),
        "code": [bytes(f"c{number % 999}", "ascii") for number in range(n_rows)],
        "nothing": list(np.empty((n_rows, 0))),
        "tokens": [rng.integers(0, 99, length).astype("<i4") for length in lengths],
        "points": [rng.standard_normal((length, 3)) for length in lengths],
        "counts": list(matrix),
        "text": [words[number] for number in rng.integers(0, len(words), n_rows)],
        "strings": [words[number] for number in rng.integers(0, len(words), n_rows)],
    }


def by_h5py(path: Path, names: list[str]) -> dict[str, list[Any]]:
    """Read columns row by row with h5py, by what a file of a writer is said to hold."""
    found: dict[str, list[Any]] = {}
    with h5py.File(path) as file:
        for name in names:
            node = file[name]
            if isinstance(node, h5py.Dataset):
                is_text = h5py.check_string_dtype(node.dtype) is not None and node.dtype == object
                found[name] = list(node.asstr()[()] if is_text else node[()])
            elif "indptr" in node:
                found[name] = _dense_rows(node)
            else:
                at = node["offsets"][()]
                values = node["values"][()]
                found[name] = [values[start:stop] for start, stop in pairwise(at)]
                if SPECS.get(name) == h5s.TextColumn():
                    found[name] = [row.tobytes().decode() for row in found[name]]
    return found


def _dense_rows(group: Any) -> list[np.ndarray]:
    shape, at = group.attrs["shape"], group["indptr"][()]
    rows = np.zeros(shape, group["data"].dtype)
    for number in range(shape[0]):
        part = slice(at[number], at[number + 1])
        rows[number, group["indices"][part]] = group["data"][part]
    return list(rows)


def by_stream(path: Any, names: list[str]) -> dict[str, list[Any]]:
    """Read columns in order with a stream."""
    found: dict[str, list[Any]] = {name: [] for name in names}
    for batch in h5s.H5Stream(path, names, batch_size=7, output="numpy"):
        for name in names:
            column = batch[name]
            if isinstance(column, Sparse):
                column = column.dense()
            is_text = isinstance(column, Ragged) and column.text
            found[name].extend(column.strings() if is_text else column)
    return found


def assert_equal_rows(found: dict[str, list[Any]], expected: dict[str, Any]) -> None:
    """Compare rows bit by bit, also their types."""
    assert list(found) == list(expected)
    for name, rows in expected.items():
        assert len(found[name]) == len(rows), name
        for row, wanted in zip(found[name], rows, strict=True):
            if isinstance(wanted, str):
                assert row == wanted, name
                continue
            given = np.asarray(row)
            kept = np.asarray(wanted).astype(given.dtype)
            assert given.shape == kept.shape, name
            assert given.tobytes() == kept.tobytes(), name
