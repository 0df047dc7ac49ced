"""Permutations as functions of a key.

1. A counter-based generator (Philox 4x64, Salmon et al., SC 2011) turns a key into one random
   64-bit number for each position.
2. The low bits of each number are replaced by the position itself, so that all are different.
3. The sorted numbers' low bits are the permutation.

A place in an order is thus a function of (seed, epoch, purpose, lane, window) alone: no state
travels from one window or epoch to the next. Only the raw stream of the bit generator is used,
which NumPy keeps stable across versions (NEP 19), and ties cannot occur, so that every machine
draws the same order.
"""

from __future__ import annotations

import numpy as np

__all__ = ["permutation"]


def permutation(
    n: int, *, seed: int, epoch: int, purpose: int = 0, lane: int = 0, window: int = 0
) -> np.ndarray:
    """Draw a permutation of ``range(n)``.

    Parameters
    ----------
    n : int
        How many positions.
    seed, epoch : int
        Key of the generator, each in [0, 2**64).
    purpose, lane, window : int
        Which of the key's independent streams.

    Returns
    -------
    numpy.ndarray
        int64, shape (n,).

    Examples
    --------
    >>> permutation(8, seed=0, epoch=0)
    array([0, 2, 1, 5, 4, 3, 6, 7])
    >>> permutation(8, seed=0, epoch=1)
    array([5, 3, 7, 2, 4, 1, 0, 6])
    """
    key = np.array([seed, epoch], np.uint64)
    counter = np.array([0, purpose, lane, window], np.uint64)
    draws = np.random.Philox(key=key, counter=counter).random_raw(n)
    low = np.uint64((1 << max(n - 1, 0).bit_length()) - 1)
    draws &= ~low
    draws |= np.arange(n, dtype=np.uint64)
    draws.sort()
    draws &= low
    return draws.view(np.int64)
