"""The iterator that runs a pipe: lanes take turns, threads read ahead, and everything ends.

Files and threads start at the first `next`. They end when the epoch does, with `close()`, with
an exception, or when nobody holds the iterator any more.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from h5stream.cancellation import Cancellation
from h5stream.errors import StateError
from h5stream.pipes.clock import Clock
from h5stream.pipes.early import EarlyReads, Part, Series
from h5stream.pipes.epoch import (
    cut_for,
    instance_of,
    plan_lanes,
    source_of,
    threads_asked,
    warn_of_dropped,
)
from h5stream.pipes.exclusive import Exclusive
from h5stream.pipes.fuse import lane_stages
from h5stream.pipes.instance import Instance
from h5stream.pipes.stage import Lane, LaneIterator, Runtime, Stage, State, begin
from h5stream.pipes.start import SavedState, Start
from h5stream.pipes.state import describe_plan, pack_state, read_epoch
from h5stream.pipes.switch_interval import restore_switch_interval, shorten_switch_interval
from h5stream.reader import Catalog, Reader, Stats
from h5stream.system import available_cores

__all__ = ["GAP", "StreamIterator"]

_THREADS = "h5stream"
"""How the names of a stream's threads begin."""


GAP = object()
"""What an iterator with `gaps` gives for the turn of a lane that has ended."""


