"""Columns: one field of some rows, and the small algebra over them.

A column is a NumPy array whose axis 0 counts rows. Slices are views; `take`, `concat` and `stack`
make columns that own their memory. Nothing here reads anything.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from h5stream.errors import ConfigError

__all__ = ["Column", "concat", "stack", "take"]

Column = np.ndarray


def take(column: Column, rows: np.ndarray) -> Column:
    """Copy chosen rows of a column, in the given order.

    Parameters
    ----------
    column : numpy.ndarray
        Shape (n, ...).
    rows : numpy.ndarray
        int64 positions in [0, n).

    Examples
    --------
    >>> take(np.arange(5) * 10, np.array([4, 0]))
    array([40,  0])
    """
    return column.take(rows, axis=0)


def concat(columns: Sequence[Column]) -> Column:
    """Join columns along axis 0.

    Examples
    --------
    >>> concat([np.arange(2), np.arange(1)])
    array([0, 1, 0])
    """
    return np.concatenate(columns)


def stack(rows: Sequence[object]) -> Column:
    """Make a column of single rows, which must be alike in shape.

    Raises
    ------
    ConfigError
        If the rows differ in shape.
    """
    arrays = [np.asarray(row) for row in rows]
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        raise ConfigError(
            f"rows of shapes {sorted(shapes)} cannot be stacked into one batch; make them alike "
            "with map() before batch()"
        )
    return np.stack(arrays)
