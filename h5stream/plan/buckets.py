"""Deals the rows of a window to batches of rows that are alike in length.

1. The rows are sorted by length, the longest first; equal ones stay in order.
2. They are cut into batches: of so many rows, or of as many as fit in a budget when all are padded
   to the longest of the batch.
3. Within a batch rows stand in the window's order. The caller draws the order of the batches.

With batches of so many rows, those that are left over are the last rows of the window, whatever
their length: so no length is preferred where they are left out.
"""

from __future__ import annotations

import numpy as np

__all__ = ["budget_buckets", "even_buckets"]


def even_buckets(lengths: np.ndarray, *, batch_size: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Deal rows to batches of one size.

    Parameters
    ----------
    lengths : numpy.ndarray
        int64: of each row.
    batch_size : int
        Rows of a batch.

    Returns
    -------
    batches : list of numpy.ndarray
        int64: the rows of each, the longest first.
    rest : numpy.ndarray
        Rows that are left over.

    Examples
    --------
    >>> batches, rest = even_buckets(np.array([5, 1, 4, 2, 9]), batch_size=2)
    >>> [batch.tolist() for batch in batches], rest.tolist()
    ([[0, 2], [1, 3]], [4])
    """
    whole = len(lengths) // batch_size * batch_size
    order = np.argsort(-lengths[:whole], kind="stable")
    batches = np.sort(order.reshape(-1, batch_size), axis=1)
    return list(batches), np.arange(whole, len(lengths))


def budget_buckets(
    lengths: np.ndarray, *, max_tokens: int, batch_size: int | None
) -> list[np.ndarray]:
    """Deal rows to batches that stay within a budget of elements once they are padded.

    Parameters
    ----------
    lengths : numpy.ndarray
        int64: of each row. One longer than the budget makes a batch of its own.
    max_tokens : int
        Rows of a batch, times the length of its longest.
    batch_size : int or None
        At most so many rows.

    Returns
    -------
    list of numpy.ndarray
        int64: the rows of each batch, the longest first.

    Examples
    --------
    >>> lengths = np.array([5, 1, 4, 2, 9])
    >>> [b.tolist() for b in budget_buckets(lengths, max_tokens=8, batch_size=None)]
    [[4], [0], [2, 3], [1]]
    """
    order = np.argsort(-lengths, kind="stable")
    longest = np.maximum(lengths[order], 1)
    sizes = np.clip(max_tokens // longest, 1, batch_size or len(lengths))
    batches, start = [], 0
    while start < len(order):
        stop = start + int(sizes[start])
        batches.append(np.sort(order[start:stop]))
        start = stop
    return batches
