"""WHICH rows are read, in WHAT order: pure functions over integers.

`row_chunks` cuts files into row chunks, `order` draws permutations, `lanes` cuts an epoch's
order into lanes, windows and batches, `buckets` deals rows to batches by length, `reads` says
which chunks serve the rows of a window, `cover` which ranges serve many that overlap,
`seeds` what each row's random numbers come from, `weighted` which rows are drawn by weight.
Nothing here knows of files, arrays of data, threads or torch; defaults live elsewhere.
"""

from h5stream.plan.buckets import budget_buckets, even_buckets
from h5stream.plan.cover import Cover, cover_ranges, expand_spans
from h5stream.plan.lanes import (
    Cut,
    LaneRows,
    Pieces,
    batches_done,
    cut_lanes,
    cut_windows,
    dropped_rows,
    lane_batches,
    lane_pieces,
    window_target,
)
from h5stream.plan.order import permutation, spread_permutation
from h5stream.plan.reads import (
    Runs,
    Segments,
    cut_by_weight,
    join_runs,
    join_stretches,
    split_at_bounds,
    split_at_chunks,
)
from h5stream.plan.row_chunks import RowChunk, RowChunks, join_bounds, rows_per_row_chunk
from h5stream.plan.seeds import row_seeds
from h5stream.plan.weighted import Draws, draw_rows

__all__ = [
    "Cover",
    "Cut",
    "Draws",
    "LaneRows",
    "Pieces",
    "RowChunk",
    "RowChunks",
    "Runs",
    "Segments",
    "batches_done",
    "budget_buckets",
    "cover_ranges",
    "cut_by_weight",
    "cut_lanes",
    "cut_windows",
    "draw_rows",
    "dropped_rows",
    "even_buckets",
    "expand_spans",
    "join_bounds",
    "join_runs",
    "join_stretches",
    "lane_batches",
    "lane_pieces",
    "permutation",
    "row_seeds",
    "rows_per_row_chunk",
    "split_at_bounds",
    "split_at_chunks",
    "spread_permutation",
    "window_target",
]
