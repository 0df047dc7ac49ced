"""Ranges of a remote file that were asked for together."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np

from h5stream.fetch.file import Limits
from h5stream.layout import Extents

__all__ = ["Arrival"]

_NO_LIMITS = Limits(max_gap_bytes=-1, max_bytes=0)
"""Ranges in memory are not joined."""

ReadMissing = Callable[[int, int], bytes]


class Arrival:
    """Ranges under way; once they are there, a file that consists of nothing else.

    Parameters
    ----------
    spans : sequence of (int, int)
        First byte and one past the last of each read, sorted.
    read_missing : callable
        Gets a range that is in none of the reads.
    check_unchanged : callable
        Raises if the file was replaced.
    """

    def __init__(
        self,
        spans: Sequence[tuple[int, int]],
        read_missing: ReadMissing,
        check_unchanged: Callable[[], None],
    ) -> None:
        self.spans = spans
        self.cached_bytes = 0
        self.arrived: Future[None] = Future()
        self._starts = [start for start, _stop in spans]
        self._parts: list[bytes] = [b""] * len(spans)
        self._left = len(spans)
        self._read_missing = read_missing
        self._check_unchanged = check_unchanged
        self._settling = threading.Lock()
        if not spans:
            self.arrived.set_result(None)

    @property
    def limits(self) -> Limits:
        """Nothing is gained by joining what is in memory."""
        return _NO_LIMITS

    @property
    def requests(self) -> int:
        """How many reads serve the ranges."""
        return len(self.spans)

    @property
    def moved_bytes(self) -> int:
        """How many bytes those bring."""
        return sum(stop - start for start, stop in self.spans)

    @property
    def wanted(self) -> bool:
        """Whether it is still waited for."""
        return not self.arrived.done()

    def put(self, number: int, data: bytes) -> None:
        """Take the bytes of a read; on the event loop only."""
        self._parts[number] = data
        self._left -= 1
        if not self._left:
            self._settle(None)

    def fail(self, error: BaseException) -> None:
        """Give up: one read will never come."""
        self._settle(error)

    def cancel(self) -> None:
        """Stop waiting."""
        with self._settling:
            self.arrived.cancel()

    def _settle(self, error: BaseException | None) -> None:
        with self._settling:
            if self.arrived.done():
                return
            if error is None:
                self.arrived.set_result(None)
            else:
                self.arrived.set_exception(error)

    def view(self, offset: int, size: int) -> memoryview:
        """Return bytes that have arrived, or get them now."""
        at = bisect_right(self._starts, offset) - 1
        if at >= 0 and offset + size <= self.spans[at][1]:
            start = self._starts[at]
            return memoryview(self._parts[at])[offset - start : offset - start + size]
        if at >= 0 and at + 1 < len(self.spans) and self.spans[at][1] == self._starts[at + 1]:
            here = self.spans[at][1] - offset
            if 0 < here < size:  # it goes on in the next read
                rest = self.view(offset + here, size - here)
                return memoryview(b"".join([self.view(offset, here), rest]))
        return memoryview(self._read_missing(offset, size))

    def extents(self) -> Extents:
        """Return all that has arrived."""
        extents = Extents()
        for (start, _stop), part in zip(self.spans, self._parts, strict=True):
            extents.add(start, part)
        return extents

    def read_again(self, offset: int, size: int) -> bytes | None:
        """Get bytes anew, because those that came are damaged."""
        return self._read_missing(offset, size)

    def read_into(self, offset: int, buffers: Sequence[np.ndarray]) -> int:
        """Fill `buffers` with bytes that have arrived."""
        total = sum(buffer.nbytes for buffer in buffers)
        data, done = np.frombuffer(self.view(offset, total), np.uint8), 0
        for buffer in buffers:
            flat = buffer.reshape(-1).view(np.uint8)
            flat[:] = data[done : done + flat.nbytes]
            done += flat.nbytes
        return 0  # they were counted when they were asked for

    def check_unchanged(self) -> None:
        """Raise FetchError if the file was replaced."""
        self._check_unchanged()
