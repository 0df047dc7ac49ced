"""The beginning of an epoch, read while the end of the one before it is given.

1. Once a lane has begun to give its last group of rows, the memory of what is read ahead is free.
   The first groups of the same lane of the next epoch go there, read by the same threads.
2. When the epoch ends, its threads and files go as always. What was read is kept; jobs that had not
   begun by then wait for the threads of the next epoch.
3. The iterator that streams the same part of the next epoch, from its beginning, takes that over.
   Anything else drops it.

Nobody can know that there will be a next epoch. So it is read early only if the pipe says how many
there are, or if one of them has followed another in this process already.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch.utils.data import get_worker_info

from h5stream.pipes.instance import Instance
from h5stream.pipes.read_chunks import ReadAhead, ReadGroups
from h5stream.pipes.stage import Lane, LaneStage, Runtime
from h5stream.plan import Cut

__all__ = ["EarlyReads", "Part", "Series", "reads_early"]


@dataclass(frozen=True, slots=True)
class Part:
    """What an iterator streams: an instance's part of an epoch that is cut so."""

    epoch: int
    instance: Instance
    cut: Cut

    @property
    def following(self) -> Part:
        """The same part of the next epoch."""
        return replace(self, epoch=self.epoch + 1)


class EarlyReads:
    """Reads the first groups of lanes whose epoch has not begun.

    Parameters
    ----------
    part : Part
        Whose lanes.
    reading : ReadGroups
        The stage that reads them.
    plan : callable
        Plans the lanes of a part.
    """

    def __init__(self, part: Part, reading: ReadGroups, plan: Callable[[Part], list[Lane]]) -> None:
        self.part = part
        self.lanes: list[Lane] = []
        """All of the part, once one of them was begun."""
        self._reading = reading
        self._plan = plan
        self._begun: dict[int, ReadAhead] = {}
        self._is_over = False
        self._lock = threading.RLock()  # garbage may be collected, and dropped, inside

    def begin(self, number: int, runtime: Runtime) -> None:
        """Let a thread plan the lanes, and start to read the one with this number."""
        runtime.executor.submit(self._begin, number, runtime)

    def _begin(self, number: int, runtime: Runtime) -> None:
        with self._lock:
            if self._is_over:
                return
            self.lanes = self.lanes or self._plan(self.part)
            lane = next(lane for lane in self.lanes if lane.number == number)
            reads = self._begun[number] = self._reading.reads(lane, runtime)
            reads.begin_early()

    def pause(self) -> None:
        """Begin nothing more, and wait for what is being read; the rest waits for `go_on`."""
        with self._lock:
            self._is_over = True
            for reads in self._begun.values():
                reads.pause()

    def go_on(self, runtime: Runtime) -> dict[int, ReadAhead]:
        """Return the reads that were begun, by lane, which go on with these threads."""
        for reads in self._begun.values():
            reads.go_on(runtime)
        return self._begun

    def drop(self) -> None:
        """Let go of what was read, unless the epoch has ended and it was paused."""
        with self._lock:
            if not self._is_over:
                self._is_over = True
                self.forget()

    def forget(self) -> None:
        """Let go of what was read."""
        for reads in self._begun.values():
            reads.close()
        self._begun = {}


class Series:
    """Epochs of a pipe that follow each other in this process, and what is read of the next one.

    Parameters
    ----------
    stages : sequence of LaneStage
        Those of the pipe that run in a lane.
    """

    def __init__(self, stages: Sequence[LaneStage]) -> None:
        self.process = os.getpid()
        self._reading = next(iter(stages), None)
        self._ended: Part | None = None
        self._early: EarlyReads | None = None

    def early_reads(self, part: Part, plan: Callable[[Part], list[Lane]]) -> EarlyReads | None:
        """Return what reads the epoch after a part, None if nothing says that there is one."""
        reading = self._reading
        if not isinstance(reading, ReadGroups) or not reads_early(reading.epochs, part.epoch):
            return None
        follows = self._ended is not None and self._ended.following == part
        said = reading.epochs is not None and get_worker_info() is None
        return EarlyReads(part.following, reading, plan) if follows or said else None

    def take(self, part: Part | None) -> EarlyReads | None:
        """Return what was read of a part, if anything; what was read of others is dropped."""
        early, self._early = self._early, None
        if early is not None and early.part != part:
            early.forget()
            return None
        return early

    def end(self, part: Part, early: EarlyReads | None) -> None:
        """Note that a part has come to its end, and keep what was read of the next."""
        self._ended = part
        if early is not None:
            early.pause()
            self._early = early if early.lanes else None

    def forget(self, unless: int | None = None) -> None:
        """Drop what was read, unless it is of this epoch."""
        early = self._early
        if early is not None and early.part.epoch != unless:
            self.take(None)


def reads_early(epochs: int | None, epoch: int) -> bool:
    """Tell whether there can be an epoch after this one, if a pipe has so many.

    Examples
    --------
    >>> reads_early(None, 7), reads_early(3, 1), reads_early(3, 2)
    (True, True, False)
    """
    return epochs is None or epoch + 1 < epochs
