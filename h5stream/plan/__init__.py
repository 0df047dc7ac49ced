"""WHICH rows are read, in WHAT order: pure functions over integers.

`row_chunks` cuts files into row chunks, `order` draws permutations, `lanes` cuts an epoch's
order into lanes, windows and batches, `reads` says which chunks serve the rows of a window.
Nothing here knows of files, arrays of data, threads or torch; defaults live elsewhere.
"""

from h5stream.plan.lanes import (
    Cut,
    LaneRows,
    Pieces,
    batches_done,
    cut_lanes,
    cut_windows,
    lane_batches,
    lane_pieces,
)
from h5stream.plan.order import permutation
from h5stream.plan.reads import Segments, split_at_chunks
from h5stream.plan.row_chunks import RowChunk, RowChunks, cut_row_chunks, rows_per_row_chunk

__all__ = [
    "Cut",
    "LaneRows",
    "Pieces",
    "RowChunk",
    "RowChunks",
    "Segments",
    "batches_done",
    "cut_lanes",
    "cut_row_chunks",
    "cut_windows",
    "lane_batches",
    "lane_pieces",
    "permutation",
    "rows_per_row_chunk",
    "split_at_chunks",
]
