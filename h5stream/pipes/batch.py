"""batch: cuts the rows of a lane into batches of one size.

Rows are copied out of their window once, by the stream's threads, a few copies ahead of the
caller, straight into memory that the batches own. Small batches are copied several at a time,
because a call costs the same for a kilobyte as for a megabyte; such neighbours share one piece of
memory, but no rows.
"""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, ClassVar

from h5stream.block import Block, gather
from h5stream.pipes.stage import (
    Count,
    Items,
    Lane,
    LaneIterator,
    LaneStage,
    Runtime,
    State,
    Upstream,
    wait_for,
)

__all__ = ["Batch"]

_COPY_BYTES = 2**20
_COPIES_AHEAD = 4


@dataclass(frozen=True)
class Batch(LaneStage):
    """Make batches of exactly `batch_size` rows; only a lane's last may be shorter.

    Parameters
    ----------
    batch_size : int
        Rows of a batch.
    drop_last : bool
        Leave the short one out.
    """

    batch_size: int
    drop_last: bool = False

    method: ClassVar[str] = "batch"
    takes: ClassVar[frozenset[Items]] = frozenset({Items.BLOCKS, Items.SAMPLES})

    def gives(self, taken: Items) -> Items:
        """Blocks."""
        return Items.BLOCKS

    def count(self, lane: Lane, upstream: Count) -> Count:
        """Whole batches, and a short one unless it is dropped."""
        if upstream.rows is None:
            return Count(None, None)
        whole, rest = divmod(upstream.rows, self.batch_size)
        if self.drop_last or not rest:
            return Count(whole, whole * self.batch_size)
        return Count(whole + 1, upstream.rows)

    def iterate(
        self, lane: Lane, runtime: Runtime, upstream: Upstream, state: State
    ) -> LaneIterator:
        """Start, or go on ``state[-1]`` rows after the upstream's state."""
        source = upstream(state[:-1])
        skip = state[-1] if state else 0
        return _Batches(source, self, runtime, skip)


@dataclass(frozen=True, eq=False, slots=True)
class _Copy:
    """Rows on their way into batches: the block that they will be, and how many batches it holds."""

    block: Future[Block]
    batches: int


class _Batches(LaneIterator):
    """Cuts blocks, or samples gathered into blocks, into batches.

    Rows are counted from the state that this started from: `_given` to the caller, `_cut` into
    copies, `_pulled` from upstream. `_marks` holds, for each block with rows not given yet, the
    upstream's state before it and the number of its first row.
    """

    def __init__(self, upstream: LaneIterator, stage: Batch, runtime: Runtime, skip: int) -> None:
        self._upstream = upstream
        self._batch_size = stage.batch_size
        self._drop_last = stage.drop_last
        self._runtime = runtime
        self._given = self._cut = skip
        self._pulled = 0
        self._marks: deque[tuple[State, int]] = deque([(upstream.state(), 0)])
        self._block: Block | None = None
        self._copies: deque[_Copy] = deque()
        self._ready: deque[Block] = deque()

    def __next__(self) -> Block:
        if not self._ready:
            self._fill()
        batch = self._ready.popleft()
        self._given += batch.n_rows
        return batch

    def state(self) -> State:
        if self._given == self._pulled:
            return (*self._upstream.state(), 0)
        while len(self._marks) > 1 and self._marks[1][1] <= self._given:
            self._marks.popleft()
        origin, first_row = self._marks[0]
        return (*origin, self._given - first_row)

    def close(self) -> None:
        self._block = None
        self._ready.clear()
        self._copies.clear()
        self._upstream.close()

    def _fill(self) -> None:
        """Wait for the oldest copy, with others under way; never wait for a block meanwhile."""
        if not self._copies:
            self._copies.append(self._start_copy())
        while len(self._copies) < _COPIES_AHEAD and self._rows_left() >= self._batch_size:
            self._copies.append(self._start_copy())
        copy = self._copies.popleft()
        block = wait_for(copy.block, self._runtime.stats)
        size = self._batch_size
        self._ready.extend(block.part(i * size, (i + 1) * size) for i in range(copy.batches))

    def _start_copy(self) -> _Copy:
        """Copy the next batches of the current block, or one that reaches into those after it."""
        size = self._batch_size
        first = self._rest_of_block()
        if first.n_rows < size:
            return self._submit(self._straddling(first), 1)
        per_batch = max(1, first.nbytes // first.n_rows * size)
        batches = max(1, min(first.n_rows // size, _COPY_BYTES // per_batch))
        self._cut += batches * size
        return self._submit([first.part(0, batches * size)], batches)

    def _submit(self, parts: list[Block], batches: int) -> _Copy:
        return _Copy(self._runtime.workers.submit_urgent(_gather, parts, self._runtime), batches)

    def _straddling(self, first: Block) -> list[Block]:
        """Take the rest of a block and the start of those that follow, one batch in all."""
        parts = [first]
        self._cut += first.n_rows
        missing = self._batch_size - first.n_rows
        while missing:
            try:
                rest = self._rest_of_block()
            except StopIteration:
                if self._drop_last:
                    raise
                break
            parts.append(rest.part(0, missing))
            self._cut += parts[-1].n_rows
            missing -= parts[-1].n_rows
        return parts

    def _rows_left(self) -> int:
        return 0 if self._block is None else self._pulled - self._cut

    def _rest_of_block(self) -> Block:
        """Return the rows not cut yet; a finished block is let go before the next is asked for."""
        while self._block is None or self._cut >= self._pulled:
            self._block = None
            self._marks.append((self._upstream.state(), self._pulled))
            self._block = self._pull()
            self._pulled += self._block.n_rows
        return self._block.part(self._block.n_rows - self._rows_left(), self._block.n_rows)

    def _pull(self) -> Block:
        item: Any = next(self._upstream)
        if isinstance(item, Block):
            return item
        samples = [item]
        while len(samples) < self._batch_size:
            item = next(self._upstream, None)
            if item is None:
                break
            samples.append(item)
        return Block.stack(samples)


def _gather(parts: list[Block], runtime: Runtime) -> Block:
    started = time.perf_counter()
    gathered = gather(parts, runtime.reader.allocate)
    runtime.stats.add(gather_s=time.perf_counter() - started)
    return gathered
