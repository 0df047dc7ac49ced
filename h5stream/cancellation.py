"""Waits for what other threads bring, unless whoever wanted it has gone.

A `Cancellation` belongs to what is wanted, as to an iterator, and is passed to all that waits for
it.
"""

from __future__ import annotations

from concurrent.futures import CancelledError, Future
from queue import SimpleQueue
from typing import TypeVar

__all__ = ["NEVER", "Cancellation"]

T = TypeVar("T")


class Cancellation:
    """Whether something is still wanted.

    It takes no lock, because garbage collection may cancel anywhere, also in a thread that waits.

    Examples
    --------
    >>> until, future = Cancellation(), Future()
    >>> until.cancel()
    >>> until.wait(future)
    Traceback (most recent call last):
    concurrent.futures._base.CancelledError
    """

    def __init__(self) -> None:
        self._cancelled = False
        self._waiting: set[SimpleQueue[None]] = set()

    def cancel(self) -> None:
        """Let nobody wait any more."""
        self._cancelled = True
        for woken in list(self._waiting):
            woken.put(None)

    def wait(self, future: Future[T]) -> T:
        """Return a result once it is there.

        Raises
        ------
        CancelledError
            If nobody wants it any more.
        """
        if not future.done():
            woken: SimpleQueue[None] = SimpleQueue()
            self._waiting.add(woken)
            try:
                future.add_done_callback(lambda _done: woken.put(None))
                if not self._cancelled:
                    woken.get()
            finally:
                self._waiting.discard(woken)
            if not future.done():
                raise CancelledError
        return future.result()


NEVER = Cancellation()
"""Of what is always wanted."""
