"""read_chunks: fetches and decodes row chunks ahead of the caller.

`ReadAhead` is the machinery: it keeps a few groups of pieces in the works, each as tasks for the
iterator's threads, and gives them in order. `ReadChunks` gives a block for each row chunk;
where `shuffle_rows` follows, the rows of a group go straight to places drawn for them, so that
shuffling moves no bytes of its own.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from h5stream.block import Block
from h5stream.errors import StateError
from h5stream.pipes.stage import (
    Count,
    Items,
    Lane,
    LaneIterator,
    LaneStage,
    Runtime,
    Seek,
    State,
    Upstream,
    wait_for,
)
from h5stream.plan import Pieces
from h5stream.reader import ReadTask, WindowReads

__all__ = ["Draw", "ReadAhead", "ReadChunks", "ReadGroups"]

_AHEAD_BYTES = 32 * 2**20
_MOST_AHEAD = 64

Draw = Callable[[int, int], np.ndarray]
"""Group number and number of rows -> the place of each row."""


class ReadGroups(LaneStage):
    """A stage that reads groups of pieces; subclasses say which and how far ahead."""

    takes: ClassVar[frozenset[Items]] = frozenset({Items.ROW_CHUNKS})
    keeps_rows: ClassVar[bool] = True

    @property
    @abstractmethod
    def epochs(self) -> int | None:
        """How many epochs there are, if that is known."""

    @abstractmethod
    def bounds(self, lane: Lane) -> np.ndarray:
        """Group the pieces of a lane: group g holds pieces ``bounds[g]`` to ``bounds[g + 1]``."""

    @abstractmethod
    def ahead(self, lane: Lane) -> int:
        """Say how many groups are read while the caller works on one."""

    @abstractmethod
    def draw(self, lane: Lane) -> Draw | None:
        """Return what draws the places of a group's rows; None if they stay in order."""

    def gives(self, taken: Items) -> Items:
        """Blocks."""
        return Items.BLOCKS

    def count(self, lane: Lane, upstream: Count) -> Count:
        """One block for each group."""
        return Count(len(self.bounds(lane)) - 1, int(lane.pieces.sizes.sum()))

    def seek_items(self, count: int, before: Seek) -> State | None:
        """Count groups."""
        return (count,)

    def seek_rows(self, count: int, before: Seek) -> tuple[State, int] | None:
        """Find the group of a row."""
        ends = np.concatenate([[0], before.lane.pieces.sizes.cumsum()])[self.bounds(before.lane)]
        group = int(np.searchsorted(ends[1:], count, side="right"))
        return (group,), min(count, int(ends[-1])) - int(ends[group])

    def iterate(
        self, lane: Lane, runtime: Runtime, upstream: Upstream, state: State
    ) -> LaneIterator:
        """Start, or go on with group number ``state[0]``."""
        return self.reads(lane, runtime, state[0] if state else 0)

    def reads(self, lane: Lane, runtime: Runtime, first: int = 0) -> ReadAhead:
        """Read the groups of a lane from one on."""
        return ReadAhead(
            lane.pieces,
            self.bounds(lane),
            runtime,
            rows=None if lane.draws is None else lane.draws.rows,
            key=(lane.seed, lane.epoch),
            ahead=self.ahead(lane),
            first=first,
            draw=self.draw(lane),
            lane=lane.number,
        )


