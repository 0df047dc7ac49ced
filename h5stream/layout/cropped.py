"""Views of a dataset that have only those chunks of each row that are needed. Pure.

1. Along each axis of a row, the chunks that hold a needed position are kept, and put together:
   what is left is a smaller dataset with the same chunks. So whoever reads it decodes no other.
2. A contiguous dataset is seen as chunks of one run of bytes, if that leaves at least half out.
3. Of what only HDF5 reads, the positions that are needed are kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from h5stream.layout.model import ChunkTable, DatasetLayout, Runs, Storage

__all__ = ["cropped"]

_MOST_RUNS = 2**20
_LEAST_RUN_BYTES = 4096
"""Shorter runs of bytes cost more than what is left out."""


def cropped(layout: DatasetLayout, needed: Sequence[np.ndarray]) -> DatasetLayout:
    """Return the same dataset, with no more of each row than what is needed and its surroundings.

    Parameters
    ----------
    layout : DatasetLayout
        With its chunk table, if it has chunks.
    needed : sequence of numpy.ndarray
        int64, increasing, for each axis of a row: positions that are needed.

    Returns
    -------
    DatasetLayout
        Its `inner` says which positions are left.
    """
    if all(len(some) == size for some, size in zip(needed, layout.row_shape, strict=True)):
        return layout
    if layout.storage is Storage.CONTIGUOUS and not layout.indirect and not layout.axis:
        layout = _as_chunks(layout, needed)
    if layout.storage is Storage.CONTIGUOUS and not layout.indirect and not layout.axis:
        return layout
    units = layout.chunks[1:] if layout.chunks else (1,) * len(needed)
    kept = [np.unique(some // unit) for some, unit in zip(needed, units, strict=True)]
    inner = tuple(
        _runs(places * unit, np.minimum((places + 1) * unit, size))
        for places, unit, size in zip(kept, units, layout.row_shape, strict=True)
    )
    sizes = (sum(stop - start for start, stop in runs) for runs in inner)
    smaller = replace(layout, shape=(layout.n_rows, *sizes), inner=inner)
    if layout.table is None:
        return smaller
    return replace(smaller, table=_kept_chunks(layout, smaller, kept))


def _runs(starts: np.ndarray, stops: np.ndarray) -> Runs:
    """Join ranges that follow each other."""
    first = np.concatenate([[True], starts[1:] != stops[:-1]])[: len(starts)]
    last = np.concatenate([starts[1:] != stops[:-1], [True]])[-len(starts) :]
    return tuple(zip(starts[first].tolist(), stops[last].tolist(), strict=True))


def _kept_chunks(
    layout: DatasetLayout, smaller: DatasetLayout, kept: Sequence[np.ndarray]
) -> ChunkTable:
    """Keep the chunks at some places of each row, and count places anew."""
    table = layout.table
    assert table is not None, "only chunks that were listed can be kept"
    rows, *places = np.unravel_index(table.index, layout.grid)
    stays = np.ones(len(table), np.bool_)
    counted = []
    for some, own in zip(kept, places, strict=True):
        at = np.minimum(np.searchsorted(some, own), len(some) - 1)
        stays &= some[at] == own
        counted.append(at)
    index = np.ravel_multi_index((rows, *counted), smaller.grid, mode="clip")[stays]
    columns = (table.byte_offset, table.size, table.filter_mask)
    return ChunkTable(index.astype(np.int64), *(column[stays] for column in columns))


def _as_chunks(layout: DatasetLayout, needed: Sequence[np.ndarray]) -> DatasetLayout:
    """See a contiguous dataset as runs of bytes, if many of them are not needed."""
    shares = [len(some) / size for some, size in zip(needed, layout.row_shape, strict=True)]
    restricted = [axis for axis, share in enumerate(shares) if share < 1]
    for axis in reversed(range(restricted[-1] + 1)):
        count = layout.n_rows * math.prod(layout.row_shape[: axis + 1])
        run_shape = layout.row_shape[axis + 1 :]
        run_bytes = math.prod(run_shape) * layout.dtype.itemsize
        if count > _MOST_RUNS or run_bytes < _LEAST_RUN_BYTES:
            continue
        if math.prod(shares[: axis + 1]) > 1 / 2 or layout.byte_offset is None:
            break
        index = np.arange(count, dtype=np.int64)
        table = ChunkTable(
            index,
            layout.byte_offset + index * run_bytes,
            np.full(count, run_bytes, np.int64),
            np.zeros(count, np.uint32),
        )
        chunks = (1,) * (axis + 2) + run_shape
        return replace(layout, storage=Storage.CHUNKED, chunks=chunks, table=table)
    return layout
