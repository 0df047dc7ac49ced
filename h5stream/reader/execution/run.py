"""What running a task has at hand: the bytes that were fetched, buffers, and counters."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise

import numpy as np

from h5stream.cancellation import NEVER, Cancellation
from h5stream.decode import Scratch
from h5stream.fetch import Fetched, coalesce_ranges
from h5stream.reader.stats import Stats

__all__ = ["Run"]


class Run:
    """One task on one thread.

    Parameters
    ----------
    fetched : Fetched
        The ranges of the task.
    memory : sequence of numpy.ndarray
        The buffers of the window.
    scratch : Scratch
        Working memory of the calling thread.
    until : Cancellation
        Ends what waits for more.

    Attributes
    ----------
    decoded_bytes : int
        Bytes after decoding.
    fetch_s, decode_s, gather_s : float
        Seconds spent reading, decoding, and copying rows to their places.
    """

    def __init__(
        self,
        fetched: Fetched,
        memory: Sequence[np.ndarray],
        scratch: Scratch,
        until: Cancellation = NEVER,
    ) -> None:
        self.fetched = fetched
        self.memory = memory
        self.scratch = scratch
        self.until = until
        self.fetch_s = self.decode_s = self.gather_s = 0.0
        self.decoded_bytes = 0
        self._moved_bytes = self._requests = self._retries = self._cached_bytes = 0

    def read(self, offset: int, size: int) -> np.ndarray:
        """Return bytes, good until the next are read."""
        started = time.perf_counter()
        data = self.fetched.read(offset, size, partial(self.scratch.take, "fetch"))
        self.fetch_s += time.perf_counter() - started
        return data

    def read_into(self, offset: int, buffers: Sequence[np.ndarray]) -> None:
        """Fill buffers, one after the other, with the bytes from `offset` on."""
        started = time.perf_counter()
        self.fetched.read_into(offset, buffers)
        self.fetch_s += time.perf_counter() - started

    def pieces(
        self, offsets: np.ndarray, sizes: np.ndarray, fetched: Fetched | None = None
    ) -> Iterator[np.ndarray]:
        """Yield the bytes of ranges, sorted by offset, each good until the next is asked for."""
        given = fetched or self.fetched
        room = partial(self.scratch.take, "fetch")
        bounds = coalesce_ranges(
            offsets,
            sizes,
            max_gap_bytes=given.limits.max_gap_bytes,
            max_bytes=given.limits.max_bytes,
        )
        ends = offsets + sizes
        for first, last in pairwise(bounds.tolist()):
            origin = int(offsets[first])
            started = time.perf_counter()
            data = given.read(origin, int(ends[first:last].max()) - origin, room)
            self.fetch_s += time.perf_counter() - started
            if last - first == 1:
                yield data
                continue
            for at in range(first, last):
                relative = int(offsets[at]) - origin
                yield data[relative : relative + int(sizes[at])]

    def read_again(self, offset: int, size: int) -> np.ndarray | None:
        """Fetch bytes anew, if they may have been damaged on their way."""
        data = self.fetched.read_again(offset, size)
        if data is None:
            return None
        self._requests += 1
        self._retries += 1
        self._moved_bytes += size
        return np.frombuffer(data, np.uint8)

    def more(self, offset: np.ndarray, size: np.ndarray) -> Fetched:
        """Fetch other ranges of the file, and wait for them."""
        more = self.fetched.more(offset, size)
        self._requests += more.requests
        self._moved_bytes += more.moved_bytes
        self._cached_bytes += more.cached_bytes
        return more

    def count(self, stats: Stats) -> None:
        """Add all that was done to what a stream did."""
        stats.add(
            requests=self._requests,
            retries=self._retries,
            fetched_bytes=self._moved_bytes + self.fetched.read_bytes,
            cached_bytes=self._cached_bytes,
            decoded_bytes=self.decoded_bytes,
            fetch_s=self.fetch_s,
            decode_s=self.decode_s,
            gather_s=self.gather_s,
        )
