"""Joins byte ranges that lie close together into few reads. Pure."""

from __future__ import annotations

import numpy as np

__all__ = ["coalesce_ranges"]


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
