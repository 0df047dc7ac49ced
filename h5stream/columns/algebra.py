"""The small algebra over columns of every kind: take, concat, stack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from h5stream.columns.ragged import Ragged
from h5stream.columns.slices import Slices
from h5stream.columns.sparse import DenseRows, Sparse
from h5stream.errors import ConfigError

__all__ = ["Column", "arrays", "as_column", "concat", "own", "stack", "take"]

Column = np.ndarray | Ragged | Sparse | Slices
"""One field of some rows."""

_ARRAYS = np.ndarray | Slices | DenseRows


def take(column: Column, rows: np.ndarray) -> Column:
    """Choose rows of a column, in the given order.

    Arrays are copied; the other kinds go on sharing their values.

    Parameters
    ----------
    column : Column
        Of n rows.
    rows : numpy.ndarray
        int64 positions in [0, n).

    Examples
    --------
    >>> take(np.arange(5) * 10, np.array([4, 0]))
    array([40,  0])
    """
    if isinstance(column, np.ndarray):
        return column.take(rows, axis=0)
    return column[rows]


def concat(columns: Sequence[Any]) -> Column:
    """Join columns of one kind into one that owns its memory.

    Raises
    ------
    ConfigError
        If their kinds or the shapes of their rows differ. Arrays join ragged columns as rows that
        happen to be equally long.

    Examples
    --------
    >>> concat([np.arange(2), np.arange(1)])
    array([0, 1, 0])
    >>> concat([Ragged(np.arange(3), np.array([0, 1, 3])), Ragged(np.arange(1), np.array([0, 1]))])
    Ragged(3 rows of int64())
    """
    first = columns[0]
    if isinstance(first, _ARRAYS) and all(isinstance(column, _ARRAYS) for column in columns):
        return _joined([np.asarray(column) for column in columns])
    if any(isinstance(column, Ragged) for column in columns):
        columns = [_as_ragged(column) for column in columns]
        first = columns[0]
    if any(type(column) is not type(first) for column in columns):
        raise ConfigError(f"columns of different kinds cannot be joined: {columns!r:.200}")
    lengths = np.concatenate([column.lengths for column in columns])
    starts = np.cumsum(lengths) - lengths
    if isinstance(first, Ragged):
        if len({column.text for column in columns}) > 1:
            raise ConfigError("a column of text and one of numbers cannot be joined")
        values = _joined([column.values for column in columns])
        return Ragged.placed(values, starts, lengths, text=first.text)
    if len({column.n_columns for column in columns}) > 1:
        raise ConfigError("sparse columns of different widths cannot be joined")
    data = np.concatenate([column.data for column in columns])
    indices = np.concatenate([column.indices for column in columns])
    return Sparse.placed(data, indices, starts, lengths, first.n_columns)


def own(column: Column) -> tuple[Column, int]:
    """Copy what a column shows, and no more of what it shares with others.

    Returns
    -------
    (Column, int)
        The copy, and how many bytes it holds.

    Examples
    --------
    >>> shared = Ragged(np.arange(1000), np.array([0, 3, 4, 1000]))
    >>> own(shared[:2])
    (Ragged(2 rows of int64()), 64)
    """
    if isinstance(column, np.ndarray):
        return column.copy(), column.nbytes
    if isinstance(column, Slices):
        return column.owned()
    starts = np.cumsum(column.lengths) - column.lengths
    places = starts.nbytes + column.lengths.nbytes
    if isinstance(column, Ragged):
        values = column.values.copy()
        copy = Ragged.placed(values, starts, column.lengths.copy(), text=column.text)
        return copy, values.nbytes + places
    data, indices = column.data.copy(), column.indices.copy()
    some = column.placed(data, indices, starts, column.lengths.copy(), column.n_columns)
    return some, data.nbytes + indices.nbytes + places


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    try:
        return np.concatenate(arrays)
    except ValueError as error:
        shapes = sorted({array.shape[1:] for array in arrays})
        raise ConfigError(f"rows of shapes {shapes} cannot be joined: {error}") from error


def _as_ragged(column: Any) -> Any:
    alike = isinstance(column, np.ndarray) and column.ndim > 1
    return Ragged.from_array(column) if alike else column


def stack(rows: Sequence[Any]) -> Column:
    """Make a column of single rows: an array if they are alike in shape, else a ragged column.

    Raises
    ------
    ConfigError
        If the rows differ in more than their length.

    Examples
    --------
    >>> stack([np.zeros(2), np.ones(3)])
    Ragged(2 rows of float64())
    """
    if isinstance(rows[0], Sparse):
        return concat(rows)
    if any(isinstance(row, str) for row in rows):
        return Ragged.from_rows(rows)
    arrays = [np.asarray(row) for row in rows]
    shapes = {array.shape for array in arrays}
    return np.stack(arrays) if len(shapes) == 1 else Ragged.from_rows(arrays)


def as_column(value: Any) -> Column:
    """Accept what a user's function returns for a column: one, an array, or a list of rows.

    Examples
    --------
    >>> as_column([[1, 2], [3]]), as_column([1, 2])
    (Ragged(2 rows of int64()), array([1, 2]))
    """
    if isinstance(value, np.ndarray | Ragged | Sparse | Slices):
        return value
    if isinstance(value, list | tuple) and value:
        return stack(value)
    return np.asarray(value)


def arrays(columns: Mapping[str, Column]) -> dict[str, Any]:
    """Put slices together, so that a user's function sees arrays."""
    return {
        name: np.asarray(column) if isinstance(column, Slices | DenseRows) else column
        for name, column in columns.items()
    }
