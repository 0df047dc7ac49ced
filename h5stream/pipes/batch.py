"""batch: cuts the rows of a lane into batches of one size.

Rows are copied out of their window once, straight into memory that the batches own. Small
batches are copied several at a time, because one call over a megabyte costs what a call over a
few kilobytes does; such neighbours share one piece of memory and no rows.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any, ClassVar

from h5stream.block import Block
from h5stream.pipes.stage import (
    Count,
    Items,
    Lane,
    LaneIterator,
    LaneStage,
    Runtime,
    State,
    Upstream,
)
from h5stream.reader import Stats

__all__ = ["Batch"]

_GATHER_BYTES = 2**20


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
        return _Batches(source, self.batch_size, self.drop_last, runtime.stats, skip)


class _Batches(LaneIterator):
    """Cuts blocks, or samples gathered into blocks, into batches.

    Rows are counted from the state that this started from. `_marks` holds, for each block with
    rows not given yet, the upstream's state before it and the number of its first row.
    """

    def __init__(
        self, upstream: LaneIterator, batch_size: int, drop_last: bool, stats: Stats, skip: int
    ) -> None:
        self._upstream = upstream
        self._batch_size = batch_size
        self._drop_last = drop_last
        self._stats = stats
        self._given = self._cut = skip
        self._pulled = 0
        self._marks: deque[tuple[State, int]] = deque([(upstream.state(), 0)])
        self._block: Block | None = None
        self._ready: deque[Block] = deque()

    def __next__(self) -> Block:
        if not self._ready:
            self._gather()
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
        self._upstream.close()

    def _gather(self) -> None:
        """Copy the next batches out of the current block, or one that reaches into the next."""
        size = self._batch_size
        first = self._rest_of_block()
        started = time.perf_counter()
        if first.n_rows >= size:
            per_batch = max(1, first.nbytes // first.n_rows * size)
            count = max(1, min(first.n_rows // size, _GATHER_BYTES // per_batch))
            gathered = first.part(0, count * size).gather()
            self._ready.extend(gathered.part(i * size, (i + 1) * size) for i in range(count))
            self._cut += count * size
            self._stats.add(gather_s=time.perf_counter() - started)
        else:
            self._ready.append(self._straddling(first))

    def _straddling(self, first: Block) -> Block:
        """Make a batch of the rest of a block and the start of those that follow."""
        parts = [first.gather()]
        self._cut += first.n_rows
        missing = self._batch_size - first.n_rows
        del first
        while missing:
            try:
                rest = self._rest_of_block()
            except StopIteration:
                if self._drop_last:
                    raise
                break
            part = rest.part(0, missing)
            parts.append(part.gather())
            self._cut += part.n_rows
            missing -= part.n_rows
        return Block.concat(parts) if len(parts) > 1 else parts[0]

    def _rest_of_block(self) -> Block:
        """Return the rows not cut yet; a finished block is let go before the next is asked for."""
        while self._block is None or self._cut >= self._pulled:
            self._block = None
            self._marks.append((self._upstream.state(), self._pulled))
            self._block = self._pull()
            self._pulled += self._block.n_rows
        return self._block.part(self._block.n_rows - (self._pulled - self._cut), self._block.n_rows)

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
