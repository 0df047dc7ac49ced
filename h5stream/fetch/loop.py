"""One event loop for each process, on a thread of its own, started when first needed.

A forked child inherits no thread, so it starts a loop of its own. What it inherited of its parent's
connections is held forever and never touched: to close it, or to let it be collected, would take
the parent's sockets out of the parent's loop, with which the child shares them.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from h5stream.system import after_fork

__all__ = ["Closable", "LoopThread", "loop_of_this_process"]

T = TypeVar("T")

_STOP_S = 5.0


class Closable(Protocol):
    """What is to be closed on the loop."""

    async def close(self) -> None:
        """Let go of sockets and threads."""


class LoopThread:
    """An event loop that runs until the process ends."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._process = os.getpid()
        self._kept: set[Closable] = set()
        self._thread = threading.Thread(target=self._run, name="h5stream-loop", daemon=True)
        self._thread.start()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def call(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call a function on the loop, soon."""
        self.loop.call_soon_threadsafe(function, *arguments)

    def call_if_running(self, function: Callable[..., object]) -> None:
        """Call a function on the loop, soon, unless the loop has ended or is that of a parent."""
        if self._is_running():
            self.call(function)

    def keep(self, connection: Closable) -> None:
        """Hold a connection until it is released or the process ends."""
        self._kept.add(connection)

    def release(self, connections: Iterable[Closable]) -> None:
        """Close connections soon; those of a parent process are left alone."""
        if self._is_running():
            for connection in connections:
                if connection in self._kept:
                    self.submit(self._close(connection))

    def stop(self) -> None:
        """Close what is open, and end the thread."""
        with contextlib.suppress(Exception):  # the process ends: nobody is left to hear of it
            self.submit(self._close_all()).result(_STOP_S)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_STOP_S)

    def _is_running(self) -> bool:
        return os.getpid() == self._process and not self.loop.is_closed()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    async def _close_all(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(self._close(each) for each in list(self._kept)))

    async def _close(self, connection: Closable) -> None:
        self._kept.discard(connection)
        with contextlib.suppress(Exception):  # nobody is left to hear of it
            await connection.close()


_starting = threading.Lock()
_running: LoopThread | None = None
_inherited: list[object] = []


def loop_of_this_process() -> LoopThread:
    """Return the loop of this process; start it if this is the first call."""
    global _running
    with _starting:
        if _running is None:
            _running = LoopThread()
        return _running


def _start_over() -> None:
    global _starting, _running
    _starting = threading.Lock()
    if _running is not None:
        _inherited.append(_running)
        _running = None


def _stop() -> None:
    if _running is not None:
        _running.stop()


after_fork(_start_over)
atexit.register(_stop)
