"""What a stage of a pipe is.

Planning stages (open_files, list_chunks, shuffle_chunks, shard) only describe an epoch. Lane
stages (read_chunks and all after it) run once for each lane: each wraps the iterator of the stage
before it.

The state of a lane iterator is a tuple of integers: the stage's own, after those from which its
upstream must start again. A stage that holds rows back names the place before the oldest of them,
and how much from there was given already.

Where every row of a lane reaches an item, the state after any number of items follows from the
plan alone, and a stage can `seek` it without reading.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, ClassVar, TypeVar

from h5stream.cancellation import Cancellation
from h5stream.collation import Collation
from h5stream.errors import StateError
from h5stream.plan import Draws, Pieces
from h5stream.reader import Reader, Stats

__all__ = [
    "Count",
    "Items",
    "Lane",
    "LaneIterator",
    "LaneStage",
    "Runtime",
    "Seek",
    "Stage",
    "State",
    "Upstream",
    "begin",
    "link",
    "wait_for",
    "waited_here",
]

T = TypeVar("T")

State = tuple[int, ...]
"""Where a lane iterator stands; empty means at the start."""

Upstream = Callable[[State], "LaneIterator"]
"""Makes the iterator of the stages before, from a state of theirs."""


class Items(StrEnum):
    """What flows between two stages."""

    NOTHING = "nothing"
    FILES = "files"
    ROW_CHUNKS = "row chunks"
    BLOCKS = "blocks"
    SAMPLES = "samples"
    TENSORS = "tensors"


@dataclass(frozen=True, slots=True)
class Count:
    """How much a lane gives: items, and their rows; None where only a run can tell."""

    items: int | None
    rows: int | None


@dataclass(frozen=True, eq=False, slots=True)
class Runtime:
    """What the lanes of one running iterator share.

    Parameters
    ----------
    readers : tuple of Reader
        One for each stream; more than one only if streams are mixed.
    reader : Reader
        That of the stream at hand.
    executor : ThreadPoolExecutor
        Threads that read and decode.
    stats : Stats
        Where they count.
    until : Cancellation
        Cancelled once the iterator is closed: none of its threads then waits any more.
    at_last : callable
        Told the number of a lane whose last rows have been read, when it begins to give them.
    """

    readers: tuple[Reader, ...]
    reader: Reader
    executor: ThreadPoolExecutor
    stats: Stats
    until: Cancellation
    at_last: Callable[[int], None] = lambda _number: None


@dataclass(frozen=True, eq=False, slots=True)
class Lane:
    """One lane of one epoch.

    Parameters
    ----------
    number, lanes : int
        Which of how many.
    pieces : Pieces
        Its rows.
    row_nbytes : int
        Decoded bytes of one sample.
    seed, epoch : int
        Keys of its permutations.
    plan_part : callable, optional
        Plans the same lane of a stream that is mixed into this one, by its number and by how often
        it started again.
    draws : Draws, optional
        What rows the pieces are of, if rows are drawn by weight.
    """

    number: int
    lanes: int
    pieces: Pieces
    row_nbytes: int
    seed: int
    epoch: int
    plan_part: Callable[[int, int], Lane] | None = None
    draws: Draws | None = None

    def rows(self, pieces: Pieces) -> Pieces:
        """Say which rows of the files some of the pieces are."""
        return pieces if self.draws is None else self.draws.rows(pieces)

    def part(self, number: int, turn: int) -> Lane:
        """Plan the same lane of a stream that is mixed into this one."""
        assert self.plan_part is not None, "only lanes of a mix have parts"
        return self.plan_part(number, turn)


_waited = threading.local()


def wait_for(future: Future[T], runtime: Runtime) -> T:
    """Return a job's result, and count the time until it is there: see `waited_here`."""
    if future.done():
        return future.result()
    started = time.perf_counter()
    try:
        return runtime.until.wait(future)
    finally:
        _waited.seconds = waited_here() + time.perf_counter() - started


def waited_here() -> float:
    """Return the seconds that this thread has waited for jobs so far."""
    return getattr(_waited, "seconds", 0.0)


class LaneIterator(ABC, Iterator[Any]):
    """Yields the items of one lane after one stage."""

    @abstractmethod
    def state(self) -> State:
        """Return from where to go on after the items given so far."""

    @abstractmethod
    def close(self) -> None:
        """End what this iterator and those it wraps have started."""


