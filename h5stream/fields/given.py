"""Fields in memory: columns that are there already, few values repeated, and counted rows."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from h5stream.columns import Column, Ragged, Sparse, take
from h5stream.fields.field import ColumnType, Field, Reading
from h5stream.layout import DatasetLayout

__all__ = ["CountedField", "GivenField", "MemoryField", "RepeatedField"]

_PLACE_BYTES = 8


class MemoryField(Field):
    """A column for which nothing is read in an epoch."""

    @property
    def reading(self) -> Reading:
        """Out of memory."""
        return Reading.MEMORY

    @abstractmethod
    def of(self, rows: np.ndarray) -> Column:
        """Return the column of some rows."""

    @abstractmethod
    def picked(self, at: np.ndarray) -> MemoryField:
        """Return the field whose row i is row ``at[i]`` of this one."""

    @property
    def layouts(self) -> tuple[DatasetLayout, ...]:
        """Nothing is read."""
        return ()

    @property
    def identity(self) -> tuple[Any, ...]:
        """Name and type."""
        return self.name, str(self.column)

    def cut(self, target_bytes: int) -> np.ndarray:
        """Cut by number."""
        step = max(1, target_bytes // max(1, self.row_nbytes))
        return np.append(np.arange(0, self.n_rows, step), self.n_rows)


@dataclass(frozen=True, eq=False)
class GivenField(MemoryField):
    """A column that was read when the file was scanned, or is given by the user.

    Parameters
    ----------
    name : str
        Key of the column in blocks and batches.
    data : Column
        All its rows.
    """

    name: str
    data: Column

    @property
    def n_rows(self) -> int:
        """Count the rows."""
        return len(self.data)

    @property
    def column(self) -> ColumnType:
        """As the data is."""
        return _type_of(self.data)

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
        kind = self.column
        if isinstance(self.data, Ragged | Sparse):
            return int(self.data.lengths.sum()) * kind.dtype.itemsize + 16 * self.n_rows
        return self.n_rows * kind.row_nbytes

    def of(self, rows: np.ndarray) -> Column:
        """Take them."""
        return take(self.data, rows)

    def picked(self, at: np.ndarray) -> GivenField:
        """Take them."""
        return GivenField(self.name, take(self.data, at))


@dataclass(frozen=True, eq=False)
class RepeatedField(MemoryField):
    """A column of few values, each for many rows.

    Parameters
    ----------
    name : str
        Key of the column in blocks and batches.
    values : Column
        The values, at least one; those of a window share their memory.
    at : numpy.ndarray
        int64: row i is ``values[at[i]]``.
    from_table : bool
        A table beside the file says them.
    """

    name: str
    values: Column
    at: np.ndarray
    from_table: bool = False

    @property
    def reading(self) -> Reading:
        """Values are shared."""
        return Reading.REPEATED

    @property
    def n_rows(self) -> int:
        """Count the rows."""
        return len(self.at)

    @property
    def column(self) -> ColumnType:
        """As the values are."""
        return _type_of(self.values)

    @property
    def nbytes(self) -> int:
        """Bytes of the places of rows."""
        return _PLACE_BYTES * self.n_rows

    def of(self, rows: np.ndarray) -> Column:
        """Take the values."""
        return take(self.values, self.at[rows])

    def picked(self, at: np.ndarray) -> RepeatedField:
        """Repeat the values as the rows are."""
        return RepeatedField(self.name, self.values, self.at[at], self.from_table)

    @cached_property
    def digest(self) -> str:
        """What tells the column from others: a digest of all that its rows hold."""
        used, first, which = np.unique(self.at, return_index=True, return_inverse=True)
        order = np.argsort(first)  # whatever order the table is in
        number = np.empty(len(used), np.int64)
        number[order] = np.arange(len(used))
        values = take(self.values, used[order])
        parts = [values.lengths, values.values] if isinstance(values, Ragged) else [values]
        found = hashlib.blake2b(number[which].tobytes(), digest_size=8)
        for part in parts:
            found.update(np.ascontiguousarray(part).tobytes())
        return found.hexdigest()


@dataclass(frozen=True, eq=False)
class CountedField(MemoryField):
    """Numbers of rows, counted on.

    Parameters
    ----------
    name : str
        Key of the column in blocks and batches.
    first : int
        Number of the first row.
    count : int
        How many rows there are.
    """

    name: str
    first: int
    count: int

    @property
    def n_rows(self) -> int:
        """Count the rows."""
        return self.count

    @property
    def column(self) -> ColumnType:
        """Eight-byte integers."""
        return ColumnType("dense", np.dtype(np.int64), ())

    @property
    def nbytes(self) -> int:
        """Bytes of the numbers."""
        return _PLACE_BYTES * self.count

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Count."""
        return rows + self.first

    def picked(self, at: np.ndarray) -> GivenField:
        """Write the numbers down."""
        return GivenField(self.name, self.of(at))


def _type_of(data: Column) -> ColumnType:
    if isinstance(data, Ragged):
        return ColumnType("text" if data.text else "ragged", data.dtype, data.element_shape)
    if isinstance(data, Sparse):
        return ColumnType("sparse", data.dtype, (data.n_columns,))
    return ColumnType("dense", data.dtype, data.shape[1:])
