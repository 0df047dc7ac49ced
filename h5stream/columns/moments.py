"""Moments of columns: counts, means, squared deviations and extremes, which can be merged.

Each part of a column is looked at twice, for its mean and for the deviations from it, in double
precision; parts are then merged pair by pair (Chan, Golub and LeVeque, 1983), so nothing is lost
where the mean is large beside the deviation. NaNs are counted, and otherwise left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from h5stream.columns.algebra import Column
from h5stream.columns.ragged import Ragged
from h5stream.columns.sparse import Sparse
from h5stream.errors import ConfigError

__all__ = ["Moments", "merge_moments", "moments_of"]

_MOST_VALUES = 4096
"""A column with more different values has no counts of each."""


@dataclass(frozen=True, eq=False)
class Moments:
    """What is known of the elements of some rows, over all axes or for each place of some.

    Parameters
    ----------
    rows : int
        Rows.
    count, missing : numpy.ndarray or None
        int64: elements that are numbers, and that are NaN.
    mean, squares : numpy.ndarray or None
        float64: their mean, and the sum of their squared deviations from it.
    least, most : numpy.ndarray or None
        The smallest and the largest.
    values : dict or None
        How often each different value comes, for integers, booleans and text; None: there are too
        many, or others.
    """

    rows: int
    count: Any = None
    missing: Any = None
    mean: Any = None
    squares: Any = None
    least: Any = None
    most: Any = None
    values: dict[Any, int] | None = None


def moments_of(name: str, column: Column, keep: Sequence[int] = ()) -> Moments:
    """Take the moments of a column.

    Parameters
    ----------
    name : str
        Of the field, for messages.
    column : Column
        Of at least one row.
    keep : sequence of int
        Axes of a row for whose places there are moments of their own.

    Raises
    ------
    ConfigError
        If rows have no such axis, or hold no real numbers.

    Examples
    --------
    >>> found = moments_of("x", np.array([[1.0, 2], [3, 4]]), keep=[0])
    >>> found.mean, found.squares
    (array([2., 3.]), array([2., 2.]))
    """
    with np.errstate(all="ignore"):
        return _moments_of(name, column, keep)


def _moments_of(name: str, column: Column, keep: Sequence[int]) -> Moments:
    if isinstance(column, Sparse):
        return _of_sparse(name, column, keep)
    if isinstance(column, Ragged):
        if column.text:
            return Moments(len(column), values=_counted(list(column)))
        return replace(_of_array(name, column.values, keep, ragged=True), rows=len(column))
    array = np.asarray(column)
    if array.dtype.kind in "SU" and array.ndim == 1:
        return Moments(len(array), values=_counted(array.tolist()))
    return _of_array(name, array, keep)


def _of_array(
    name: str, array: np.ndarray, keep: Sequence[int], *, ragged: bool = False
) -> Moments:
    plain = array.dtype.kind in "biuf" or array.dtype.name == "bfloat16"
    if not plain:
        raise ConfigError(f"field {name!r} of {array.dtype} has no statistics")
    values = None if keep else _values_of(array)
    axes = _reduced(name, array.ndim, keep, ragged=ragged)
    is_whole = array.dtype.kind in "biu"
    numbers = array if is_whole else array.astype(np.float64)
    known = None if is_whole else ~np.isnan(numbers)
    if known is None or known.all():
        total = np.asarray(numbers.mean(axis=axes, dtype=np.float64)) if array.size else None
        count = _full(array, axes, array.size // max(1, _size(array, axes)))
        if total is None:
            return Moments(len(array), count, np.zeros_like(count), values=values)
        squares = ((numbers - _spread(total, axes)) ** 2).sum(axis=axes, dtype=np.float64)
        least, most = numbers.min(axis=axes), numbers.max(axis=axes)
        return Moments(len(array), count, count * 0, total, squares, least, most, values)
    count = known.sum(axis=axes)
    some = np.maximum(count, 1)
    mean = np.where(known, numbers, 0).sum(axis=axes) / some
    squares = (np.where(known, numbers - _spread(mean, axes), 0) ** 2).sum(axis=axes)
    least = np.where(known, numbers, np.inf).min(axis=axes)
    most = np.where(known, numbers, -np.inf).max(axis=axes)
    return Moments(len(array), count, (~known).sum(axis=axes), mean, squares, least, most)


def _values_of(array: np.ndarray) -> dict[Any, int] | None:
    """Count values: of one number a row, and of small ones everywhere, as masks have them."""
    if array.dtype.kind in "bu" and array.dtype.itemsize == 1:
        counts = np.bincount(array.reshape(-1).view(np.uint8), minlength=2)
        return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
    one_a_row = array.dtype.kind in "iu" and array.size == len(array)
    return _counted(array.reshape(-1)) if one_a_row else None


def _size(array: np.ndarray, axes: tuple[int, ...]) -> int:
    return int(np.prod([size for at, size in enumerate(array.shape) if at not in axes]))


def _full(array: np.ndarray, axes: tuple[int, ...], value: int) -> np.ndarray:
    shape = [size for at, size in enumerate(array.shape) if at not in axes]
    return np.full(shape, value, np.int64)


def _spread(reduced: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Let a reduced array stand beside what it was reduced from."""
    return np.expand_dims(reduced, axes)


