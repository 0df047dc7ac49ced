"""Permutations as functions of a key.

1. A counter-based generator (Philox 4x64, Salmon et al., SC 2011) turns a key into one random
   64-bit number for each position.
2. The low bits of each number are replaced by the position itself, so that all are different.
3. The sorted numbers' low bits are the permutation.

A place in an order is thus a function of (seed, epoch, purpose, lane, window) alone: no state
travels from one window or epoch to the next. Only the raw stream of the bit generator is used,
which NumPy keeps stable across versions (NEP 19), and ties cannot occur, so that every machine
draws the same order.

Row chunks get an order that is also spread (`spread_permutation`): rows of one kind often lie
together in a file, and a window should hold some of every part. This is the van der Corput
sequence in base 2 with nested uniform scrambling (Owen, 1995), turned by a random number:

1. A binary tree has a leaf for each position, and a random bit at each node.
2. The bits of a place, lowest first, lead down from the root; a node's bit swaps its children. So
   of two places that follow each other one is in each half, of four one in each quarter.
3. The leaves that were reached, in order, are the positions, counted from a random one on, so
   that each comes to each place equally often.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

__all__ = ["Purpose", "make_generator", "permutation", "spread_permutation", "uniform"]

_AT_ONCE = 2**20


class Purpose(IntEnum):
    """What a stream of the generator is for; each has a number of its own, for ever."""

    ROW_CHUNKS = 0
    WINDOWS = 1
    MIXES = 2
    SPLITS = 3
    BUCKETS = 4
    DRAWS = 5
    STAGES = 6


def permutation(
    n: int,
    *,
    seed: int,
    epoch: int,
    purpose: Purpose = Purpose.ROW_CHUNKS,
    lane: int = 0,
    window: int = 0,
) -> np.ndarray:
    """Draw a permutation of ``range(n)``.

    Parameters
    ----------
    n : int
        How many positions.
    seed, epoch : int
        Key of the generator, each in [0, 2**64).
    purpose : Purpose
        What it is for.
    lane, window : int
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
    draws = _draw(n, (seed, epoch), (purpose, lane, window))
    low = np.uint64((1 << max(n - 1, 0).bit_length()) - 1)
    draws &= ~low
    draws |= np.arange(n, dtype=np.uint64)
    draws.sort()
    draws &= low
    return draws.view(np.int64)


def uniform(*, seed: int, epoch: int, purpose: Purpose, lane: int = 0) -> float:
    """Draw a number in [0, 1).

    Examples
    --------
    >>> 0 <= uniform(seed=0, epoch=0, purpose=Purpose.DRAWS) < 1
    True
    """
    (raw,) = _draw(1, (seed, epoch), (purpose, lane, 0))
    return float(raw >> np.uint64(11)) * 2.0**-53


def spread_permutation(n: int, *, seed: int, epoch: int) -> np.ndarray:
    """Draw a permutation of ``range(n)`` of which every stretch is spread over the whole range.

    Where `n` is a power of two, 2**k places from a multiple of 2**k on hold one position of each
    of 2**k equal parts of the range; else nearly so.

    Parameters
    ----------
    n : int
        How many positions.
    seed, epoch : int
        Key of the generator, each in [0, 2**64).

    Returns
    -------
    numpy.ndarray
        int64, shape (n,).

    Examples
    --------
    >>> spread_permutation(8, seed=0, epoch=0)
    array([6, 0, 4, 1, 5, 7, 3, 2])
    """
    swaps, turn = _draw_bits(n, (seed, epoch))
    places = _places_of_leaves(swaps)
    places = places[places < n]
    order = np.empty(n, np.int64)
    for first in range(0, n, _AT_ONCE):
        some = places[first : first + _AT_ONCE]
        order[some] = np.arange(first + turn, first + turn + len(some))
    np.subtract(order, n, out=order, where=order >= n)
    return order


def make_generator(
    *, seed: int, epoch: int, purpose: Purpose, lane: int = 0, window: int = 0, salt: int = 0
) -> np.random.Generator:
    """Make a generator of random numbers of any kind out of a key.

    Parameters
    ----------
    seed, epoch : int
        Key of the generator, each in [0, 2**64).
    purpose : Purpose
        What it is for.
    lane, window : int
        Which of the key's independent streams.
    salt : int
        In [0, 2**32): which of those of the purpose.

    Examples
    --------
    >>> make_generator(seed=0, epoch=0, purpose=Purpose.STAGES).integers(0, 10, 3)
    array([0, 3, 0])
    """
    return np.random.Generator(_generator((seed, epoch), (purpose | salt << 32, lane, window)))


def _draw_bits(n: int, key: tuple[int, int]) -> tuple[np.ndarray, int]:
    """Draw a bit for each node of a tree with at least `n` leaves, and a number below `n`."""
    nodes = 1 << max(n - 1, 0).bit_length()
    generator = _generator(key, (Purpose.ROW_CHUNKS, 0, 0))
    bits, turn = np.empty(nodes, np.uint8), 0
    for first in range(0, nodes, _AT_ONCE):
        draws = generator.random_raw(min(_AT_ONCE, nodes - first))
        turn = turn if first else int(draws[0] % np.uint64(max(n, 1)))
        bits[first : first + len(draws)] = draws & np.uint64(1)
    return bits, turn


def _places_of_leaves(swaps: np.ndarray) -> np.ndarray:
    """Find which place leads to each leaf of a tree, level by level: one more bit for each."""
    places = np.zeros(1, np.uint32 if len(swaps) <= 2**32 else np.uint64)
    bit = 0
    while len(places) < len(swaps):
        nodes = len(places)
        swap = swaps[nodes : 2 * nodes].astype(places.dtype) << bit
        below = np.empty(2 * nodes, places.dtype)
        np.bitwise_or(places, swap, out=below[0::2])
        np.bitwise_xor(below[0::2], places.dtype.type(1 << bit), out=below[1::2])
        places, bit = below, bit + 1
    return places


def _draw(n: int, key: tuple[int, int], stream: tuple[int, int, int]) -> np.ndarray:
    """Draw uint64 numbers from one of a key's streams."""
    return _generator(key, stream).random_raw(n)


def _generator(key: tuple[int, int], stream: tuple[int, int, int]) -> np.random.Philox:
    counter = np.array([0, *stream], np.uint64)
    return np.random.Philox(key=np.array(key, np.uint64), counter=counter)
