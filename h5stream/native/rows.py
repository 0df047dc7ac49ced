"""Brings rows of one dataset to a column with one call of the executor.

Where the column takes elements as they are stored, rows go straight to their places. Else they
are put together in the thread's scratch memory, and converted and placed from there at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from h5stream.decode import DECODERS, Pipeline, Scratch
from h5stream.layout import ChunkTable, DatasetLayout
from h5stream.native.choice import choose_executor
from h5stream.native.job import FILL, Bytes, Pieces, Plans, Sizes, Window, run_job
from h5stream.native.library import load_library
from h5stream.plan import Runs, Segments, expand_spans

__all__ = ["NativeRows", "Put", "can_call_native"]

Put = Callable[[np.ndarray, np.ndarray], None]
"""Takes decoded rows, and their numbers in the window, to their places."""

_NONE = np.empty(0, np.int64)
_KEEPS = -1


class _Counters(Protocol):
    def add(self, **amounts: float) -> None:
        """Add to several counters at once."""


class NativeRows:
    """Reads one dataset by the native executor.

    Parameters
    ----------
    layout : DatasetLayout
        One without a misfit.
    pipeline : Pipeline
        Its filters.
    stats : Stats
        Where bytes and seconds are counted.
    """

    def __init__(self, layout: DatasetLayout, pipeline: Pipeline, stats: _Counters) -> None:
        self._layout = layout
        self._pipeline = pipeline
        self._stats = stats
        self._library = load_library()
        self._axes = _split_axes(layout)
        whole = np.broadcast_to(np.asarray(layout.fill, layout.dtype), layout.row_shape)
        self._fill = np.frombuffer(whole.tobytes(), np.uint8)

    @staticmethod
    def misfit(layout: DatasetLayout) -> str | None:
        """Say why Python reads a dataset, None if the native executor can.

        Raises
        ------
        ConfigError
            If `H5STREAM_EXECUTOR` asks for the native executor, and there is none.
        """
        executor = choose_executor()
        if not executor.is_native:
            return executor.reason
        if layout.axis or layout.fill is None or not layout.row_nbytes:
            return "its rows are not along the first axis, or are empty"
        if not {spec.id for spec in layout.filters} <= load_library().filters:
            return "it has a filter that has no native decoder"
        return None

    def window_of(self, column: np.ndarray, places: np.ndarray | None) -> Window | None:
        """Return where rows go as they are stored, None if a column does not take them so."""
        as_stored = self._layout.dtype.isnative and column.flags.c_contiguous
        if not as_stored or column.nbytes != len(column) * self._layout.row_nbytes:
            return None
        return Window(column, places, self._fill)

    def read_chunks(
        self,
        file: Any,
        segments: Segments,
        entries: tuple[np.ndarray, np.ndarray],
        window: Window | None,
        put: Put,
        scratch: Scratch,
    ) -> Segments:
        """Bring rows of chunks.

        Parameters
        ----------
        file : DataFile
            Where bytes come from.
        segments : Segments
            Which rows.
        entries : (numpy.ndarray, numpy.ndarray)
            int64: for each of their chunk rows, the first entry of the chunk table, and one past
            the last.
        window : Window or None
            Where they go, if they go as they are stored.
        put : callable
            Takes them there else.
        scratch : Scratch
            Working memory of the calling thread.

        Returns
        -------
        Segments
            What could not be brought.
        """
        layout, (begin, end) = self._layout, entries
        table = layout.table
        assert table is not None, "chunks need a table"
        assert layout.chunks is not None, "chunks need a shape"
        chunk_rows, bounds = segments.groups()
        entry = expand_spans(begin, end)
        entry_owner = np.repeat(np.arange(len(begin)), end - begin)
        order = np.argsort(table.byte_offset[entry], kind="stable")
        entry, entry_owner = entry[order], entry_owner[order]
        lacking = np.flatnonzero(end - begin < layout.chunks_per_chunk_row)
        owner = np.concatenate([lacking, entry_owner])
        at = expand_spans(bounds[owner], bounds[owner + 1])
        plans, plan = self._plans_of(table.filter_mask[entry])
        size = table.size[entry]
        pieces = Pieces(
            offset=np.concatenate([np.full(len(lacking), -1), table.byte_offset[entry]]),
            size=np.concatenate([np.zeros(len(lacking), np.int64), size]),
            plan=np.concatenate([np.full(len(lacking), FILL), plan]),
            first_segment=np.append(0, np.cumsum((bounds[1:] - bounds[:-1])[owner])),
            start=(segments.start - segments.chunk_row * layout.chunks[0])[at],
            rows=(segments.stop - segments.start)[at],
            number=segments.dest[at],
            corner=self._corners(table, entry, len(lacking)),
        )
        stored = int(size.max(initial=0)) if len(plans.steps) > 1 else 0
        sizes = Sizes(
            layout.chunk_nbytes,
            layout.chunks[0],
            layout.row_nbytes,
            *self._axes,
            work_nbytes=max(stored, layout.chunk_nbytes + 4 * len(layout.filters)),
        )
        job = (pieces, plans, sizes)
        status = self._bring(file, job, window, put, scratch, file.limits.max_gap_bytes)
        left = np.zeros(len(chunk_rows), np.bool_)
        left[owner[status != 0]] = True
        return segments.chosen(np.repeat(left, np.diff(bounds)))

    def read_runs(
        self,
        file: Any,
        runs: Runs,
        window: Window | None,
        put: Put,
        scratch: Scratch,
        *,
        max_gap_bytes: int,
    ) -> Runs:
        """Bring runs of rows that are stored as they are in memory.

        Parameters
        ----------
        file : DataFile
            Where bytes come from.
        runs : Runs
            Which rows.
        window, put, scratch
            As for `read_chunks`.
        max_gap_bytes : int
            Between runs that are read together.

        Returns
        -------
        Runs
            What could not be brought.
        """
        row_nbytes, nowhere = self._layout.row_nbytes, runs.offset < 0
        pieces = Pieces(
            offset=runs.offset,
            size=np.where(nowhere, 0, runs.rows * row_nbytes),
            plan=np.where(nowhere, FILL, 0),
            first_segment=np.arange(len(runs) + 1),
            start=np.zeros(len(runs), np.int64),
            rows=runs.rows,
            number=runs.dest,
            corner=_NONE,
        )
        plans = Plans(np.zeros(2, np.int64), np.empty((0, 4), np.int64))
        job = (pieces, plans, Sizes(0, 0, row_nbytes, _NONE, _NONE))
        status = self._bring(file, job, window, put, scratch, max_gap_bytes)
        left = np.flatnonzero(status)
        return Runs(runs.offset[left], runs.dest[left], runs.rows[left])

    def _bring(
        self,
        file: Any,
        job: tuple[Pieces, Plans, Sizes],
        window: Window | None,
        put: Put,
        scratch: Scratch,
        max_gap_bytes: int,
    ) -> np.ndarray:
        """Do a job; return what came of each piece."""
        pieces, plans, sizes = job
        if window is None:
            return self._bring_and_put(file, job, put, scratch, max_gap_bytes)
        with _bytes_of(file, max_gap_bytes) as source:
            done = run_job(self._library, source, pieces, plans, sizes, window, scratch)
        self._stats.add(
            fetched_bytes=done.fetched_bytes,
            decoded_bytes=done.decoded_bytes,
            fetch_s=done.fetch_s,
            decode_s=done.decode_s,
            gather_s=done.place_s,
        )
        return done.status

    def _bring_and_put(
        self,
        file: Any,
        job: tuple[Pieces, Plans, Sizes],
        put: Put,
        scratch: Scratch,
        max_gap_bytes: int,
    ) -> np.ndarray:
        """Do a job to scratch memory, and put the rows to their places from there."""
        pieces, plans, sizes = job
        numbers, number = np.unique(
            expand_spans(pieces.number, pieces.number + pieces.rows), return_inverse=True
        )
        first = np.append(0, np.cumsum(pieces.rows))[:-1]
        near = replace(pieces, number=number[first] if len(number) else pieces.number)
        layout = self._layout
        memory = scratch.take("native rows", len(numbers) * layout.row_nbytes)
        rows = memory.view(layout.dtype).reshape(len(numbers), *layout.row_shape)
        window = Window(rows, None, self._fill)
        status = self._bring(file, (near, plans, sizes), window, put, scratch, max_gap_bytes)
        put(rows, numbers)
        return status

    def _plans_of(self, masks: np.ndarray) -> tuple[Plans, np.ndarray]:
        """Return how chunks with these filter masks are decoded, and the plan of each."""
        different, plan = [0], np.zeros(len(masks), np.int64)
        if masks.any():
            found, plan = np.unique(masks, return_inverse=True)
            different = found.tolist()
        plans = [self._pipeline.steps(mask) for mask in different]
        steps = [
            (
                step.filter.id,
                step.filter.values[0] if step.filter.values else 0,
                _KEEPS if step.nbytes is None else step.nbytes,
                _KEEPS if (added := DECODERS[step.filter.id].added_bytes) is None else added,
            )
            for steps in plans
            for step in steps
        ]
        first_step = np.append(0, np.cumsum([len(steps) for steps in plans]))
        return Plans(first_step, np.array(steps, np.int64).reshape(-1, 4)), plan.astype(np.int64)

    def _corners(self, table: ChunkTable, entry: np.ndarray, lacking: int) -> np.ndarray:
        """Return where in a row each chunk begins, after those that are not stored."""
        layout, n_axes = self._layout, len(self._axes[0])
        if not n_axes:
            return _NONE
        within = table.index[entry] % layout.chunks_per_chunk_row
        places = np.unravel_index(within, layout.grid[1:])[:n_axes]
        corners = np.zeros((lacking + len(entry), n_axes), np.int64)
        corners[lacking:] = np.stack(places, axis=1) * self._axes[1]
        return corners


def _split_axes(layout: DatasetLayout) -> tuple[np.ndarray, np.ndarray]:
    """Return the shape of a row and of what a chunk holds of it, the last axis in bytes.

    Axes at the end that chunks do not cut count as one with the axis before them; there are none
    if chunks hold whole rows.
    """
    chunks = (layout.chunks or (1,))[1:]
    if layout.chunks is None or chunks == layout.row_shape:
        return _NONE, _NONE
    row, chunk = list(layout.row_shape), list(chunks)
    row[-1] *= layout.dtype.itemsize
    chunk[-1] *= layout.dtype.itemsize
    while row[-1] == chunk[-1]:
        joined = row.pop()
        del chunk[-1]
        row[-1] *= joined
        chunk[-1] *= joined
    return np.array(row, np.int64), np.array(chunk, np.int64)


def can_call_native(file: Any) -> bool:
    """Tell whether the bytes of a file are there without the interpreter."""
    return hasattr(file, "parts") or hasattr(file, "descriptor")


@contextmanager
def _bytes_of(file: Any, max_gap_bytes: int) -> Iterator[Bytes]:
    """Say where the bytes of a file are, while they stay there."""
    if hasattr(file, "parts"):
        offset, parts = file.parts()
        yield Bytes(-1, 0, 0, np.array(offset, np.int64), parts)
        return
    with file.descriptor() as descriptor:
        yield Bytes(descriptor, max_gap_bytes, file.limits.max_bytes, _NONE)
