"""Frozen facts about a file: shapes, types, filters and where each chunk lies.

A layout holds no handle and can be pickled, sent to another process and compared with the file
that it describes. Axis 0 of every dataset is the sample axis. Array element types are folded
into the shape: a dataset of shape ``(n,)`` whose elements are ``(3,)`` arrays has shape ``(n, 3)``
here, as it has for whoever reads it through h5py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np

from h5stream.layout.packing import Packing

__all__ = [
    "ChunkTable",
    "DatasetLayout",
    "FileLayout",
    "FilterSpec",
    "Fingerprint",
    "Runs",
    "Stacking",
    "Storage",
    "VlenType",
]


@dataclass(frozen=True, slots=True)
class Stacking:
    """How rows that are sequences lie one after the other in a view; see `stacked`.

    Parameters
    ----------
    axis : int
        Of the stored dataset: along which each row is a sequence.
    lanes : int
        Rows that lie beside each other.
    length : int
        Elements of a sequence.
    padded : int
        From where one sequence begins to where the next does.
    """

    axis: int
    lanes: int
    length: int
    padded: int


Runs = tuple[tuple[int, int], ...]
"""Ranges of positions along an axis: first, and one past the last."""


class Storage(StrEnum):
    """How a dataset's elements are stored."""

    CHUNKED = "chunked"
    CONTIGUOUS = "contiguous"
    COMPACT = "compact"
    VIRTUAL = "virtual"
    EXTERNAL = "external"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What tells one version of a file from another.

    Parameters
    ----------
    size_bytes : int
        Its length.
    mtime_ns, inode : int
        Of a local file.
    version : str
        Of a remote one: its ETag, generation or time of modification, as the server tells it.
    """

    size_bytes: int
    mtime_ns: int = 0
    inode: int = 0
    version: str = ""


@dataclass(frozen=True, slots=True)
class FilterSpec:
    """One entry of a dataset's filter pipeline, in the order in which writing applied them."""

    id: int
    name: str
    values: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class VlenType:
    """What elements of variable length are made of; stored is only where each lies in a heap.

    Parameters
    ----------
    dtype : numpy.dtype
        Of one of the numbers, in the byte order of the file; uint8 for strings.
    text : bool
        The elements are strings.
    """

    dtype: np.dtype[Any]
    text: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class ChunkTable:
    """Where the allocated chunks of one dataset lie, sorted by their place in the chunk grid.

    Parameters
    ----------
    index : numpy.ndarray
        int64, strictly increasing: the chunk's C-order position in the grid of chunks.
    byte_offset, size : numpy.ndarray
        int64: absolute position in the file and stored length, in bytes.
    filter_mask : numpy.ndarray
        uint32: bit i set means that filter i was skipped when this chunk was written.
    """

    index: np.ndarray
    byte_offset: np.ndarray
    size: np.ndarray
    filter_mask: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    def sorted_by(self, index: np.ndarray) -> ChunkTable:
        """Return the same chunks at other places of a grid."""
        order = np.argsort(index, kind="stable")
        columns = (index, self.byte_offset, self.size, self.filter_mask)
        return ChunkTable(*(column[order] for column in columns))


