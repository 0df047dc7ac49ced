"""Where decoded rows go: the columns of a window, in file order or scattered to drawn places.

A shuffled window is permuted while it is filled: each row is copied once, from memory that is
still in the processor's cache, to its final place. Nothing is moved afterwards, and batches are
slices of the window.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from h5stream.fields import DenseField

__all__ = ["Destination", "Target", "scatter"]

Target = tuple[DenseField, np.ndarray]
"""A field of a dataset, and the column that its rows go to."""

_ROWS_UNDER_LOCK = 500
"""NumPy keeps the interpreter lock while it scatters up to so many rows."""


@dataclass(frozen=True, eq=False, slots=True)
class Destination:
    """The columns that the rows of one dataset go to.

    Parameters
    ----------
    targets : sequence of Target
        One for each field of the dataset.
    places : numpy.ndarray or None
        int64: row i of the window, counted in file order, goes to ``places[i]``; None: it stays.
    """

    targets: Sequence[Target]
    places: np.ndarray | None = None

    def put(self, elements: np.ndarray, first: int, inside: tuple[slice, ...] = ()) -> None:
        """Copy decoded elements to the rows from number `first` on, or to a part of each row.

        Parameters
        ----------
        elements : numpy.ndarray
            Shape (rows, ...).
        first : int
            Number of the first of them in the window.
        inside : tuple of slice
            Which part of each row they are; not with `places`.
        """
        last = first + len(elements)
        for field, column in self.targets:
            values = field.select(elements)
            if self.places is None:
                column[(slice(first, last), *inside)] = values
            else:
                scatter(values, column, self.places[first:last])

    def fill(self, value: np.ndarray, first: int, rows: int) -> None:
        """Set rows to the dataset's fill value."""
        last = first + rows
        where = slice(first, last) if self.places is None else self.places[first:last]
        for field, column in self.targets:
            column[where] = field.select(value)

    def raw_rows(self, first: int, rows: int) -> list[np.ndarray]:
        """Return the memory of rows, in order, as few pieces of bytes; for one whole field."""
        (_field, column) = self.targets[0]
        if self.places is None:
            return [column[first : first + rows].reshape(-1).view(np.uint8)]
        memory = column.reshape(len(column), -1).view(np.uint8)
        return [memory[place] for place in self.places[first : first + rows].tolist()]


def scatter(values: np.ndarray, column: np.ndarray, places: np.ndarray) -> None:
    """Copy ``values[i]`` to ``column[places[i]]``, without the interpreter lock if it takes long.

    Rows are cut into equal parts where they are few, so that NumPy lets go of the lock.
    """
    parts = _parts_per_row(len(places), math.prod(column.shape[1:]))
    if parts == 1 or not values.flags.c_contiguous:
        column[places] = values
        return
    finer = (places[:, None] * parts + np.arange(parts)).reshape(-1)
    column.reshape(len(column) * parts, -1)[finer] = values.reshape(len(places) * parts, -1)


def _parts_per_row(rows: int, elements: int) -> int:
    """Choose a divisor of a row's elements that makes more than 500 parts of all rows."""
    if rows > _ROWS_UNDER_LOCK or rows * elements < 2**15:
        return 1
    for parts in range(_ROWS_UNDER_LOCK // rows + 1, min(elements, 64 * _ROWS_UNDER_LOCK)):
        if elements % parts == 0:
            return parts
    return 1
