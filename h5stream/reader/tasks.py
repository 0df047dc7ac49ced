"""What is to be read, as data: which ranges of which file, and which rows of them go where.

A `ReadTask` says which ranges of a file it needs, and its body how they become rows: as they are
(`RawRows`), chunk by chunk (`Chunks`), object by object (`HeapObjects`), or through h5py
(`ThroughHDF5`). Other bodies need no ranges of their own. Rows go to buffers, which have numbers:
nothing here is a buffer, a file or a function, so tasks are planned, printed, compared and added
up without any.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from h5stream.columns import Ragged
from h5stream.fields import DenseField, VlenField
from h5stream.layout import DatasetLayout, Fingerprint

__all__ = [
    "Body",
    "Buffer",
    "Chunks",
    "Copies",
    "Destination",
    "Fills",
    "HeapObjects",
    "RawRows",
    "ReadTask",
    "Resident",
    "Target",
    "Tasks",
    "ThroughHDF5",
    "Value",
]


class Value:
    """Frozen facts, some of them arrays: equal if all of them are, and printed in a line."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(_same(value, getattr(other, name)) for name, value in self._items())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={_show(value)}" for name, value in self._items())
        return f"{type(self).__name__}({shown})"

    def _items(self) -> list[tuple[str, Any]]:
        return [(each.name, getattr(self, each.name)) for each in fields(self)]  # type: ignore[arg-type]


def _same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return bool(one is other or one == other)


