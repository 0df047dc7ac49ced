"""Draws rows by weight, exactly as many as are asked for, and each row chunk by itself.

1. Row chunks are visited with a probability: those that are expected to give fewer than half of
   their rows in only some epochs, so that what is read is used. An epoch visits at least
   `_LEAST_VISITED` of them, if there are as many.
2. A row of a visited chunk is expected to come ``e`` times: its weight times a rate, so that all
   together come as often as was asked; without replacement at most once.
3. It comes ``floor(e)`` times, and perhaps once more: the rests stand in a line, those of a row
   chunk in an order of their own, and marks at equal distances, the first at a random place, say
   which rows come once more (systematic sampling; Madow, 1949). So the number of rows is exact,
   and each comes as often as expected, rounded down or up.
4. Where the line of a row chunk begins follows from sums: its rows are found when it is read.

All is a function of (seed, epoch), the weights and the row chunks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from h5stream.plan.cover import expand_spans
from h5stream.plan.lanes import Pieces
from h5stream.plan.order import Purpose, permutation, uniform
from h5stream.plan.reads import cut_by_weight
from h5stream.plan.row_chunks import RowChunks
from h5stream.plan.seeds import row_seeds

__all__ = ["Draws", "draw_rows"]

_LEAST_VISITED = 64
"""An epoch takes rows of so many row chunks at least, if there are as many."""

_USED = 0.5
"""What part of the rows of a visited row chunk should be drawn."""

_NEARLY_WHOLE = 1e-9
"""A rest that is so near to one is taken for one."""

_AT_ONCE = 2**17
"""Rows whose expectations are in memory together; more of them do not fit in a cache."""

_ORDERS = 0x6F72646572
"""Tells the orders of rows from other numbers that are drawn for them."""


@dataclass(frozen=True, eq=False)
class Draws:
    """The rows that an epoch draws.

    Draws are numbered in the order of the row chunks; those of one give each of its rows before
    any comes again.

    Parameters
    ----------
    chunks : RowChunks
        In the order of the files.
    weights : numpy.ndarray
        float64, one for each row of them.
    rates : numpy.ndarray
        float64: how often a row of weight one is expected to come, for each row chunk.
    once : bool
        No row comes twice.
    seed, epoch : int
        Keys of what is drawn.
    wholes, rests : numpy.ndarray
        For each row chunk, the sums of the whole parts of what is expected, and of the rests.
    n_rows : int
        How many rows are drawn.
    """

    chunks: RowChunks
    weights: np.ndarray
    rates: np.ndarray
    once: bool
    seed: int
    epoch: int
    wholes: np.ndarray
    rests: np.ndarray
    n_rows: int

    @cached_property
    def _line(self) -> np.ndarray:
        """Where the rests of each row chunk begin, and where the last ends."""
        return np.concatenate([np.zeros(1), np.cumsum(self.rests)])

    @cached_property
    def _distance(self) -> float:
        """From one mark to the next."""
        marks = self.n_rows - int(self.wholes.sum())
        return float(self._line[-1]) / marks if marks > 0 else 1.0

    @cached_property
    def _first_mark(self) -> float:
        return uniform(seed=self.seed, epoch=self.epoch, purpose=Purpose.DRAWS)

    @cached_property
    def _marks(self) -> np.ndarray:
        """Count the marks before each row chunk, and all."""
        total = self.n_rows - int(self.wholes.sum())
        before = np.ceil(self._line / self._distance - self._first_mark).astype(np.int64)
        before = np.clip(before, 0, total)
        if len(self.rests):
            last = int(np.flatnonzero(self.rests)[-1]) if self.rests.any() else 0
            before[last + 1 :] = total
        return before

    @cached_property
    def ends(self) -> np.ndarray:
        """int64: draws up to the end of each row chunk."""
        return np.cumsum(self.wholes + np.diff(self._marks))

    def row_chunks(self) -> RowChunks:
        """Return the row chunks that rows are drawn from, by the numbers of their draws."""
        begins = np.concatenate([np.zeros(1, np.int64), self.ends[:-1]])[: len(self.ends)]
        given = np.flatnonzero(self.ends > begins)
        return RowChunks(self.chunks.file[given], begins[given], self.ends[given])

    def rows(self, pieces: Pieces) -> Pieces:
        """Turn pieces of draws into pieces of rows; `turns` says how often these came before.

        Parameters
        ----------
        pieces : Pieces
            Of draws, none of two row chunks.
        """
        numbers = np.searchsorted(self.ends, pieces.start, side="right")
        used, which = np.unique(numbers, return_inverse=True)
        rows, turns, bounds = self._drawn(used)
        begins = np.concatenate([np.zeros(1, np.int64), self.ends])[used]
        at = expand_spans(*(each + (bounds[:-1] - begins)[which] for each in pieces.bounds))
        rows, turns = rows[at], turns[at]
        file = np.repeat(pieces.file, pieces.sizes)
        apart = (np.diff(rows) != 1) | (np.diff(turns) != 0) | (np.diff(file) != 0)
        begin = np.flatnonzero(np.concatenate([[True], apart])[: len(rows)])
        sizes = np.diff(np.append(begin, len(rows)))
        return Pieces(file[begin], rows[begin], rows[begin] + sizes, turns[begin])

    def _drawn(self, used: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw the rows of some row chunks, in increasing order of their numbers.

        Returns
        -------
        (numpy.ndarray, numpy.ndarray, numpy.ndarray)
            int64: rows of files and how often each came before, one row chunk after the other; and
            where each row chunk begins, and the last one ends.
        """
        chunks = self.chunks.take(used)
        first = (self.chunks.ends - self.chunks.sizes)[used]
        numbers = expand_spans(first, first + chunks.sizes)
        rates = np.repeat(self.rates[used], chunks.sizes)
        count, rest = _split(self.weights[numbers] * rates, self.once)
        count += self._marked(used, numbers, rest)
        rows = np.repeat(numbers - np.repeat(first - chunks.start, chunks.sizes), count)
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(count)])
        turns = expand_spans(np.zeros_like(count), count)
        return rows, turns, ends[np.append(0, chunks.ends)]

    def _marked(self, used: np.ndarray, numbers: np.ndarray, rest: np.ndarray) -> np.ndarray:
        """Count the marks at each row of some row chunks."""
        chunks = self.chunks.take(used)
        begin = chunks.ends - chunks.sizes
        order = _mixed(numbers, chunks.sizes, self.seed, self.epoch)
        ordered = rest[order]
        line = np.cumsum(ordered)
        line += np.repeat(self._line[used] - np.append(0.0, line)[begin], chunks.sizes)
        marked = np.diff(self._marks)[used]
        marks = expand_spans(self._marks[used], self._marks[used] + marked) + self._first_mark
        found = np.searchsorted(line, marks * self._distance, side="right")
        low, high = np.repeat(begin, marked), np.repeat(chunks.ends - 1, marked)
        last = np.maximum.accumulate(np.where(ordered > 0, np.arange(len(order)), 0))
        return np.bincount(order[last[np.clip(found, low, high)]], minlength=len(order))


