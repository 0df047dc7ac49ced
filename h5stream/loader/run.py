"""One pass of a loader over an epoch, as its parent process counts it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from h5stream.loader.source import Failure, Placed
from h5stream.pipes.clock import Clock
from h5stream.pipes.exclusive import Exclusive
from h5stream.pipes.stage import State
from h5stream.pipes.start import AfterBatches, AfterLane, Start

__all__ = ["Counted", "Run"]


@dataclass(slots=True)
class Run:
    """Where a pass over an epoch began, and how far it is.

    Parameters
    ----------
    epoch : int
        Which epoch.
    step : int
        Batches of the epoch that one item here stands for: the number of ranks.
    total : int or None
        Batches of the epoch on all ranks; None where only a run can tell.
    batches : int
        How many of them were given before this pass began.
    lanes : dict of int to tuple of int, or None
        Places of this rank's lanes after their last items, where only a run can tell.
    last_lane : int
        Lane that gave the last item.
    """

    epoch: int
    step: int
    total: int | None
    batches: int = 0
    lanes: dict[int, State] | None = None
    last_lane: int = -1
    given: int = 0
    finished: bool = False

    @property
    def batches_now(self) -> int:
        """Batches of the epoch that were given so far, on all ranks."""
        batches = self.batches + self.given * self.step
        return batches if self.total is None else min(batches, self.total)

    def start(self) -> Start | None:
        """Say where the pass begins; None at the beginning of the epoch."""
        if self.lanes:
            return AfterLane(self.last_lane, dict(self.lanes))
        return AfterBatches(self.batches) if self.batches else None


class Counted(Iterator[Any]):
    """Counts what a DataLoader gives.

    Parameters
    ----------
    items : iterator
        Of the DataLoader.
    run : Run
        Where to count.
    left : int or None
        End after so many items, so that all ranks are given as many.
    clock : Clock, optional
        Of this process, if workers bring the items.
    when_ended : callable, optional
        Told the epoch once it has come to its end.
    """

    def __init__(
        self,
        items: Iterator[Any],
        run: Run,
        left: int | None,
        clock: Clock | None = None,
        when_ended: Callable[[int], None] | None = None,
    ) -> None:
        self._items = items
        self._run = run
        self._left = left
        self._clock = clock
        self._when_ended = when_ended
        self._alone = Exclusive()

    def __next__(self) -> Any:
        with self._alone:
            return self._next()

    def _next(self) -> Any:
        if self._left == 0:
            self._items = iter(())
        while True:
            try:
                item = self._take()
            except StopIteration:
                if not self._run.finished and self._when_ended is not None:
                    self._when_ended(self._run.epoch)
                self._run.finished = True
                raise
            if type(item) is Failure:
                raise item.error
            if type(item) is Placed:
                self._note(item)
                if item.is_gap:
                    continue
                item = item.item
            self._run.given += 1
            if self._left is not None:
                self._left -= 1
            return item

    def _take(self) -> Any:
        if self._clock is None:
            return next(self._items)
        self._clock.asked()
        ended = True
        try:
            item = next(self._items)
            ended = False
            return item
        finally:
            self._clock.given(ended=ended)

    @property
    def is_untouched(self) -> bool:
        """Whether nothing was taken yet."""
        return not self._run.given and not self._run.finished

    def go_over_to(self, other: Counted) -> None:
        """Give what another pass would give."""
        self._items, self._run, self._left = other._items, other._run, other._left

    def _note(self, placed: Placed) -> None:
        assert self._run.lanes is not None, "places come only where they are needed"
        self._run.lanes[placed.lane] = placed.state
        self._run.last_lane = placed.lane
