"""Frozen facts about a file: shapes, types, filters and where each chunk lies.

A layout holds no handle and can be pickled, sent to another process and compared with the file
that it describes. Axis 0 of every dataset is the sample axis. Array element types are folded
into the shape: a dataset of shape ``(n,)`` whose elements are ``(3,)`` arrays has shape ``(n, 3)``
here, as it has for whoever reads it through h5py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

__all__ = [
    "ChunkTable",
    "DatasetLayout",
    "FileLayout",
    "FilterSpec",
    "Fingerprint",
    "Storage",
]


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

    @property
    def content(self) -> tuple[int | str, ...]:
        """What stays the same in a copy that keeps the times."""
        marks = (self.size_bytes, self.mtime_ns)
        return (*marks, self.version) if self.version else marks


@dataclass(frozen=True, slots=True)
class FilterSpec:
    """One entry of a dataset's filter pipeline, in the order in which writing applied them."""

    id: int
    name: str
    values: tuple[int, ...] = ()


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
    """

    path: str
    datasets: dict[str, DatasetLayout]
    fingerprints: dict[str, Fingerprint] = field(default_factory=dict)
