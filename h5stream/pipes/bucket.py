"""bucket: batches of rows that are alike in length.

1. The lane is cut into windows of whole batches' rows, by `batch`.
2. The rows of a window are dealt to batches by length (`plan.buckets`).
3. The order of a window's batches is drawn by (seed, epoch, lane, window). Batches keep the order
   in which rows come in, which `shuffle_rows` has drawn.

A place is that of the window, its number, and how many of its batches were given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from h5stream.block import Block
from h5stream.columns import Column, Ragged, Sparse, arrays
from h5stream.errors import ConfigError
from h5stream.pipes.batch import Batch
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
from h5stream.pipes.unbatch import Flattened, damaged
from h5stream.plan import LaneRows, budget_buckets, even_buckets, lane_batches, permutation
from h5stream.plan.order import Purpose

__all__ = ["Bucket", "By"]

By = str | Callable[[dict[str, Any]], Any]
"""The field whose rows have the lengths, or a function of columns that returns the lengths."""

_BUFFER_BYTES = 64 * 2**20
_BATCHES, _ROWS = 100, 8192
"""Batches of a window, or its rows where batches have no fixed size."""


def _as_it_is(lengths: np.ndarray) -> np.ndarray:
    return lengths


@dataclass(frozen=True)
class Bucket(LaneStage):
    """Put rows of similar length together.

    Parameters
    ----------
    by : str or callable
        Where the lengths are.
    batch_size : int or None
        Rows of a batch; only a lane's last is shorter. With `max_tokens`: at most so many.
    max_tokens : int or None
        Most elements of a batch, as it will be padded.
    drop_last : bool
        Leave a lane's short last batch out.
    buffer_size : int or None
        Rows of a window, in whole batches; None: 100 batches, or 8192 rows where they have no
        fixed size, but no more than fit in 64 MiB.
    shuffle : bool
        Draw the order of a window's batches; else the longest come first.
    padded : callable
        Length of the longest row of a batch -> length that its rows will be padded to.
    """

    by: By
    batch_size: int | None = None
    max_tokens: int | None = None
    drop_last: bool = False
    buffer_size: int | None = None
    shuffle: bool = True
    padded: Callable[[np.ndarray], np.ndarray] = field(default=_as_it_is, repr=False)

    method: ClassVar[str] = "bucket"
    takes: ClassVar[frozenset[Items]] = frozenset({Items.BLOCKS, Items.SAMPLES})
    keeps_rows: ClassVar[bool] = True

    def gives(self, taken: Items) -> Items:
        """Blocks."""
        return Items.BLOCKS

    def unit(self, unit: Items) -> Items:
        """Blocks."""
        return Items.BLOCKS

    @property
    def whole_rows(self) -> int:
        """Rows of a batch, if it is told; lanes are cut anywhere if it is elements that count."""
        return self.batch_rows or 1

    @property
    def batch_rows(self) -> int | None:
        """Rows of every batch but a lane's last; None if they differ."""
        return self.batch_size if self.max_tokens is None else None

    def plan_parameters(self) -> dict[str, int | str | None]:
        """Return what decides which rows come when."""
        by = self.by if isinstance(self.by, str) else getattr(self.by, "__qualname__", "callable")
        return {
            "bucket_by": by,
            "batch_size": self.batch_size,
            "max_tokens": self.max_tokens,
            "drop_last": int(self.drop_last),
            "bucket_buffer_size": self.buffer_size,
            "bucket_shuffle": int(self.shuffle),
        }

    def window_rows(self, lane: Lane) -> int:
        """Rows of a window: whole batches, if they have a fixed size."""
        usual = _ROWS if self.batch_size is None else _BATCHES * self.batch_size
        fitting = max(1, _BUFFER_BYTES // max(1, lane.row_nbytes))
        rows, batch = self.buffer_size or min(usual, fitting), self.batch_rows or 1
        return -(-rows // batch) * batch

    def count(self, lane: Lane, upstream: Count) -> Count:
        """Whole batches, and a short one unless it is dropped; with a budget, only a run tells."""
        batch_size = self.batch_rows
        if upstream.rows is None or batch_size is None:
            return Count(None, upstream.rows)
        rows = LaneRows(0, upstream.rows)
        batches = lane_batches(rows, batch_size=batch_size, drop_last=self.drop_last)
        return Count(batches, min(batches * batch_size, upstream.rows))

    def seek_items(self, count: int, before: Seek) -> State | None:
        """Find the window of a batch."""
        if self.batch_rows is None:
            return None
        rows = self.window_rows(before.lane)
        window, given = divmod(count, rows // self.batch_rows)
        found = before.rows(window * rows)
        return None if found is None else (*found[0], found[1], window, given)

    def seek_rows(self, count: int, before: Seek) -> tuple[State, int] | None:
        """Find the batch of a row."""
        if self.batch_rows is None:
            return None
        state = self.seek_items(count // self.batch_rows, before)
        return None if state is None else (state, count % self.batch_rows)

    def iterate(
        self, lane: Lane, runtime: Runtime, upstream: Upstream, state: State
    ) -> LaneIterator:
        """Start, or go on in window ``state[-2]``, ``state[-1]`` batches after its beginning."""
        windows = Batch(self.window_rows(lane)).iterate(lane, runtime, upstream, state[:-2])
        window, given = state[-2:] or (0, 0)
        return _Buckets(windows, self, lane, window=window, skip=given)

    def deal(self, lane: Lane, window: int, block: Block) -> list[np.ndarray]:
        """Return the rows of each batch of a window."""
        lengths = _lengths_of(self.by, block)
        if self.max_tokens is not None:
            batches = budget_buckets(
                self.padded(lengths), max_tokens=self.max_tokens, batch_size=self.batch_size
            )
            return self._ordered(batches, lane, window)
        assert self.batch_size is not None, "bucket() needs one of both"
        batches, rest = even_buckets(lengths, batch_size=self.batch_size)
        batches = self._ordered(batches, lane, window)
        return batches if self.drop_last or not len(rest) else [*batches, rest]

    def _ordered(self, batches: list[np.ndarray], lane: Lane, window: int) -> list[np.ndarray]:
        if not self.shuffle:
            return batches
        key = {"seed": lane.seed, "epoch": lane.epoch, "lane": lane.number, "window": window}
        return [
            batches[place] for place in permutation(len(batches), purpose=Purpose.BUCKETS, **key)
        ]


class _Buckets(Flattened):
    def __init__(
        self, windows: LaneIterator, stage: Bucket, lane: Lane, *, window: int, skip: int
    ) -> None:
        super().__init__(windows, skip)
        self._stage = stage
        self._lane = lane
        self._window = window

    def open(self, item: Block, skip: int) -> Iterator[Block]:
        batches = self._stage.deal(self._lane, self._window, item)
        if skip > len(batches):
            raise damaged(skip, len(batches))
        for rows in batches[skip:]:
            yield item.take(rows)
        self._window += 1

    def state(self) -> State:
        *origin, given = super().state()
        return (*origin, self._window, given)


def _lengths_of(by: By, columns: Mapping[str, Column]) -> np.ndarray:
    """Return the length of each row.

    Raises
    ------
    ConfigError
        If the field is not there, or has no lengths.
    """
    if not isinstance(by, str):
        lengths = np.asarray(by(arrays(columns)))
    elif by not in columns:
        raise ConfigError(f"bucket() is by {by!r}, but the fields are {list(columns)}")
    else:
        lengths = _lengths_in(columns[by])
    n_rows = len(next(iter(columns.values())))
    if lengths.shape != (n_rows,) or lengths.dtype.kind not in "iu" or (lengths < 0).any():
        raise ConfigError(
            f"bucket() needs a length for each of {n_rows} rows, but got {lengths.dtype} of shape "
            f"{lengths.shape}; choose a ragged field, or one of whole numbers"
        )
    return lengths.astype(np.int64, copy=False)


def _lengths_in(column: Column) -> np.ndarray:
    if isinstance(column, Ragged | Sparse):
        return column.lengths
    array = np.asarray(column)
    return array if array.ndim == 1 else np.full(len(array), array.shape[1])