@dataclass(frozen=True, eq=False)
class DatasetLayout:
    """One dataset: its shape, its element type and where its bytes lie.

    Parameters
    ----------
    file : str
        Path of the file that holds the dataset, after external links were followed.
    path : str
        Path inside that file.
    shape : tuple of int
        Axis 0 is the sample axis; trailing axes of array element types are included.
    dtype : numpy.dtype
        Of one element, in the byte order of the file.
    storage : Storage
        How the elements are stored.
    chunks : tuple of int or None
        Chunk shape, as long as `shape`; None unless chunked.
    filters : tuple of FilterSpec
        The filter pipeline.
    fill : numpy.ndarray or None
        0-d: what unwritten elements hold; None if elements cannot be used as stored.
    byte_offset : int or None
        Where a contiguous dataset starts; None if it was never written.
    table : ChunkTable or None
        None unless chunked and scanned with tables.
    stored_bytes : int
        What the elements take in the file.
    indirect : str or None
        Why elements cannot be used as stored ("needs conversion"); None if they can.
    refused : str or None
        Why elements cannot be streamed at all ("object references"); None if they can.
    enum : mapping or None
        Names of an enumerated type.
    vlen : VlenType or None
        What elements of variable length are made of; `dtype` is then that of their descriptors.
    axis : int
        Which axis of the stored dataset is axis 0 here; the others follow in order.
    flat : bool
        All axes of the stored dataset are one here.
    inner : tuple of Runs or None
        Positions along each axis of a row that are left of the stored ones; None: all.
    stacking : Stacking or None
        Rows of the stored dataset are sequences, and axis 0 here counts their elements.
    user_block_bytes : int
        What addresses in heap descriptors do not count.
    is_scale : bool
        HDF5's own mark of a dimension scale: coordinates along an axis of other datasets.
    packing : Packing or None
        How elements stand for other numbers, by attributes; None: for themselves.
    """

    file: str
    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    storage: Storage
    chunks: tuple[int, ...] | None = None
    filters: tuple[FilterSpec, ...] = ()
    fill: np.ndarray | None = None
    byte_offset: int | None = None
    table: ChunkTable | None = None
    stored_bytes: int = 0
    indirect: str | None = None
    refused: str | None = None
    enum: Mapping[str, int] | None = None
    vlen: VlenType | None = None
    axis: int = 0
    flat: bool = False
    inner: tuple[Runs, ...] | None = None
    stacking: Stacking | None = None
    user_block_bytes: int = 0
    is_scale: bool = False
    packing: Packing | None = None

    @property
    def key(self) -> tuple[str, str]:
        """File and path, told apart by axes: what one way of reading belongs to."""
        part = "" if self.inner is None else f" part {self.inner}"
        if self.stacking is not None:
            return self.file, f"{self.path} in sequences along axis {self.stacking.axis}{part}"
        if self.axis:
            return self.file, f"{self.path} along axis {self.axis}{part}"
        return self.file, f"{self.path} flattened" if self.flat else f"{self.path}{part}"

    @property
    def n_rows(self) -> int:
        """Length of the sample axis."""
        return self.shape[0]

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return self.shape[1:]

    @property
    def row_nbytes(self) -> int:
        """Bytes of one decoded row of the stored type."""
        return math.prod(self.row_shape) * self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all decoded elements."""
        return self.n_rows * self.row_nbytes

    @property
    def chunk_rows(self) -> int | None:
        """Rows of one chunk, None unless chunked."""
        return None if self.chunks is None else self.chunks[0]

    @property
    def chunk_nbytes(self) -> int:
        """Bytes of one decoded chunk."""
        return 0 if self.chunks is None else math.prod(self.chunks) * self.dtype.itemsize

    @property
    def grid(self) -> tuple[int, ...]:
        """How many chunks lie along each axis."""
        if self.chunks is None:
            return ()
        return tuple(-(-n // c) for n, c in zip(self.shape, self.chunks, strict=True))

    @property
    def chunks_per_chunk_row(self) -> int:
        """How many chunks share the same rows: the product of the grid's trailing axes."""
        return math.prod(self.grid[1:])

    @property
    def stored_chunks(self) -> tuple[int, ...]:
        """Chunk shape in the order of the stored axes."""
        first, *rest = self.chunks or (1,)
        return (*rest[: self.axis], first, *rest[self.axis :])

    def along(self, axis: int) -> DatasetLayout:
        """Return the same dataset with another axis in front."""
        if not axis:
            return self
        order = (axis, *range(axis), *range(axis + 1, len(self.shape)))
        chunks = self.chunks and tuple(self.chunks[i] for i in order)
        moved = replace(self, shape=tuple(self.shape[i] for i in order), chunks=chunks, axis=axis)
        if self.table is None or not len(self.table):
            return moved
        places = np.unravel_index(self.table.index, self.grid)
        index = np.ravel_multi_index(tuple(places[i] for i in order), moved.grid)
        return replace(moved, table=self.table.sorted_by(index.astype(np.int64)))

    def flattened(self) -> DatasetLayout:
        """Return the same dataset with one axis, of all elements.

        Chunks stay chunks if they are of whole rows; if not, only HDF5 can read it.
        """
        flat = replace(self, shape=(math.prod(self.shape),), flat=len(self.shape) != 1)
        if self.chunks is None or not flat.flat:
            return flat
        if self.chunks[1:] == self.shape[1:]:
            return replace(flat, chunks=(math.prod(self.chunks),))
        reason = self.indirect or "its rows are cut into chunks, and it is flattened"
        return replace(flat, chunks=None, table=None, indirect=reason)

    def limited(self, n_rows: int) -> DatasetLayout:
        """Return the first rows of the same dataset."""
        return replace(self, shape=(n_rows, *self.shape[1:]))

    def chunk_offset(self, index: int) -> tuple[int, ...]:
        """Element coordinates of the chunk at `index` of the grid."""
        chunks = self.chunks or ()
        return tuple(
            int(i) * c for i, c in zip(np.unravel_index(index, self.grid), chunks, strict=True)
        )


@dataclass(frozen=True, eq=False)
class FileLayout:
    """The layouts of some datasets of one file.

    Parameters
    ----------
    path : str
        The file.
    datasets : dict
        Dataset name as asked for -> its layout.
    fingerprints : dict
        Path -> fingerprint of every file that holds one of the datasets.
    made : dict
        Key of a layout -> how HDF5 wrote the dataset, as far as nothing else tells: two that are
        equal in this and in their layouts have the same kinds of structures. Only scans know it.
    stands_alone : bool
        No link of the file leads to another file. Only scans of local files that choose know it.
    """

    path: str
    datasets: dict[str, DatasetLayout]
    fingerprints: dict[str, Fingerprint] = field(default_factory=dict)
    made: dict[tuple[str, str], tuple[Any, ...]] = field(default_factory=dict)
    stands_alone: bool = False
