"""Seeds of single rows, for functions of samples that draw random numbers.

The seed of a row is a function of (seed, epoch, row) alone, so it does not matter which process
transforms the row, after how many others, or whether the run was resumed in between. The words of
the key go one by one through the finalizer of SplitMix64 (Steele et al., OOPSLA 2014).
"""

from __future__ import annotations

import numpy as np

__all__ = ["mixed", "row_seeds"]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))


def row_seeds(rows: np.ndarray, *, seed: int, epoch: int) -> np.ndarray:
    """Return a seed for each row.

    Parameters
    ----------
    rows : numpy.ndarray
        int64: numbers of rows.
    seed, epoch : int
        Each in [0, 2**64).

    Returns
    -------
    numpy.ndarray
        uint64, as many; different ones as far as 64 bits tell.

    Examples
    --------
    >>> row_seeds(np.arange(2), seed=0, epoch=0)
    array([2558736989570252433, 3400964856525257824], dtype=uint64)
    """
    key = mixed(np.array([seed], np.uint64))
    key = mixed(key ^ np.uint64(epoch))
    return mixed(key ^ rows.astype(np.uint64))


def mixed(words: np.ndarray) -> np.ndarray:
    """Return uint64 numbers in which every bit of the given ones counts; one for each."""
    words = words + _GAMMA
    words = (words ^ (words >> _SHIFTS[0])) * _FACTORS[0]
    words = (words ^ (words >> _SHIFTS[1])) * _FACTORS[1]
    return words ^ (words >> _SHIFTS[2])