class StreamIterator(Iterator[Any]):
    """Yields the items of one epoch.

    Parameters
    ----------
    stages : sequence of Stage
        The pipe.
    epoch : int
        Which epoch.
    stats : Stats
        Where it counts.
    make_readers : callable
        Gives this process's reader of each stream, once the first item is asked for.
    go_on_from : callable, optional
        Told the epoch when a state is loaded, so that the next epoch follows it.
    start : Start, optional
        Where to start; by default at the beginning of the epoch.
    instance : Instance, optional
        Which part to stream; by default that of this process.
    gaps : bool
        Give `GAP` for each turn of a lane that ended before the others.
    when_left : callable, optional
        Called with the iterator once nobody holds it.
    when_given : callable, optional
        Called after each item.
    when_ended : callable, optional
        Told the epoch once it has come to its end.
    series : Series, optional
        The epochs that follow each other, the beginning of which may be read early.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        *,
        epoch: int,
        stats: Stats,
        make_readers: Callable[[], tuple[Reader, ...]],
        go_on_from: Callable[[int], None] | None = None,
        start: Start | None = None,
        instance: Instance | None = None,
        gaps: bool = False,
        when_left: Callable[[StreamIterator], None] | None = None,
        when_given: Callable[[], None] | None = None,
        when_ended: Callable[[int], None] | None = None,
        series: Series | None = None,
    ) -> None:
        self._stages = stages
        self._epoch = epoch
        self._stats = stats
        self._make_readers = make_readers
        self._go_on_from = go_on_from
        self._start = start
        self._instance = instance
        self._gaps = gaps
        self._when_left = when_left
        self._when_given = when_given
        self._when_ended = when_ended
        self._series = series
        self._part: Part | None = None
        self._early: EarlyReads | None = None
        self._at_last: deque[int] = deque()
        self._runtime: Runtime | None = None
        self._numbers: list[int] = []
        self._plan: dict[str, Any] = {}
        self._lanes: list[LaneIterator] | None = None
        self._turn = self._last = 0
        self._alive: list[bool] = []
        self._until, self._done = Cancellation(), threading.Event()
        self._end: weakref.finalize[..., Any] | None = None
        self._given = 0
        self._clock = Clock(stats)
        self._alone = Exclusive()
        self._closed = self._exhausted = False

    @property
    def epoch(self) -> int:
        """Which epoch this is."""
        return self._epoch

    @property
    def exhausted(self) -> bool:
        """Whether the epoch has come to its end."""
        return self._exhausted

    @property
    def was_a_look(self) -> bool:
        """Whether no more than the first item of the epoch was taken, and it has not ended."""
        return self._given <= 1 and self._start is None and not self._exhausted

    def __next__(self) -> Any:
        with self._alone:
            return self._next()

    def _next(self) -> Any:
        if self._closed:
            raise StopIteration
        self._clock.asked()
        try:
            if self._lanes is None:
                self._stats.begin_epoch()
                self._lanes = self._start_lanes()
            self._read_early()
            item = self._take_turn(self._lanes)
            self._given += 1
            self._clock.given()
            if self._when_given is not None:
                self._when_given()
            return item
        except StopIteration:
            self._exhausted = True
            self._clock.given(ended=True)
            if self._when_given is not None:
                self._when_given()
            self._done.set()
            if self._series is not None and self._part is not None:
                self._series.end(self._part, self._early)
            self.close()
            if self._when_ended is not None:
                self._when_ended(self._epoch)
            raise
        except BaseException:
            self.close()
            raise

    def _take_turn(self, lanes: list[LaneIterator]) -> Any:
        if len(lanes) == 1:
            item = next(lanes[0])
            self._stats.batches += 1
            return item
        for _ in lanes:
            turn = self._last = self._turn
            self._turn = (turn + 1) % len(lanes)
            if self._alive[turn]:
                for item in lanes[turn]:
                    self._stats.batches += 1
                    return item
                self._alive[turn] = False
            if self._gaps and any(self._alive):
                return GAP
        raise StopIteration

    def _read_early(self) -> None:
        """Begin the lanes of the next epoch whose memory is free; not for a look at an item."""
        while self._early is not None and self._at_last and self._given > 1:
            assert self._runtime is not None, "there since the first item"
            self._early.begin(self._at_last.popleft(), self._runtime)

    def state_dict(self) -> dict[str, Any]:
        """Return where the iterator stands: a few integers for each lane, and the plan."""
        if self._lanes is None:
            if isinstance(self._start, SavedState):
                return dict(self._start.state)
            return pack_state(self._epoch, 0, {}, {})
        states = (lane.state() for lane in self._lanes)
        lanes = dict(zip(self._numbers, states, strict=True))
        return pack_state(self._epoch, self._turn, lanes, self._plan)

    def last_turn(self) -> tuple[int, State]:
        """Return the number of the lane that had the last turn, and its state."""
        assert self._lanes is not None, "nothing was given yet"
        return self._numbers[self._last], self._lanes[self._last].state()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state, before the first `next`.

        Raises
        ------
        StateError
            If the iterator has started, or this is no state; what does not fit the plan is raised
            at the first `next`.
        """
        if self._lanes is not None or self._closed:
            raise StateError("this iterator has started; load the state before the first next()")
        self._epoch = read_epoch(state)
        self._start = SavedState(dict(state))
        if self._go_on_from is not None:
            self._go_on_from(self._epoch)

    def close(self) -> None:
        """End the threads and let go of files and buffers; more `next` find nothing."""
        if self._closed and self._series is not None:
            self._series.forget()
        self._closed = True
        self._until.cancel()
        for lane in self._lanes or []:
            lane.close()
        if self._end is not None:
            self._end()

    def __del__(self) -> None:
        if self._when_left is not None:
            self._when_left(self)

    def _start_lanes(self) -> list[LaneIterator]:
        catalog = source_of(self._stages).catalog
        instance = self._instance or instance_of(self._stages)
        cut = cut_for(self._stages, instance)
        if instance.number == 0:
            warn_of_dropped(self._stages, catalog, cut)
        part = self._part = Part(self._epoch, instance, cut)
        early = self._series and self._series.take(part if self._start is None else None)
        plan = partial(_plan, self._stages, catalog)
        lanes = early.lanes if early else plan(part)
        self._numbers = [lane.number for lane in lanes]
        self._plan = describe_plan(self._stages, catalog, cut)
        links = lane_stages(self._stages)
        states: list[State] = [()] * len(lanes)
        if self._start is not None:
            self._turn, states = self._start.locate(lanes, links, self._plan, catalog)
        threads = threads_asked(self._stages) or available_cores(instance.num_workers)
        executor = ThreadPoolExecutor(threads, thread_name_prefix=_THREADS)
        self._clock.threads = threads
        readers = self._make_readers()
        shorten_switch_interval()
        if self._series is not None:
            self._early = self._series.early_reads(part, plan)
        self._end = weakref.finalize(
            self, _end, self._until, self._done, executor, readers, self._early
        )
        runtime = self._runtime = Runtime(
            readers, readers[0], executor, self._stats, self._until, self._at_last.append
        )
        self._alive = [True] * len(lanes)
        begun = early.go_on(runtime) if early else {}
        return [
            begin(links, lane, runtime, state, begun.get(lane.number))
            for lane, state in zip(lanes, states, strict=True)
        ]


def _plan(stages: Sequence[Stage], catalog: Catalog, part: Part) -> list[Lane]:
    return plan_lanes(stages, catalog, part.instance, part.epoch)


def _end(
    until: Cancellation,
    done: threading.Event,
    executor: ThreadPoolExecutor,
    readers: Sequence[Reader],
    early: EarlyReads | None,
) -> None:
    """End the threads; windows serve the next epoch only if this one came to its end."""
    if early is not None:
        early.drop()
    until.cancel()
    in_own_thread = threading.current_thread().name.startswith(
        _THREADS
    )  # garbage is found anywhere
    executor.shutdown(wait=not in_own_thread, cancel_futures=True)
    for reader in readers:
        reader.release_files()
        if not done.is_set():
            reader.forget_buffers()
    restore_switch_interval()