class Stage(ABC):
    """One link of a pipe."""

    method: ClassVar[str]
    """Name of the pipe method that adds this stage."""

    takes: ClassVar[frozenset[Items]]
    """What it accepts from the stage before."""

    @abstractmethod
    def gives(self, taken: Items) -> Items:
        """Say what it yields when it gets `taken`."""

    def unit(self, unit: Items) -> Items:
        """Say whether rows are together or single after it, also as tensors: blocks or samples."""
        return unit

    @property
    def changes_columns(self) -> bool:
        """Whether its items have other columns, or other rows in them, than the fields say."""
        return False

    def fitted(self, collation: Collation) -> Stage:
        """Return the stage as it is before rows are padded so."""
        return self

    def plan_parameters(self) -> dict[str, int | str | None]:
        """Return what of this stage decides which rows come when."""
        return {}


@dataclass(frozen=True, eq=False, slots=True)
class Seek:
    """Finds the state after some items or rows of a lane, over the stages up to one.

    Parameters
    ----------
    stages : sequence of LaneStage
        At least the one that reads.
    lane : Lane
        Where they run.
    """

    stages: Sequence[LaneStage]
    lane: Lane

    def items(self, count: int) -> State | None:
        """Return the state after `count` items, None if only a run can tell."""
        return self.stages[-1].seek_items(count, self._before)

    def rows(self, count: int) -> tuple[State, int] | None:
        """Return the state before the item with row number `count`, and its rows before that."""
        return self.stages[-1].seek_rows(count, self._before)

    @property
    def _before(self) -> Seek:
        return Seek(self.stages[:-1], self.lane)


class LaneStage(Stage):
    """A stage that runs within a lane."""

    keeps_rows: ClassVar[bool] = False
    """Whether each row that comes in goes out, in as many items as the plan says."""

    has_fixed_state: ClassVar[bool] = True
    """Whether all its states have as many numbers as the first."""

    @property
    def whole_rows(self) -> int | None:
        """Rows of each item, if the stage regroups them: lanes are cut between its items."""
        return None

    @abstractmethod
    def iterate(
        self, lane: Lane, runtime: Runtime, upstream: Upstream, state: State
    ) -> LaneIterator:
        """Start on a lane, or go on from a state."""

    @abstractmethod
    def count(self, lane: Lane, upstream: Count) -> Count:
        """Tell, without reading, how much the lane gives after this stage."""

    def held_rows(self, lane: Lane) -> int:
        """Say how many rows of a lane it keeps in memory beside those that are read ahead."""
        return 0

    def seek_items(self, count: int, before: Seek) -> State | None:
        """Find the state after `count` items without reading; None if only a run can tell."""
        return None

    def seek_rows(self, count: int, before: Seek) -> tuple[State, int] | None:
        """Find the state before the item with row number `count`, and its rows before that."""
        return None


def begin(
    stages: Sequence[LaneStage],
    lane: Lane,
    runtime: Runtime,
    state: State,
    begun: LaneIterator | None = None,
) -> LaneIterator:
    """Start the stages of a lane, or go on from a state.

    Parameters
    ----------
    stages : sequence of LaneStage
        In their order.
    lane : Lane
        Where they run.
    runtime : Runtime
        What they share.
    state : tuple of int
        Where to go on; empty at the beginning.
    begun : LaneIterator, optional
        What the first stage gives from the beginning, if it has begun already.

    Raises
    ------
    StateError
        If they can have no such state.
    """
    started = link(stages, lane, runtime, (), begun)
    if not state:
        return started
    expected = len(started.state())
    started.close()
    if stages[0].has_fixed_state and len(state) != expected:
        raise StateError(
            f"the state of lane {lane.number} has {len(state)} numbers, expected {expected}; it is "
            "damaged"
        )
    return link(stages, lane, runtime, state)


def link(
    stages: Sequence[LaneStage],
    lane: Lane,
    runtime: Runtime,
    state: State,
    begun: LaneIterator | None = None,
) -> LaneIterator:
    """Wrap each stage's iterator around that of the stage before."""
    if not stages:
        raise AssertionError("a lane starts with a stage that reads")
    if begun is not None and len(stages) == 1:
        return begun
    upstream = partial(link, stages[:-1], lane, runtime, begun=begun)
    return stages[-1].iterate(lane, runtime, upstream, state)
