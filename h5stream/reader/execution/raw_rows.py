"""Reads rows that are stored as they are in memory, straight to their places where they can."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np

from h5stream.plan import expand_spans
from h5stream.reader.execution.destination import Columns, columns_of
from h5stream.reader.execution.natively import runs_without_interpreter
from h5stream.reader.execution.run import Run
from h5stream.reader.tasks import RawRows

__all__ = ["read_raw_rows"]

_LONG_ROW_BYTES = 2048
"""From this on, a row is worth an entry of its own in a vectored read."""


def read_raw_rows(body: RawRows, run: Run) -> None:
    """Read runs of rows, neighbours in the file together."""
    columns = columns_of(body.destination, run.memory)
    columns.fill_all(body.layout, body.fills)
    body = runs_without_interpreter(body, columns, run)
    if body.bounds is not None:
        _read_short(body, body.bounds, columns, run)
    elif _may_be_placed(body, columns):
        _read_in_place(body, columns, run)
    else:
        _read_long(body, columns, run)


def _may_be_placed(body: RawRows, columns: Columns) -> bool:
    """Whether bytes of the file are bytes of the column, and worth reading straight there."""
    in_place = columns.fits(body.layout) and body.layout.dtype.isnative
    return in_place and (columns.places is None or body.layout.row_nbytes >= _LONG_ROW_BYTES)


def _read_short(body: RawRows, bounds: np.ndarray, columns: Columns, run: Run) -> None:
    """Read runs with what lies between them, and put all rows to their places together."""
    row_nbytes = body.layout.row_nbytes
    for first, last in pairwise(bounds.tolist()):
        offset, rows, dest = body.offset[first:last], body.rows[first:last], body.dest[first:last]
        origin = int(offset[0])
        start = (offset - origin) // row_nbytes
        elements = _stored_rows(body, origin, int((start + rows).max()), run)
        started = time.perf_counter()
        columns.put_scattered(
            elements,
            expand_spans(start, start + rows),
            expand_spans(dest, dest + rows),
            run.scratch,
        )
        run.gather_s += time.perf_counter() - started


def _read_in_place(body: RawRows, columns: Columns, run: Run) -> None:
    buffers: list[np.ndarray] = []
    begin = end = -1
    runs = zip(body.offset.tolist(), body.dest.tolist(), body.rows.tolist(), strict=True)
    for offset, first, rows in runs:
        if offset != end and buffers:
            run.read_into(begin, buffers)
            buffers = []
        if not buffers:
            begin = offset
        buffers.extend(columns.raw_rows(first, rows))
        end = offset + rows * body.layout.row_nbytes
    if buffers:
        run.read_into(begin, buffers)


def _read_long(body: RawRows, columns: Columns, run: Run) -> None:
    runs = zip(body.offset.tolist(), body.dest.tolist(), body.rows.tolist(), strict=True)
    for offset, first, rows in runs:
        elements = _stored_rows(body, offset, rows, run)
        started = time.perf_counter()
        columns.put(elements, first)
        run.gather_s += time.perf_counter() - started


def _stored_rows(body: RawRows, offset: int, rows: int, run: Run) -> np.ndarray:
    """Return rows that lie one after the other, good until the next are asked for."""
    layout = body.layout
    data = run.read(offset, rows * layout.row_nbytes)
    return data.view(layout.dtype).reshape(rows, *layout.row_shape)
