"""What readers need of a file, wherever it is: ranges are fetched, and read once they are there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from h5stream.cancellation import NEVER, Cancellation
from h5stream.layout import Extents

__all__ = ["AtHand", "DataFile", "Fetched", "Lent", "Limits", "Room"]

Room = Callable[[int], np.ndarray]
"""Number of bytes -> memory for them, uint8; it is used again for what is read next."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How far neighbouring ranges are joined into one read."""

    max_gap_bytes: int
    max_bytes: int


@dataclass(frozen=True, eq=False, slots=True)
class Lent:
    """Where bytes of a file are, for reads outside the interpreter.

    Parameters
    ----------
    descriptor : int
        Open for reading; below zero if all that was asked for is in memory.
    offset : numpy.ndarray
        int64: where each part that is in memory begins in the file, sorted.
    parts : sequence of numpy.ndarray
        uint8: their bytes.
    """

    descriptor: int = -1
    offset: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    parts: Sequence[np.ndarray] = ()


class Fetched(Protocol):
    """Ranges of a file: under way, there, or read from disk when they are looked at."""

    @property
    def arrived(self) -> Future[None]:
        """Done once all ranges are there, or one will never be."""

    @property
    def requests(self) -> int:
        """How many requests serve the ranges."""

    @property
    def moved_bytes(self) -> int:
        """How many bytes those bring."""

    @property
    def cached_bytes(self) -> int:
        """How many bytes were kept on disk already."""

    @property
    def read_bytes(self) -> int:
        """How many bytes were read from the file when they were looked at."""

    @property
    def limits(self) -> Limits:
        """How far it pays to join what is read."""

    def read(self, offset: int, size: int, room: Room) -> np.ndarray:
        """Return bytes, where they are or put into room."""

    def read_into(self, offset: int, buffers: Sequence[np.ndarray]) -> None:
        """Fill `buffers`, one after the other, with the bytes from `offset` on."""

    def read_again(self, offset: int, size: int) -> bytes | None:
        """Get bytes anew because they are damaged; None if they would be the same."""

    def more(self, offset: np.ndarray, size: np.ndarray) -> Fetched:
        """Fetch other ranges of the same file, and wait for them."""

    def lend(self) -> AbstractContextManager[Lent | None]:
        """Lend the bytes for reads outside the interpreter; None if there is no other way to them.

        Raises
        ------
        FetchError
            If the file cannot be opened.
        """

    def count(self, nbytes: int) -> None:
        """Count bytes that were read by the descriptor that was lent."""

    def extents(self) -> Extents | None:
        """Return all that has arrived; None if HDF5 reads the file itself."""

    def settle(self) -> None:
        """Wait for what is not there yet, and make all of it ready to be read."""

    def drop(self) -> None:
        """Let go of the bytes; nothing is read any more."""

    def cancel(self) -> None:
        """Stop waiting for them."""


def _done() -> Future[None]:
    future = Future[None]()
    future.set_result(None)
    return future


class AtHand:
    """Ranges that nobody waits for; by itself none at all, as for what is in memory."""

    arrived: Future[None] = _done()
    requests = moved_bytes = cached_bytes = read_bytes = 0
    limits = Limits(max_gap_bytes=-1, max_bytes=0)

    def read(self, offset: int, size: int, room: Room) -> np.ndarray:
        """Refuse: there is nothing."""
        raise AssertionError("no range was asked for")

    def read_into(self, offset: int, buffers: Sequence[np.ndarray]) -> None:
        """Fill `buffers`, one after the other, with the bytes from `offset` on."""
        sizes = [buffer.nbytes for buffer in buffers]
        data, done = self.read(offset, sum(sizes), _new), 0
        for buffer, size in zip(buffers, sizes, strict=True):
            buffer.reshape(-1).view(np.uint8)[:] = data[done : done + size]
            done += size

    def read_again(self, offset: int, size: int) -> bytes | None:
        """Return None: what is at hand stays what it is."""
        return None

    def more(self, offset: np.ndarray, size: np.ndarray) -> Fetched:
        """Ask for nothing: other ranges are at hand as well."""
        return self

    def lend(self) -> AbstractContextManager[Lent | None]:
        """Lend nothing."""
        return nullcontext()

    def count(self, nbytes: int) -> None:
        """Count nothing: nothing was lent."""

    def extents(self) -> Extents | None:
        """Return None: HDF5 reads the file itself."""
        return None

    def settle(self) -> None:
        """Wait for nothing."""

    def drop(self) -> None:
        """Nothing is held."""

    def cancel(self) -> None:
        """Nothing is waited for."""


def _new(nbytes: int) -> np.ndarray:
    return np.empty(nbytes, np.uint8)


class DataFile(Protocol):
    """One version of a file."""

    def fetch(self, offset: np.ndarray, size: np.ndarray, until: Cancellation = NEVER) -> Fetched:
        """Ask for ranges, in any order, and return at once; once cancelled, nothing waits."""

    def check_unchanged(self) -> None:
        """Raise FetchError unless the file is still that version."""
