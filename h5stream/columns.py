"""Columns: one field of some rows, and the small algebra over them.

A column is a NumPy array whose axis 0 counts rows. `take` and `concat` make columns that own
their memory; slices are views. Nothing here reads anything.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from h5stream.errors import ConfigError

__all__ = ["Column", "concat", "stack", "take"]

Column = np.ndarray


def take(column: Column, rows: np.ndarray | slice) -> Column:
    """Return chosen rows of a column in memory of their own.

    Parameters
    ----------
    column : numpy.ndarray
        Shape (n, ...).
    rows : numpy.ndarray or slice
        int64 positions in [0, n), or a slice.

    Examples
    --------
    >>> take(np.arange(5) * 10, np.array([4, 0]))
    array([40,  0])
    """
    if isinstance(rows, slice):
        return column[rows].copy()
    return column.take(rows, axis=0, mode="clip")


def concat(columns: Sequence[Column]) -> Column:
    """Join columns along axis 0."""
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
