"""The threads of a running stream: one pool, in which rows for the caller go before reading ahead.

A `concurrent.futures` executor with two queues. Its threads start with the first job and hold on
to the queues only, so that they end with `shutdown`, or when nobody holds the pool any more.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

__all__ = ["Workers"]

P = ParamSpec("P")
T = TypeVar("T")

_Job = tuple["Future[Any]", Callable[[], Any]]


class _Queues:
    """Jobs to do; `urgent` ones first, each kind in the order in which it came."""

    def __init__(self) -> None:
        self.urgent: deque[_Job] = deque()
        self.ahead: deque[_Job] = deque()
        self.changed = threading.Condition()
        self.closed = False

    def take(self) -> _Job | None:
        """Wait for a job; None once the pool is closed and nothing is left to do."""
        with self.changed:
            while not (self.urgent or self.ahead or self.closed):
                self.changed.wait()
            queue = self.urgent or self.ahead
            return queue.popleft() if queue else None

    def close(self, *, cancel: bool) -> None:
        """Let the threads end after what is left, or at once."""
        with self.changed:
            self.closed = True
            dropped = [*self.urgent, *self.ahead] if cancel else []
            if cancel:
                self.urgent.clear()
                self.ahead.clear()
            self.changed.notify_all()
        for future, _function in dropped:
            future.cancel()


class Workers(Executor):
    """A pool of threads that prefers urgent jobs.

    Parameters
    ----------
    threads : int
        How many.
    """

    def __init__(self, threads: int) -> None:
        self._queues = _Queues()
        self._threads = [
            threading.Thread(
                target=_work, args=(self._queues,), name=f"h5stream-{number}", daemon=True
            )
            for number in range(threads)
        ]
        self._started = False
        weakref.finalize(self, self._queues.close, cancel=True)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue a job that reads ahead."""
        return self._queue(self._queues.ahead, lambda: fn(*args, **kwargs))

    def submit_urgent(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue a job that the caller will soon wait for."""
        return self._queue(self._queues.urgent, lambda: fn(*args, **kwargs))

    def _queue(self, queue: deque[_Job], function: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        with self._queues.changed:
            if self._queues.closed:
                raise RuntimeError("the stream is closed")
            queue.append((future, function))
            self._queues.changed.notify()
        if not self._started:
            self._started = True
            for thread in self._threads:
                thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads."""
        self._queues.close(cancel=cancel_futures)
        if wait and self._started:
            for thread in self._threads:
                if thread is not threading.current_thread():
                    thread.join()


def _work(queues: _Queues) -> None:
    while (job := queues.take()) is not None:
        future, function = job
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)
        del job, future, function
