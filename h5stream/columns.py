"""Columns: one field of some rows, and the small algebra over them.

A column is a NumPy array whose axis 0 counts rows. `take` copies rows, slices are views. Nothing here reads anything.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from h5stream.errors import ConfigError

__all__ = ["Column", "stack", "take"]

Column = np.ndarray


def take(column: Column, rows: np.ndarray | slice, out: Column | None = None) -> Column:
    """Copy chosen rows of a column.

    Parameters
    ----------
    column : numpy.ndarray
        Shape (n, ...).
    rows : numpy.ndarray or slice
        int64 positions in [0, n), or a slice.
    out : numpy.ndarray, optional
        Where they go; by default memory of their own.

    Examples
    --------
    >>> take(np.arange(5) * 10, np.array([4, 0]))
    array([40,  0])
    """
    if out is None:
        n_rows = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
        out = np.empty((n_rows, *column.shape[1:]), column.dtype)
    if isinstance(rows, slice):
        out[:] = column[rows]
    else:
        column.take(rows, axis=0, out=out, mode="clip")
    return out


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
