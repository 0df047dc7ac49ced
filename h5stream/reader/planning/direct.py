"""Plans the direct reads of one dataset: which chunks or rows, and where their rows go. Pure.

Rows that are stored as they are in memory are read by themselves, neighbours in the file together.
Of other datasets whole chunks are read, sorted by their place in the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from h5stream.errors import DecodeError
from h5stream.fetch.coalesce import affordable_gap
from h5stream.layout import ChunkTable, DatasetLayout, Fingerprint
from h5stream.plan import (
    Runs,
    Segments,
    expand_spans,
    join_runs,
    join_stretches,
    split_at_chunks,
)
from h5stream.reader.planning.ranges import entries_of
from h5stream.reader.tasks import Chunks, Destination, Fills, RawRows, ReadTask

__all__ = ["GAP_BYTES", "Spans", "damaged_chunk", "plan_direct", "plan_raw_rows"]

Spans = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Row ranges: first row, one past the last row, and number of the first in the window; int64."""

_TASK_BYTES = 4 * 2**20
_RUN_BYTES = 2**20
_FEW = 4
_SHORT_RUN_BYTES = 64 * 2**10
"""Shorter runs are read together with what lies between them."""

GAP_BYTES = 2**17
"""Bytes between short runs that are read sooner than a read of its own is made."""

_REMOTE_GAP_BYTES = 2**16
_MOST_WASTE = 3
"""Of remote files at most so many times the bytes of short runs are read in vain."""


def plan_direct(
    layout: DatasetLayout,
    version: Fingerprint | None,
    spans: Spans,
    destination: Destination,
    *,
    remote: bool,
) -> Iterator[ReadTask]:
    """Yield the tasks that bring row ranges to their destination.

    Parameters
    ----------
    layout : DatasetLayout
        Chunked with a table, or contiguous.
    version : Fingerprint or None
        Of its file.
    spans : Spans
        Rows.
    destination : Destination
        Where they go.
    remote : bool
        Whether a request costs more than some bytes.

    Raises
    ------
    DecodeError
        If a chunk that should be stored as it is in memory has another size.
    """
    per_task = max(1, _TASK_BYTES // max(1, layout.row_nbytes))
    segments = split_at_chunks(*spans, chunk_rows=layout.chunk_rows or per_task)
    chunk_rows_per_task = max(1, per_task // (layout.chunk_rows or per_task))
    if _has_whole_rows(layout) and not layout.filters and not layout.axis:
        for part in segments.jobs(chunk_rows_per_job=chunk_rows_per_task):
            offsets = _row_offsets(layout, part)
            yield plan_raw_rows(layout, version, part, offsets, destination, remote=remote)
        return
    for body in _plan_chunks(layout, segments, destination, chunk_rows_per_task):
        yield ReadTask(body, layout.file, version, body.offset, body.size)


def _has_whole_rows(layout: DatasetLayout) -> bool:
    return layout.chunks is None or layout.chunks[1:] == layout.row_shape


# ------------------------------------------------------------------------------ raw rows


def plan_raw_rows(
    layout: DatasetLayout,
    version: Fingerprint | None,
    segments: Segments,
    offsets: np.ndarray,
    destination: Destination,
    *,
    remote: bool,
) -> ReadTask:
    """Make the task that reads rows that are stored as they are in memory.

    Parameters
    ----------
    layout, version, destination, remote
        As for `plan_direct`.
    segments : Segments
        Which rows, and where they go.
    offsets : numpy.ndarray
        int64: byte in the file at which each segment begins; below zero: fill it.
    """
    row_nbytes = layout.row_nbytes
    count = segments.stop - segments.start
    runs = join_runs(offsets, segments.dest, count, row_nbytes=row_nbytes, most_bytes=_RUN_BYTES)
    stored = int(np.searchsorted(runs.offset, 0))
    fills = Fills(runs.dest[:stored], runs.rows[:stored]) if stored else Fills()
    runs = runs[stored:]
    offset, size, bounds = runs.offset, runs.rows * row_nbytes, None
    if len(runs) > _FEW and int(size.sum()) < _SHORT_RUN_BYTES * len(runs):
        bounds = _stretches(runs, row_nbytes, remote=remote)
        reached = np.maximum.accumulate(offset + size)
        offset = offset[bounds[:-1]]
        size = reached[bounds[1:] - 1] - offset
    body = RawRows(layout, destination, runs.offset, runs.dest, runs.rows, bounds, fills)
    return ReadTask(body, layout.file, version, offset, size)


def _stretches(runs: Runs, row_nbytes: int, *, remote: bool) -> np.ndarray:
    gap = GAP_BYTES
    if remote:
        size = runs.rows * row_nbytes
        gap = affordable_gap(
            runs.offset, size, max_gap_bytes=_REMOTE_GAP_BYTES, max_waste=_MOST_WASTE
        )
    return join_stretches(runs, row_nbytes=row_nbytes, max_gap_bytes=gap, most_bytes=_RUN_BYTES)


def _row_offsets(layout: DatasetLayout, segments: Segments) -> np.ndarray:
    """Byte offset of each segment's first row, -1 where nothing is stored."""
    if layout.chunk_rows is None:
        if layout.byte_offset is None:
            return np.full(len(segments), -1, np.int64)
        return layout.byte_offset + segments.start * layout.row_nbytes
    table = _table_of(layout)
    if not len(table):
        return np.full(len(segments), -1, np.int64)
    at = np.searchsorted(table.index, segments.chunk_row)
    at = np.minimum(at, len(table) - 1)
    stored = table.index[at] == segments.chunk_row
    wrong = stored & (table.size[at] != layout.chunk_nbytes)
    if wrong.any():
        entry = int(at[wrong][0])
        raise damaged_chunk(
            layout,
            int(table.index[entry]),
            int(table.byte_offset[entry]),
            f"{int(table.size[entry])} bytes are stored, expected {layout.chunk_nbytes}",
        )
    within = (segments.start - segments.chunk_row * layout.chunk_rows) * layout.row_nbytes
    return np.where(stored, table.byte_offset[at] + within, -1)


# -------------------------------------------------------------------------------- chunks


def _plan_chunks(
    layout: DatasetLayout, segments: Segments, destination: Destination, per_task: int
) -> Iterator[Chunks]:
    """Yield what is to be done with so many chunk rows at once."""
    plan = _whole_rows if _has_whole_rows(layout) else _split_rows
    chunk_rows, bounds = segments.groups()
    begin, end = entries_of(layout, chunk_rows)
    step = layout.chunk_rows or 1
    for first, last in pairwise([*range(0, len(chunk_rows), per_task), len(chunk_rows)]):
        some = segments[int(bounds[first]) : int(bounds[last])]
        own = bounds[first : last + 1] - bounds[first]
        body = plan(layout, destination, some, own, begin[first:last], end[first:last])
        starts = chunk_rows[first:last] * step
        spanned = np.minimum(starts + step, layout.n_rows) - starts
        wanted = int((some.stop - some.start).sum())
        yield replace(body, wanted_rows=wanted, spanned_rows=int(spanned.sum()))


def _whole_rows(
    layout: DatasetLayout,
    destination: Destination,
    segments: Segments,
    bounds: np.ndarray,
    begin: np.ndarray,
    end: np.ndarray,
) -> Chunks:
    """Plan chunks of whole rows, sorted by offset: one table entry for each chunk row."""
    fills = Fills()
    offset = _table_of(layout).byte_offset
    stored = end > begin
    if not stored.all():
        fills = _fills(segments, bounds, np.flatnonzero(~stored))
        segments, bounds = _picked(segments, bounds, np.flatnonzero(stored))
        begin = begin[stored]
    order = np.argsort(offset[begin], kind="stable")
    if (np.diff(order) < 0).any():
        segments, bounds = _picked(segments, bounds, order)
        begin = begin[order]
    return _chunks(layout, destination, segments, bounds, begin, None, fills)


def _split_rows(
    layout: DatasetLayout,
    destination: Destination,
    segments: Segments,
    bounds: np.ndarray,
    begin: np.ndarray,
    end: np.ndarray,
) -> Chunks:
    """Plan chunks that are parts of rows, those of a chunk row sorted by offset."""
    count = end - begin
    missing = np.flatnonzero(count < layout.chunks_per_chunk_row)
    fills = _fills(segments, bounds, missing) if len(missing) else Fills()
    entries = expand_spans(begin, end)
    owner = np.repeat(np.arange(len(count)), count)
    entries = entries[np.lexsort((_table_of(layout).byte_offset[entries], owner))]
    chunk_bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(count)])
    return _chunks(layout, destination, segments, bounds, entries, chunk_bounds, fills)


