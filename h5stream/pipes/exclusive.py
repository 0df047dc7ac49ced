"""Lets one caller at a time into an iterator, in the process that made it."""

from __future__ import annotations

import os
import threading

from h5stream.errors import ConfigError

__all__ = ["Exclusive"]


class Exclusive:
    """A context that refuses a second thread, and a process that was forked.

    Raises
    ------
    ConfigError
        On entering, if another thread is inside, or this is not the process that made it.
    """

    __slots__ = ("_lock", "_process")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = os.getpid()

    def __enter__(self) -> None:
        if self._process != os.getpid():
            raise ConfigError(
                "this iterator belongs to the process that made it, whose threads a forked child "
                "does not have; make a new one in the child: iter(stream)"
            )
        if not self._lock.acquire(blocking=False):
            raise ConfigError(
                "another thread is in this iterator, which gives each item to one; make one "
                "iterator for each thread, or take items under a lock of your own"
            )

    def __exit__(self, *failure: object) -> None:
        self._lock.release()
