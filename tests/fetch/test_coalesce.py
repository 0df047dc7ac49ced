from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from h5stream.fetch import coalesce_ranges


def bounds_of(ranges: list[tuple[int, int]], gap: int, most: int) -> list[int]:
    offset, size = np.array(ranges, np.int64).reshape(-1, 2).T
    return coalesce_ranges(offset, size, max_gap_bytes=gap, max_bytes=most).tolist()


def test_nothing_is_no_read() -> None:
    assert bounds_of([], 10, 100) == [0]


def test_neighbours_within_the_gap_share_a_read() -> None:
    assert bounds_of([(0, 10), (20, 10), (41, 5)], 10, 100) == [0, 2, 3]


def test_a_read_does_not_grow_beyond_its_limit() -> None:
    assert bounds_of([(0, 50), (50, 50), (100, 50)], 0, 100) == [0, 2, 3]


def test_a_range_beyond_the_limit_is_a_read_of_its_own() -> None:
    assert bounds_of([(0, 10), (10, 500), (510, 10)], 10, 100) == [0, 1, 2, 3]


def test_a_range_inside_another_does_not_shorten_the_read() -> None:
    assert bounds_of([(0, 90), (10, 5), (95, 5)], 10, 100) == [0, 3]


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 80)), max_size=20).map(sorted),
    st.integers(0, 30),
    st.integers(1, 200),
)
def test_reads_cover_every_range_once_and_keep_their_limits(
    ranges: list[tuple[int, int]], gap: int, most: int
) -> None:
    bounds = bounds_of(ranges, gap, most)
    assert bounds[0] == 0
    assert bounds[-1] == len(ranges)
    for first, last in pairwise(bounds):
        part = ranges[first:last]
        assert part
        span = max(a + n for a, n in part) - part[0][0]
        assert span <= most or len(part) == 1
        reached = part[0][0]
        for a, n in part:
            assert a - reached <= gap
            reached = max(reached, a + n)
