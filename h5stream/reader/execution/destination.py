"""Where decoded rows go: the columns of a window, in file order or scattered to drawn places.

A shuffled window is permuted while it is filled: each row is copied once, from memory that is
still in the processor's cache, to its final place. Nothing is moved afterwards, and batches are
slices of the window.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from h5stream.decode import Scratch
from h5stream.fields import DenseField
from h5stream.layout import DatasetLayout
from h5stream.reader.tasks import Destination, Fills

__all__ = ["Columns", "columns_of", "scatter"]


def columns_of(destination: Destination, memory: Sequence[np.ndarray]) -> Columns:
    """Find the columns of a destination in the buffers of a window."""
    targets: list[tuple[DenseField, np.ndarray]] = []
    for target in destination.targets:
        column = memory[target.buffer]
        if target.span is not None:
            begin, end = target.span
            column = column[begin:end].reshape(-1, *target.field.row_shape)
        targets.append((target.field, column))
    return Columns(targets, destination.places)


@dataclass(frozen=True, eq=False, slots=True)
class Columns:
    """The columns that the rows of one dataset go to, in memory.

    Parameters
    ----------
    targets : sequence of (DenseField, numpy.ndarray)
        One for each field of the dataset.
    places : numpy.ndarray or None
        int64: row i of the window, counted in file order, goes to ``places[i]``; None: it stays.
    """

    targets: Sequence[tuple[DenseField, np.ndarray]]
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
            where: tuple[Any, ...] = inside
            values = field.select(elements)
            if field.inner is not None:
                values, where = field.inner.choose(values, inside)
            with np.errstate(all="ignore"):  # what a conversion may do was decided in `select`
                if self.places is None:
                    column[(slice(first, last), *where)] = values
                else:
                    scatter(values, column, self.places[first:last])

    def put_scattered(
        self, elements: np.ndarray, rows: np.ndarray, numbers: np.ndarray, scratch: Scratch
    ) -> None:
        """Copy some of decoded rows to others in the window.

        Parameters
        ----------
        elements : numpy.ndarray
            Shape (rows, ...).
        rows : numpy.ndarray
            int64: which of them.
        numbers : numpy.ndarray
            int64: their numbers in the window.
        scratch : Scratch
            Working memory of the calling thread.
        """
        shape = (len(rows), *elements.shape[1:])
        memory = scratch.take("rows put together", math.prod(shape) * elements.itemsize)
        chosen = memory.view(elements.dtype).reshape(shape)
        elements.take(rows, axis=0, out=chosen, mode="clip")
        self.put_numbered(chosen, numbers)

    def put_numbered(self, elements: np.ndarray, numbers: np.ndarray) -> None:
        """Copy decoded elements to the rows of some numbers in the window.

        Parameters
        ----------
        elements : numpy.ndarray
            Shape (rows, ...).
        numbers : numpy.ndarray
            int64: their numbers in the window.
        """
        where = numbers if self.places is None else self.places[numbers]
        for field, column in self.targets:
            values = field.select(elements)
            if field.inner is not None:
                values, _ = field.inner.choose(values)
            with np.errstate(all="ignore"):  # what a conversion may do was decided in `select`
                scatter(values, column, where)

    def fill(self, value: np.ndarray, first: int, rows: int) -> None:
        """Set rows to the dataset's fill value."""
        last = first + rows
        where = slice(first, last) if self.places is None else self.places[first:last]
        for field, column in self.targets:
            with np.errstate(all="ignore"):
                column[where] = field.select(value)

    def fill_all(self, layout: DatasetLayout, fills: Fills) -> None:
        """Set all rows of which something is not stored."""
        for first, rows in zip(fills.dest.tolist(), fills.rows.tolist(), strict=True):
            assert layout.fill is not None, "direct reads need a fill value"
            self.fill(layout.fill, first, rows)

    def fits(self, layout: DatasetLayout) -> bool:
        """Whether stored elements, at most byte-swapped, are the elements of the one column."""
        return (
            len(self.targets) == 1
            and not layout.axis
            and self.targets[0][0].as_stored
            and (layout.dtype.isnative or layout.dtype.names is None)
        )

    def raw_rows(self, first: int, rows: int) -> list[np.ndarray]:
        """Return the memory of rows, in order, as few pieces of bytes; for one whole field."""
        (_field, column) = self.targets[0]
        if self.places is None:
            return [column[first : first + rows].reshape(-1).view(np.uint8)]
        memory = column.reshape(len(column), -1).view(np.uint8)
        return [memory[place] for place in self.places[first : first + rows].tolist()]


def scatter(values: np.ndarray, column: np.ndarray, places: np.ndarray) -> None:
    """Copy ``values[i]`` to ``column[places[i]]``.

    Rows are taken as flat: so NumPy lets go of the interpreter lock, which it otherwise keeps
    while it copies a few rows of many dimensions.
    """
    if column.ndim > 2 and column.size and values.flags.c_contiguous:
        values = values.reshape(len(values), -1)
        column = column.reshape(len(column), -1)
    column[places] = values
