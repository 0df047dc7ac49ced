"""Finds the fewest ranges that serve many. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Cover", "cover_ranges", "expand_spans"]


@dataclass(frozen=True, eq=False, slots=True)
class Cover:
    """Disjoint ranges, in order, that hold all those asked for, stored one after the other.

    Parameters
    ----------
    start, stop : numpy.ndarray
        int64: the ranges.
    dest : numpy.ndarray
        int64: where each begins in what they make up together.
    at : numpy.ndarray
        int64: where each range that was asked for begins there.
    """

    start: np.ndarray
    stop: np.ndarray
    dest: np.ndarray
    at: np.ndarray

    @property
    def size(self) -> int:
        """How much the ranges hold."""
        return int((self.stop - self.start).sum())


def cover_ranges(start: np.ndarray, stop: np.ndarray) -> Cover:
    """Merge ranges that overlap or touch.

    Parameters
    ----------
    start, stop : numpy.ndarray
        int64, in any order; empty ranges are served by nothing.

    Examples
    --------
    >>> cover = cover_ranges(np.array([10, 0, 2]), np.array([12, 4, 6]))
    >>> cover.start.tolist(), cover.stop.tolist(), cover.at.tolist()
    ([0, 10], [6, 12], [6, 0, 2])
    """
    filled = stop > start
    if not filled.all():
        some = cover_ranges(start[filled], stop[filled])
        at = np.zeros(len(start), np.int64)
        at[filled] = some.at
        return Cover(some.start, some.stop, some.dest, at)
    if not len(start):
        nothing = np.empty(0, np.int64)
        return Cover(nothing, nothing, nothing, nothing)
    order = None if (start[1:] >= start[:-1]).all() else np.argsort(start, kind="stable")
    first = start if order is None else start[order]
    reached = np.maximum.accumulate(stop if order is None else stop[order])
    begins = np.concatenate([[True], first[1:] > reached[:-1]])
    heads = np.flatnonzero(begins)
    starts = first[heads]
    stops = reached[np.append(heads[1:], len(first)) - 1]
    dest = np.cumsum(stops - starts) - (stops - starts)
    at = first + (dest - starts)[np.cumsum(begins) - 1]
    if order is not None:
        sorted_at, at = at, np.empty(len(start), np.int64)
        at[order] = sorted_at
    return Cover(starts, stops, dest, at)


def expand_spans(start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """List the rows of row ranges, one after the other.

    Examples
    --------
    >>> expand_spans(np.array([7, 0]), np.array([9, 3]))
    array([7, 8, 0, 1, 2])
    """
    sizes = stop - start
    ends = np.cumsum(sizes)
    return np.repeat(start - (ends - sizes), sizes) + np.arange(int(ends[-1]) if len(ends) else 0)
