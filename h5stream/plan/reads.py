"""Says which chunks of a dataset serve the rows of a window, each chunk once.

A window's pieces are row ranges in any order, each with a destination in the window's buffer.
`split_at_chunks` cuts them at chunk boundaries and sorts the parts by chunk, so that a chunk
which serves several pieces is fetched and decoded once, and reads run forward in the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

__all__ = [
    "Runs",
    "Segments",
    "cut_by_weight",
    "join_runs",
    "join_stretches",
    "split_at_bounds",
    "split_at_chunks",
]


@dataclass(frozen=True, eq=False, slots=True)
class Segments:
    """Parts of pieces, none crossing a chunk boundary, sorted by chunk row.

    Parameters
    ----------
    chunk_row : numpy.ndarray
        int64: number of the chunk row (rows ``chunk_row * chunk_rows`` and on), not decreasing.
    start, stop : numpy.ndarray
        int64: rows of the dataset.
    dest : numpy.ndarray
        int64: where row ``start`` goes in the window's buffer.
    """

    chunk_row: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    dest: np.ndarray

    def __len__(self) -> int:
        return len(self.chunk_row)

    def __getitem__(self, part: slice) -> Segments:
        return Segments(self.chunk_row[part], self.start[part], self.stop[part], self.dest[part])

    def chosen(self, mask: np.ndarray) -> Segments:
        """Return some of them."""
        return Segments(self.chunk_row[mask], self.start[mask], self.stop[mask], self.dest[mask])

    def groups(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the chunk rows, each once, and the bounds of their segments (one more)."""
        changes = np.flatnonzero(self.chunk_row[1:] != self.chunk_row[:-1]) + 1
        bounds = np.array([0, *changes.tolist(), len(self)] if len(self) else [0], np.int64)
        return self.chunk_row[bounds[:-1]], bounds

    def spans(self) -> list[tuple[int, int, int]]:
        """Return (start, stop, dest) of each segment."""
        columns = (self.start.tolist(), self.stop.tolist(), self.dest.tolist())
        return list(zip(*columns, strict=True))

    def jobs(self, *, chunk_rows_per_job: int) -> Iterator[Segments]:
        """Cut into runs of at most `chunk_rows_per_job` chunk rows, no chunk row in two runs."""
        _rows, bounds = self.groups()
        cuts = [*bounds[:-1:chunk_rows_per_job].tolist(), len(self)]
        for start, stop in pairwise(cuts):
            yield self[start:stop]


def split_at_chunks(
    start: np.ndarray, stop: np.ndarray, dest: np.ndarray, *, chunk_rows: int
) -> Segments:
    """Cut row ranges at multiples of `chunk_rows` and sort the parts by chunk row.

    Parameters
    ----------
    start, stop, dest : numpy.ndarray
        int64: row ranges, none empty, and where each begins in the buffer.
    chunk_rows : int
        Rows of one chunk.

    Examples
    --------
    >>> parts = split_at_chunks(np.array([6, 0]), np.array([12, 2]), np.array([0, 6]), chunk_rows=4)
    >>> list(zip(parts.chunk_row.tolist(), parts.start.tolist(), parts.stop.tolist()))
    [(0, 0, 2), (1, 6, 8), (2, 8, 12)]
    >>> parts.dest.tolist()
    [6, 0, 2]
    """
    first = start // chunk_rows
    counts = (stop - 1) // chunk_rows - first + 1
    piece = np.repeat(np.arange(len(start)), counts)
    within = np.arange(len(piece)) - np.repeat(np.cumsum(counts) - counts, counts)
    chunk_row = first[piece] + within
    begin = np.maximum(start[piece], chunk_row * chunk_rows)
    end = np.minimum(stop[piece], (chunk_row + 1) * chunk_rows)
    goes_to = dest[piece] + begin - start[piece]
    order = np.argsort(chunk_row, kind="stable")
    return Segments(chunk_row[order], begin[order], end[order], goes_to[order])


def split_at_bounds(
    start: np.ndarray, stop: np.ndarray, dest: np.ndarray, *, bounds: np.ndarray
) -> Segments:
    """Cut ranges where one stretch of unequal length ends and the next begins.

    Parameters
    ----------
    start, stop, dest : numpy.ndarray
        int64: ranges, none empty, and where each begins in the buffer.
    bounds : numpy.ndarray
        int64, not decreasing: stretch i goes from ``bounds[i]`` to ``bounds[i + 1]``; its number
        takes the place of the chunk row.

    Examples
    --------
    >>> parts = split_at_bounds(
    ...     np.array([1]), np.array([6]), np.array([0]), bounds=np.array([0, 2, 2, 9])
    ... )
    >>> list(zip(parts.chunk_row.tolist(), parts.start.tolist(), parts.stop.tolist()))
    [(0, 1, 2), (2, 2, 6)]
    """
    first = np.searchsorted(bounds, start, side="right") - 1
    counts = np.searchsorted(bounds, stop, side="left") - first
    piece = np.repeat(np.arange(len(start)), counts)
    within = np.arange(len(piece)) - np.repeat(np.cumsum(counts) - counts, counts)
    stretch = first[piece] + within
    begin = np.maximum(start[piece], bounds[stretch])
    end = np.minimum(stop[piece], bounds[stretch + 1])
    goes_to = dest[piece] + begin - start[piece]
    order = np.argsort(stretch, kind="stable")
    order = order[(end > begin)[order]]
    return Segments(stretch[order], begin[order], end[order], goes_to[order])


