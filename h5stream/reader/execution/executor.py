"""Runs read tasks: fetches the ranges of one, and turns them into rows of a window's buffers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from h5stream.cancellation import NEVER, Cancellation
from h5stream.decode import Scratch
from h5stream.fetch import Fetched
from h5stream.fetch.file import AtHand
from h5stream.fields import DenseField
from h5stream.plan import expand_spans
from h5stream.reader.execution.chunks import read_chunks
from h5stream.reader.execution.destination import columns_of
from h5stream.reader.execution.files import OpenFiles
from h5stream.reader.execution.heap import read_heap
from h5stream.reader.execution.raw_rows import read_raw_rows
from h5stream.reader.execution.run import Run
from h5stream.reader.planning.datasets import DatasetPlans
from h5stream.reader.stats import Stats
from h5stream.reader.tasks import (
    Body,
    Chunks,
    Copies,
    Destination,
    HeapObjects,
    RawRows,
    ReadTask,
    Resident,
    Target,
    Tasks,
    ThroughHDF5,
)

__all__ = ["Executor", "run_direct"]


class Executor:
    """Runs the tasks of one catalog in one process, on any number of threads.

    Parameters
    ----------
    plans : DatasetPlans
        Plans the reads of what stays in memory.
    stats : Stats
        Where bytes and seconds are counted.
    """

    def __init__(self, plans: DatasetPlans, stats: Stats) -> None:
        self.files = OpenFiles(plans.access, stats)
        self._plans = plans
        self._stats = stats
        self._resident: dict[int, tuple[DenseField, np.ndarray]] = {}
        self._loading = threading.Lock()
        self._of_thread = threading.local()

    def scratch(self) -> Scratch:
        """Return the working memory of the calling thread."""
        found: Scratch | None = getattr(self._of_thread, "scratch", None)
        if found is None:
            found = self._of_thread.scratch = Scratch()
        return found

    def fetch(self, task: ReadTask, until: Cancellation = NEVER) -> Fetched:
        """Ask for the ranges of a task, and return at once."""
        if task.file is None or task.version is None:
            return AtHand()
        file = self.files.file(task.file, task.version)
        fetched = file.fetch(task.offset, task.size, until)
        if fetched.requests or fetched.cached_bytes:
            self._stats.add(
                requests=fetched.requests,
                fetched_bytes=fetched.moved_bytes,
                cached_bytes=fetched.cached_bytes,
            )
        return fetched

    def run(
        self,
        task: ReadTask,
        fetched: Fetched,
        memory: Sequence[np.ndarray],
        scratch: Scratch,
        until: Cancellation = NEVER,
    ) -> None:
        """Fill a task's part of the buffers, once its ranges are there.

        Parameters
        ----------
        task : ReadTask
            The task.
        fetched : Fetched
            Its ranges; they are let go of.
        memory : sequence of numpy.ndarray
            The buffers.
        scratch : Scratch
            Working memory of the calling thread.
        until : Cancellation
            Ends what waits for more.
        """
        run = Run(fetched, memory, scratch, until)
        try:
            _HOW[type(task.body)](self, task.body, run)
        finally:
            run.count(self._stats)
            fetched.drop()

    def _run_all(self, body: Tasks, run: Run) -> None:
        for task in body.tasks:
            _HOW[type(task.body)](self, task.body, run)

    def _read_through_hdf5(self, body: ThroughHDF5, run: Run) -> None:
        fallback = self.files.fallback(body.layout.file, body.version)
        first, last = body.extent
        started = time.perf_counter()
        rows = fallback.read(body.layout, first, last, run.fetched.extents(), run.until)
        columns = columns_of(body.destination, run.memory)
        spans = zip(body.start.tolist(), body.stop.tolist(), body.dest.tolist(), strict=True)
        for start, stop, dest in spans:
            columns.put(rows[start - first : stop - first], dest)
        run.decode_s += time.perf_counter() - started
        run.decoded_bytes += rows.nbytes

    def _copy_resident(self, body: Resident, run: Run) -> None:
        with self._loading:
            known = self._resident.get(id(body.field))
            if known is None:
                known = body.field, self._load(body, run)
                self._resident[id(body.field)] = known
        rows = expand_spans(body.start, body.stop)
        numbers = expand_spans(body.dest, body.dest + (body.stop - body.start))
        columns = columns_of(body.destination, run.memory)
        places = numbers if columns.places is None else columns.places[numbers]
        ((_field, column),) = columns.targets
        column[places] = known[1][rows]

    def _load(self, body: Resident, run: Run) -> np.ndarray:
        """Read a field whole."""
        field = body.field
        rows = np.empty((field.n_rows, *field.row_shape), field.dtype)
        whole = (np.array([0]), np.array([field.n_rows]), np.array([0]))
        marks = {field.layout.file: body.version}
        tasks = list(self._plans.rows(marks, whole, Destination((Target(field, 0),))))
        for task, fetched in [(task, self.fetch(task, run.until)) for task in tasks]:
            fetched.settle()
            self.run(task, fetched, [rows], run.scratch, run.until)
        return rows


def run_direct(body: Body, run: Run) -> None:
    """Do what is read without HDF5, with nothing else at hand."""
    _DIRECT[type(body)](body, run)


def _run_direct(_executor: Executor, body: Body, run: Run) -> None:
    run_direct(body, run)


def _copy(_executor: Executor, body: Copies, run: Run) -> None:
    values = body.rows.values
    run.memory[body.buffer][body.begin : body.begin + len(values)] = values


_DIRECT: dict[type, Callable[[Any, Run], None]] = {
    RawRows: read_raw_rows,
    Chunks: read_chunks,
    HeapObjects: read_heap,
}
"""Kind of task -> what does it without HDF5."""

_HOW: dict[type, Callable[[Executor, Any, Run], None]] = {
    **dict.fromkeys(_DIRECT, _run_direct),
    ThroughHDF5: Executor._read_through_hdf5,
    Resident: Executor._copy_resident,
    Copies: _copy,
    Tasks: Executor._run_all,
}
"""Kind of task -> what does it."""
