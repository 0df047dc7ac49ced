"""Waits for what other threads bring, unless whoever wanted it has gone."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future, wait
from typing import TypeVar

__all__ = ["leave_with", "wait_until"]

T = TypeVar("T")

_LOOK_S = 0.1

_of_thread = threading.local()


def leave_with(gone: threading.Event) -> None:
    """Let the calling thread wait for nothing any more once `gone` is set."""
    _of_thread.gone = gone


def wait_until(done: Future[T]) -> T:
    """Return a result once it is there.

    Raises
    ------
    CancelledError
        If nobody wants it any more.
    """
    gone: threading.Event | None = getattr(_of_thread, "gone", None)
    while gone is not None and not done.done():
        if gone.is_set():
            raise CancelledError
        wait([done], timeout=_LOOK_S)
    return done.result()
