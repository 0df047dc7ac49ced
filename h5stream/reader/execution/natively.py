"""Does what it can of a task by the native executor; the rest and all errors are left to Python."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from h5stream.native import Bytes, Done, NativeRows, Window
from h5stream.plan import Runs, expand_spans
from h5stream.reader.execution.destination import Columns
from h5stream.reader.execution.run import Run
from h5stream.reader.planning.direct import GAP_BYTES
from h5stream.reader.tasks import Chunks, Fills, RawRows

__all__ = ["runs_without_interpreter", "without_interpreter"]


def without_interpreter(body: Chunks, columns: Columns, run: Run) -> Chunks:
    """Bring rows of chunks, and return what is left to do."""
    with _source(body, run, run.fetched.limits.max_gap_bytes) as source:
        if source is None:
            return body
        native = NativeRows(body.layout)
        window = _window(native, columns, body)
        if window is None and _lacks_chunks(body):
            return body
        brought = native.read_chunks(source, body, window, _Put(columns, run), run.scratch)
    _count(run, brought.done)
    return body if brought.left.all() else _rest_of(body, brought.left)


def runs_without_interpreter(body: RawRows, columns: Columns, run: Run) -> RawRows:
    """Bring runs of rows as they are stored, and return what is left to do."""
    with _source(body, run, 0 if body.bounds is None else GAP_BYTES) as source:
        if source is None:
            return body
        native = NativeRows(body.layout)
        runs = Runs(body.offset, body.dest, body.rows)
        window = _window(native, columns, body)
        brought = native.read_runs(source, runs, window, _Put(columns, run), run.scratch)
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


@contextmanager
def _source(body: Chunks | RawRows, run: Run, max_gap_bytes: int) -> Iterator[Bytes | None]:
    """Say where the bytes of a task are; None if Python reads them."""
    if not len(body.offset):
        yield None
        return
    with run.fetched.lend() as lent:
        if lent is None or NativeRows.misfit(body.layout):
            yield None
            return
        max_bytes = run.fetched.limits.max_bytes
        yield Bytes(lent.descriptor, max_gap_bytes, max_bytes, lent.offset, lent.parts)


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
    run.fetched.count(done.fetched_bytes)
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
