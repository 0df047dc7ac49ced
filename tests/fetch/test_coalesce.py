from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from h5stream.fetch.coalesce import REMOTE_READ_BYTES, coalesce_ranges, join_ranges


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


ranges = st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 3000)), min_size=1, max_size=40)


@given(ranges)
def test_requests_cover_all_ranges_and_waste_little(pairs: list[tuple[int, int]]) -> None:
    offset, size = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
    joined = join_ranges(offset, size)
    assert joined == sorted(joined)
    for a, n in pairs:
        assert any(start <= a and a + n <= stop for start, stop in joined)
    wanted = {byte for a, n in pairs for byte in range(a, a + n)}
    moved = sum(stop - start for start, stop in joined)
    assert moved - len(wanted) <= sum(n for _a, n in pairs) / 32


def test_a_request_is_bounded_but_for_a_larger_range() -> None:
    size = np.array([REMOTE_READ_BYTES // 2] * 4 + [3 * REMOTE_READ_BYTES])
    offset = np.cumsum(size) - size
    lengths = [stop - start for start, stop in join_ranges(offset, size)]
    assert lengths == [REMOTE_READ_BYTES, REMOTE_READ_BYTES, 3 * REMOTE_READ_BYTES]