@dataclass(frozen=True)
class ReadChunks(ReadGroups):
    """Read each row chunk of a lane into a block.

    Parameters
    ----------
    prefetch : int or None
        How many blocks are read ahead of the caller; None: as many as fit in 32 MiB.
    threads : int or None
        How many threads read and decode; None: one for each core that this process may use.
    epochs : int or None
        How many epochs there are: the beginning of each is read while the end of the one before is
        given. None: from the second epoch on, as if there were always one more.
    """

    prefetch: int | None = None
    threads: int | None = None
    epochs: int | None = None

    method: ClassVar[str] = "read_chunks"

    def bounds(self, lane: Lane) -> np.ndarray:
        """Keep the pieces apart."""
        return np.arange(len(lane.pieces) + 1)

    def ahead(self, lane: Lane) -> int:
        """As many as were asked for, or as fit."""
        if self.prefetch is not None:
            return self.prefetch
        largest = int(lane.pieces.sizes.max(initial=1)) * lane.row_nbytes
        return min(_MOST_AHEAD, max(1, _AHEAD_BYTES // max(1, largest)))

    def draw(self, lane: Lane) -> Draw | None:
        """Rows stay in order."""
        return None


class ReadAhead(LaneIterator):
    """Reads groups of pieces ahead and yields each as a block.

    Parameters
    ----------
    pieces : Pieces
        Rows of the lane.
    bounds : numpy.ndarray
        Group g holds pieces ``bounds[g]`` to ``bounds[g + 1]``.
    runtime : Runtime
        Reader and threads.
    ahead : int
        How many groups are read while the caller works on one.
    first : int
        Group to start with.
    draw : callable, optional
        Draws the places of a group's rows, on one of the threads; by default they stay in order.
    rows : callable, optional
        Says which rows of the files some pieces are; by default what they say.
    key : (int, int)
        Seed and epoch, of where slices begin that do so at random.
    lane : int
        Which lane says that it gives its last group.
    """

    def __init__(
        self,
        pieces: Pieces,
        bounds: np.ndarray,
        runtime: Runtime,
        *,
        ahead: int,
        first: int = 0,
        draw: Draw | None = None,
        rows: Callable[[Pieces], Pieces] | None = None,
        key: tuple[int, int] = (0, 0),
        lane: int = 0,
    ) -> None:
        if not 0 <= first < len(bounds):
            raise StateError(f"the state is at group {first} of {len(bounds) - 1}; it is damaged")
        self._pieces = pieces
        self._rows = rows
        self._seed, self._epoch = key
        self._lane = lane
        self._bounds = bounds
        self._runtime = runtime
        self._ahead = ahead
        self._draw = draw
        self._drawn: dict[int, Future[tuple[Pieces, np.ndarray | None]]] = {}
        self._given = first
        self._pending: deque[_PendingGroup] = deque()

    def __next__(self) -> Block:
        last = len(self._bounds) - 1
        if self._given >= last:
            raise StopIteration
        self._start_up_to(self._given + self._ahead)
        pending = self._pending.popleft()
        try:
            for task in pending.tasks:
                wait_for(task, self._runtime)
        except BaseException:
            pending.cancel()
            raise
        finally:  # a file that changed explains any other error, so that is said first
            pending.reads.check_unchanged()
        pending.reads.check_values()
        self._runtime.stats.add(rows=pending.reads.n_rows)
        self._given += 1
        if self._given == last:
            self._runtime.at_last(self._lane)
        return Block(pending.reads.columns)

    def state(self) -> State:
        """Return the number of the next group."""
        return (self._given,)

    def close(self) -> None:
        """Drop what was read ahead."""
        while self._pending:
            self._pending.popleft().cancel()

    def begin_early(self) -> None:
        """Start as many groups as take no more memory than what is read ahead later."""
        first = min(self._fitting(), len(self._bounds) - 1)
        for group in range(first) if self._draws else ():
            self._drawn[group] = Future()
            self._drawn[group].set_result(self._draw_group(group))
        self._start_up_to(first - 1)

    def _fitting(self) -> int:
        """Count the first groups that are together no larger than the largest that are ahead."""
        ends = np.concatenate([[0], self._pieces.sizes.cumsum()])[self._bounds]
        most = self._ahead * int(np.diff(ends).max(initial=0))
        return max(self._ahead, int(np.searchsorted(ends[1:], most, side="right")))

    def pause(self) -> None:
        """Wait for the tasks that run; the others do not begin before `go_on`."""
        for group in self._pending:
            group.cancel()
        for group in self._pending:
            wait([task for task in group.tasks if not task.cancelled()])
        self._drawn.clear()

    def go_on(self, runtime: Runtime) -> None:
        """Start the tasks that were not done, with the threads of another iterator."""
        self._runtime = runtime
        self._pending = deque(self._resumed(group) for group in self._pending)

    def _resumed(self, group: _PendingGroup) -> _PendingGroup:
        pairs = list(zip(group.reads.plan.tasks, group.tasks, strict=True))
        left = iter(self._tasks(group.reads, [task for task, done in pairs if done.cancelled()]))
        return _PendingGroup(
            group.reads, [next(left) if done.cancelled() else done for _task, done in pairs]
        )

    def _start_up_to(self, group: int) -> None:
        most = min(group + 1, len(self._bounds) - 1) - self._given
        while len(self._pending) < most:
            self._pending.append(self._start(self._given + len(self._pending)))

    def _start(self, group: int) -> _PendingGroup:
        drawn = self._take_drawn(group)
        reads = self._runtime.reader.window(*drawn, seed=self._seed, epoch=self._epoch)
        return _PendingGroup(reads, self._tasks(reads))

    def _tasks(
        self, reads: WindowReads, tasks: Sequence[ReadTask] | None = None
    ) -> list[Future[None]]:
        runtime = self._runtime
        return runtime.reader.start(runtime.executor, reads, runtime.until, tasks)

    @property
    def _draws(self) -> bool:
        """Whether rows or their places are drawn."""
        return self._draw is not None or self._rows is not None

    def _take_drawn(self, group: int) -> tuple[Pieces, np.ndarray | None]:
        """Return the rows of a group and their places; those of the next are drawn meanwhile."""
        if not self._draws:
            return self._pieces_of(group), None
        for number in range(group, min(group + 2, len(self._bounds) - 1)):
            if number not in self._drawn:
                self._drawn[number] = self._runtime.executor.submit(self._draw_group, number)
        return wait_for(self._drawn.pop(group), self._runtime)

    def _draw_group(self, group: int) -> tuple[Pieces, np.ndarray | None]:
        pieces = self._pieces_of(group)
        places = None if self._draw is None else self._draw(group, int(pieces.sizes.sum()))
        return pieces if self._rows is None else self._rows(pieces), places

    def _pieces_of(self, group: int) -> Pieces:
        return self._pieces[int(self._bounds[group]) : int(self._bounds[group + 1])]


@dataclass(frozen=True, eq=False, slots=True)
class _PendingGroup:
    """A group whose tasks are under way."""

    reads: WindowReads
    tasks: Sequence[Future[None]]

    def cancel(self) -> None:
        """Drop what has not been read yet."""
        for task in self.tasks:
            task.cancel()
