"""Turns what callers give into columns that may be written, or says which row does not fit. Pure.

A column is an array, `Ragged` or `Sparse`; what comes as tensors, lists, strings or SciPy matrices
becomes one. Nothing is rounded, cut off or filled in unless its spec says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from h5stream.columns import Column, Ragged, Sparse
from h5stream.errors import ConfigError, WriteError
from h5stream.fields.casting import find_loss
from h5stream.write.columns import (
    ColumnSpec,
    DenseColumn,
    RaggedColumn,
    SparseColumn,
    TextColumn,
)

__all__ = ["At", "as_array", "as_rows", "fit", "hold", "infer"]

_NUMBERS = "biufc"


@dataclass(frozen=True, slots=True)
class At:
    """Where values go, for messages.

    Parameters
    ----------
    name : str
        Of the column.
    first : int
        Number of its first row.
    rounds : bool
        Whether floats may be rounded to a narrower float: somebody asked for that type.
    """

    name: str
    first: int
    rounds: bool = True

    def error(self, number: int, text: str) -> WriteError:
        """Say what is wrong with a row."""
        return WriteError(f"row {self.first + number}: {self.name!r} {text}")


def as_rows(batch: Any, first: int) -> dict[str, Any]:
    """Take a batch apart into columns of equal length.

    Parameters
    ----------
    batch : mapping
        Name of the column -> its rows.
    first : int
        Number of the first row, for messages.

    Raises
    ------
    WriteError
        If it is no mapping, or its columns differ in length.
    """
    if not isinstance(batch, Mapping) or not batch:
        raise WriteError(
            f"row {first}: expected a mapping from names to rows, not {type(batch).__name__}"
        )
    rows = {str(name): as_array(value) for name, value in batch.items()}
    lengths = {name: _length(value, At(name, first)) for name, value in rows.items()}
    if len(set(lengths.values())) > 1:
        raise WriteError(f"rows from {first} on: the columns differ in length: {lengths}")
    return rows


def _length(value: Any, at: At) -> int:
    shape = getattr(value, "shape", None)
    if shape == () or not hasattr(value, "__len__") or isinstance(value, str | bytes):
        raise at.error(0, f"is {_shown(value)}, which has no rows; append() takes single samples")
    return int(shape[0]) if shape else len(value)


def as_array(value: Any) -> Any:
    """Take a tensor for an array, and a sparse matrix of SciPy or torch for CSR."""
    if hasattr(value, "tocsr"):
        matrix = value.tocsr()
        return Sparse(matrix.data, matrix.indices, matrix.indptr, matrix.shape)
    if str(getattr(value, "layout", "")) in ("torch.sparse_csr", "torch.sparse_coo"):
        matrix = value.detach().cpu().to_sparse_csr()
        data, indices = matrix.values().numpy(), matrix.col_indices().numpy()
        return Sparse(data, indices, matrix.crow_indices().numpy(), tuple(matrix.shape))
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        tensor = value.detach().cpu()
        if str(tensor.dtype) == "torch.bfloat16":  # exact as float32, which NumPy knows
            return tensor.float().numpy().astype(ml_dtypes.bfloat16)
        return tensor.numpy()
    return value


def infer(rows: Mapping[str, Any], first: int) -> dict[str, ColumnSpec]:
    """Say what columns rows belong into.

    Numbers of Python become int64, float64 or bool; arrays keep their type. Lists of arrays that
    differ in length are ragged.

    Raises
    ------
    WriteError
        If a column fits none.
    """
    return {name: _infer(value, At(name, first)) for name, value in rows.items()}


def _infer(value: Any, at: At) -> ColumnSpec:
    if isinstance(value, Sparse):
        return SparseColumn(value.n_columns, value.dtype)
    if isinstance(value, Ragged):
        return TextColumn() if value.text else RaggedColumn(value.dtype, value.element_shape)
    if _is_text(value):
        return TextColumn()
    if isinstance(value, np.ndarray) and value.dtype != object:
        value = _plain(value, at, 0)
        return DenseColumn(value.shape[1:], value.dtype)
    rows = list(value)
    if rows and all(isinstance(row, Sparse) for row in rows):
        return SparseColumn(rows[0].n_columns, np.result_type(*(row.dtype for row in rows)))
    _refuse_some_text(rows, at)
    parts = [_plain(row, at, number) for number, row in enumerate(rows)]
    if not parts:
        return DenseColumn((), np.float64)
    _refuse_some_bytes(parts, at)
    if len({part.shape for part in parts}) > 1:
        return _ragged_like(parts, at)
    return DenseColumn(parts[0].shape, _common_type(parts))


def _is_text(value: Any) -> bool:
    if isinstance(value, np.ndarray) and (value.ndim != 1 or value.dtype.kind in _NUMBERS + "S"):
        return False
    return bool(len(value)) and all(isinstance(row, str) for row in value)


def _refuse_some_text(rows: Sequence[Any], at: At) -> None:
    for number, row in enumerate(rows):
        if isinstance(row, str) != isinstance(rows[0], str):
            first = "text" if isinstance(rows[0], str) else "no text"
            raise at.error(number, f"is {_shown(row)}, but row {at.first} is {first}")


def _refuse_some_bytes(parts: Sequence[np.ndarray], at: At) -> None:
    for number, part in enumerate(parts):
        if (part.dtype.kind == "S") != (parts[0].dtype.kind == "S"):
            found, other = ("bytes", "not") if part.dtype.kind == "S" else ("no bytes", "")
            raise at.error(number, f"is {found}, but row {at.first} is {other}".rstrip())


def _common_type(parts: Sequence[np.ndarray]) -> np.dtype[Any]:
    """Return the type that all values go into; empty rows have none of their own."""
    filled = [part.dtype for part in parts if part.size]
    return np.result_type(*(filled or [part.dtype for part in parts]))


def _ragged_like(parts: Sequence[np.ndarray], at: At) -> RaggedColumn:
    filled = [part for part in parts if part.size] or list(parts)
    expected = filled[0]
    for number, part in enumerate(parts):
        unlike = part.size and part.shape[1:] != expected.shape[1:]
        if part.ndim == 0 or unlike or expected.ndim == 0:
            raise at.error(
                number,
                f"has shape {part.shape}, but row {at.first} has {parts[0].shape}; only the first "
                "axis may vary",
            )
    return RaggedColumn(_common_type(parts), expected.shape[1:])


def _plain(value: Any, at: At, number: int) -> np.ndarray:
    """Make an array of booleans, numbers or bytes."""
    value = as_array(value)
    try:
        array = np.asarray(value)
    except ValueError as error:  # lists in lists that differ in length
        raise at.error(number, f"is {_shown(value)}, which is no array: {error}") from error
    if array.dtype.kind not in _NUMBERS + "S" and array.dtype != ml_dtypes.bfloat16:
        raise at.error(
            number,
            f"is {_shown(value)}, which no column holds; there are booleans, numbers, bytes, "
            "strings, and lists of those",
        )
    return array


def hold(value: Any, at: At) -> Any:
    """Keep the value of a sample for later: a copy, so that its memory may be used again.

    Raises
    ------
    WriteError
        If no column holds it.
    """
    if isinstance(value, str):
        return value
    found = as_array(value)
    if isinstance(found, Sparse):
        return Sparse(found.data.copy(), found.indices.copy(), found.indptr.copy(), found.shape)
    return _plain(found, at, 0).copy()


def fit(value: Any, spec: ColumnSpec, at: At) -> Column:
    """Make a column of rows, exactly as a spec says.

    Parameters
    ----------
    value : object
        The rows.
    spec : ColumnSpec
        Of the column.
    at : At
        Where they go.

    Raises
    ------
    WriteError
        Naming the row that does not fit.
    """
    if isinstance(spec, DenseColumn):
        return _fit_dense(value, spec, at)
    if isinstance(spec, TextColumn):
        return _fit_text(value, at)
    if isinstance(spec, SparseColumn):
        return _fit_sparse(value, spec, at)
    assert isinstance(spec, RaggedColumn), "there are four kinds"
    return _fit_ragged(value, spec, at)


def _fit_dense(value: Any, spec: DenseColumn, at: At) -> np.ndarray:
    if isinstance(value, Ragged):
        raise at.error(0, "is ragged, but its column is dense")
    if isinstance(value, Sparse):
        value = value.dense()
    if not isinstance(value, np.ndarray) or value.dtype == object:
        rows = [_plain(row, at, number) for number, row in enumerate(value)]
        for number, row in enumerate(rows):
            _require_shape(row.shape, spec, at, number)
        rows = [_cast(row[None], spec, at, np.array([n])) for n, row in enumerate(rows)]
        return np.concatenate(rows) if rows else np.empty((0, *spec.shape), spec.dtype)
    if len(value):
        _require_shape(value.shape[1:], spec, at, 0)
    return _cast(_plain(value, at, 0), spec, at, np.arange(len(value)))


def _require_shape(shape: tuple[int, ...], spec: DenseColumn, at: At, number: int) -> None:
    if shape != spec.shape:
        advice = "; rows that vary in length need RaggedColumn" if shape else ""
        raise at.error(
            number, f"has shape {shape}, but its column has rows of {spec.shape}{advice}"
        )


def _fit_text(value: Any, at: At) -> Ragged:
    if isinstance(value, Ragged) and value.text:
        if (value.values == 0).any():
            _refuse_nul(value.strings(), at)
        return value
    rows = list(value)
    for number, row in enumerate(rows):
        if not isinstance(row, str):
            raise at.error(number, f"is {_shown(row)}, but its column holds strings")
    _refuse_nul(rows, at)
    try:
        return Ragged.from_rows(rows) if rows else Ragged(np.empty(0, "u1"), np.zeros(1), text=True)
    except UnicodeEncodeError as error:
        bad = next(number for number, row in enumerate(rows) if row == error.object)
        raise at.error(bad, f"cannot be UTF-8: {error}") from error


def _refuse_nul(rows: Sequence[str], at: At) -> None:
    for number, row in enumerate(rows):
        if "\0" in row:
            raise at.error(
                number,
                "has a NUL in its text, where most readers of HDF5 end it; take it out, or store "
                "bytes in a ragged column of uint8",
            )


def _fit_ragged(value: Any, spec: RaggedColumn, at: At) -> Ragged:
    if isinstance(value, np.ndarray) and value.dtype != object:
        if value.ndim < 2:
            raise at.error(0, "is a number, but rows of its column are lists")
        value = Ragged.from_array(_plain(value, at, 0))
    elif not isinstance(value, Ragged):
        return _join([_plain(row, at, number) for number, row in enumerate(value)], spec, at)
    if value.element_shape != spec.shape:
        raise at.error(
            0,
            f"has elements of shape {value.element_shape}, but those of its column have "
            f"{spec.shape}",
        )
    owners = np.repeat(np.arange(len(value)), value.lengths)
    return Ragged(_cast(value.values, spec, at, owners), value.offsets)


def _join(rows: Sequence[np.ndarray], spec: RaggedColumn, at: At) -> Ragged:
    """Put rows one after the other; an empty one has any type and shape."""
    filled: list[np.ndarray] = []
    for number, row in enumerate(rows):
        if row.ndim == 0 or (row.size and row.shape[1:] != spec.shape):
            raise at.error(
                number,
                f"has shape {row.shape}, but rows of its column are lists of elements of shape "
                f"{spec.shape}",
            )
        if row.size:
            filled.append(_cast(row, spec, at, np.full(len(row), number)))
    values = np.concatenate(filled) if filled else np.empty((0, *spec.shape), spec.dtype)
    lengths = [len(row) if row.size else 0 for row in rows]
    return Ragged(values, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))


def _fit_sparse(value: Any, spec: SparseColumn, at: At) -> Sparse:
    if not isinstance(value, Sparse):
        parts = [_sparse_row(row, spec, at, number) for number, row in enumerate(value)]
        return _join_sparse(parts, spec)
    _require_width(value, spec, at, 0)
    owners = np.repeat(np.arange(len(value)), value.lengths)
    data = _cast(value.data, spec, at, owners)
    return Sparse(data, value.indices, value.indptr, value.shape).in_order()


def _require_width(value: Sparse, spec: SparseColumn, at: At, number: int) -> None:
    if value.n_columns != spec.n_columns:
        raise at.error(
            number, f"has {value.n_columns} columns, but its column has {spec.n_columns}"
        )


def _sparse_row(row: Any, spec: SparseColumn, at: At, number: int) -> Sparse:
    """Take a row that is a pair of indices and values, a sparse row, or a plain one."""
    row = as_array(row)
    if isinstance(row, tuple) and len(row) == 2:
        indices, data = (_plain(part, at, number) for part in row)
        data = _cast(data, spec, at, np.full(len(data), number))
        try:
            return Sparse(data, indices, np.array([0, len(data)]), (1, spec.n_columns)).in_order()
        except (ConfigError, TypeError) as error:
            raise at.error(number, f"is {_shown(row)}: {error}") from error
    if isinstance(row, Sparse):
        _require_width(row, spec, at, number)
        if len(row) != 1:
            raise at.error(number, f"has {len(row)} rows, expected one")
        data = _cast(row.data, spec, at, np.full(len(row.data), number))
        return Sparse(data, row.indices, row.indptr, row.shape).in_order()
    row = _plain(row, at, number)
    if row.shape != (spec.n_columns,):
        raise at.error(
            number,
            f"has shape {row.shape}, expected ({spec.n_columns},), or a pair of indices and values",
        )
    indices = np.flatnonzero(row)
    data = _cast(row[indices], spec, at, np.full(len(indices), number))
    return Sparse(data, indices, np.array([0, len(indices)]), (1, spec.n_columns))


def _join_sparse(rows: Sequence[Sparse], spec: SparseColumn) -> Sparse:
    lengths = [len(row.data) for row in rows]
    return Sparse(
        np.concatenate([np.empty(0, spec.dtype), *(row.data for row in rows)]),
        np.concatenate([np.empty(0, np.int64), *(row.indices for row in rows)]),
        np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
        (len(rows), spec.n_columns),
    )


def _cast(values: np.ndarray, spec: Any, at: At, owners: np.ndarray) -> np.ndarray:
    """Convert values to the type of their column; `owners` are the rows that they belong to."""
    to: np.dtype[Any] = spec.dtype
    if values.dtype == to:
        return values
    if spec.casting == "exact":
        lost = _find_lost(values, to, rounds=at.rounds)
        if lost is not None:
            row = int(owners[lost[0]])
            raise at.error(
                row,
                f"has the value {values[lost]}, which its column of {to} cannot hold; give the "
                'column another dtype, or let values be changed with casting="unsafe"',
            )
    with np.errstate(all="ignore"):
        return values.astype(to)


def _find_lost(values: np.ndarray, to: np.dtype[Any], *, rounds: bool) -> tuple[int, ...] | None:
    """Return where the first value is that a type cannot hold."""
    if values.dtype.kind == "S" or to.kind == "S":
        lost = np.ones(values.shape, np.bool_)
        if values.dtype.kind == to.kind:
            lost = np.strings.str_len(values) > to.itemsize
    elif not rounds and values.dtype.kind in "fc" and to.kind in "fc":
        with np.errstate(all="ignore"):
            lost = (values.astype(to).astype(values.dtype) != values) & (values == values)
    else:
        value = find_loss(values, to)
        if value is None:
            return None
        lost = (values == value) | ((values != values) & bool(value != value))
    found = np.argwhere(lost)
    return tuple(found[0].tolist()) if len(found) else None


def _shown(value: Any) -> str:
    text = repr(value.item() if isinstance(value, np.ndarray) and not value.ndim else value)
    return text if len(text) <= 60 else f"{text[:57]}…"
