from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from h5stream.plan import cover_ranges, expand_spans
from h5stream.plan.reads import split_at_bounds

Ranges = list[tuple[int, int]]

ranges = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 15)), max_size=12).map(
    lambda pairs: [(start, start + size) for start, size in pairs]
)
filled = ranges.map(lambda pairs: [pair for pair in pairs if pair[1] > pair[0]])
bounds = st.lists(st.integers(0, 9), min_size=1, max_size=12).map(
    lambda sizes: [0, *np.cumsum(sizes).tolist()]
)


def columns(pairs: Ranges) -> tuple[np.ndarray, np.ndarray]:
    start, stop = np.array(pairs, np.int64).reshape(-1, 2).T
    return start, stop


@given(ranges)
def test_a_cover_holds_each_wanted_element_once_and_no_other(wanted: Ranges) -> None:
    cover = cover_ranges(*columns(wanted))
    held = expand_spans(cover.start, cover.stop).tolist()
    assert held == sorted({element for pair in wanted for element in range(*pair)})
    assert cover.size == len(held)
    assert cover.dest.tolist() == [held.index(start) for start in cover.start.tolist()]


@given(ranges)
def test_a_cover_has_the_fewest_ranges(wanted: Ranges) -> None:
    cover = cover_ranges(*columns(wanted))
    assert (cover.stop > cover.start).all()
    assert (cover.start[1:] > cover.stop[:-1]).all()


@given(ranges)
def test_each_range_is_found_in_one_piece(wanted: Ranges) -> None:
    cover = cover_ranges(*columns(wanted))
    held = expand_spans(cover.start, cover.stop)
    for (start, stop), at in zip(wanted, cover.at.tolist(), strict=True):
        assert held[at : at + stop - start].tolist() == list(range(start, stop))


@given(filled)
def test_a_cover_of_a_cover_is_itself(wanted: Ranges) -> None:
    once = cover_ranges(*columns(wanted))
    twice = cover_ranges(once.start, once.stop)
    assert (twice.start.tolist(), twice.stop.tolist()) == (once.start.tolist(), once.stop.tolist())
    assert twice.at.tolist() == once.dest.tolist()


@given(ranges)
def test_spans_are_expanded_in_their_order(spans: Ranges) -> None:
    expected = [row for pair in spans for row in range(*pair)]
    assert expand_spans(*columns(spans)).tolist() == expected


@given(bounds, st.data())
def test_pieces_are_cut_at_bounds_and_go_where_they_belong(
    edges: list[int], data: st.DataObject
) -> None:
    inside = st.tuples(st.integers(0, edges[-1]), st.integers(0, edges[-1])).map(sorted)
    wanted = [(a, b) for a, b in data.draw(st.lists(inside, max_size=6)) if b > a]
    start, stop = columns(wanted)
    sizes = stop - start
    parts = split_at_bounds(start, stop, np.cumsum(sizes) - sizes, bounds=np.array(edges))
    found = {
        dest + i: (number, first + i)
        for number, (first, last, dest) in zip(parts.chunk_row.tolist(), parts.spans(), strict=True)
        for i in range(last - first)
    }
    rows = [row for pair in wanted for row in range(*pair)]
    assert found == {place: (stretch_of(row, edges), row) for place, row in enumerate(rows)}
    assert (np.diff(parts.chunk_row) >= 0).all()
    assert (parts.stop > parts.start).all()


def stretch_of(row: int, edges: list[int]) -> int:
    return next(i for i in range(len(edges) - 1) if edges[i] <= row < edges[i + 1])