def _chunks(
    layout: DatasetLayout,
    destination: Destination,
    segments: Segments,
    bounds: np.ndarray,
    entries: np.ndarray,
    chunk_bounds: np.ndarray | None,
    fills: Fills,
) -> Chunks:
    table, chunk_rows = _table_of(layout), layout.chunk_rows or 1
    first_row = segments.chunk_row * chunk_rows
    return Chunks(
        layout,
        destination,
        table.index[entries],
        table.byte_offset[entries],
        table.size[entries],
        table.filter_mask[entries],
        bounds,
        segments.start - first_row,
        segments.stop - segments.start,
        segments.dest,
        first_row[bounds[:-1]],
        chunk_bounds,
        fills,
    )


def _picked(
    segments: Segments, bounds: np.ndarray, which: np.ndarray
) -> tuple[Segments, np.ndarray]:
    """Take the segments of some chunk rows, in another order."""
    start, stop = bounds[which], bounds[which + 1]
    ends = np.cumsum(stop - start)
    picked = segments.chosen(expand_spans(start, stop))
    return picked, np.concatenate([np.zeros(1, np.int64), ends])


def _fills(segments: Segments, bounds: np.ndarray, which: np.ndarray) -> Fills:
    missing, _bounds = _picked(segments, bounds, which)
    return Fills(missing.dest, missing.stop - missing.start)


def _table_of(layout: DatasetLayout) -> ChunkTable:
    assert layout.table is not None, "direct reads of chunks need a table"
    return layout.table


def damaged_chunk(layout: DatasetLayout, index: int, byte_offset: int, what: str) -> DecodeError:
    """Say which chunk of a dataset is damaged, and how."""
    place = layout.chunk_offset(index)
    return DecodeError(
        f"{layout.file}: the chunk of {layout.path!r} at {place} (byte {byte_offset}) is damaged: "
        f"{what}; restore the file from a copy",
        url=layout.file,
        dataset=layout.path,
        chunk_offset=place,
    )
