"""Joins byte ranges that lie close together into few reads. Pure."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

__all__ = [
    "REMOTE_GAP_BYTES",
    "REMOTE_READ_BYTES",
    "affordable_gap",
    "coalesce_ranges",
    "join_ranges",
]

REMOTE_GAP_BYTES = 2**20
REMOTE_READ_BYTES = 4 * 2**20
_MOST_WASTE = 1 / 32
"""Part of the wanted bytes that may be read in vain, to save requests."""


def coalesce_ranges(
    offset: np.ndarray, size: np.ndarray, *, max_gap_bytes: int, max_bytes: int
) -> np.ndarray:
    """Group ranges, sorted by offset, into reads.

    Two neighbours share a read if at most `max_gap_bytes` lie between them and the read does not
    grow beyond `max_bytes`; a single larger range is a read of its own.

    Returns
    -------
    numpy.ndarray
        int64: read r serves ranges ``bounds[r]`` to ``bounds[r + 1]``.

    Examples
    --------
    >>> offset, size = np.array([0, 10, 100, 110]), np.array([10, 10, 10, 10])
    >>> coalesce_ranges(offset, size, max_gap_bytes=16, max_bytes=1024)
    array([0, 2, 4])
    """
    bounds = [0]
    begin, reached = 0, 0
    for i, (a, n) in enumerate(zip(offset.tolist(), size.tolist(), strict=True)):
        if i and (a - reached > max_gap_bytes or max(reached, a + n) - begin > max_bytes):
            bounds.append(i)
        if bounds[-1] == i:
            begin, reached = a, a + n
        reached = max(reached, a + n)
    if len(offset):
        bounds.append(len(offset))
    return np.array(bounds, np.int64)


def affordable_gap(
    offset: np.ndarray, size: np.ndarray, *, max_gap_bytes: int, max_waste: float
) -> int:
    """Return the widest gap up to which neighbours can be joined within a budget.

    Parameters
    ----------
    offset, size : numpy.ndarray
        Ranges, sorted by offset.
    max_gap_bytes : int
        No gap is wider.
    max_waste : float
        All gaps that are read together take at most this part of the ranges' bytes.

    Examples
    --------
    >>> offset, size = np.array([0, 101, 205, 405]), np.array([100, 100, 100, 100])
    >>> affordable_gap(offset, size, max_gap_bytes=1000, max_waste=0.05)
    4
    """
    gaps = np.maximum(0, offset[1:] - np.maximum.accumulate(offset + size)[:-1])
    gaps = np.sort(gaps[gaps <= max_gap_bytes])
    affordable = gaps[np.cumsum(gaps) <= max_waste * int(size.sum())]
    widest = int(affordable[-1]) if len(affordable) else 0
    # Gaps as wide as the widest that did not fit would be joined along with it.
    return widest if (gaps[len(affordable) :] > widest).all() else max(0, widest - 1)


def join_ranges(offset: np.ndarray, size: np.ndarray) -> list[tuple[int, int]]:
    """Decide which requests to a remote file serve ranges.

    Parameters
    ----------
    offset, size : numpy.ndarray
        int64, in any order.

    Returns
    -------
    list of (int, int)
        First byte and one past the last, sorted.

    Examples
    --------
    >>> join_ranges(np.array([101, 0, 5000]), np.array([100, 100, 100]))
    [(0, 201), (5000, 5100)]
    """
    order = np.argsort(offset, kind="stable")
    offset, size = offset[order], size[order]
    gap = affordable_gap(offset, size, max_gap_bytes=REMOTE_GAP_BYTES, max_waste=_MOST_WASTE)
    bounds = coalesce_ranges(offset, size, max_gap_bytes=gap, max_bytes=REMOTE_READ_BYTES)
    stop = offset + size
    return [(int(offset[a]), int(stop[a:b].max())) for a, b in pairwise(bounds.tolist())]