def _mixed(numbers: np.ndarray, sizes: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Draw an order of the rows of each row chunk, which stays in its place among the others."""
    seeds = row_seeds(numbers, seed=seed ^ _ORDERS, epoch=epoch)
    of_chunk = np.repeat(np.arange(len(sizes), dtype=np.uint64), sizes)
    low = np.uint64(max(1, len(numbers) - 1).bit_length())
    high = np.uint64(64 - len(sizes).bit_length())
    keys = (of_chunk << high) | (seeds >> (np.uint64(64) - high) >> low << low)
    keys |= np.arange(len(numbers), dtype=np.uint64)
    keys.sort()
    return (keys & ((np.uint64(1) << low) - np.uint64(1))).view(np.int64)


def _split(expected: np.ndarray, once: bool) -> tuple[np.ndarray, np.ndarray]:
    """Split what is expected into whole parts and rests."""
    if once:
        expected = np.minimum(expected, 1.0)
    whole = np.floor(expected + _NEARLY_WHOLE)
    return whole.astype(np.int64), np.maximum(expected - whole, 0.0)


def draw_rows(
    chunks: RowChunks, weights: np.ndarray, n_rows: int, *, replacement: bool, seed: int, epoch: int
) -> Draws:
    """Draw rows by weight.

    Parameters
    ----------
    chunks : RowChunks
        In the order of the files.
    weights : numpy.ndarray
        float64, one for each row of them: not negative, and not all zero.
    n_rows : int
        How many rows to draw; without replacement at most as many as have a weight.
    replacement : bool
        Rows may come several times.
    seed, epoch : int
        Keys of what is drawn, each in [0, 2**64).

    Examples
    --------
    >>> from h5stream.plan.row_chunks import join_bounds
    >>> chunks = join_bounds([np.array([0, 3, 6])])
    >>> weights = np.array([1.0, 0, 0, 3, 0, 0])
    >>> draws = draw_rows(chunks, weights, 8, replacement=True, seed=0, epoch=0)
    >>> list(draws.row_chunks())
    [RowChunk(file=0, start=0, stop=2), RowChunk(file=0, start=2, stop=8)]
    >>> draws.rows(Pieces(*(np.array([n]) for n in (0, 2, 4)))).start
    array([3, 3])
    """
    rates = _visit_rates(chunks, weights, n_rows, replacement, seed=seed, epoch=epoch)
    wholes, rests = _sums(chunks, weights, rates, once=not replacement)
    while not replacement and rests.any():
        missing = n_rows - int(wholes.sum()) - float(rests.sum())
        if abs(missing) < _NEARLY_WHOLE * n_rows:
            break
        rates = rates * (1 + missing / float(rests.sum()))
        wholes, rests = _sums(chunks, weights, rates, once=True)
    return Draws(chunks, weights, rates, not replacement, seed, epoch, wholes, rests, n_rows)


def _sums(
    chunks: RowChunks, weights: np.ndarray, rates: np.ndarray, *, once: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Sum the whole parts of what is expected of each row chunk, and the rests."""
    wholes, rests = np.empty(len(chunks), np.int64), np.empty(len(chunks))
    begin = chunks.ends - chunks.sizes
    for first, last in pairwise(cut_by_weight(chunks.ends, target=_AT_ONCE).tolist()):
        if first == last:
            continue
        low, high = int(begin[first]), int(chunks.ends[last - 1])
        some = slice(first, last)
        expected = weights[low:high] * np.repeat(rates[some], chunks.sizes[some])
        whole, rest = _split(expected, once)
        wholes[some] = np.add.reduceat(whole, begin[some] - low)
        rests[some] = np.add.reduceat(rest, begin[some] - low)
    return wholes, rests


def _visit_rates(
    chunks: RowChunks,
    weights: np.ndarray,
    n_rows: int,
    replacement: bool,
    *,
    seed: int,
    epoch: int,
) -> np.ndarray:
    """Say how often a row of weight one is expected to come, in each row chunk that is visited."""
    begin = chunks.ends - chunks.sizes
    total = np.add.reduceat(weights, begin)
    rate = n_rows / total.sum()
    usable = np.add.reduceat(weights > 0, begin, dtype=np.int64)
    used = total * rate / np.maximum(usable, 1)
    chance = np.maximum(used / _USED, _LEAST_VISITED / np.count_nonzero(total))
    if not replacement:
        chance = np.maximum(chance, np.maximum.reduceat(weights, begin) * rate)
    chance = np.where(total > 0, np.minimum(chance, 1.0), 0.0)
    visited = _draw_some(chance, seed=seed, epoch=epoch)
    if not visited.any() or (not replacement and usable[visited].sum() < n_rows):
        visited, chance = total > 0, np.ones(len(chunks))
    rates = np.where(visited, rate / np.maximum(chance, _NEARLY_WHOLE), 0.0)
    return rates * (n_rows / (rates * total).sum())


def _draw_some(chance: np.ndarray, *, seed: int, epoch: int) -> np.ndarray:
    """Draw some of many by their chances, as many as these sum to, rounded down or up."""
    order = permutation(len(chance), seed=seed, epoch=epoch, purpose=Purpose.DRAWS, lane=1)
    first = uniform(seed=seed, epoch=epoch, purpose=Purpose.DRAWS, lane=2)
    passed = np.floor(np.append(0.0, np.cumsum(chance[order])) + first)
    drawn = np.empty(len(chance), np.bool_)
    drawn[order] = np.diff(passed) > 0
    return drawn | (chance >= 1.0)
