from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from h5stream.fields.regions import Bounds, Offsets, Regions, Steps

Pairs = list[tuple[int, int]]


@st.composite
def offsets(draw: st.DrawFn) -> tuple[Offsets, Pairs]:
    lengths = draw(st.lists(st.integers(0, 6), max_size=9))
    edges = np.cumsum([draw(st.integers(0, 3)), *lengths])
    return Offsets(edges), list(pairwise(edges.tolist()))


@st.composite
def bounds(draw: st.DrawFn) -> tuple[Bounds, Pairs]:
    starts = draw(st.lists(st.integers(0, 30), max_size=9))
    if draw(st.booleans()):
        starts.sort()
    pairs = [(start, start + draw(st.integers(0, 6))) for start in starts]
    columns = np.array(pairs, np.int64).reshape(-1, 2).T
    return Bounds(*columns), pairs


@st.composite
def steps(draw: st.DrawFn) -> tuple[Steps, Pairs]:
    """Draw slices that lie inside sequences, one of which follows the other."""
    span, stride = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    first, shift = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    low, high, counts, pairs = [], [], [], []
    at = 0
    for _ in range(draw(st.integers(1, 5))):
        low.append(at)
        at += draw(st.integers(0, 14))
        high.append(at)
        starts = range(low[-1] + first + shift, at - span + 1, stride)
        counts.append(len(starts))
        pairs += [(start, start + span) for start in starts]
    return Steps(*map(np.array, (low, high, counts)), span, stride, first, shift), pairs


drawn = st.one_of(offsets(), bounds(), steps())


@given(drawn, st.randoms())
def test_rows_have_their_ranges_in_any_order(case: tuple[Regions, Pairs], random: Any) -> None:
    regions, pairs = case
    assert len(regions) == len(pairs)
    rows = random.choices(range(len(pairs)), k=7) if pairs else []
    start, stop = regions.of(np.array(rows, np.int64))
    found = list(zip(start.tolist(), stop.tolist(), strict=True))
    assert found == [pairs[row] for row in rows]


@given(drawn)
def test_rows_before_an_element_are_counted(case: tuple[Regions, Pairs]) -> None:
    regions, pairs = case
    starts = [start for start, _ in pairs]
    counts = regions.first_at(np.arange(80))
    if counts is None:
        assert starts != sorted(starts)
    else:
        assert counts.tolist() == [sum(start < e for start in starts) for e in range(80)]


@given(steps())
def test_slices_know_their_sequences(case: tuple[Steps, Pairs]) -> None:
    regions, pairs = case
    parents = regions.parents(np.arange(len(pairs)))
    assert (regions.low[parents] <= regions.nominal(np.arange(len(pairs)))).all()
    assert np.bincount(parents, minlength=len(regions.counts)).tolist() == regions.counts.tolist()


@pytest.mark.parametrize("low", [[5, 0], []])
def test_sequences_without_order_or_none_are_not_searched(low: list[int]) -> None:
    edges = np.array(low, np.int64)
    regions = Steps(edges, edges + 3, np.full(len(low), 2, np.int64), 2, 1)
    assert regions.first_at(np.array([0])) is None
    assert len(regions) == 2 * len(low)
