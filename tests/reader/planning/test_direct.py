"""What is read directly is planned without any file: tables in, tables out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from h5stream.errors import DecodeError
from h5stream.fields import DenseField
from h5stream.layout import ChunkTable, DatasetLayout, FilterSpec, Fingerprint, Storage
from h5stream.plan import expand_spans
from h5stream.reader.planning import Spans, plan_direct
from h5stream.reader.tasks import Chunks, Destination, RawRows, ReadTask, Target

GZIP = FilterSpec(1, "deflate", (4,))
VERSION = Fingerprint(10_000)


def table(*chunks: tuple[int, int, int, int]) -> ChunkTable:
    """Make a table of (place in the grid, byte offset, size, filter mask)."""
    index, offset, size, mask = np.array(chunks, np.int64).reshape(-1, 4).T
    return ChunkTable(index, offset, size, mask.astype(np.uint32))


def chunked(
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    stored: ChunkTable,
    filters: tuple[FilterSpec, ...] = (GZIP,),
) -> DatasetLayout:
    return DatasetLayout(
        "a.h5", "/x", shape, np.dtype("<i2"), Storage.CHUNKED, chunks, filters, table=stored
    )


def spans(*ranges: tuple[int, int]) -> Spans:
    start, stop = np.array(ranges, np.int64).reshape(-1, 2).T
    ends = np.cumsum(stop - start)
    return start, stop, ends - (stop - start)


def plan(layout: DatasetLayout, wanted: Spans, *, remote: bool = False) -> list[ReadTask]:
    destination = Destination((Target(DenseField("x", layout), 0),))
    return list(plan_direct(layout, VERSION, wanted, destination, remote=remote))


def lists(*arrays: np.ndarray) -> list[list[int]]:
    return [array.tolist() for array in arrays]


WHOLE = chunked((20, 3), (4, 3), table((0, 900, 20, 0), (1, 100, 21, 1), (3, 500, 22, 0)))


def test_chunks_of_whole_rows_are_sorted_by_their_place_in_the_file() -> None:
    (task,) = plan(WHOLE, spans((13, 16), (2, 6), (0, 1)))
    body = task.body
    assert isinstance(body, Chunks)
    assert (task.file, task.version) == ("a.h5", VERSION)
    assert lists(task.offset, task.size) == [[100, 500, 900], [21, 22, 20]]
    assert lists(body.index, body.filter_mask) == [[1, 3, 0], [1, 0, 0]]
    assert lists(body.bounds, body.first_row) == [[0, 1, 2, 4], [4, 12, 0]]
    assert lists(body.start, body.rows, body.dest) == [[0, 1, 2, 0], [2, 3, 2, 1], [5, 0, 3, 7]]
    assert body.chunk_bounds is None
    assert body.decoded_bytes == 3 * 4 * 3 * 2


def test_chunks_that_are_not_stored_are_filled() -> None:
    (task,) = plan(WHOLE, spans((6, 14), (18, 20)))
    assert isinstance(task.body, Chunks)
    assert lists(task.body.offset, task.body.dest) == [[100, 500], [0, 6]]
    assert lists(task.body.fills.dest, task.body.fills.rows) == [[2, 8], [4, 2]]


def test_chunks_that_split_rows_stay_together() -> None:
    stored = table((0, 800, 9, 0), (1, 700, 9, 0), (2, 600, 9, 0), (5, 50, 9, 0), (4, 90, 9, 0))
    layout = chunked((6, 5), (2, 3), stored.sorted_by(stored.index))
    (task,) = plan(layout, spans((5, 6), (1, 4)))
    body = task.body
    assert isinstance(body, Chunks)
    assert body.chunk_bounds is not None
    assert lists(body.index, body.chunk_bounds) == [[1, 0, 2, 5, 4], [0, 2, 3, 5]]
    assert lists(body.bounds, body.start, body.rows, body.dest) == [
        [0, 1, 2, 3],
        [1, 0, 1],
        [1, 2, 1],
        [1, 2, 0],
    ]
    assert lists(body.fills.dest, body.fills.rows) == [[2], [2]]


def test_rows_without_filters_are_read_by_themselves() -> None:
    stored = table((0, 600, 24, 0), (1, 100, 24, 0), (3, 124, 24, 0))
    layout = chunked((16, 3), (4, 3), stored, ())
    (task,) = plan(layout, spans((4, 8), (12, 16), (9, 10), (1, 3)))
    body = task.body
    assert isinstance(body, RawRows)
    assert lists(body.offset, body.dest, body.rows) == [[100, 606], [0, 9], [8, 2]]
    assert lists(task.offset, task.size) == [[100, 606], [48, 12]]
    assert lists(body.fills.dest, body.fills.rows) == [[8], [1]]
    assert body.bounds is None


@pytest.mark.parametrize(("remote", "requests"), [(False, 1), (True, 3)])
def test_many_short_runs_are_read_with_what_lies_between_them(remote: bool, requests: int) -> None:
    layout = DatasetLayout(
        "a.h5", "/x", (90_000,), np.dtype("u1"), Storage.CONTIGUOUS, byte_offset=100
    )
    wanted = spans((0, 10), (20, 30), (50_000, 50_010), (50_020, 50_030), (80_000, 80_010))
    (task,) = plan(layout, wanted, remote=remote)
    assert isinstance(task.body, RawRows)
    assert len(task.offset) == requests
    assert task.nbytes == (80_010 if requests == 1 else 30 + 30 + 10)
    assert lists(task.body.offset - 100, task.body.rows) == lists(wanted[0], wanted[1] - wanted[0])


def test_a_chunk_of_a_wrong_size_is_an_error_that_says_where() -> None:
    layout = chunked((8, 3), (4, 3), table((0, 600, 24, 0), (1, 100, 23, 0)), ())
    with pytest.raises(DecodeError, match=r"at \(4, 0\) .* 23 bytes are stored, expected 24"):
        plan(layout, spans((0, 8)))


def test_tasks_are_a_few_megabytes() -> None:
    stored = table(*((n, 2**21 * n, 2**20, 0) for n in range(9)))
    layout = chunked((9 * 2**10, 2**10), (2**10, 2**10), stored)
    tasks = plan(layout, spans((0, 9 * 2**10)))
    assert [len(task.offset) for task in tasks] == [2, 2, 2, 2, 1]
    assert [int(task.offset[0]) for task in tasks] == [2**22 * n for n in range(5)]


def test_plans_are_compared_and_printed() -> None:
    first, again = plan(WHOLE, spans((0, 8))), plan(WHOLE, spans((0, 8)))
    fields = {id(task.body.destination.targets[0].field) for task in first + again}  # type: ignore[union-attr]
    assert len(fields) == 2
    assert first != again, "of another field"
    destination = Destination((Target(DenseField("x", WHOLE), 0),))
    one, other = (
        list(plan_direct(WHOLE, VERSION, spans((0, 8)), destination, remote=False))
        for _ in range(2)
    )
    assert one == other
    shorter = list(plan_direct(WHOLE, VERSION, spans((0, 7)), destination, remote=False))
    assert one != shorter
    assert str(one[0]) == "Chunks of a.h5: 2 ranges, 41 bytes"
    assert "offset=[100, 900], size=[21, 20]" in repr(one[0].body)


# ------------------------------------------------------------------------------ every row


@st.composite
def datasets(draw: st.DrawFn) -> DatasetLayout:
    n_rows, width = draw(st.integers(1, 40)), draw(st.integers(1, 5))
    chunks = draw(st.integers(1, 9)), draw(st.integers(1, width))
    cells = -(-n_rows // chunks[0]) * -(-width // chunks[1])
    order = draw(st.permutations(range(cells)))
    kept = draw(st.lists(st.booleans(), min_size=cells, max_size=cells))
    nbytes = chunks[0] * chunks[1] * 2
    stored = [(n, 1000 + order[n] * nbytes, nbytes, 0) for n in range(cells) if kept[n]]
    filters = draw(st.sampled_from([(), (GZIP,)]))
    return chunked((n_rows, width), chunks, table(*stored), filters)


def expected_sources(layout: DatasetLayout, wanted: Spans) -> list[tuple[int, int]]:
    """Say slowly which (number in the window, chunk) pairs are read; chunk -1: it is filled."""
    known = {} if layout.table is None else dict.fromkeys(layout.table.index.tolist())
    per_row, found = layout.chunks_per_chunk_row, []
    for number, row in enumerate(expand_spans(wanted[0], wanted[1]).tolist()):
        first = row // (layout.chunk_rows or 1) * per_row
        chunks = [chunk for chunk in range(first, first + per_row) if chunk in known]
        found += [(number, chunk) for chunk in chunks]
        found += [(number, -1)] * (len(chunks) < per_row)
    return sorted(found)


def planned_sources(tasks: Sequence[ReadTask]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for task in tasks:
        body = task.body
        assert isinstance(body, Chunks | RawRows)
        filled = expand_spans(body.fills.dest, body.fills.dest + body.fills.rows)
        found += [(number, -1) for number in filled.tolist()]
        if isinstance(body, Chunks):
            found += _of_chunks(body)
        else:
            found += _of_raw_rows(body)
    return sorted(found)


def _of_chunks(body: Chunks) -> list[tuple[int, int]]:
    bounds = np.arange(len(body) + 1) if body.chunk_bounds is None else body.chunk_bounds
    found = []
    for group in range(len(body.bounds) - 1):
        own = slice(int(body.bounds[group]), int(body.bounds[group + 1]))
        numbers = expand_spans(body.dest[own], body.dest[own] + body.rows[own]).tolist()
        chunks = body.index[int(bounds[group]) : int(bounds[group + 1])].tolist()
        found += [(number, chunk) for number in numbers for chunk in chunks]
    return found


def _of_raw_rows(body: RawRows) -> list[tuple[int, int]]:
    known, found = body.layout.table, []
    assert known is not None
    for offset, dest, rows in zip(*lists(body.offset, body.dest, body.rows), strict=True):
        for at in range(rows):
            byte = offset + at * body.layout.row_nbytes
            (chunk,) = np.flatnonzero(
                (known.byte_offset <= byte) & (byte < known.byte_offset + known.size)
            )
            found.append((dest + at, int(known.index[chunk])))
    return found


@given(datasets(), st.data())
def test_every_row_comes_from_the_chunks_that_hold_it(
    layout: DatasetLayout, data: st.DataObject
) -> None:
    cuts = data.draw(st.lists(st.integers(0, layout.n_rows), max_size=12))
    ranges = [(a, b) for a, b in pairwise(cuts) if a < b]
    wanted = spans(*ranges)
    tasks = plan(layout, wanted) if ranges else []
    assert planned_sources(tasks) == expected_sources(layout, wanted)
    for task in tasks:
        inside = task.offset.tolist()
        assert isinstance(task.body, RawRows) or inside == task.body.offset.tolist()  # type: ignore[union-attr]
