"""Cuts an epoch's order of rows into lanes, and a lane into windows and batches.

1. The row chunks, in the epoch's order, are one sequence of rows.
2. The sequence is cut into G groups of equal length, and each group into T / G lanes of whole
   batches (`cut_lanes`); only a group's last batch may be short. A cut may fall inside a row
   chunk; then two lanes read it.
3. Consecutive pieces of a lane form windows of at least `buffer_rows` rows (`cut_windows`); in
   long lanes the first ones are smaller, so that the first batch comes soon.
4. Batch k of the epoch is batch ``k // T`` of lane ``k % T``, and so batch ``k // G`` of group
   ``k % G``; instance i of n owns the lanes with ``lane % n == i``.
5. After K batches of the epoch, lane t has given `batches_done` of them: K is all that a saved
   position needs.

By default a group is what one rank streams, and its lanes are those of the rank's workers: then
the number of batches does not depend on the number of workers. Where the lanes are fixed, each is
a group of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Literal

import numpy as np

from h5stream.plan.row_chunks import RowChunks

__all__ = [
    "Cut",
    "LaneRows",
    "Pieces",
    "Uneven",
    "batches_done",
    "cut_lanes",
    "cut_windows",
    "dropped_rows",
    "lane_batches",
    "lane_pieces",
    "window_target",
]

Uneven = Literal["drop", "pad", "keep"]

_FIRST_PARTS = (8, 2)
"""The first windows are these parts of the others, where they grow."""


@dataclass(frozen=True, slots=True)
class Cut:
    """How an epoch is cut: into how many lanes, of how many equal groups, by which rule."""

    lanes: int
    groups: int
    uneven: Uneven


@dataclass(frozen=True, slots=True)
class LaneRows:
    """A lane: positions ``start`` to ``stop`` of the epoch's rows, counted on past their end."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, eq=False, slots=True)
class Pieces:
    """The rows of a lane: parts of row chunks, as int64 arrays `file`, `start`, `stop`.

    `turns` says how often the rows of each came before in the epoch, if some are drawn again.
    """

    file: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    turns: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.file)

    @property
    def sizes(self) -> np.ndarray:
        """Rows of each piece."""
        return self.stop - self.start

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Where pieces start and stop."""
        return self.start, self.stop

    def __getitem__(self, part: slice) -> Pieces:
        turns = None if self.turns is None else self.turns[part]
        return Pieces(self.file[part], self.start[part], self.stop[part], turns)


def cut_lanes(n_rows: int, cut: Cut, *, batch_rows: int, turn: int = 0) -> list[LaneRows]:
    """Cut the rows of an epoch into lanes.

    ``"drop"`` floors the length of a group, ``"pad"`` repeats rows from the start of the order to
    reach the ceiling, ``"keep"`` lets groups differ by one row. The lanes of a group differ by at
    most one batch.

    Parameters
    ----------
    n_rows : int
        Rows of the epoch.
    cut : Cut
        Its lanes are a multiple of its groups.
    batch_rows : int
        Rows of a batch.
    turn : int
        With ``"keep"``, the group that is the first to get one row more: where several streams
        are mixed, not the same in each.

    Examples
    --------
    >>> def lengths(cut):
    ...     return [len(rows) for rows in cut_lanes(10, cut, batch_rows=2)]
    >>> lengths(Cut(3, 3, "drop")), lengths(Cut(3, 3, "pad")), lengths(Cut(3, 3, "keep"))
    ([3, 3, 3], [4, 4, 4], [4, 3, 3])
    >>> lengths(Cut(3, 1, "keep")), lengths(Cut(4, 2, "keep"))
    ([4, 4, 2], [3, 3, 2, 2])
    """
    lanes = [LaneRows(0, 0)] * cut.lanes
    for group, rows in enumerate(_cut_groups(n_rows, cut, turn)):
        members = _cut_batches(rows, cut.lanes // cut.groups, batch_rows)
        lanes[group :: cut.groups] = members
    return lanes


def dropped_rows(n_rows: int, cut: Cut) -> int:
    """Count the rows of an epoch that no lane gets.

    Examples
    --------
    >>> dropped_rows(10, Cut(4, 4, "drop")), dropped_rows(10, Cut(4, 4, "keep"))
    (2, 0)
    """
    return n_rows % cut.groups if cut.uneven == "drop" else 0


def _cut_groups(n_rows: int, cut: Cut, turn: int) -> list[LaneRows]:
    floor, rest = divmod(n_rows, cut.groups)
    if cut.uneven == "keep":
        more = ((group - turn) % cut.groups < rest for group in range(cut.groups))
        bounds = [0, *accumulate(floor + one for one in more)]
    else:
        rows = floor + (1 if rest and cut.uneven == "pad" else 0)
        bounds = [group * rows for group in range(cut.groups + 1)]
    return [LaneRows(a, b) for a, b in pairwise(bounds)]


def _cut_batches(rows: LaneRows, members: int, batch_rows: int) -> list[LaneRows]:
    """Deal whole batches to the members in turn; the one with the last batch may get less."""
    batches = -(-len(rows) // batch_rows)
    missing = batches * batch_rows - len(rows)
    lengths = [batches_done(batches, member, members) * batch_rows for member in range(members)]
    if batches:
        lengths[(batches - 1) % members] -= missing
    bounds = [rows.start, *(rows.start + length for length in accumulate(lengths))]
    return [LaneRows(a, b) for a, b in pairwise(bounds)]


def batches_done(batches: int, lane: int, lanes: int) -> int:
    """Count how many of the first batches of an epoch are those of one lane.

    Examples
    --------
    >>> [batches_done(6, lane, 4) for lane in range(4)]
    [2, 2, 1, 1]
    """
    return batches // lanes + (lane < batches % lanes)


def lane_pieces(chunks: RowChunks, rows: LaneRows) -> Pieces:
    """Find the parts of the ordered row chunks that make up a lane.

    Examples
    --------
    >>> from h5stream.plan.row_chunks import join_bounds
    >>> pieces = lane_pieces(join_bounds([np.array([0, 4, 8, 10])]), LaneRows(3, 12))
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
    ends = chunks.ends
    first = int(np.searchsorted(ends, start, side="right"))
    last = int(np.searchsorted(ends, stop, side="left")) + 1
    part = slice(first, last)
    file, begin, end = chunks.file[part], chunks.start[part], chunks.stop[part]
    skipped = np.maximum(start - (ends[part] - (end - begin)), 0)
    left_out = np.maximum(ends[part] - stop, 0)
    return Pieces(file, begin + skipped, end - left_out)


def window_target(window: int, buffer_rows: int, *, grows: bool) -> int:
    """Say how many rows a window has at least: where they grow, an eighth, a half, then all.

    Examples
    --------
    >>> [window_target(window, 800, grows=True) for window in range(4)]
    [100, 400, 800, 800]
    """
    if not grows or window >= len(_FIRST_PARTS):
        return buffer_rows
    return max(1, buffer_rows // _FIRST_PARTS[window])


def cut_windows(sizes: np.ndarray, *, buffer_rows: int, grows: bool = False) -> np.ndarray:
    """Group consecutive pieces into windows of at least `buffer_rows` rows (the last may be less).

    Parameters
    ----------
    sizes : numpy.ndarray
        int64: rows of each piece.
    buffer_rows : int
        Rows of a window.
    grows : bool
        The first windows are smaller; see `window_target`.

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
        target = reached + window_target(len(bounds) - 1, buffer_rows, grows=grows)
        piece = int(np.searchsorted(ends, target, side="left"))
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
