from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from h5stream.plan import (
    LaneRows,
    RowChunks,
    cut_lanes,
    cut_row_chunks,
    cut_windows,
    lane_batches,
    lane_pieces,
    permutation,
)
from h5stream.plan.lanes import Uneven

Rows = list[tuple[int, int]]


def shuffled_chunks(files: list[tuple[int, int]], seed: int) -> RowChunks:
    chunks = cut_row_chunks([n for n, _ in files], [step for _, step in files])
    return chunks.take(permutation(len(chunks), seed=seed, epoch=0))


def rows_in_order(chunks: RowChunks) -> Rows:
    """List (file, row), one by one."""
    return [(chunk.file, row) for chunk in chunks for row in range(chunk.start, chunk.stop)]


def rows_of_lane(chunks: RowChunks, lane: LaneRows) -> Rows:
    pieces = lane_pieces(chunks, lane)
    columns = (pieces.file.tolist(), pieces.start.tolist(), pieces.stop.tolist())
    return [(file, row) for file, a, b in zip(*columns, strict=True) for row in range(a, b)]


def slow_lanes(rows: Rows, lanes: int, uneven: Uneven) -> list[Rows]:
    """Deal rows out as the design says it, without any arithmetic on bounds."""
    if uneven == "keep":
        sizes = [len(rows[lane::lanes]) for lane in range(lanes)]
    else:
        sizes = [len(rows) // lanes] * lanes
        if uneven == "pad":
            while rows and sum(sizes) < len(rows):
                sizes = [size + 1 for size in sizes]
    endless, dealt = rows * (lanes + 1), 0
    result = []
    for size in sizes:
        result.append(endless[dealt : dealt + size])
        dealt += size
    return result


files_strategy = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 7)), min_size=1, max_size=4)


@given(
    files_strategy,
    st.integers(1, 9),
    st.sampled_from(["drop", "pad", "keep"]),
    st.integers(0, 99),
)
def test_lanes_are_those_of_the_slow_way(
    files: list[tuple[int, int]], lanes: int, uneven: Uneven, seed: int
) -> None:
    chunks = shuffled_chunks(files, seed)
    cut = cut_lanes(chunks.n_rows, lanes=lanes, uneven=uneven)
    assert [rows_of_lane(chunks, lane) for lane in cut] == slow_lanes(
        rows_in_order(chunks), lanes, uneven
    )


@given(st.integers(0, 200), st.integers(1, 12))
def test_lanes_that_drop_or_pad_are_equally_long(n_rows: int, lanes: int) -> None:
    for uneven, total in (("drop", n_rows // lanes), ("pad", -(-n_rows // lanes))):
        assert {len(lane) for lane in cut_lanes(n_rows, lanes=lanes, uneven=uneven)} == {total}


def test_pad_repeats_the_order_as_often_as_needed() -> None:
    chunks = cut_row_chunks([2], [1])
    lanes = cut_lanes(2, lanes=5, uneven="pad")
    rows = [row for lane in lanes for _, row in rows_of_lane(chunks, lane)]
    assert rows == [0, 1, 0, 1, 0]


@given(files_strategy, st.integers(0, 99), st.integers(0, 60), st.integers(0, 60))
def test_no_piece_of_a_lane_is_empty(
    files: list[tuple[int, int]], seed: int, first: int, length: int
) -> None:
    chunks = shuffled_chunks(files, seed)
    if chunks.n_rows:
        pieces = lane_pieces(chunks, LaneRows(first, first + length))
        assert (pieces.sizes > 0).all()
        assert pieces.sizes.sum() == length


def slow_windows(sizes: list[int], buffer_rows: int) -> list[int]:
    bounds, held = [0], 0
    for number, size in enumerate(sizes, 1):
        held += size
        if held >= buffer_rows or number == len(sizes):
            bounds.append(number)
            held = 0
    return bounds


@given(st.lists(st.integers(1, 9), max_size=30), st.integers(1, 40))
def test_windows_are_those_of_the_slow_way(sizes: list[int], buffer_rows: int) -> None:
    bounds = cut_windows(np.array(sizes, np.int64), buffer_rows=buffer_rows)
    assert bounds.tolist() == slow_windows(sizes, buffer_rows)


@pytest.mark.parametrize(
    ("rows", "drop_last", "expected"),
    [(8, False, 2), (9, False, 3), (9, True, 2), (0, False, 0), (3, True, 0)],
)
def test_lane_batches_counts(rows: int, drop_last: bool, expected: int) -> None:
    assert lane_batches(LaneRows(5, 5 + rows), batch_size=4, drop_last=drop_last) == expected
