"""Which bytes of a file serve rows of a dataset. Pure."""

from __future__ import annotations

import numpy as np

from h5stream.layout import ChunkTable, DatasetLayout, Storage
from h5stream.plan import Segments

__all__ = ["entries_of", "ranges_of_rows", "stored_ranges"]

Ranges = tuple[np.ndarray, np.ndarray]
"""Offset and size; int64."""


def entries_of(layout: DatasetLayout, chunk_rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each chunk row, the first entry of the chunk table and one past the last."""
    table, per_row = _table_of(layout), layout.chunks_per_chunk_row
    begin = np.searchsorted(table.index, chunk_rows * per_row)
    return begin, np.searchsorted(table.index, (chunk_rows + 1) * per_row)


def stored_ranges(layout: DatasetLayout, segments: Segments, *, whole_chunks: bool) -> Ranges:
    """Return the ranges that serve segments, in the order of their rows.

    Parameters
    ----------
    layout : DatasetLayout
        Chunked with a table, or contiguous.
    segments : Segments
        Rows of it.
    whole_chunks : bool
        Whether chunks must be read whole, because they are filtered or split rows.
    """
    if not len(segments):
        return _nothing()
    if layout.storage is Storage.CONTIGUOUS:
        return _rows(layout, segments.start, segments.stop, layout.byte_offset)
    table = _table_of(layout)
    begin, end = entries_of(layout, segments.groups()[0] if whole_chunks else segments.chunk_row)
    if whole_chunks:
        count = end - begin
        entries = np.repeat(begin - np.cumsum(count) + count, count) + np.arange(count.sum())
        return table.byte_offset[entries], table.size[entries]
    stored = end > begin
    first = segments.chunk_row * (layout.chunk_rows or 1)
    start, stop = (segments.start - first)[stored], (segments.stop - first)[stored]
    return _rows(layout, start, stop, table.byte_offset[begin[stored]])


def ranges_of_rows(layout: DatasetLayout, start: int, stop: int) -> Ranges:
    """Return all stored ranges that serve rows; nothing if it is not known where they are."""
    if layout.storage is Storage.CONTIGUOUS:
        return _rows(layout, np.array([start]), np.array([stop]), layout.byte_offset)
    if layout.table is None or not layout.chunk_rows or stop <= start:
        return _nothing()
    chunk_rows = np.arange(start // layout.chunk_rows, -(-stop // layout.chunk_rows))
    begin, end = entries_of(layout, chunk_rows)
    entries = slice(int(begin[0]), int(end[-1]))
    return layout.table.byte_offset[entries], layout.table.size[entries]


def _rows(
    layout: DatasetLayout, start: np.ndarray, stop: np.ndarray, origin: np.ndarray | int | None
) -> Ranges:
    if origin is None:
        return _nothing()
    row_nbytes = layout.row_nbytes
    return origin + start * row_nbytes, (stop - start) * row_nbytes


def _nothing() -> Ranges:
    return np.empty(0, np.int64), np.empty(0, np.int64)


def _table_of(layout: DatasetLayout) -> ChunkTable:
    assert layout.table is not None, "direct reads of chunks need a table"
    return layout.table
