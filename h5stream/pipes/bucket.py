"""bucket: batches of rows that are alike in length.

1. The lane is cut into windows of whole batches' rows (`window_stage`).
2. The rows of a window are dealt to batches by length (`plan.buckets`).
3. The order of a window's batches is drawn by (seed, epoch, lane, window). Batches keep the order
   in which rows come in, which `shuffle_rows` has drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np

from h5stream.block import Block
from h5stream.collation import Collation
from h5stream.columns import Column, Ragged, Sparse, arrays
from h5stream.errors import ConfigError
from h5stream.pipes.window_stage import Window, WindowStage
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
class Bucket(WindowStage):
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
    keeps_rows: ClassVar[bool] = True
    changes_columns: ClassVar[bool] = False

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

    def fitted(self, collation: Collation) -> Bucket:
        """Let a budget of elements count those of the batch as it will be padded."""
        if self.max_tokens is None or not isinstance(self.by, str):
            return self
        return replace(self, padded=partial(collation.padded_lengths, self.by))

    def item_rows(self) -> int | None:
        """Rows of every batch but a lane's last; None if they differ."""
        return self.batch_size if self.max_tokens is None else None

    def window_rows(self, row_nbytes: int) -> int:
        """Whole batches, if they have a fixed size."""
        usual = _ROWS if self.batch_size is None else _BATCHES * self.batch_size
        fitting = max(1, _BUFFER_BYTES // max(1, row_nbytes))
        rows, batch = self.buffer_size or min(usual, fitting), self.whole_rows
        return -(-rows // batch) * batch

    def n_items(self, n_rows: int) -> int | None:
        """Whole batches, and a short one unless it is dropped; with a budget, only a run tells."""
        batch_size = self.item_rows()
        if batch_size is None:
            return None
        return lane_batches(LaneRows(0, n_rows), batch_size=batch_size, drop_last=self.drop_last)

    def make(self, rows: Block, window: Window) -> Iterator[Block]:
        """Give the batches of a window."""
        return map(rows.take, self._deal(rows, window))

    def _deal(self, block: Block, window: Window) -> list[np.ndarray]:
        """Return the rows of each batch of a window."""
        lengths = _lengths_of(self.by, block)
        if self.max_tokens is not None:
            batches = budget_buckets(
                self.padded(lengths), max_tokens=self.max_tokens, batch_size=self.batch_size
            )
            return self._ordered(batches, window)
        assert self.batch_size is not None, "bucket() needs one of both"
        batches, rest = even_buckets(lengths, batch_size=self.batch_size)
        batches = self._ordered(batches, window)
        return batches if self.drop_last or not len(rest) else [*batches, rest]

    def _ordered(self, batches: list[np.ndarray], window: Window) -> list[np.ndarray]:
        if not self.shuffle:
            return batches
        order = permutation(
            len(batches),
            seed=window.seed,
            epoch=window.epoch,
            purpose=Purpose.BUCKETS,
            lane=window.lane,
            window=window.number,
        )
        return [batches[place] for place in order]


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
