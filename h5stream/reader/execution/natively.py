"""Does what it can of a task by the native executor; the rest and all errors are left to Python."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from h5stream.native import Done, NativeRows, Window, can_call_native
from h5stream.plan import Runs, expand_spans
from h5stream.reader.execution.destination import Columns, columns_of
from h5stream.reader.execution.run import Run
from h5stream.reader.tasks import Chunks, Fills, RawRows

__all__ = ["runs_without_interpreter", "without_interpreter"]

_GAP_BYTES = 2**17
"""Bytes between short runs that are read sooner than a read of its own is made."""


def without_interpreter(body: Chunks, run: Run) -> Chunks:
    """Bring rows of chunks, and return what is left to do."""
    layout = body.layout
    if not len(body.offset) or not can_call_native(run.fetched) or NativeRows.misfit(layout):
        return body
    columns = columns_of(body.destination, run.memory)
    native = NativeRows(layout)
    window = _window(native, columns, body)
    if window is None and _lacks_chunks(body):
        return body
    put = _Put(columns, run)
    brought = native.read_chunks(run.fetched, body, window, put, run.scratch)
    _count(run, brought.done)
    return body if brought.left.all() else _rest_of(body, brought.left)


def runs_without_interpreter(body: RawRows, run: Run) -> RawRows:
    """Bring runs of rows as they are stored, and return what is left to do."""
    if not len(body.offset) or not can_call_native(run.fetched) or NativeRows.misfit(body.layout):
        return body
    columns = columns_of(body.destination, run.memory)
    native = NativeRows(body.layout)
    window = _window(native, columns, body)
    gap = 0 if body.bounds is None else _GAP_BYTES
    runs = Runs(body.offset, body.dest, body.rows)
    put = _Put(columns, run)
    brought = native.read_runs(run.fetched, runs, window, put, run.scratch, max_gap_bytes=gap)
    _count(run, brought.done)
    if brought.left.all():
        return body
    left = np.flatnonzero(brought.left)
    return replace(
        body,
        offset=body.offset[left],
        dest=body.dest[left],
        rows=body.rows[left],
        bounds=None,
        fills=Fills(),
    )


def _lacks_chunks(body: Chunks) -> bool:
    """Whether some chunk rows are stored in part only."""
    if body.chunk_bounds is None:
        return False
    return bool((np.diff(body.chunk_bounds) < body.layout.chunks_per_chunk_row).any())


class _Put:
    """Takes rows that are converted or split up to their places."""

    def __init__(self, columns: Columns, run: Run) -> None:
        self._columns = columns
        self._run = run

    def __call__(self, elements: np.ndarray, numbers: np.ndarray) -> None:
        started = time.perf_counter()
        self._columns.put_numbered(elements, numbers)
        self._run.gather_s += time.perf_counter() - started


def _window(native: NativeRows, columns: Columns, body: Chunks | RawRows) -> Window | None:
    """Return where rows go as they are stored, None if they are converted or split up."""
    if not columns.fits(body.layout):
        return None
    return native.window_of(columns.targets[0][1], columns.places)


def _count(run: Run, done: Done) -> None:
    run.fetch_s += done.fetch_s
    run.decode_s += done.decode_s
    run.gather_s += done.place_s
    run.decoded_bytes += done.decoded_bytes


def _rest_of(body: Chunks, left: np.ndarray) -> Chunks:
    """Return some of the chunk rows; nothing of them is filled again."""
    chosen = np.flatnonzero(left)
    chunks, chunk_bounds = chosen, body.chunk_bounds
    if chunk_bounds is not None:
        chunks = expand_spans(chunk_bounds[chosen], chunk_bounds[chosen + 1])
        chunk_bounds = np.append(0, np.cumsum(np.diff(chunk_bounds)[chosen]))
    segments = expand_spans(body.bounds[chosen], body.bounds[chosen + 1])
    return replace(
        body,
        index=body.index[chunks],
        offset=body.offset[chunks],
        size=body.size[chunks],
        filter_mask=body.filter_mask[chunks],
        bounds=np.append(0, np.cumsum(np.diff(body.bounds)[chosen])),
        start=body.start[segments],
        rows=body.rows[segments],
        dest=body.dest[segments],
        first_row=body.first_row[chosen],
        chunk_bounds=chunk_bounds,
        fills=Fills(),
    )
