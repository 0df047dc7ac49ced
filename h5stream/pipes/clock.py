"""Counts whose time it is: that of the loop, which works, or that of the items it waits for."""

from __future__ import annotations

import time

from h5stream.pipes.stage import waited_here
from h5stream.reader import Stats

__all__ = ["Clock"]

_TELL_S = 0.001
"""Counters are told after so much time: single samples take microseconds."""


class Clock:
    """Runs from the first item that is asked for, and adds to counters at most once a millisecond.

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
        self._wait_s = self._work_s = self._first_s = self._make_s = 0.0
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
        self._make_s += wait - (waited_here() - self._waited_s)
        self._wait_s += wait
        if self._is_first:
            self._is_first = False
            self._first_s = 0.0 if ended else wait
        else:
            self._work_s += self._asked_s - self._given_s
        self._given_s = now
        if ended or self._wait_s + self._work_s > _TELL_S:
            self._tell()

    def _tell(self) -> None:
        wait, work, alive = self._wait_s, self._work_s, self._wait_s + self._work_s
        told = {"wait_s": wait, "work_s": work, "first_s": self._first_s}
        if not self._of_parent:
            threads = alive * self.threads
            told |= {"make_s": self._make_s, "process_s": alive, "thread_s": threads}
        self._wait_s = self._work_s = self._first_s = self._make_s = 0.0
        self._stats.add(**told)
