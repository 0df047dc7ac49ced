"""Ranges of a remote file that were asked for together."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import AbstractContextManager, nullcontext

import numpy as np

from h5stream.cancellation import NEVER, Cancellation
from h5stream.fetch.file import Lent, Limits, Room
from h5stream.layout import Extents

__all__ = ["Arrival"]

_NO_LIMITS = Limits(max_gap_bytes=-1, max_bytes=0)
"""Ranges in memory are not joined."""

Span = tuple[int, int]

ReadMissing = Callable[[int, int], bytes]
FetchMore = Callable[[np.ndarray, np.ndarray], "Arrival"]


class Arrival:
    """Ranges under way; once they are there, a file that consists of nothing else.

    Parameters
    ----------
    spans : sequence of (int, int)
        First byte and one past the last of each read, sorted.
    read_missing : callable
        Gets a range that is in none of the reads.
    read_anew : callable
        Gets a range that came damaged.
    cached : sequence of Span
        Ranges that are on disk, sorted; they are read by `settle`.
    fetch_more : callable
        Asks for other ranges of the file: offsets and sizes.
    keep : callable, optional
        Called once the reads have arrived, to keep them; with this.
    when_left : callable
        Called when it is cancelled.
    until : Cancellation
        Ends what waits for it.
    """

    def __init__(
        self,
        spans: Sequence[Span],
        read_missing: ReadMissing,
        read_anew: ReadMissing,
        fetch_more: FetchMore,
        cached: Sequence[Span] = (),
        keep: Callable[[Arrival], None] | None = None,
        when_left: Callable[[], None] = lambda: None,
        until: Cancellation = NEVER,
    ) -> None:
        self.arrived: Future[None] = Future()
        self._asked = list(spans)
        self._cached = cached
        self._spans = self._asked
        self._starts = [start for start, _stop in spans]
        self._parts: list[bytes | memoryview] = [b""] * len(spans)
        self._left = len(spans)
        self._read_missing = read_missing
        self._read_anew = read_anew
        self._fetch_more = fetch_more
        self._keep = keep
        self._when_left = when_left
        self._until = until
        self._settling = threading.Lock()
        if not spans:
            self.arrived.set_result(None)

    read_bytes = 0
    """All of them were counted when they were asked for."""

    @property
    def limits(self) -> Limits:
        """Nothing is gained by joining what is in memory."""
        return _NO_LIMITS

    @property
    def requests(self) -> int:
        """How many reads serve the ranges."""
        return len(self._asked)

    @property
    def moved_bytes(self) -> int:
        """How many bytes those bring."""
        return sum(stop - start for start, stop in self._asked)

    @property
    def cached_bytes(self) -> int:
        """How many bytes are on disk."""
        return sum(stop - start for start, stop in self._cached)

    @property
    def wanted(self) -> bool:
        """Whether it is still waited for."""
        return not self.arrived.done()

    def put(self, number: int, data: bytes | memoryview) -> None:
        """Take the bytes of a read; on the event loop only."""
        self._parts[number] = data
        self._left -= 1
        if not self._left:
            self._end(None)

    def fail(self, error: BaseException) -> None:
        """Give up: one read will never come."""
        self._end(error)

    def cancel(self) -> None:
        """Stop waiting."""
        with self._settling:
            left = self.arrived.cancel()
        if left:
            self._when_left()

    def _end(self, error: BaseException | None) -> None:
        with self._settling:
            if self.arrived.done():
                return
            if error is None:
                self.arrived.set_result(None)
            else:
                self.arrived.set_exception(error)

    def wait(self) -> None:
        """Wait until all has arrived, or nobody wants it any more."""
        try:
            self._until.wait(self.arrived)
        except CancelledError:
            self.cancel()
            raise

    def settle(self) -> None:
        """Wait until all has arrived; keep it on disk, and read what was there already."""
        self.wait()
        if self._keep is not None:
            self._keep(self)
        if self._cached:
            parts = list(zip(self._asked, self._parts, strict=True))
            parts += [
                (span, self._read_missing(span[0], span[1] - span[0])) for span in self._cached
            ]
            parts.sort(key=lambda part: part[0])
            self._spans = [span for span, _data in parts]
            self._starts = [start for start, _stop in self._spans]
            self._parts = [data for _span, data in parts]

    def drop(self) -> None:
        """Let go of the bytes."""
        self._spans, self._starts, self._parts = [], [], []

    def view(self, offset: int, size: int) -> memoryview:
        """Return bytes that have arrived, or get them now."""
        at = bisect_right(self._starts, offset) - 1
        pieces: list[memoryview] = []
        place, stop = offset, offset + size
        while 0 <= at < len(self._spans) and place < stop:
            start, end = self._spans[at]
            if not start <= place < end:
                break
            pieces.append(memoryview(self._parts[at])[place - start : stop - start])
            place, at = min(end, stop), at + 1
        if place < stop:
            return memoryview(self._read_missing(offset, size))
        return pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))

    def read(self, offset: int, size: int, room: Room) -> np.ndarray:
        """Return bytes that have arrived, where they are."""
        return np.frombuffer(self.view(offset, size), np.uint8)

    def more(self, offset: np.ndarray, size: np.ndarray) -> Arrival:
        """Fetch other ranges of the file, and wait for them."""
        arrival = self._fetch_more(offset, size)
        arrival.settle()
        return arrival

    def lend(self) -> AbstractContextManager[Lent]:
        """Lend what has arrived."""
        parts = [np.frombuffer(part, np.uint8) for part in self._parts]
        return nullcontext(Lent(offset=np.array(self._starts, np.int64), parts=parts))

    def count(self, nbytes: int) -> None:
        """Count nothing: all was counted when it was asked for."""

    def extents(self) -> Extents:
        """Return all that has arrived."""
        extents = Extents()
        for (start, _stop), part in zip(self._spans, self._parts, strict=True):
            extents.add(start, bytes(part))
        return extents

    def read_again(self, offset: int, size: int) -> bytes | None:
        """Get bytes anew, because those that came are damaged."""
        return self._read_anew(offset, size)

    def read_into(self, offset: int, buffers: Sequence[np.ndarray]) -> None:
        """Fill `buffers` with bytes that have arrived."""
        total = sum(buffer.nbytes for buffer in buffers)
        data, done = np.frombuffer(self.view(offset, total), np.uint8), 0
        for buffer in buffers:
            flat = buffer.reshape(-1).view(np.uint8)
            flat[:] = data[done : done + flat.nbytes]
            done += flat.nbytes
