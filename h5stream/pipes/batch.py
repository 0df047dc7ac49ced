"""batch: cuts the rows of a lane into batches of one size.

Batches are slices of the blocks they come from; only one that reaches into the next block, and the
last ones before the next block, are copied. A block's memory is used again once nobody holds one
of its batches, so it is free when the next block is asked for, and the one after that can be read
into it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

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
)
from h5stream.plan import LaneRows, lane_batches

__all__ = ["Batch"]

_HELD = 2
"""Callers may hold so many batches, as one that looks ahead, and still not keep a block."""


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
    takes: ClassVar[frozenset[Items]] = frozenset({Items.BLOCKS, Items.SAMPLES, Items.TENSORS})
    keeps_rows: ClassVar[bool] = True

    def gives(self, taken: Items) -> Items:
        """Blocks."""
        return Items.BLOCKS

    def unit(self, unit: Items) -> Items:
        """Blocks."""
        return Items.BLOCKS

    @property
    def whole_rows(self) -> int:
        """Rows of a batch."""
        return self.batch_size

    def plan_parameters(self) -> dict[str, int | str | None]:
        """Return what decides which rows come when."""
        return {"batch_size": self.batch_size, "drop_last": int(self.drop_last)}

    def count(self, lane: Lane, upstream: Count) -> Count:
        """Whole batches, and a short one unless it is dropped."""
        if upstream.rows is None:
            return Count(None, None)
        rows = LaneRows(0, upstream.rows)
        batches = lane_batches(rows, batch_size=self.batch_size, drop_last=self.drop_last)
        return Count(batches, min(batches * self.batch_size, upstream.rows))

    def seek_items(self, count: int, before: Seek) -> State | None:
        """Find the row that the next batch begins with."""
        found = before.rows(count * self.batch_size)
        return None if found is None else (*found[0], found[1])

    def seek_rows(self, count: int, before: Seek) -> tuple[State, int] | None:
        """Find the batch of a row."""
        state = self.seek_items(count // self.batch_size, before)
        return None if state is None else (state, count % self.batch_size)

    def iterate(
        self, lane: Lane, runtime: Runtime, upstream: Upstream, state: State
    ) -> LaneIterator:
        """Start, or go on ``state[-1]`` rows after the upstream's state."""
        return _Batches(upstream(state[:-1]), self, state[-1] if state else 0)


def _damaged(skip: int, n_rows: int) -> StateError:
    return StateError(f"the state is after {skip} rows of a block of {n_rows}; it is damaged")


class _Batches(LaneIterator):
    """Cuts blocks, or samples stacked into blocks, into batches.

    Rows are counted from the state that this started from: `_given` to the caller, `_pulled` from
    upstream. `_origin` is the upstream's state before the oldest block with rows not given yet,
    and `_origin_row` the number of its first row.
    """

    def __init__(self, upstream: LaneIterator, stage: Batch, skip: int) -> None:
        self._upstream = upstream
        self._batch_size = stage.batch_size
        self._drop_last = stage.drop_last
        self._given = skip
        self._pulled = 0
        self._origin, self._origin_row = upstream.state(), 0
        self._block: Block | None = None

    def __next__(self) -> Block:
        if self._block is None or self._given >= self._pulled:
            self._next_block()
        left = self._pulled - self._given
        if left < self._batch_size:
            batch = self._straddling()
        else:
            batch = self._rest().part(0, self._batch_size)
            if left < (1 + _HELD) * self._batch_size:
                batch = Block.concat([batch])
        self._given += batch.n_rows
        return batch

    def state(self) -> State:
        if self._given == self._pulled:
            return (*self._upstream.state(), 0)
        return (*self._origin, self._given - self._origin_row)

    def close(self) -> None:
        self._block = None
        self._upstream.close()

    def _next_block(self) -> None:
        """Pull blocks until one has rows to give.

        A state is before a block that has some, so rows that were given before it are its own.
        """
        skip = self._given - self._pulled
        self._block = None
        self._pull()
        while self._given == self._pulled and not skip:  # blocks without rows
            self._block = None
            self._pull()
        if self._given >= self._pulled:
            raise _damaged(skip, self._pulled - self._origin_row)

    def _rest(self) -> Block:
        """Return the rows of the block that were not given yet."""
        block = self._block
        assert block is not None, "a block was pulled"
        return block.part(block.n_rows - (self._pulled - self._given), block.n_rows)

    def _straddling(self) -> Block:
        """Join the rest of the block with the start of those that follow.

        The rest is copied, so that the block is gone before the next one is waited for.
        """
        parts = [Block.concat([self._rest()])]
        missing = self._batch_size - parts[0].n_rows
        self._block = None
        while missing:
            try:
                block = self._pull()
            except StopIteration:
                if self._drop_last:
                    raise
                break
            parts.append(block.part(0, missing))
            missing -= parts[-1].n_rows
        return Block.concat(parts)

    def _pull(self) -> Block:
        origin, origin_row = self._upstream.state(), self._pulled
        item: Any = next(self._upstream)
        block = item if isinstance(item, Block) else self._stack(item)
        self._origin, self._origin_row = origin, origin_row
        self._pulled += block.n_rows
        self._block = block
        return block

    def _stack(self, first: Any) -> Block:
        samples = [first]
        while len(samples) < self._batch_size:
            sample: Any = next(self._upstream, None)
            if sample is None:
                break
            samples.append(sample)
        return Block.stack(samples)
