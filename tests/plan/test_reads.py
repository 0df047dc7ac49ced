from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from h5stream.plan import Segments, join_runs, split_at_chunks

Spans = list[tuple[int, int]]

spans = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), max_size=6)


def split(ranges: Spans, chunk_rows: int) -> Segments:
    start = np.array([first for first, _ in ranges], np.int64)
    size = np.array([length for _, length in ranges], np.int64)
    return split_at_chunks(start, start + size, np.cumsum(size) - size, chunk_rows=chunk_rows)


def goes_to(segments: Segments) -> dict[int, tuple[int, int]]:
    """Map each place in the buffer to its chunk row and its row."""
    return {
        int(dest) + i: (int(chunk_row), int(start) + i)
        for chunk_row, start, stop, dest in zip(
            segments.chunk_row, segments.start, segments.stop, segments.dest, strict=True
        )
        for i in range(stop - start)
    }


@given(spans, st.integers(1, 12))
def test_every_place_gets_its_row_from_the_chunk_that_holds_it(
    ranges: Spans, chunk_rows: int
) -> None:
    wanted = [row for first, length in ranges for row in range(first, first + length)]
    segments = split(ranges, chunk_rows)
    assert goes_to(segments) == {
        place: (row // chunk_rows, row) for place, row in enumerate(wanted)
    }
    assert (np.diff(segments.chunk_row) >= 0).all()


@given(spans, st.integers(1, 12), st.integers(1, 5))
def test_jobs_keep_each_chunk_row_together(ranges: Spans, chunk_rows: int, per_job: int) -> None:
    segments = split(ranges, chunk_rows)
    jobs = list(segments.jobs(chunk_rows_per_job=per_job))
    served = [set(job.chunk_row.tolist()) for job in jobs]
    assert sum(map(len, jobs)) == len(segments)
    assert all(1 <= len(chunks) <= per_job for chunks in served)
    assert len(set().union(*served)) == sum(map(len, served))


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(1, 8)), max_size=12),
    st.integers(1, 40),
)
def test_runs_hold_the_same_rows_and_are_neighbours_in_file_and_window(
    segments: list[tuple[int, int, int]], most_rows: int
) -> None:
    offset, dest, rows = np.array(segments, np.int64).reshape(-1, 3).T
    runs = join_runs(offset * 4, dest, rows, row_nbytes=4, most_bytes=4 * most_rows)
    expected = [(at + i, to + i) for at, to, n in segments for i in range(n)]
    found = [(at // 4 + i, to + i) for at, to, n in runs for i in range(n)]
    assert sorted(found) == sorted(expected)
    assert [at for at, _to, _n in runs] == sorted(at for at, _to, _n in runs)
    assert all(n < most_rows + 2 * 8 for _at, _to, n in runs)


def test_all_neighbours_are_joined_unless_that_takes_too_much() -> None:
    rows = np.full(10, 5)
    offset, dest = np.arange(0, 500, 50), np.arange(100, 150, 5)
    whole = join_runs(offset, dest, rows, row_nbytes=10, most_bytes=10**6)
    assert list(whole) == [(0, 100, 50)]
    halves = join_runs(offset, dest, rows, row_nbytes=10, most_bytes=250)
    assert list(halves) == [(0, 100, 25), (250, 125, 25)]
    nowhere = np.full(10, -1)
    assert len(join_runs(nowhere, dest, rows, row_nbytes=10, most_bytes=10**6)) == 10
