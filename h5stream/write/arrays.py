"""Datasets that grow along axis 0, written chunk by chunk past HDF5's own pipeline.

1. Rows are gathered into a buffer of one chunk.
2. A full chunk is encoded on a thread; a few are under way at once, of all datasets together.
3. The thread that writes the file hands encoded chunks to HDF5 in the order in which they came.

HDF5 makes a dataset when its first chunk is there, because that decides whether to compress.
"""

from __future__ import annotations

import math
from collections import deque
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from typing import Any

import h5py
import ml_dtypes
import numpy as np
from h5py import h5d, h5p, h5s, h5t

from h5stream.errors import ConfigError
from h5stream.write.filters import Filters, filters_of
from h5stream.write.output import Output

__all__ = ["ArraySpec", "ChunkQueue", "GrowingArray", "PlainArray", "begin_array", "write_array"]

_MOST_CHUNK_BYTES = 2**32 - 1
"""HDF5 counts the bytes of a chunk in 32 bits."""


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """What is decided about a dataset before it is made.

    Parameters
    ----------
    path : str
        In the file.
    row_shape : tuple of int
        Shape of a row.
    dtype : numpy.dtype
        Of its elements.
    chunk_rows : int
        Rows of a chunk.
    filters : Filters
        What is done to chunks.
    may_drop_codec : bool
        Whether chunks are left uncompressed if the first does not shrink.
    n_rows : int or None
        How many rows there will be, if that is known.
    least_rows : int
        Rows that the dataset has from the start, written or not.
    """

    path: str
    row_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk_rows: int
    filters: Filters
    may_drop_codec: bool = False
    n_rows: int | None = None
    least_rows: int = 0

    def __post_init__(self) -> None:
        if self.chunk_nbytes > _MOST_CHUNK_BYTES:
            raise ConfigError(
                f"a chunk of {self.path!r} would have {self.chunk_nbytes} bytes, and HDF5 allows "
                f"{_MOST_CHUNK_BYTES}; rows so large are better split into several"
            )

    @property
    def chunk_nbytes(self) -> int:
        """Bytes of a chunk, decoded."""
        return self.chunk_rows * math.prod(self.row_shape) * self.dtype.itemsize


class ChunkQueue:
    """Chunks of all datasets of a file that are being encoded.

    Parameters
    ----------
    threads : Executor
        They encode.
    most : int
        How many chunks may be under way.
    """

    def __init__(self, threads: Executor, most: int) -> None:
        self._threads = threads
        self._most = most
        self._pending: deque[tuple[GrowingArray, int, np.ndarray, Future[Any]]] = deque()

    def put(self, array: GrowingArray, number: int, chunk: np.ndarray) -> None:
        """Encode a chunk, and write those that came before it."""
        encoded = self._threads.submit(array.spec.filters.encode, chunk.reshape(-1).view(np.uint8))
        self._pending.append((array, number, chunk, encoded))
        while len(self._pending) > self._most:
            self._write_one()

    def drain(self) -> None:
        """Write all that is under way."""
        while self._pending:
            self._write_one()

    def _write_one(self) -> None:
        array, number, chunk, encoded = self._pending.popleft()
        array.write_chunk(number, encoded.result())
        array.use_again(chunk)


