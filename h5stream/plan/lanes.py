"""Cuts an epoch's order of rows into lanes, and a lane into windows and batches.

1. The row chunks, in the epoch's order, are one sequence of rows.
2. The sequence is cut into T lanes of equal length (`cut_lanes`). A cut may fall inside a row
   chunk; then two lanes read it.
3. Consecutive pieces of a lane form windows of at least `buffer_rows` rows (`cut_windows`).
4. Batch k of the epoch is batch ``k // T`` of lane ``k % T``; instance i of n owns the lanes
   with ``lane % n == i``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from h5stream.plan.row_chunks import RowChunks

__all__ = [
    "LaneRows",
    "Pieces",
    "Uneven",
    "cut_lanes",
    "cut_windows",
    "lane_batches",
    "lane_pieces",
]

Uneven = Literal["drop", "pad", "keep"]


@dataclass(frozen=True, slots=True)
class LaneRows:
    """A lane: positions ``start`` to ``stop`` of the epoch's rows, counted on past their end."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, eq=False, slots=True)
class Pieces:
    """The rows of a lane: parts of row chunks, as int64 arrays `file`, `start`, `stop`."""

    file: np.ndarray
    start: np.ndarray
    stop: np.ndarray

    def __len__(self) -> int:
        return len(self.file)

    @property
    def sizes(self) -> np.ndarray:
        """Rows of each piece."""
        return self.stop - self.start

    def __getitem__(self, part: slice) -> Pieces:
        return Pieces(self.file[part], self.start[part], self.stop[part])


def cut_lanes(n_rows: int, *, lanes: int, uneven: Uneven) -> list[LaneRows]:
    """Cut the rows of an epoch into lanes.

    ``"drop"`` floors the length of a lane, ``"pad"`` repeats rows from the start of the order to
    reach the ceiling, ``"keep"`` lets lanes differ by one row.

    Examples
    --------
    >>> cut_lanes(10, lanes=3, uneven="drop")
    [LaneRows(start=0, stop=3), LaneRows(start=3, stop=6), LaneRows(start=6, stop=9)]
    >>> cut_lanes(10, lanes=3, uneven="pad")
    [LaneRows(start=0, stop=4), LaneRows(start=4, stop=8), LaneRows(start=8, stop=12)]
    >>> cut_lanes(10, lanes=3, uneven="keep")
    [LaneRows(start=0, stop=4), LaneRows(start=4, stop=7), LaneRows(start=7, stop=10)]
    """
    floor, rest = divmod(n_rows, lanes)
    if uneven == "keep":
        bounds = [lane * floor + min(lane, rest) for lane in range(lanes + 1)]
    else:
        rows = floor + (1 if rest and uneven == "pad" else 0)
        bounds = [lane * rows for lane in range(lanes + 1)]
    return [LaneRows(a, b) for a, b in pairwise(bounds)]


def lane_pieces(chunks: RowChunks, rows: LaneRows) -> Pieces:
    """Find the parts of the ordered row chunks that make up a lane.

    Examples
    --------
    >>> from h5stream.plan.row_chunks import cut_row_chunks
    >>> pieces = lane_pieces(cut_row_chunks([10], [4]), LaneRows(3, 12))
    >>> list(zip(pieces.start.tolist(), pieces.stop.tolist()))
    [(3, 4), (4, 8), (8, 10), (0, 2)]
    """
    n_rows = chunks.n_rows
    parts: list[Pieces] = []
    start = rows.start
    while start < rows.stop:
        turn = start // n_rows * n_rows
        stop = min(rows.stop, turn + n_rows)
        parts.append(_pieces_between(chunks, start - turn, stop - turn))
        start = stop
    columns = ([p.file for p in parts], [p.start for p in parts], [p.stop for p in parts])
    return Pieces(*(np.concatenate([np.empty(0, np.int64), *column]) for column in columns))


def _pieces_between(chunks: RowChunks, start: int, stop: int) -> Pieces:
    ends = np.cumsum(chunks.sizes)
    begins = ends - chunks.sizes
    first = int(np.searchsorted(ends, start, side="right"))
    last = int(np.searchsorted(begins, stop, side="left"))
    part = slice(first, last)
    skipped = np.maximum(start - begins[part], 0)
    left_out = np.maximum(ends[part] - stop, 0)
    return Pieces(chunks.file[part], chunks.start[part] + skipped, chunks.stop[part] - left_out)


def cut_windows(sizes: np.ndarray, *, buffer_rows: int) -> np.ndarray:
    """Group consecutive pieces into windows of at least `buffer_rows` rows (the last may be less).

    Returns
    -------
    numpy.ndarray
        int64: window w holds pieces ``bounds[w]`` to ``bounds[w + 1]``.

    Examples
    --------
    >>> cut_windows(np.array([4, 4, 4, 4, 2]), buffer_rows=6)
    array([0, 2, 4, 5])
    """
    ends = np.cumsum(sizes)
    bounds, reached = [0], 0
    while bounds[-1] < len(sizes):
        piece = int(np.searchsorted(ends, reached + buffer_rows, side="left"))
        bounds.append(min(piece + 1, len(sizes)))
        reached = int(ends[bounds[-1] - 1])
    return np.array(bounds, np.int64)


def lane_batches(rows: LaneRows, *, batch_size: int, drop_last: bool) -> int:
    """Count the batches of a lane.

    Examples
    --------
    >>> lane_batches(LaneRows(0, 10), batch_size=4, drop_last=False)
    3
    """
    whole, rest = divmod(len(rows), batch_size)
    return whole + (1 if rest and not drop_last else 0)
