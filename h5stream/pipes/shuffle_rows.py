"""shuffle_rows: permutes rows within windows of consecutive blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from h5stream.block import Block, as_block
from h5stream.pipes.read_chunks import Draw, ReadChunks, ReadGroups
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
from h5stream.plan import cut_windows, permutation, window_target
from h5stream.plan.order import Purpose

__all__ = ["ReadWindows", "ShuffleRows", "draw_places"]

_BUFFER_BYTES = 128 * 2**20
"""About 128 row chunks of a megabyte: spread over the files, they hold some rows of every kind."""

_LONG = 10
"""Windows of a lane from which on the first are smaller: then few batches are mixed less well."""


def draw_places(lane: Lane, window: int, n_rows: int) -> np.ndarray:
    """Draw the place of each row of a window by (seed, epoch, lane, window)."""
    return permutation(
        n_rows,
        seed=lane.seed,
        epoch=lane.epoch,
        purpose=Purpose.WINDOWS,
        lane=lane.number,
        window=window,
    )


@dataclass(frozen=True)
class ShuffleRows(LaneStage):
    """Gather blocks into windows and permute the rows of each.

    Parameters
    ----------
    buffer_size : int or None
        A window has at least this many rows, but the last; None: as many as fit in 128 MiB, and
        less at the beginning of a long epoch.
    """

    buffer_size: int | None = None

    method: ClassVar[str] = "shuffle_rows"
    takes: ClassVar[frozenset[Items]] = frozenset({Items.BLOCKS})
    keeps_rows: ClassVar[bool] = True

    def gives(self, taken: Items) -> Items:
        """Blocks."""
        return Items.BLOCKS

    def plan_parameters(self) -> dict[str, int | str | None]:
        """Return what decides which rows come when."""
        return {"buffer_size": self.buffer_size}

    def buffer_rows(self, lane: Lane) -> int:
        """Rows of a window."""
        return self.buffer_size or max(1, _BUFFER_BYTES // max(1, lane.row_nbytes))

    def grows(self, lane: Lane) -> bool:
        """Whether the first windows are smaller: by default, where there are many."""
        n_rows = int(lane.pieces.sizes.sum())
        return self.buffer_size is None and n_rows >= _LONG * self.buffer_rows(lane)

    def count(self, lane: Lane, upstream: Count) -> Count:
        """All rows, in as many windows as only a run can tell."""
        return Count(None, upstream.rows)

    def iterate(
        self, lane: Lane, runtime: Runtime, upstream: Upstream, state: State
    ) -> LaneIterator:
        """Start, or go on with window number ``state[-1]``."""
        window = state[-1] if state else 0
        target = partial(window_target, buffer_rows=self.buffer_rows(lane), grows=self.grows(lane))
        return _Windows(upstream(state[:-1]), lane, target, window)


class _Windows(LaneIterator):
    def __init__(
        self, upstream: LaneIterator, lane: Lane, target: Callable[[int], int], window: int
    ) -> None:
        self._upstream = upstream
        self._lane = lane
        self._target = target
        self._window = window

    def __next__(self) -> Block:
        blocks: list[Block] = []
        n_rows = 0
        while n_rows < self._target(self._window):
            item: Any = next(self._upstream, None)
            if item is None:
                break
            blocks.append(as_block(item))
            n_rows += blocks[-1].n_rows
        if not blocks:
            raise StopIteration
        joined = Block.concat(blocks)
        window, self._window = self._window, self._window + 1
        return joined.take(np.argsort(draw_places(self._lane, window, n_rows)))

    def state(self) -> State:
        return (*self._upstream.state(), self._window)

    def close(self) -> None:
        self._upstream.close()


@dataclass(frozen=True)
class ReadWindows(ReadGroups):
    """`ReadChunks` and `ShuffleRows` as one: rows are decoded straight to their drawn places.

    Parameters
    ----------
    read : ReadChunks
        Its `prefetch` counts row chunks; whole windows are read ahead, one by default.
    shuffle : ShuffleRows
        Sizes the windows.
    """

    read: ReadChunks
    shuffle: ShuffleRows

    method: ClassVar[str] = "shuffle_rows"

    @property
    def epochs(self) -> int | None:
        """How many epochs there are, if that is known."""
        return self.read.epochs

    def bounds(self, lane: Lane) -> np.ndarray:
        """Group the pieces into windows."""
        shuffle = self.shuffle
        rows, grows = shuffle.buffer_rows(lane), shuffle.grows(lane)
        return cut_windows(lane.pieces.sizes, buffer_rows=rows, grows=grows)

    def ahead(self, lane: Lane) -> int:
        """As many windows as hold the row chunks that were asked for."""
        if self.read.prefetch is None:
            return 1
        windows = max(1, len(self.bounds(lane)) - 1)
        return -(-self.read.prefetch // max(1, len(lane.pieces) // windows))

    def draw(self, lane: Lane) -> Draw:
        """Permute the rows of each window."""
        return partial(draw_places, lane)
