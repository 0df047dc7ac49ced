from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from h5stream.plan import (
    Cut,
    LaneRows,
    RowChunks,
    batches_done,
    cut_lanes,
    cut_windows,
    lane_batches,
    lane_pieces,
    permutation,
)
from h5stream.plan.lanes import Uneven
from tests.plan.cutting import cut_row_chunks

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


def slow_groups(rows: Rows, groups: int, uneven: Uneven) -> list[Rows]:
    """Deal rows out as the design says it, without any arithmetic on bounds."""
    if uneven == "keep":
        sizes = [len(rows[group::groups]) for group in range(groups)]
    else:
        sizes = [len(rows) // groups] * groups
        if uneven == "pad":
            while rows and sum(sizes) < len(rows):
                sizes = [size + 1 for size in sizes]
    endless, dealt = rows * (groups + 1), 0
    result = []
    for size in sizes:
        result.append(endless[dealt : dealt + size])
        dealt += size
    return result


def slow_members(group: Rows, members: int, batch_rows: int) -> list[Rows]:
    """Let the members of a group take turns in batches, then give each as many rows in order."""
    sizes = [0] * members
    for number, first in enumerate(range(0, len(group), batch_rows)):
        sizes[number % members] += len(group[first : first + batch_rows])
    rows = iter(group)
    return [[next(rows) for _ in range(size)] for size in sizes]


files_strategy = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 7)), min_size=1, max_size=4)
uneven_strategy: st.SearchStrategy[Uneven] = st.sampled_from(["drop", "pad", "keep"])


@given(
    files_strategy,
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(1, 6),
    uneven_strategy,
    st.integers(0, 99),
)
def test_lanes_are_those_of_the_slow_way(
    files: list[tuple[int, int]],
    groups: int,
    members: int,
    batch_rows: int,
    uneven: Uneven,
    seed: int,
) -> None:
    chunks = shuffled_chunks(files, seed)
    lanes = cut_lanes(chunks.n_rows, Cut(groups * members, groups, uneven), batch_rows=batch_rows)
    found = [rows_of_lane(chunks, lane) for lane in lanes]
    in_groups = slow_groups(rows_in_order(chunks), groups, uneven)
    for group, rows in enumerate(in_groups):
        assert found[group::groups] == slow_members(rows, members, batch_rows)


@given(st.integers(0, 200), st.integers(1, 12))
def test_lanes_that_drop_or_pad_are_equally_long(n_rows: int, lanes: int) -> None:
    for uneven, total in (("drop", n_rows // lanes), ("pad", -(-n_rows // lanes))):
        cut = Cut(lanes, lanes, uneven)  # type: ignore[arg-type]
        assert {len(lane) for lane in cut_lanes(n_rows, cut, batch_rows=4)} == {total}


@given(
    st.integers(0, 200),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(1, 9),
    uneven_strategy,
    st.booleans(),
)
def test_lanes_are_served_in_turn_until_the_first_without_a_batch(
    n_rows: int, groups: int, members: int, batch_size: int, uneven: Uneven, drop_last: bool
) -> None:
    """Batch k of the epoch is then batch k // T of lane k % T, to the end."""
    cut = Cut(groups * members, groups, uneven)
    counts = [
        lane_batches(lane, batch_size=batch_size, drop_last=drop_last)
        for lane in cut_lanes(n_rows, cut, batch_rows=batch_size)
    ]
    assert counts == [batches_done(sum(counts), lane, cut.lanes) for lane in range(cut.lanes)]


@given(st.integers(0, 200), st.integers(1, 4), st.integers(1, 9), uneven_strategy, st.booleans())
def test_the_number_of_batches_does_not_depend_on_the_members(
    n_rows: int, groups: int, batch_size: int, uneven: Uneven, drop_last: bool
) -> None:
    totals = {
        sum(
            lane_batches(lane, batch_size=batch_size, drop_last=drop_last)
            for lane in cut_lanes(n_rows, Cut(groups * m, groups, uneven), batch_rows=batch_size)
        )
        for m in (1, 2, 3, 7)
    }
    assert len(totals) == 1


def test_pad_repeats_the_order_as_often_as_needed() -> None:
    chunks = cut_row_chunks([2], [1])
    lanes = cut_lanes(2, Cut(5, 5, "pad"), batch_rows=1)
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


def slow_windows(sizes: list[int], targets: Iterable[int]) -> list[int]:
    bounds, held = [0], 0
    wanted = iter(targets)
    target = next(wanted)
    for number, size in enumerate(sizes, 1):
        held += size
        if held >= target or number == len(sizes):
            bounds.append(number)
            held, target = 0, next(wanted)
    return bounds


@given(st.lists(st.integers(1, 9), max_size=30), st.integers(1, 40), st.booleans())
def test_windows_are_those_of_the_slow_way(sizes: list[int], buffer_rows: int, grows: bool) -> None:
    small = [max(1, buffer_rows // part) for part in (8, 2)] if grows else []
    expected = slow_windows(sizes, itertools.chain(small, itertools.repeat(buffer_rows)))
    bounds = cut_windows(np.array(sizes, np.int64), buffer_rows=buffer_rows, grows=grows)
    assert bounds.tolist() == expected


@pytest.mark.parametrize(
    ("rows", "drop_last", "expected"),
    [(8, False, 2), (9, False, 3), (9, True, 2), (0, False, 0), (3, True, 0)],
)
def test_lane_batches_counts(rows: int, drop_last: bool, expected: int) -> None:
    assert lane_batches(LaneRows(5, 5 + rows), batch_size=4, drop_last=drop_last) == expected
