"""Rows that are drawn by weight: how many, which, and how often."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from h5stream.plan import Pieces, RowChunks, draw_rows, join_bounds
from h5stream.plan.weighted import Draws


def chunks_of(sizes: list[list[int]]) -> RowChunks:
    return join_bounds([np.cumsum([0, *own]) for own in sizes])


def rows_of(draws: Draws, pieces: Pieces | None = None) -> list[tuple[int, int, int]]:
    """List file, row and turn of all draws, or of some."""
    chunks = draws.row_chunks()
    found = draws.rows(pieces or Pieces(chunks.file, chunks.start, chunks.stop))
    assert found.turns is not None
    columns = (found.file, found.start, found.stop, found.turns)
    pieces_of = zip(*(column.tolist() for column in columns), strict=True)
    return [(file, row, turn) for file, a, b, turn in pieces_of for row in range(a, b)]


def counts_of(draws: Draws, chunks: RowChunks) -> np.ndarray:
    """Count how often each row of all files comes."""
    ends = [int(chunks.stop[chunks.file == file].max(initial=0)) for file in range(4)]
    begins = np.cumsum([0, *ends])
    counts = np.zeros(begins[-1], np.int64)
    for file, row, _turn in rows_of(draws):
        counts[begins[file] + row] += 1
    return counts


sizes = st.lists(st.lists(st.integers(1, 9), max_size=6), min_size=1, max_size=4).filter(
    lambda files: any(files)
)


@given(sizes, st.data())
def test_each_row_comes_as_often_as_expected_rounded_down_or_up(
    files: list[list[int]], data: st.DataObject
) -> None:
    chunks = chunks_of(files)
    n = chunks.n_rows
    weights = np.array(data.draw(st.lists(st.sampled_from([0, 0.1, 1, 7]), min_size=n, max_size=n)))
    if not weights.any():
        return
    n_rows = data.draw(st.integers(1, 3 * n))
    seed, epoch = data.draw(st.integers(0, 2**64 - 1)), data.draw(st.integers(0, 9))
    draws = draw_rows(chunks, weights, n_rows, replacement=True, seed=seed, epoch=epoch)
    counts = counts_of(draws, chunks)
    expected = n_rows * weights / weights.sum()
    assert counts.sum() == n_rows == draws.row_chunks().n_rows
    assert (np.floor(expected - 1e-6) <= counts).all()
    assert (counts <= np.ceil(expected + 1e-6)).all()


@given(sizes, st.data())
def test_without_replacement_no_row_comes_twice(
    files: list[list[int]], data: st.DataObject
) -> None:
    chunks = chunks_of(files)
    n = chunks.n_rows
    weights = np.array(data.draw(st.lists(st.sampled_from([0, 0.1, 1, 7]), min_size=n, max_size=n)))
    if not weights.any():
        return
    n_rows = data.draw(st.integers(1, int(np.count_nonzero(weights))))
    draws = draw_rows(chunks, weights, n_rows, replacement=False, seed=3, epoch=1)
    counts = counts_of(draws, chunks)
    assert counts.sum() == n_rows
    assert counts.max() <= 1
    assert not counts[weights == 0].any()


def test_over_many_epochs_rows_come_in_proportion_to_their_weights() -> None:
    chunks = chunks_of([[7, 20, 3], [30]])
    weights = np.random.default_rng(0).random(60) * (np.arange(60) % 4 > 0)
    epochs = 2000
    found = sum(
        counts_of(draw_rows(chunks, weights, 40, replacement=True, seed=0, epoch=epoch), chunks)
        for epoch in range(epochs)
    )
    expected = 40 * weights / weights.sum()
    assert np.abs(found / epochs - expected).max() < 5 * np.sqrt(0.25 / epochs)


def test_short_epochs_take_rows_from_some_row_chunks_and_in_time_from_all() -> None:
    chunks = chunks_of([[50] * 400])
    found = np.zeros(400)
    for epoch in range(60):
        draws = draw_rows(chunks, np.ones(20_000), 2000, replacement=False, seed=0, epoch=epoch)
        counts = counts_of(draws, chunks).reshape(400, 50).sum(1)
        assert np.count_nonzero(counts) == 80
        assert counts[counts > 0].min() >= 24
        found += counts
    assert found.sum() == 60 * 2000
    assert np.count_nonzero(found) == 400


@given(st.lists(st.integers(0, 600), max_size=8), st.integers(0, 5))
def test_pieces_give_the_same_rows_as_the_whole(cuts: list[int], epoch: int) -> None:
    chunks = chunks_of([[9, 1, 30], [25, 8]])
    weights = 1.0 + 9 * (np.arange(73) % 7 == 0)
    draws = draw_rows(chunks, weights, 600, replacement=True, seed=1, epoch=epoch)
    whole, given_ = rows_of(draws), draws.row_chunks()
    assert len(set(whole)) == len(whole) == 600
    bounds = np.unique([0, *cuts, 600, *given_.start.tolist()])
    at = np.searchsorted(given_.stop, bounds[:-1], side="right")
    pieces = Pieces(given_.file[at], bounds[:-1], bounds[1:])
    order = np.random.default_rng(epoch).permutation(len(pieces))
    mixed = Pieces(pieces.file[order], pieces.start[order], pieces.stop[order])
    found = rows_of(draws, mixed)
    expected = [row for a, b in zip(mixed.start, mixed.stop, strict=True) for row in whole[a:b]]
    assert found == expected


@pytest.mark.parametrize(
    ("replacement", "expected"), [(True, 23222191), (False, 2957501269)], ids=["again", "once"]
)
def test_golden_draws_stay(replacement: bool, expected: int) -> None:
    chunks = chunks_of([[100] * 30, [77] * 20])
    weights = np.random.default_rng(5).random(4540) ** 3
    draws = draw_rows(chunks, weights, 3000, replacement=replacement, seed=7, epoch=2)
    assert zlib.crc32(repr(rows_of(draws)).encode()) == expected