def cut_by_weight(ends: np.ndarray, *, target: int) -> np.ndarray:
    """Cut a list into parts of about equal weight.

    Parameters
    ----------
    ends : numpy.ndarray
        int64: weight of each item and all before it.
    target : int
        About what a part weighs: parts end where multiples of it are reached.

    Returns
    -------
    numpy.ndarray
        int64: 0, where each part ends, the last one with the list.

    Examples
    --------
    >>> cut_by_weight(np.array([3, 6, 9, 12]), target=6)
    array([0, 1, 4])
    """
    total = int(ends[-1]) if len(ends) else 0
    cuts = np.searchsorted(ends, np.arange(target, total, target))
    return np.unique(np.concatenate([[0], cuts, [len(ends)]]))


@dataclass(frozen=True, eq=False, slots=True)
class Runs:
    """Rows that follow each other in a file and in a window, sorted by their place in the file.

    Parameters
    ----------
    offset, dest, rows : numpy.ndarray
        int64: of each run, its first byte in the file (below zero: nowhere), its first row in the
        window, and how many rows it has.
    """

    offset: np.ndarray
    dest: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.offset)

    def __getitem__(self, part: slice) -> Runs:
        return Runs(self.offset[part], self.dest[part], self.rows[part])

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        columns = (self.offset.tolist(), self.dest.tolist(), self.rows.tolist())
        return iter(zip(*columns, strict=True))


def join_runs(
    offset: np.ndarray, dest: np.ndarray, rows: np.ndarray, *, row_nbytes: int, most_bytes: int
) -> Runs:
    """Join rows that follow each other in the file and in the window, while they are short.

    Parameters
    ----------
    offset, dest, rows : numpy.ndarray
        int64: of each segment, its first byte in the file (below zero: nowhere), its first row in
        the window, and how many rows it has.
    row_nbytes : int
        Of one row.
    most_bytes : int
        Segments are joined up to about this size.

    Examples
    --------
    >>> offset, dest, rows = np.array([500, 100, 140]), np.array([14, 0, 4]), np.array([2, 4, 10])
    >>> list(join_runs(offset, dest, rows, row_nbytes=10, most_bytes=1000))
    [(100, 0, 14), (500, 14, 2)]
    """
    order = np.argsort(offset, kind="stable")
    offset, dest, rows = offset[order], dest[order], rows[order]
    ends = np.cumsum(rows)
    starts = ends - rows
    whole = starts * row_nbytes // most_bytes
    apart = (offset[1:] != (offset + rows * row_nbytes)[:-1]) | (dest[1:] != (dest + rows)[:-1])
    begin = np.concatenate([[len(offset) > 0], apart | (whole[1:] != whole[:-1])])
    at = np.flatnonzero(begin)
    return Runs(offset[at], dest[at], np.diff(np.append(starts[at], ends[-1:])))


def join_stretches(
    runs: Runs, *, row_nbytes: int, max_gap_bytes: int, most_bytes: int
) -> np.ndarray:
    """Join runs that lie close together, a whole number of rows apart, into stretches of a file.

    Parameters
    ----------
    runs : Runs
        All of them stored.
    row_nbytes : int
        Of one row.
    max_gap_bytes : int
        At most so much lies between two of one stretch.
    most_bytes : int
        Stretches are joined up to about this size.

    Returns
    -------
    numpy.ndarray
        int64: stretch s is made of runs ``bounds[s]`` to ``bounds[s + 1]``.

    Examples
    --------
    >>> runs = Runs(np.array([0, 40, 45, 900]), np.array([2, 0, 1, 3]), np.array([1, 1, 1, 1]))
    >>> join_stretches(runs, row_nbytes=10, max_gap_bytes=50, most_bytes=1000)
    array([0, 2, 3, 4])
    """
    offset = runs.offset
    reached = np.maximum.accumulate(offset + runs.rows * row_nbytes)
    apart = offset[1:] - reached[:-1] > max_gap_bytes
    apart |= np.diff(offset) % row_nbytes != 0
    apart |= np.diff(offset // most_bytes) != 0
    return np.concatenate([[0], np.flatnonzero(apart) + 1, [len(runs)]])
