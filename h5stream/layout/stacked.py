"""Views of a dataset whose rows are sequences: their elements, one after the other. Pure.

A dataset of shape (rows, time, ...) becomes one of shape (rows * time, ...), without moving a byte:
only the places of chunks are counted anew. Where a chunk holds several rows and not their whole
length, its rows lie beside each other as lanes: the view has shape (groups * time, lanes, ...), and
row i is lane ``i % lanes`` of group ``i // lanes``. Sequences are padded to whole chunks; nobody
asks for what lies between them.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from h5stream.layout.model import ChunkTable, DatasetLayout, Stacking, Storage

__all__ = ["stacked"]


def stacked(layout: DatasetLayout, axis: int) -> DatasetLayout:
    """Return the elements of sequences along an axis of each row.

    Parameters
    ----------
    layout : DatasetLayout
        Of at least two axes, as it is stored.
    axis : int
        At least 1.

    Returns
    -------
    DatasetLayout
        Its `stacking` says where each sequence lies.
    """
    n_rows, length = layout.shape[0], layout.shape[axis]
    others = tuple(size for at, size in enumerate(layout.shape) if at not in (0, axis))
    if layout.storage is Storage.CONTIGUOUS and not layout.indirect and axis > 1:
        layout = _rows_as_chunks(layout)
    chunks = layout.chunks
    if chunks is None or layout.indirect or layout.table is None:
        stacking = Stacking(axis, 1, length, length)
        return replace(
            layout,
            shape=(n_rows * length, *others),
            chunks=None,
            table=None,
            stacking=stacking,
            axis=0,
        )
    per_chunk, step = chunks[0], chunks[axis]
    padded = -(-length // step) * step
    whole = axis == 1 and padded == step
    lanes = 1 if per_chunk == 1 or whole else per_chunk
    groups = n_rows if lanes == 1 else -(-n_rows // lanes)
    inside = tuple(size for at, size in enumerate(chunks) if at not in (0, axis))
    begin = step * per_chunk if whole else step
    beside = (lanes,) if lanes > 1 else ()
    view = replace(
        layout,
        shape=(groups * padded, *beside, *others),
        chunks=(begin, *beside, *inside),
        axis=axis if lanes > 1 else axis - 1,
        stacking=Stacking(axis, lanes, length, padded),
    )
    return replace(view, table=_counted_anew(layout, view, axis))


def _rows_as_chunks(layout: DatasetLayout) -> DatasetLayout:
    """See each row of a contiguous dataset as a chunk."""
    nbytes = math.prod(layout.row_shape) * layout.dtype.itemsize
    index = np.arange(layout.n_rows if layout.byte_offset is not None else 0, dtype=np.int64)
    table = ChunkTable(
        index,
        (layout.byte_offset or 0) + index * nbytes,
        np.full(len(index), nbytes, np.int64),
        np.zeros(len(index), np.uint32),
    )
    return replace(layout, storage=Storage.CHUNKED, chunks=(1, *layout.row_shape), table=table)


def _counted_anew(layout: DatasetLayout, view: DatasetLayout, axis: int) -> ChunkTable:
    """Count the places of chunks in the grid of a view."""
    table = layout.table
    assert table is not None, "only chunks that were listed have places"
    places = np.unravel_index(table.index, layout.grid)
    first = places[0] * layout.grid[axis] + places[axis]
    inside = [place for at, place in enumerate(places) if at not in (0, axis)]
    lanes = [np.zeros_like(first)] if len(view.shape) == len(layout.shape) else []
    index = np.ravel_multi_index((first, *lanes, *inside), view.grid)
    return table.sorted_by(index.astype(np.int64))