class GrowingArray:
    """One dataset that grows.

    Parameters
    ----------
    output : Output
        Where it is written.
    spec : ArraySpec
        What it will be.
    queue : ChunkQueue
        Where its chunks are encoded.
    """

    def __init__(self, output: Output, spec: ArraySpec, queue: ChunkQueue) -> None:
        self.spec = spec
        self.n_rows = 0
        self._output = output
        self._queue = queue
        self._dataset: h5py.Dataset | None = None
        self._free: list[np.ndarray] = []
        self._buffer = self._take_buffer()
        self._filled = 0

    @classmethod
    def begin(
        cls, output: Output, spec: ArraySpec, queue: ChunkQueue, n_rows: int | None = None
    ) -> GrowingArray:
        """Begin a dataset, or go on with the one that is there behind its first `n_rows` rows."""
        dataset = output.find(spec.path)
        if dataset is None:
            return cls(output, spec, queue)
        chunk_rows = dataset.chunks[0]
        filters = filters_of(dataset, spec.dtype.itemsize) or spec.filters
        spec = replace(spec, chunk_rows=chunk_rows, filters=filters, may_drop_codec=False)
        array = cls(output, spec, queue)
        array._dataset = dataset
        array.n_rows = len(dataset) if n_rows is None else n_rows
        array._filled = array.n_rows % chunk_rows
        if array._filled:
            array._buffer[: array._filled] = dataset[array.n_rows - array._filled : array.n_rows]
        return array

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of its elements."""
        return self.spec.dtype

    def append(self, rows: np.ndarray) -> None:
        """Take rows, and write the chunks that they fill.

        Parameters
        ----------
        rows : numpy.ndarray
            Shape (n, *row_shape), of the dataset's type.
        """
        at = 0
        while at < len(rows):
            if not self._filled and self._is_whole(rows[at : at + self.spec.chunk_rows]):
                self.n_rows += self.spec.chunk_rows
                self._write_at_once(rows[at : at + self.spec.chunk_rows])
                at += self.spec.chunk_rows
                continue
            count = min(len(rows) - at, self.spec.chunk_rows - self._filled)
            self._buffer[self._filled : self._filled + count] = rows[at : at + count]
            self._filled += count
            self.n_rows += count
            at += count
            if self._filled == self.spec.chunk_rows:
                self._put(self._buffer)
                self._filled = 0

    def _is_whole(self, rows: np.ndarray) -> bool:
        """Tell whether rows may be written as they lie: a chunk that nothing compresses."""
        is_plain = self._dataset is not None and self.spec.filters.codec is None
        is_chunk = len(rows) == self.spec.chunk_rows and bool(rows.nbytes)
        return is_plain and is_chunk and rows.flags.c_contiguous

    def finish_chunk(self) -> None:
        """Write the rows of the chunk that is not full; they are written again once it is."""
        if self._filled:
            self._buffer[self._filled :] = np.zeros((), self.spec.dtype)
            kept = self._buffer[: self._filled].copy()
            self._put(self._buffer)
            self._buffer[: self._filled] = kept

    def settle(self) -> None:
        """Give the dataset its length, once the queue is empty."""
        if self._dataset is None:
            self._make()
        assert self._dataset is not None, "it was made"
        length = max(self.n_rows, self.spec.least_rows)
        if len(self._dataset) != length:
            self._dataset.id.set_extent((length, *self.spec.row_shape))

    def shrink_to(self, n_rows: int, *, may_grow: bool = False) -> None:
        """Use chunks of fewer rows, before the first was written: there will be no more rows."""
        if self._dataset is None:
            length = None if may_grow else n_rows
            self.spec = replace(self.spec, chunk_rows=max(1, n_rows), n_rows=length)
            self._buffer = self._buffer[: self.spec.chunk_rows]

    def write_chunk(self, number: int, stored: Any) -> None:
        """Hand an encoded chunk to HDF5."""
        dataset, spec = self._dataset, self.spec
        assert dataset is not None, "it is made when its first chunk is put"
        stop = min((number + 1) * spec.chunk_rows, self.n_rows)
        if len(dataset) < stop:
            dataset.id.set_extent((stop, *spec.row_shape))
        dataset.id.write_direct_chunk(
            (number * spec.chunk_rows, *(0 for _ in spec.row_shape)), stored
        )

    def use_again(self, buffer: np.ndarray) -> None:
        """Take back the memory of a chunk that is written."""
        self._free.append(buffer)

    def _put(self, chunk: np.ndarray) -> None:
        """Write the chunk that the buffer holds, and go on with another buffer."""
        if not chunk.nbytes:
            return
        if self._dataset is None:
            self._make(chunk.reshape(-1).view(np.uint8))
        if self.spec.filters.codec is None:
            self._write_at_once(chunk)
        else:
            self._queue.put(self, self._last_chunk, chunk)
            self._buffer = self._take_buffer()

    def _write_at_once(self, chunk: np.ndarray) -> None:
        self.write_chunk(self._last_chunk, self.spec.filters.encode(chunk.reshape(-1).view("u1")))

    @property
    def _last_chunk(self) -> int:
        return (self.n_rows - 1) // self.spec.chunk_rows

    def _make(self, first: np.ndarray | None = None) -> None:
        """Make the dataset."""
        spec = self.spec
        if spec.may_drop_codec and (first is None or not spec.filters.pays(first)):
            spec = self.spec = replace(spec, filters=replace(spec.filters, codec=None))
        plist = h5p.create(h5p.DATASET_CREATE)
        plist.set_chunk((spec.chunk_rows, *(max(1, size) for size in spec.row_shape)))
        plist.set_obj_track_times(False)
        spec.filters.tell(plist)
        limits = (h5s.UNLIMITED if spec.n_rows is None else spec.n_rows, *spec.row_shape)
        space = h5s.create_simple((0, *spec.row_shape), limits)
        links = h5p.create(h5p.LINK_CREATE)
        links.set_create_intermediate_group(True)
        made = h5d.create(
            self._output.file.id, spec.path.encode(), _stored_type(spec.dtype), space, plist, links
        )
        self._dataset = h5py.Dataset(made)

    def _take_buffer(self) -> np.ndarray:
        if self._free:
            return self._free.pop()
        return np.empty((self.spec.chunk_rows, *self.spec.row_shape), self.spec.dtype)


class PlainArray:
    """A dataset that is there already, whose rows HDF5 itself writes.

    Parameters
    ----------
    dataset : h5py.Dataset
        Of any layout.
    n_rows : int
        Rows that are written already.
    """

    def __init__(self, dataset: h5py.Dataset, n_rows: int) -> None:
        self.dataset = dataset
        self.n_rows = n_rows

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of its elements."""
        return self.dataset.dtype

    @property
    def can_grow(self) -> bool:
        """Whether it may get longer."""
        return self.dataset.maxshape[0] is None

    def append(self, rows: np.ndarray) -> None:
        """Write rows behind those that are there."""
        stop = self.n_rows + len(rows)
        if stop > len(self.dataset):
            self.dataset.resize(stop, axis=0)
        self.dataset[self.n_rows : stop] = rows
        self.n_rows = stop

    def finish_chunk(self) -> None:
        """Do nothing: nothing waits."""

    def settle(self) -> None:
        """Do nothing: it is as long as its rows."""

    def shrink_to(self, n_rows: int, *, may_grow: bool = False) -> None:
        """Do nothing: it is made already."""


