"""Counts whose time it is: that of the loop, which works, or that of the items it waits for."""

from __future__ import annotations

import time

from h5stream.pipes.stage import waited_here
from h5stream.reader import Stats

__all__ = ["Clock"]


class Clock:
    """Runs from the first item that is asked for, and adds to counters whenever one is given.

    Parameters
    ----------
    stats : Stats
        Where it counts.
    of_parent : bool
        Items come from workers, which count their own time.

    Attributes
    ----------
    threads : int
        How many read and decode in this process.
    """

    def __init__(self, stats: Stats, *, of_parent: bool = False) -> None:
        self._stats = stats
        self._of_parent = of_parent
        self._asked_s = self._given_s = self._waited_s = 0.0
        self._is_first = True
        self.threads = 0

    def asked(self) -> None:
        """Note that the loop asks for an item."""
        self._asked_s, self._waited_s = time.perf_counter(), waited_here()

    def given(self, *, ended: bool = False) -> None:
        """Count the time since the item was asked for, and what the loop did before.

        Parameters
        ----------
        ended : bool
            There was no item any more.
        """
        now = time.perf_counter()
        wait = now - self._asked_s
        work = 0.0 if self._is_first else self._asked_s - self._given_s
        make = wait - (waited_here() - self._waited_s)
        first = wait if self._is_first and not ended else 0.0
        self._given_s, self._is_first = now, False
        if self._of_parent:
            self._stats.add(wait_s=wait, work_s=work, first_s=first)
            return
        alive = wait + work
        self._stats.add(
            wait_s=wait,
            work_s=work,
            first_s=first,
            make_s=make,
            process_s=alive,
            thread_s=alive * self.threads,
        )