def _show(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return np.array2string(value, separator=", ", threshold=32)
    if isinstance(value, DatasetLayout | DenseField | VlenField):
        layout = value if isinstance(value, DatasetLayout) else value.layout
        return repr(layout.key[1])
    return repr(value)


def _nothing() -> np.ndarray:
    return np.empty(0, np.int64)


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Buffer(Value):
    """Memory that a window needs.

    Parameters
    ----------
    shape : tuple of int
        Of the array.
    dtype : numpy.dtype
        Of its elements.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Target(Value):
    """A column that rows of a dataset go to.

    Parameters
    ----------
    field : DenseField
        What becomes of the dataset's elements.
    buffer : int
        Number of the buffer.
    span : (int, int) or None
        Which part of it, seen as rows of the field; None: all.
    """

    field: DenseField
    buffer: int
    span: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Destination(Value):
    """The columns that rows of one dataset go to.

    Parameters
    ----------
    targets : tuple of Target
        One for each field of the dataset.
    places : numpy.ndarray or None
        int64: row i of the window, counted in file order, goes to ``places[i]``; None: it stays.
    """

    targets: tuple[Target, ...]
    places: np.ndarray | None = None


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Fills(Value):
    """Rows that get the dataset's fill value.

    Parameters
    ----------
    dest, rows : numpy.ndarray
        int64: numbers of rows in the window, and how many follow each other.
    """

    dest: np.ndarray = field(default_factory=_nothing)
    rows: np.ndarray = field(default_factory=_nothing)


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class RawRows(Value):
    """Rows that are stored as they are in memory.

    Parameters
    ----------
    layout : DatasetLayout
        Of the dataset, or of one that stands for several.
    destination : Destination
        Where they go.
    offset, dest, rows : numpy.ndarray
        int64, sorted by offset: of each run its first byte in the file, the number of its first
        row in the window, and how many rows it has.
    bounds : numpy.ndarray or None
        int64: runs ``bounds[s]`` to ``bounds[s + 1]`` are read together, with what lies between
        them; None: each run is long enough.
    fills : Fills
        Rows that are not stored.
    """

    layout: DatasetLayout
    destination: Destination
    offset: np.ndarray
    dest: np.ndarray
    rows: np.ndarray
    bounds: np.ndarray | None = None
    fills: Fills = field(default_factory=Fills)

    @property
    def wanted_rows(self) -> int:
        """How many rows are wanted."""
        return int(self.rows.sum()) + int(self.fills.rows.sum())

    @property
    def spanned_rows(self) -> int:
        """How many rows are brought to memory for that."""
        return self.wanted_rows

    @property
    def decoded_bytes(self) -> int:
        """Bytes of the rows."""
        return int(self.rows.sum()) * self.layout.row_nbytes


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Chunks(Value):
    """Chunks, and the rows of them that are wanted.

    Parameters
    ----------
    layout : DatasetLayout
        Of the dataset.
    destination : Destination
        Where rows go.
    index, offset, size : numpy.ndarray
        int64, of each chunk: its place in the grid, its first byte in the file, its stored bytes.
    filter_mask : numpy.ndarray
        uint32, of each chunk: bit i set means that filter i was skipped.
    bounds : numpy.ndarray
        int64: segments ``bounds[c]`` to ``bounds[c + 1]`` are rows of chunk row c.
    start, rows, dest : numpy.ndarray
        int64, of each segment: its first row within the chunk row, how many rows it has, and the
        number of the first in the window.
    first_row : numpy.ndarray
        int64: row of the dataset with which each chunk row begins.
    chunk_bounds : numpy.ndarray or None
        int64: chunks ``chunk_bounds[c]`` to ``chunk_bounds[c + 1]`` make up chunk row c; None: each
        chunk is a chunk row, of whole rows, and they are sorted by offset.
    fills : Fills
        Rows of which some bytes are not stored; they are filled before others are put.
    wanted_rows : int
        How many rows are wanted.
    spanned_rows : int
        How many rows all chunk rows have that these lie in, stored or not.
    """

    layout: DatasetLayout
    destination: Destination
    index: np.ndarray
    offset: np.ndarray
    size: np.ndarray
    filter_mask: np.ndarray
    bounds: np.ndarray
    start: np.ndarray
    rows: np.ndarray
    dest: np.ndarray
    first_row: np.ndarray
    chunk_bounds: np.ndarray | None = None
    fills: Fills = field(default_factory=Fills)
    wanted_rows: int = 0
    spanned_rows: int = 0

    def __len__(self) -> int:
        return len(self.offset)

    @property
    def decoded_bytes(self) -> int:
        """Bytes of whole chunks."""
        return len(self) * self.layout.chunk_nbytes


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class HeapObjects(Value):
    """Rows whose elements lie in heap collections.

    Parameters
    ----------
    field : VlenField
        The column, with the descriptors of all rows.
    rows : numpy.ndarray
        int64: rows of the file, none of them empty.
    buffer : int
        Number of the buffer that their elements go to, one row after the other.
    span : (int, int)
        Which part of it.
    size_bytes : int
        Of the file.
    """

    field: VlenField
    rows: np.ndarray
    buffer: int
    span: tuple[int, int]
    size_bytes: int

    @property
    def wanted_rows(self) -> int:
        """How many rows are wanted."""
        return len(self.rows)

    @property
    def spanned_rows(self) -> int:
        """No other is decoded."""
        return len(self.rows)

    @property
    def decoded_bytes(self) -> int:
        """Bytes of the elements."""
        return (self.span[1] - self.span[0]) * self.field.dtype.itemsize


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class ThroughHDF5(Value):
    """Rows that h5py reads, from the first to the last of them.

    Parameters
    ----------
    layout : DatasetLayout
        Of the dataset.
    destination : Destination
        Where they go.
    version : Fingerprint
        Of the file.
    start, stop, dest : numpy.ndarray
        int64: rows of the dataset, and the number of the first in the window.
    """

    layout: DatasetLayout
    destination: Destination
    version: Fingerprint
    start: np.ndarray
    stop: np.ndarray
    dest: np.ndarray

    @property
    def extent(self) -> tuple[int, int]:
        """First row, and one past the last."""
        return int(self.start.min()), int(self.stop.max())

    @property
    def wanted_rows(self) -> int:
        """How many rows are wanted."""
        return int((self.stop - self.start).sum())

    @property
    def spanned_rows(self) -> int:
        """How many rows HDF5 decodes: those of whole chunks, if they are filtered."""
        first, last = self.extent
        step = self.layout.chunk_rows if self.layout.filters else None
        if step is not None:
            first, last = first // step * step, min(self.layout.n_rows, -(-last // step) * step)
        return last - first

    @property
    def decoded_bytes(self) -> int:
        """Bytes of all rows between the first and the last."""
        first, last = self.extent
        return (last - first) * self.layout.row_nbytes


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Resident(Value):
    """Rows of a field that is read once, whole, and stays in memory; they cost nothing more.

    Parameters
    ----------
    field : DenseField
        The field in this file.
    destination : Destination
        Where rows go.
    version : Fingerprint
        Of the file.
    start, stop, dest : numpy.ndarray
        int64: rows of the field, and the number of the first in the window.
    """

    field: DenseField
    destination: Destination
    version: Fingerprint
    start: np.ndarray
    stop: np.ndarray
    dest: np.ndarray
    wanted_rows: int = 0
    spanned_rows: int = 0
    decoded_bytes: int = 0


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Copies(Value):
    """Values that are in memory already.

    Parameters
    ----------
    rows : Ragged
        Rows whose values are copied, one after the other.
    buffer : int
        Number of the buffer.
    begin : int
        Where in it.
    """

    rows: Ragged
    buffer: int
    begin: int
    wanted_rows: int = 0
    spanned_rows: int = 0
    decoded_bytes: int = 0


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Tasks(Value):
    """Small tasks on one file, done one after the other.

    Parameters
    ----------
    tasks : tuple of ReadTask
        The tasks.
    """

    tasks: tuple[ReadTask, ...]

    @property
    def wanted_rows(self) -> int:
        """Those of all."""
        return sum(task.body.wanted_rows for task in self.tasks)

    @property
    def spanned_rows(self) -> int:
        """Those of all."""
        return sum(task.body.spanned_rows for task in self.tasks)

    @property
    def decoded_bytes(self) -> int:
        """Those of all."""
        return sum(task.body.decoded_bytes for task in self.tasks)


Body = RawRows | Chunks | HeapObjects | ThroughHDF5 | Resident | Copies | Tasks


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class ReadTask(Value):
    """What one thread does at once.

    Parameters
    ----------
    body : Body
        How bytes become rows, and where these go.
    file : str or None
        The file that is read; None: what is needed is in memory.
    version : Fingerprint or None
        Of it.
    offset, size : numpy.ndarray
        int64: ranges of the file that will be needed.
    """

    body: Body
    file: str | None = None
    version: Fingerprint | None = None
    offset: np.ndarray = field(default_factory=_nothing)
    size: np.ndarray = field(default_factory=_nothing)

    @property
    def buffers(self) -> frozenset[int]:
        """Numbers of the buffers that it fills."""
        body = self.body
        if isinstance(body, Tasks):
            return frozenset().union(*(task.buffers for task in body.tasks))
        if isinstance(body, HeapObjects | Copies):
            return frozenset([body.buffer])
        return frozenset(target.buffer for target in body.destination.targets)

    @property
    def nbytes(self) -> int:
        """Bytes of the ranges."""
        return int(self.size.sum())

    def __str__(self) -> str:
        where = "memory" if self.file is None else f"{self.file}: {len(self.offset)} ranges"
        return f"{type(self.body).__name__} of {where}, {self.nbytes} bytes"