def begin_array(
    output: Output, spec: ArraySpec, queue: ChunkQueue, n_rows: int | None = None
) -> GrowingArray | PlainArray:
    """Begin a dataset, or go on with the one that is there, behind its first `n_rows` rows.

    What is stored in another way than a writer stores it goes on as it is.
    """
    dataset = output.find(spec.path)
    if dataset is not None and not _is_as_written_here(dataset):
        return PlainArray(dataset, len(dataset) if n_rows is None else n_rows)
    return GrowingArray.begin(output, spec, queue, n_rows)


def _is_as_written_here(dataset: h5py.Dataset) -> bool:
    """Tell whether a dataset has chunks of whole rows, in filters that are known here."""
    if dataset.chunks is None or dataset.chunks[1:] != dataset.shape[1:]:
        return False
    return filters_of(dataset, dataset.dtype.itemsize) is not None


def write_array(file: h5py.File, path: str, array: np.ndarray, filters: Filters) -> None:
    """Write a whole dataset at once, in chunks of about a megabyte along its longest axis."""
    shape = array.shape
    if not array.size or array.ndim == 0:
        file.create_dataset(path, data=array)
        return
    axis = int(np.argmax(shape))
    step = max(1, _WHOLE_CHUNK_BYTES * shape[axis] // array.nbytes)
    chunk = tuple(min(step, size) if at == axis else size for at, size in enumerate(shape))
    plist = h5p.create(h5p.DATASET_CREATE)
    plist.set_chunk(chunk)
    plist.set_obj_track_times(False)
    filters.tell(plist)
    links = h5p.create(h5p.LINK_CREATE)
    links.set_create_intermediate_group(True)
    made = h5d.create(
        file.id, path.encode(), _stored_type(array.dtype), h5s.create_simple(shape), plist, links
    )
    for start in range(0, shape[axis], chunk[axis]):
        block = np.zeros(chunk, array.dtype)
        part = array[(slice(None),) * axis + (slice(start, start + chunk[axis]),)]
        block[tuple(slice(size) for size in part.shape)] = part
        place = tuple(start if at == axis else 0 for at in range(array.ndim))
        made.write_direct_chunk(place, filters.encode(block.reshape(-1).view(np.uint8)))


_WHOLE_CHUNK_BYTES = 2**20


def _stored_type(dtype: np.dtype[Any]) -> Any:
    """Return the HDF5 type of elements; bfloat16 is a float of 16 bits, as PyTables writes it."""
    if dtype != ml_dtypes.bfloat16:
        return h5t.py_create(dtype, logical=True)
    made = h5t.IEEE_F32LE.copy()
    made.set_fields(15, 7, 8, 0, 7)
    made.set_size(2)
    made.set_ebias(127)
    return made