def _reduced(name: str, ndim: int, keep: Sequence[int], *, ragged: bool) -> tuple[int, ...]:
    """Say which axes of an array are reduced: all but those of rows that are kept."""
    row_axes = ndim if ragged else ndim - 1
    for axis in keep:
        if not -row_axes <= axis < row_axes or (ragged and axis % row_axes == 0):
            raise ConfigError(
                f"field {name!r}: rows of {row_axes} axes have no axis {axis} of fixed length to "
                "keep"
            )
    kept = {axis % row_axes + (0 if ragged else 1) for axis in keep}
    return tuple(axis for axis in range(ndim) if axis not in kept)


def _of_sparse(name: str, column: Sparse, keep: Sequence[int]) -> Moments:
    if any(axis not in (0, -1) for axis in keep):
        raise ConfigError(f"field {name!r}: rows of a sparse matrix have axis 0 only")
    column = column.in_order()
    rows, width = len(column), column.n_columns
    data = column.data.astype(np.float64)
    at = column.indices.astype(np.int64) if keep else np.zeros(len(data), np.int64)
    places = width if keep else 1
    count = np.full(places, rows if keep else rows * width, np.int64)
    stored = np.bincount(at, minlength=places)
    mean = np.bincount(at, data, minlength=places) / np.maximum(count, 1)
    apart = np.bincount(at, (data - mean[at]) ** 2, minlength=places)
    squares = apart + (count - stored) * mean**2
    absent = np.where(stored < count, 0.0, np.inf)
    least, most = absent.copy(), -absent
    most[stored < count] = 0
    np.minimum.at(least, at, data)
    np.maximum.at(most, at, data)
    found: list[Any] = [count, count * 0, mean, squares, least, most]
    count, missing, mean, squares, least, most = (each if keep else each[0] for each in found)
    return Moments(rows, count, missing, mean, squares, least, most)


def _counted(values: Any) -> dict[Any, int] | None:
    different, counts = np.unique(values, return_counts=True)
    if len(different) > _MOST_VALUES:
        return None
    return dict(zip(different.tolist(), counts.tolist(), strict=True))


def merge_moments(one: Moments, other: Moments) -> Moments:
    """Take the moments of the rows of both.

    Examples
    --------
    >>> parts = [moments_of("x", np.array(part)) for part in ([1.0, 2.0], [6.0])]
    >>> merged = merge_moments(*parts)
    >>> float(merged.mean), float(merged.squares)
    (3.0, 14.0)
    """
    rows = one.rows + other.rows
    values = None
    if one.values is not None and other.values is not None:
        values = dict(one.values)
        for value, count in other.values.items():
            values[value] = values.get(value, 0) + count
        values = values if len(values) <= _MOST_VALUES else None
    if one.mean is None or other.mean is None:
        known = other if one.mean is None else one
        return replace(known, rows=rows, values=values)
    count = one.count + other.count
    some = np.maximum(count, 1)
    with np.errstate(all="ignore"):
        apart = other.mean - one.mean
        mean = one.mean + apart * (other.count / some)
        squares = one.squares + other.squares + apart**2 * (one.count * (other.count / some))
    return Moments(
        rows,
        count,
        one.missing + other.missing,
        mean,
        squares,
        np.minimum(one.least, other.least),
        np.maximum(one.most, other.most),
        values,
    )
