"""Brings rows of one dataset to a column with one call of the executor.

Where the column takes elements as they are stored, rows go straight to their places. Else they
are put together in the thread's scratch memory, and converted and placed from there at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from h5stream.decode import DECODERS, Pipeline, Scratch
from h5stream.layout import DatasetLayout
from h5stream.native.choice import choose_executor
from h5stream.native.job import Bytes, Done, Pieces, Plans, Sizes, Window, run_job
from h5stream.native.library import load_library
from h5stream.plan import Runs, expand_spans

__all__ = ["Brought", "Chunks", "NativeRows", "Put"]

Put = Callable[[np.ndarray, np.ndarray], None]
"""Takes decoded rows, and their numbers in the window, to their places."""

_NONE = np.empty(0, np.int64)
_KEEPS = -1


class Chunks(Protocol):
    """Chunks, and which rows of them go where, as `reader.tasks.Chunks` says."""

    @property
    def offset(self) -> np.ndarray:
        """First byte of each chunk."""

    @property
    def size(self) -> np.ndarray:
        """Stored bytes of each chunk."""

    @property
    def filter_mask(self) -> np.ndarray:
        """Filters that each chunk skipped."""

    @property
    def index(self) -> np.ndarray:
        """Place of each chunk in the grid."""

    @property
    def bounds(self) -> np.ndarray:
        """Segments of each chunk row."""

    @property
    def start(self) -> np.ndarray:
        """First row of each segment in its chunk row."""

    @property
    def rows(self) -> np.ndarray:
        """Rows of each segment."""

    @property
    def dest(self) -> np.ndarray:
        """Number of each segment's first row in the window."""

    @property
    def chunk_bounds(self) -> np.ndarray | None:
        """Chunks of each chunk row; None: one each."""


@dataclass(frozen=True, eq=False, slots=True)
class Brought:
    """What came of a job.

    Parameters
    ----------
    left : numpy.ndarray
        bool: which chunk rows, or runs, could not be brought.
    done : Done
        Bytes and seconds.
    """

    left: np.ndarray
    done: Done


class NativeRows:
    """Reads one dataset by the native executor.

    Parameters
    ----------
    layout : DatasetLayout
        One without a misfit.
    """

    def __init__(self, layout: DatasetLayout) -> None:
        self._layout = layout
        self._pipeline = Pipeline(layout.filters, layout.chunk_nbytes)
        self._library = load_library()
        self._axes = _split_axes(layout)

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
        return Window(column, places)

    def read_chunks(
        self, source: Bytes, body: Chunks, window: Window | None, put: Put, scratch: Scratch
    ) -> Brought:
        """Bring rows of chunks; those that are not stored have been filled.

        Parameters
        ----------
        source : Bytes
            Where bytes come from.
        body : Chunks
            Which chunks, and which rows of them.
        window : Window or None
            Where rows go, if they go as they are stored.
        put : callable
            Takes them there else; each chunk row is then stored whole.
        scratch : Scratch
            Working memory of the calling thread.
        """
        layout = self._layout
        assert layout.chunks is not None, "chunks need a shape"
        owner = np.arange(len(body.bounds) - 1)
        if body.chunk_bounds is not None:
            owner = np.repeat(owner, np.diff(body.chunk_bounds))
        order = np.argsort(body.offset, kind="stable")
        owner, size = owner[order], body.size[order]
        at = expand_spans(body.bounds[owner], body.bounds[owner + 1])
        plans, plan = self._plans_of(body.filter_mask[order])
        pieces = Pieces(
            offset=body.offset[order],
            size=size,
            plan=plan,
            first_segment=np.append(0, np.cumsum(np.diff(body.bounds)[owner])),
            start=body.start[at],
            rows=body.rows[at],
            number=body.dest[at],
            corner=self._corners(body.index[order]),
        )
        stored = int(size.max(initial=0)) if len(plans.steps) > 1 else 0
        sizes = Sizes(
            layout.chunk_nbytes,
            layout.chunks[0],
            layout.row_nbytes,
            *self._axes,
            work_nbytes=max(stored, layout.chunk_nbytes + 4 * len(layout.filters)),
        )
        done = self._bring(source, (pieces, plans, sizes), window, put, scratch)
        left = np.zeros(len(body.bounds) - 1, np.bool_)
        left[owner[done.status != 0]] = True
        return Brought(left, done)

    def read_runs(
        self, source: Bytes, runs: Runs, window: Window | None, put: Put, scratch: Scratch
    ) -> Brought:
        """Bring runs of rows that are stored as they are in memory.

        Parameters
        ----------
        source : Bytes
            Where bytes come from.
        runs : Runs
            Which rows.
        window, put, scratch
            As for `read_chunks`.
        """
        row_nbytes = self._layout.row_nbytes
        pieces = Pieces(
            offset=runs.offset,
            size=runs.rows * row_nbytes,
            plan=np.zeros(len(runs), np.int64),
            first_segment=np.arange(len(runs) + 1),
            start=np.zeros(len(runs), np.int64),
            rows=runs.rows,
            number=runs.dest,
            corner=_NONE,
        )
        plans = Plans(np.zeros(2, np.int64), np.empty((0, 4), np.int64))
        job = (pieces, plans, Sizes(0, 0, row_nbytes, _NONE, _NONE))
        done = self._bring(source, job, window, put, scratch)
        return Brought(done.status != 0, done)

    def _bring(
        self,
        source: Bytes,
        job: tuple[Pieces, Plans, Sizes],
        window: Window | None,
        put: Put,
        scratch: Scratch,
    ) -> Done:
        """Do a job."""
        if window is None:
            return self._bring_and_put(source, job, put, scratch)
        return run_job(self._library, source, *job, window, scratch)

    def _bring_and_put(
        self, source: Bytes, job: tuple[Pieces, Plans, Sizes], put: Put, scratch: Scratch
    ) -> Done:
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
        done = run_job(self._library, source, near, plans, sizes, Window(rows, None), scratch)
        put(rows, numbers)
        return done

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

    def _corners(self, index: np.ndarray) -> np.ndarray:
        """Return where in a row each chunk begins."""
        layout, n_axes = self._layout, len(self._axes[0])
        if not n_axes:
            return _NONE
        within = index % layout.chunks_per_chunk_row
        places = np.unravel_index(within, layout.grid[1:])[:n_axes]
        return np.ascontiguousarray(np.stack(places, axis=1) * self._axes[1], np.int64)


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
