"""The slow oracle: reads the rows of a field with h5py, as its spec says in words."""

from __future__ import annotations

import itertools
from typing import Any

import h5py
import numpy as np

from h5stream import columns
from h5stream.fields import (
    Dense,
    FileSlices,
    Given,
    Grouped,
    Known,
    Picked,
    Ragged,
    Slices,
    Sparse,
    Vlen,
)
from h5stream.layout.names import natural_key, split_members

__all__ = ["evaluate", "evaluate_all"]


def evaluate_all(file: h5py.File, fields: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the samples of some fields; all must have as many rows."""
    columns = {name: evaluate(file, spec) for name, spec in fields.items()}
    lengths = {name: len(column) for name, column in columns.items()}
    assert len(set(lengths.values())) <= 1, lengths
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


def evaluate(file: h5py.File, spec: Any) -> list[Any]:
    """Return the rows of a field."""
    if isinstance(spec, str):
        spec = Dense(spec)
    rows = _READERS[type(spec)](file, spec)
    return rows if getattr(spec, "n_rows", None) is None else rows[: spec.n_rows]


def _convert(value: Any, dtype: str | None) -> Any:
    if dtype is None:
        return value
    converted = np.asarray(value).astype(dtype)
    return converted[()] if converted.ndim == 0 else converted


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, np.str_) else value


def _dense(file: h5py.File, spec: Dense) -> list[Any]:
    path, members = (spec.path, ()) if spec.path in file else split_members(spec.path)
    array = file[path][()]
    for member in members:
        array = array[member]
    array = np.moveaxis(_convert(array, spec.dtype), spec.axis, 0)
    return [_plain(row) for row in array]


def _vlen(file: h5py.File, spec: Vlen) -> list[Any]:
    rows = file[spec.path][()].tolist()
    if h5py.check_string_dtype(file[spec.path].dtype):
        assert spec.dtype is None
        return [
            row.decode(errors=spec.errors) if spec.text in (None, True) else row for row in rows
        ]
    return [_convert(row, spec.dtype) for row in rows]


def _ragged(file: h5py.File, spec: Ragged) -> list[Any]:
    values = _convert(file[spec.values][()], spec.dtype)
    if spec.lengths is not None:
        offsets = np.concatenate([[0], np.cumsum(file[spec.lengths][()])])
    else:
        offsets = file[spec.offsets][()]
    return [values[a:b] for a, b in itertools.pairwise(offsets)]


def _sparse(file: h5py.File, spec: Sparse) -> list[Any]:
    """Return dense rows, whatever the spec says."""
    assert spec.n_columns is not None
    group = file[spec.path]
    data, indices, indptr = (group[name][()] for name in ("data", "indices", "indptr"))
    rows = []
    for start, stop in itertools.pairwise(indptr):
        row = np.zeros(spec.n_columns, data.dtype)
        np.add.at(row, indices[start:stop], data[start:stop])
        rows.append(_convert(row, spec.dtype))
    return rows


def _grouped(file: h5py.File, spec: Grouped) -> list[Any]:
    nodes = _matching(file, spec.pattern)
    if spec.attribute is not None:
        return [_convert(node.attrs[spec.attribute], spec.dtype) for node in nodes]
    rows = [_convert(node[()], spec.dtype) for node in nodes]
    return [row.reshape(-1) for row in rows] if spec.flat else rows


def _matching(file: h5py.File, pattern: str) -> list[Any]:
    if "*" not in pattern:
        return [file[pattern][name] for name in sorted(file[pattern], key=natural_key)]
    parts = pattern.split("/")
    at = next(i for i, part in enumerate(parts) if "*" in part)
    holder = file["/".join(parts[:at]) or "/"]
    before, after = parts[at].split("*")
    found = [
        holder[name]
        for name in sorted(holder, key=natural_key)
        if name.startswith(before) and name.endswith(after)
    ]
    rest = "/".join(parts[at + 1 :])
    return [node[rest] for node in found] if rest else found


def _slices(file: h5py.File, spec: Slices) -> list[Any]:
    assert not spec.center
    rows = evaluate(file, spec.base)
    if isinstance(spec.base, str | Dense):
        rows = [np.array(rows)]
    return [piece for row in rows for piece in _cut(row, spec)]


def _cut(row: np.ndarray, spec: Slices) -> list[np.ndarray]:
    if spec.length is None:
        bounds = list(zip(spec.starts, spec.stops, strict=True))
    else:
        starts = spec.starts
        if starts is None:
            starts = range(0, len(row) - spec.length - spec.shift + 1, spec.stride)
        bounds = [(start, start + spec.length) for start in starts]
    return [row[a + spec.shift : b + spec.shift : spec.step] for a, b in bounds]


def _picked(file: h5py.File, spec: Picked) -> list[Any]:
    rows = evaluate(file, spec.base)
    picked = [rows[at] for at in spec.at.tolist()]
    if spec.within is None:
        return picked
    return [np.ravel(row)[at] for row, at in zip(picked, spec.within.tolist(), strict=True)]


def _given(column: Any) -> list[Any]:
    return list(column.dense()) if isinstance(column, columns.Sparse) else list(column)


_READERS: dict[type, Any] = {
    Dense: _dense,
    Vlen: _vlen,
    Ragged: _ragged,
    Sparse: _sparse,
    Grouped: _grouped,
    Slices: _slices,
    Picked: _picked,
    FileSlices: _slices,
    Known: lambda file, spec: _given(spec.column),
    Given: lambda file, spec: [spec.values[name] for name in sorted(spec.values, key=natural_key)],
}
