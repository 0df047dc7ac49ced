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
from concurrent.futures import Future
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
from h5stream.reader import WindowReads

__all__ = ["Draw", "ReadAhead", "ReadChunks", "ReadGroups"]

_AHEAD_BYTES = 32 * 2**20
_MOST_AHEAD = 64

Draw = Callable[[int, int], np.ndarray]
"""Group number and number of rows -> the place of each row."""


class ReadGroups(LaneStage):
    """A stage that reads groups of pieces; subclasses say which and how far ahead."""

    takes: ClassVar[frozenset[Items]] = frozenset({Items.ROW_CHUNKS})
    keeps_rows: ClassVar[bool] = True

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
        return ReadAhead(
            lane.pieces,
            self.bounds(lane),
            runtime,
            rows=None if lane.draws is None else lane.draws.rows,
            key=(lane.seed, lane.epoch),
            ahead=self.ahead(lane),
            first=state[0] if state else 0,
            draw=self.draw(lane),
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
    """

    prefetch: int | None = None
    threads: int | None = None

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
    ) -> None:
        if not 0 <= first < len(bounds):
            raise StateError(f"the state is at group {first} of {len(bounds) - 1}; it is damaged")
        self._pieces = pieces
        self._rows = rows
        self._seed, self._epoch = key
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
        return Block(pending.reads.columns)

    def state(self) -> State:
        """Return the number of the next group."""
        return (self._given,)

    def close(self) -> None:
        """Drop what was read ahead."""
        while self._pending:
            self._pending.popleft().cancel()

    def _start_up_to(self, group: int) -> None:
        most = min(group + 1, len(self._bounds) - 1) - self._given
        while len(self._pending) < most:
            self._pending.append(self._start(self._given + len(self._pending)))

    def _start(self, group: int) -> _PendingGroup:
        runtime = self._runtime
        reads = runtime.reader.window(*self._take_drawn(group), seed=self._seed, epoch=self._epoch)
        return _PendingGroup(reads, runtime.reader.start(runtime.executor, reads, runtime.until))

    def _take_drawn(self, group: int) -> tuple[Pieces, np.ndarray | None]:
        """Return the rows of a group and their places; those of the next are drawn meanwhile."""
        if self._draw is None and self._rows is None:
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
