"""Reads elements of variable length out of HDF5's global heaps, without HDF5.

1. Descriptors say in which heap collection each row's object lies, and its number there. Where
   one dataset fills its collections in order, its place there follows (`expected_places`).
2. What is needed of the collections of some rows is fetched in few reads. If the objects' headers
   say that they are where they were expected, their elements are gathered to where rows belong.
3. If not, the collections are fetched whole: 4 KiB of each, and what is missing of larger ones
   once their headers tell how large they are. All are walked in lockstep, object by object, with
   one NumPy step for all of them.

Layout of a collection: file format specification, III.E ("Global Heap").
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from h5stream.columns import gather
from h5stream.decode import Scratch
from h5stream.errors import DecodeError
from h5stream.fetch import DataFile
from h5stream.fields import VlenField
from h5stream.plan import cut_by_weight
from h5stream.reader.asking import AskingJob, Job, can_ask
from h5stream.reader.pieces import fetch_pieces
from h5stream.reader.stats import Stats

__all__ = ["HeapRows", "heap_jobs"]

_JOB_BYTES = 2**20
_JOB_ROWS = 2**15
"""Each may need 4 KiB of a collection of its own."""

_LEAST_COLLECTION = 4096
"""HDF5 makes no smaller collection (H5HG_MINSIZE)."""

_HEADER = 16
_SIGNATURE = int.from_bytes(b"GCOL", "little") | 1 << 32
"""Of a collection: four letters and version 1."""


def heap_jobs(
    field: VlenField,
    rows: np.ndarray,
    out: np.ndarray,
    file: DataFile,
    size_bytes: int,
    stats: Stats,
) -> Iterator[Job]:
    """Yield the jobs that bring rows to `out`, one after the other.

    Parameters
    ----------
    field : VlenField
        The column.
    rows : numpy.ndarray
        int64: rows of the file.
    out : numpy.ndarray
        Shape (sum of the rows' lengths,).
    file : DataFile
        The file that holds the heap.
    size_bytes : int
        Of the file.
    stats : Stats
        Where bytes and seconds are counted.
    """
    lengths = field.descriptors["length"][rows].astype(np.int64)
    ends = np.cumsum(lengths)
    if not len(rows) or not ends[-1]:
        return
    per_job = max(1, _JOB_BYTES // field.dtype.itemsize)
    cuts = cut_by_weight(ends, target=per_job)
    bounds = np.unique([*range(0, len(rows), _JOB_ROWS), *cuts.tolist()]).tolist()
    for first, last in itertools.pairwise(bounds):
        begin = int(ends[first] - lengths[first])
        part = out[begin : int(ends[last - 1])]
        heap = HeapRows(field, rows[first:last], part, file, size_bytes, stats)
        yield heap.job()


class HeapRows:
    """Rows whose elements lie in heap collections."""

    def __init__(
        self,
        field: VlenField,
        rows: np.ndarray,
        out: np.ndarray,
        file: DataFile,
        size_bytes: int,
        stats: Stats,
    ) -> None:
        self._field = field
        filled = rows[field.descriptors["length"][rows] > 0]
        descriptors = field.descriptors[filled]
        self._rows = filled
        self._index = descriptors["index"].astype(np.int64)
        self._lengths = descriptors["length"].astype(np.int64)
        self._nbytes = self._lengths * field.stored.itemsize
        self._addresses = descriptors["address"].astype(np.int64)
        self._out = out
        self._file = file
        self._size_bytes = size_bytes
        self._stats = stats

    def job(self) -> Job:
        """Make the job that reads the rows; where bytes take long, it asks for them first."""
        if not can_ask(self._file):
            return self.read
        addresses, needed, _of_row = self._needed()
        inside = needed <= self._size_bytes - addresses
        ranges = (addresses[inside], needed[inside])
        return AskingJob(self._file, *ranges, self._read_arrived, self._stats)

    def _read_arrived(self, arrived: DataFile, scratch: Scratch) -> None:
        """Read from what has arrived."""
        self.read(scratch, arrived)

    def _needed(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the collections, how much of each is needed, and which one each row lies in."""
        addresses, of_row = np.unique(self._addresses, return_inverse=True)
        needed = np.zeros(len(addresses), np.int64)
        np.maximum.at(needed, of_row, self._field.expected[self._rows] + self._nbytes)
        return addresses, needed, of_row

    def read(self, scratch: Scratch, file: DataFile | None = None) -> None:
        """Look where objects are expected; walk the collections if they are not there.

        Parameters
        ----------
        scratch : Scratch
            Working memory of the calling thread.
        file : DataFile, optional
            What holds the bytes that are expected to be needed; by default the file.
        """
        addresses, needed, of_row = self._needed()
        if (needed > self._size_bytes - addresses).any() or needed.sum() > self._size_bytes:
            self.walk(scratch)
            return
        padded = -(-needed // 8) * 8
        bases = np.cumsum(padded) - padded
        memory = scratch.take("heap", int(padded.sum()))
        self._read_all(addresses, needed, memory, bases, scratch, file)
        words = memory.view(np.uint64)
        at = bases[of_row] + self._field.expected[self._rows]
        head = at // 8 - 2
        there = (words[head] & np.uint64(0xFFFF)).astype(np.int64) == self._index
        there &= words[head + 1] == self._nbytes.astype(np.uint64)
        whole = words[bases // 8] & np.uint64(2**40 - 1) == np.uint64(_SIGNATURE)
        sizes = words[bases // 8 + 1]
        whole &= (sizes >= needed) & (sizes <= self._size_bytes - addresses)
        if there.all() and whole.all():
            self._put(memory, at)
        else:
            self.walk(scratch)

    def walk(self, scratch: Scratch) -> bool:
        """Find the objects by walking; tell whether the collections are whole."""
        addresses, of_row = np.unique(self._addresses, return_inverse=True)
        memory, bases, sizes = self._fetch(addresses, of_row, scratch)
        objects = _walk(memory, bases, sizes)
        at, nbytes = objects.find(of_row, self._index)
        bad = np.flatnonzero(nbytes < self._nbytes)
        if len(bad):
            which = int(self._index[bad[0]])
            self._damaged(int(bad[0]), f"object {which} of its heap is missing or too short")
        self._put(memory, at)
        return objects.sound

    def _put(self, memory: np.ndarray, at: np.ndarray) -> None:
        started = time.perf_counter()
        elements = self._field.fit(_elements(memory, at, self._lengths, self._field.stored))
        with np.errstate(all="ignore"):  # what a conversion may do was decided in `fit`
            self._out[...] = elements
        self._stats.add(decode_s=time.perf_counter() - started, decoded_bytes=self._out.nbytes)

    def _fetch(
        self, addresses: np.ndarray, of_row: np.ndarray, scratch: Scratch
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the memory of all collections, and where each begins and how long it is."""
        room = np.minimum(_LEAST_COLLECTION, self._size_bytes - addresses)
        heads = scratch.take("heap heads", len(addresses) * _LEAST_COLLECTION)
        at = np.arange(len(addresses)) * _LEAST_COLLECTION
        self._read_all(addresses, room, heads, at, scratch)
        words = heads.view(np.uint64).reshape(-1, _LEAST_COLLECTION // 8)[:, :2]
        sizes = words[:, 1].astype(np.int64)
        short = (room < _HEADER) | (words[:, 0] & np.uint64(2**40 - 1) != _SIGNATURE)
        bad = short | (sizes < _HEADER) | (sizes > self._size_bytes - addresses)
        if bad.any():
            which = int(np.flatnonzero(bad)[0])
            row = int(np.flatnonzero(of_row == which)[0])
            self._damaged(row, f"there is no heap collection at byte {int(addresses[which])}")
        if int(sizes.sum()) > self._size_bytes:
            self._damaged(0, "the heap collections that it needs overlap")
        large = np.flatnonzero(sizes > room)
        if not len(large):
            return heads, at, np.minimum(sizes, room)
        padded = -(-sizes // 8) * 8
        bases = np.cumsum(padded) - padded
        memory = scratch.take("heap", int(padded.sum()))
        for number in np.flatnonzero(sizes <= room).tolist():
            begin = int(bases[number])
            memory[begin : begin + int(sizes[number])] = heads[at[number] :][: int(sizes[number])]
        self._read_all(addresses[large], sizes[large], memory, bases[large], scratch)
        return memory, bases, sizes

    def _read_all(
        self,
        offsets: np.ndarray,
        sizes: np.ndarray,
        memory: np.ndarray,
        at: np.ndarray,
        scratch: Scratch,
        file: DataFile | None = None,
    ) -> None:
        """Read ranges, sorted by offset, to their places in memory."""
        pieces = fetch_pieces(file or self._file, offsets, sizes, scratch, self._stats)
        for begin, piece in zip(at.tolist(), pieces, strict=True):
            memory[begin : begin + len(piece)] = piece

    def _damaged(self, number: int, what: str) -> NoReturn:
        layout, row = self._field.layout, int(self._rows[number])
        raise DecodeError(
            f"{layout.file}: row {row} of {layout.path!r} is damaged: {what}; restore the file "
            "from a copy",
            url=layout.file,
            dataset=layout.path,
            chunk_offset=(row,),
        )


@dataclass(frozen=True, eq=False, slots=True)
class _Objects:
    """The objects of heap collections.

    Parameters
    ----------
    keys : numpy.ndarray
        int64, sorted: number of the collection times 2**32, and of the object in it.
    places, lengths : numpy.ndarray
        int64: where the data of each object begins in memory, and its bytes.
    sound : bool
        Objects and free space fill the collections without a gap.
    """

    keys: np.ndarray
    places: np.ndarray
    lengths: np.ndarray
    sound: bool

    def find(self, collection: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where objects begin, and their bytes; -1 for those that are not there."""
        wanted = collection << 32 | index
        at = np.searchsorted(self.keys, wanted, side="right") - 1
        missing = np.append(self.keys, -1)[at] != wanted
        places, lengths = np.append(self.places, -1)[at], np.append(self.lengths, -1)[at]
        return np.where(missing, -1, places), np.where(missing, -1, lengths)


def _walk(memory: np.ndarray, bases: np.ndarray, sizes: np.ndarray) -> _Objects:
    """Find the objects of all collections."""
    sound = True
    steps = [np.empty((3, 0), np.int64)]
    words = memory[: memory.nbytes // 8 * 8].view(np.uint64)
    collection = np.arange(len(bases))
    at, ends = bases + _HEADER, bases + sizes
    while True:
        within = at + _HEADER <= ends
        if not within.all():
            collection, at, ends = collection[within], at[within], ends[within]
        if not len(at):
            keys, places, lengths = np.concatenate(steps, axis=1)
            order = np.argsort(keys, kind="stable")
            return _Objects(keys[order], places[order], lengths[order], sound)
        word = at // 8
        index = (words[word] & np.uint64(0xFFFF)).astype(np.int64)
        nbytes = words[word + 1].astype(np.int64)
        data = at + _HEADER
        good = (index > 0) & (nbytes >= 0) & (nbytes <= ends - data)
        free = (index == 0) & (nbytes == ends - at)  # HDF5 goes on behind it
        sound = sound and bool((good | free).all())
        found = np.stack([collection << 32 | index, data, nbytes])
        steps.append(found if good.all() else found[:, good])
        at = np.where(good, data + -(-nbytes // 8) * 8, ends)


def _elements(
    memory: np.ndarray, at: np.ndarray, lengths: np.ndarray, stored: np.dtype[np.generic]
) -> np.ndarray:
    """Gather elements; objects lie at multiples of 8 bytes."""
    if 8 % stored.itemsize == 0:
        whole = memory.nbytes // 8 * 8
        return gather(memory[:whole].view(stored), at // stored.itemsize, lengths)
    return gather(memory, at, lengths * stored.itemsize).copy().view(stored)
