"""Keeps a bounded number of requests and bytes in flight, started in the order they were asked for.

Lives on one event loop: nothing here is for other threads. How many requests are worth having in
flight is found by trying: `ConcurrencyLimit` doubles their number for as long as that brings bytes
faster, halves it when the server has too much to do, and then climbs slowly.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

__all__ = ["SMALL_BYTES", "ConcurrencyLimit", "QueuedRequest", "RequestQueue"]

SMALL_BYTES = 64 * 2**10
"""What a request brings at most whose time is nothing but waiting."""

_FIRST_REQUESTS = 32
_MOST_REQUESTS = 128
_ROUND_SHARE = 2
_CLIMB_SHARE = 4
_WORTH = 1.2
_BURST_S = 1.0
_LEAST_ROUND_S = 0.02


class ConcurrencyLimit:
    """How many requests to have in flight.

    Parameters
    ----------
    fixed : int, optional
        Always so many; by default as many as are found to be worth it.

    Examples
    --------
    >>> limit = ConcurrencyLimit()
    >>> for n in range(65):
    ...     limit.note(now_s=0.01 * n, nbytes=1000)
    >>> limit.requests
    64
    """

    def __init__(self, fixed: int | None = None) -> None:
        self.requests = fixed or _FIRST_REQUESTS
        self._fixed = fixed is not None
        self._growing = not self._fixed
        self._rate_before = 0.0
        self._began_s: float | None = None
        self._throttled_s: float | None = None
        self._count = self._nbytes = 0

    @property
    def small_requests(self) -> int:
        """How many small requests to have in flight: from the beginning the most that may be.

        Examples
        --------
        >>> ConcurrencyLimit().small_requests, ConcurrencyLimit(4).small_requests
        (128, 4)
        """
        free = not self._fixed and self._throttled_s is None
        return _MOST_REQUESTS if free else self.requests

    def note(self, now_s: float, nbytes: int) -> None:
        """Count a range that arrived while more were waiting to be asked for."""
        if self._throttled_s is not None:
            self._climb()
        if not self._growing:
            return
        if self._began_s is None:
            self._began_s, self._count, self._nbytes = now_s, 0, 0
            return
        self._count += 1
        self._nbytes += nbytes
        elapsed_s = now_s - self._began_s
        if self._count >= _ROUND_SHARE * self.requests and elapsed_s >= _LEAST_ROUND_S:
            self._end_round(self._nbytes / elapsed_s)

    def note_idle(self) -> None:
        """Forget a round in which there was too little to ask for."""
        self._began_s = None

    def note_throttled(self, now_s: float) -> None:
        """Halve, but not for every request of a burst that the server turns away."""
        if self._fixed or (self._throttled_s is not None and now_s - self._throttled_s < _BURST_S):
            return
        self.requests = max(1, self.requests // 2)
        self._growing, self._throttled_s, self._count = False, now_s, 0

    def _climb(self) -> None:
        """Try one more request again, after many that went well."""
        self._count += 1
        if self._count >= _CLIMB_SHARE * self.requests:
            self.requests, self._count = min(_MOST_REQUESTS, self.requests + 1), 0

    def _end_round(self, rate: float) -> None:
        self._began_s = None
        if rate < _WORTH * self._rate_before or self.requests >= _MOST_REQUESTS:
            self._growing = False
            return
        self._rate_before = rate
        self.requests = min(_MOST_REQUESTS, 2 * self.requests)


@dataclass(frozen=True, eq=False, slots=True)
class QueuedRequest:
    """One request that waits for its turn.

    Parameters
    ----------
    nbytes : int
        What it will bring.
    work : callable
        Does it; never raises.
    wanted : callable
        Whether anybody still wants it.
    small : bool
        Whether it is one of many that bring little; they tell nothing about the network's rate.
    """

    nbytes: int
    work: Callable[[], Awaitable[None]]
    wanted: Callable[[], bool]
    small: bool = False


class RequestQueue:
    """Starts requests in order, as many at once as limit and bytes allow.

    Parameters
    ----------
    limit : ConcurrencyLimit
        Of requests.
    most_bytes : int
        In flight; a single larger range goes alone.

    Attributes
    ----------
    asked : int
        Requests that were made, tries again included.
    """

    def __init__(self, limit: ConcurrencyLimit, most_bytes: int) -> None:
        self.limit = limit
        self.asked = 0
        self._most_bytes = most_bytes
        self._waiting: deque[QueuedRequest] = deque()
        self._running: dict[asyncio.Task[None], QueuedRequest] = {}
        self._nbytes = 0

    def put(self, queued: Iterable[QueuedRequest]) -> None:
        """Line up requests behind all others."""
        self._waiting.extend(queued)
        self._start_more()

    def cancel_unwanted(self) -> None:
        """End requests that nobody wants any more."""
        for task, request in self._running.items():
            if not request.wanted():
                task.cancel()

    def _start_more(self) -> None:
        while self._waiting:
            first = self._waiting[0]
            if not first.wanted():
                self._waiting.popleft()
                continue
            full = self._nbytes + first.nbytes > self._most_bytes
            most = self.limit.small_requests if first.small else self.limit.requests
            if self._running and (full or len(self._running) >= most):
                return
            self._waiting.popleft()
            self._nbytes += first.nbytes
            task = asyncio.get_running_loop().create_task(_run(first.work))
            self._running[task] = first
            task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        request = self._running.pop(task)
        self._nbytes -= request.nbytes
        if self._waiting and not request.small and not task.cancelled():
            self.limit.note(time.monotonic(), request.nbytes)
        elif not self._waiting:
            self.limit.note_idle()
        self._start_more()


async def _run(work: Callable[[], Awaitable[None]]) -> None:
    await work()
