"""Reads elements of variable length out of HDF5's global heaps, without HDF5.

1. What is needed of the collections of some rows was fetched (`planning.heap`). If the objects'
   headers say that they are where they were expected, their elements are gathered to where rows
   belong.
2. If not, the collections are fetched whole: 4 KiB of each, and what is missing of larger ones
   once their headers tell how large they are. All are walked in lockstep, object by object, with
   one NumPy step for all of them.

Layout of a collection: file format specification, III.E ("Global Heap").
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from h5stream.columns import gather
from h5stream.errors import DecodeError
from h5stream.fetch import Fetched
from h5stream.reader.execution.run import Run
from h5stream.reader.planning.heap import needed_of_collections
from h5stream.reader.tasks import HeapObjects

__all__ = ["read_heap", "walk_heap"]

_LEAST_COLLECTION = 4096
"""HDF5 makes no smaller collection (H5HG_MINSIZE)."""

_HEADER = 16
_SIGNATURE = int.from_bytes(b"GCOL", "little") | 1 << 32
"""Of a collection: four letters and version 1."""


def read_heap(body: HeapObjects, run: Run) -> None:
    """Look where objects are expected; walk the collections if they are not there."""
    work = _Work(body, run)
    if not work.read_expected():
        work.walk()


def walk_heap(body: HeapObjects, run: Run) -> bool:
    """Find the objects by walking; tell whether the collections are whole."""
    return _Work(body, run).walk()


class _Work:
    """The rows of one task."""

    def __init__(self, body: HeapObjects, run: Run) -> None:
        descriptors = body.field.descriptors[body.rows]
        self._body = body
        self._run = run
        self._index = descriptors["index"].astype(np.int64)
        self._lengths = descriptors["length"].astype(np.int64)
        self._nbytes = self._lengths * body.field.stored.itemsize
        self._addresses = descriptors["address"].astype(np.int64)
        self._out = run.memory[body.buffer][slice(*body.span)]

    def read_expected(self) -> bool:
        """Gather what lies where it is expected; tell whether all of it does."""
        body, size_bytes = self._body, self._body.size_bytes
        addresses, needed, of_row = needed_of_collections(body)
        if (needed > size_bytes - addresses).any() or needed.sum() > size_bytes:
            return False
        padded = -(-needed // 8) * 8
        bases = np.cumsum(padded) - padded
        memory = self._run.scratch.take("heap", int(padded.sum()))
        self._read_all(addresses, needed, memory, bases, self._run.fetched)
        words = memory.view(np.uint64)
        at = bases[of_row] + body.field.expected[body.rows]
        head = at // 8 - 2
        there = (words[head] & np.uint64(0xFFFF)).astype(np.int64) == self._index
        there &= words[head + 1] == self._nbytes.astype(np.uint64)
        whole = words[bases // 8] & np.uint64(2**40 - 1) == np.uint64(_SIGNATURE)
        sizes = words[bases // 8 + 1]
        whole &= (sizes >= needed) & (sizes <= size_bytes - addresses)
        if not (there.all() and whole.all()):
            return False
        self._put(memory, at)
        return True

    def walk(self) -> bool:
        """Find the objects by walking; tell whether the collections are whole."""
        addresses, of_row = np.unique(self._addresses, return_inverse=True)
        memory, bases, sizes = self._fetch(addresses, of_row)
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
        field = self._body.field
        elements = field.fit(_elements(memory, at, self._lengths, field.stored))
        with np.errstate(all="ignore"):  # what a conversion may do was decided in `fit`
            self._out[...] = elements
        self._run.decode_s += time.perf_counter() - started
        self._run.decoded_bytes += self._out.nbytes

    def _fetch(
        self, addresses: np.ndarray, of_row: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the memory of all collections, and where each begins and how long it is."""
        scratch, size_bytes = self._run.scratch, self._body.size_bytes
        room = np.minimum(_LEAST_COLLECTION, size_bytes - addresses)
        heads = scratch.take("heap heads", len(addresses) * _LEAST_COLLECTION)
        at = np.arange(len(addresses)) * _LEAST_COLLECTION
        self._read_all(addresses, room, heads, at)
        words = heads.view(np.uint64).reshape(-1, _LEAST_COLLECTION // 8)[:, :2]
        sizes = words[:, 1].astype(np.int64)
        short = (room < _HEADER) | (words[:, 0] & np.uint64(2**40 - 1) != _SIGNATURE)
        bad = short | (sizes < _HEADER) | (sizes > size_bytes - addresses)
        if bad.any():
            which = int(np.flatnonzero(bad)[0])
            row = int(np.flatnonzero(of_row == which)[0])
            self._damaged(row, f"there is no heap collection at byte {int(addresses[which])}")
        if int(sizes.sum()) > size_bytes:
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
        self._read_all(addresses[large], sizes[large], memory, bases[large])
        return memory, bases, sizes

    def _read_all(
        self,
        offsets: np.ndarray,
        sizes: np.ndarray,
        memory: np.ndarray,
        at: np.ndarray,
        fetched: Fetched | None = None,
    ) -> None:
        """Read ranges, sorted by offset, to their places in memory."""
        given = self._run.more(offsets, sizes) if fetched is None else fetched
        pieces = self._run.pieces(offsets, sizes, given)
        for begin, piece in zip(at.tolist(), pieces, strict=True):
            memory[begin : begin + len(piece)] = piece

    def _damaged(self, number: int, what: str) -> NoReturn:
        layout, row = self._body.field.layout, int(self._body.rows[number])
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
