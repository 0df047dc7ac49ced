"""Draws which of several streams each item comes from.

Item p of a lane comes from the stream whose share of [0, 1) holds the p-th of a sequence of
uniform numbers. The sequence depends on the seed and the epoch, not on the lane: so all ranks draw
the same streams in the same steps, and come to an end together.

A stream that is exhausted ends the sequence ("first_exhausted"), leaves its share to the others
("all_exhausted"), or starts again ("cycle").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from h5stream.plan.order import Purpose

__all__ = ["StopCriteria", "Tally", "pick", "tally", "uniform_draw"]

StopCriteria = Literal["first_exhausted", "all_exhausted", "cycle"]

_BLOCK = 4096


@lru_cache(maxsize=16)
def _uniform_block(block: int, seed: int, epoch: int) -> np.ndarray:
    key = np.array([seed, epoch], np.uint64)
    counter = np.array([0, Purpose.MIXES, 0, block], np.uint64)
    raw = np.random.Philox(key=key, counter=counter).random_raw(_BLOCK)
    return (raw >> np.uint64(11)) * 2.0**-53


def uniform_draw(position: int, *, seed: int, epoch: int) -> float:
    """Return number `position` of the sequence, in [0, 1).

    Examples
    --------
    >>> 0 <= uniform_draw(5000, seed=0, epoch=0) < 1
    True
    """
    return float(_uniform_block(position // _BLOCK, seed, epoch)[position % _BLOCK])


def pick(draws: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    """Return the stream in whose share each draw falls.

    Examples
    --------
    >>> pick(np.array([0.0, 0.49, 0.5, 0.99]), [1, 0, 1])
    array([0, 0, 2, 2])
    """
    ends = np.cumsum(np.asarray(weights, np.float64))
    last = int(np.flatnonzero(np.asarray(weights))[-1])
    return np.minimum(np.searchsorted(ends / ends[-1], draws, side="right"), last)


@dataclass(frozen=True, slots=True)
class Tally:
    """How many items a lane has given, and how many of each stream."""

    items: int
    taken: tuple[int, ...]


def tally(
    limit: int | None,
    *,
    totals: Sequence[int],
    weights: Sequence[float],
    stop_criteria: StopCriteria,
    seed: int,
    epoch: int,
) -> Tally:
    """Count the items of each stream among the first `limit`, or until the lane ends.

    Parameters
    ----------
    limit : int or None
        None counts to the end, which "cycle" does not have.
    totals : sequence of int
        Items that each stream has; with "cycle" they may be taken again and again.
    weights : sequence of float
        Shares of the streams.
    stop_criteria : str
        What happens when a stream is exhausted.
    seed, epoch : int
        Key of the draws.

    Examples
    --------
    >>> options = {"totals": [3, 5], "weights": [1, 1], "seed": 0, "epoch": 0}
    >>> tally(None, stop_criteria="all_exhausted", **options)
    Tally(items=8, taken=(3, 5))
    >>> tally(4, stop_criteria="cycle", **options).items
    4
    """
    shares = np.asarray(weights, np.float64).copy()
    taken = np.zeros(len(totals), np.int64)
    position = 0
    while limit is None or position < limit:
        block, first = divmod(position, _BLOCK)
        picks = pick(_uniform_block(block, seed, epoch)[first:], shares.tolist())
        if limit is not None:
            picks = picks[: limit - position]
        end, ended = len(picks), -1
        if stop_criteria != "cycle":
            end, ended = _first_refused(picks, np.asarray(totals) - taken)
        taken += np.bincount(picks[:end], minlength=len(totals))
        position += end
        if ended < 0:
            continue
        shares[ended] = 0
        if stop_criteria == "first_exhausted" or not shares.any():
            break
    return Tally(position, tuple(taken.tolist()))


def _first_refused(picks: np.ndarray, left: np.ndarray) -> tuple[int, int]:
    """Find the first pick of a stream that has nothing left: its place and the stream, or -1."""
    end, ended = len(picks), -1
    for stream, rest in enumerate(left.tolist()):
        places = np.flatnonzero(picks == stream)
        if len(places) > rest and places[rest] < end:
            end, ended = int(places[rest]), stream
    return end, ended
