"""Reads windows: buffers and columns for what was planned, and the threads that fill them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor as Threads
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from h5stream.cancellation import NEVER, Cancellation
from h5stream.columns import Column
from h5stream.fetch import DataFile
from h5stream.fetch.buffers import BufferPool
from h5stream.plan import Pieces
from h5stream.reader.catalog import Catalog
from h5stream.reader.execution.executor import Executor
from h5stream.reader.execution.threads import run_here, start_tasks
from h5stream.reader.planning.window import WindowPlan, WindowPlanner
from h5stream.reader.stats import Stats
from h5stream.reader.tasks import ReadTask

__all__ = ["Reader", "WindowReads"]


@dataclass(frozen=True, eq=False, slots=True)
class WindowReads:
    """The columns of a window, whose values are there once all tasks are done.

    Parameters
    ----------
    plan : WindowPlan
        What was planned.
    memory : sequence of numpy.ndarray
        The buffers.
    columns : dict
        Key -> column.
    files : sequence of DataFile
        All that the tasks read.
    """

    plan: WindowPlan
    memory: Sequence[np.ndarray]
    columns: dict[str, Column]
    files: Sequence[DataFile]

    @property
    def n_rows(self) -> int:
        """Rows of the window."""
        return self.plan.n_rows

    def check_unchanged(self) -> None:
        """Raise unless all files that the tasks read are still the ones that were scanned.

        Raises
        ------
        FetchError
            Naming the file that changed.
        """
        for file in self.files:
            file.check_unchanged()

    def check_values(self) -> None:
        """Raise if what was read cannot be right.

        Raises
        ------
        DecodeError
            Naming the dataset.
        """
        for name, column in self.plan.columns.items():
            column.check(self.memory, self.columns[name])


class Reader:
    """Reads windows of one catalog, in one process, for any number of iterators.

    Buffers and what stays in memory outlive an epoch; files are opened when they are needed.

    Parameters
    ----------
    catalog : Catalog
        The files.
    stats : Stats
        Where bytes and seconds are counted.
    instances : int
        How many processes read the catalog together.
    """

    def __init__(self, catalog: Catalog, stats: Stats, *, instances: int = 1) -> None:
        self.catalog = catalog
        self.stats = stats
        self._pool = BufferPool()
        self._planner = WindowPlanner(catalog, instances=instances)
        self.executor = Executor(self._planner.datasets, stats)

    def window(
        self,
        pieces: Pieces,
        places: np.ndarray | None = None,
        *,
        seed: int = 0,
        epoch: int = 0,
    ) -> WindowReads:
        """Plan to read the pieces, and make the columns; see `WindowPlanner.plan`."""
        plan = self._planner.plan(pieces, places, seed=seed, epoch=epoch)
        memory = [self._pool.array(buffer.shape, buffer.dtype) for buffer in plan.buffers]
        columns = {name: column.make(memory) for name, column in plan.columns.items()}
        files = [self.executor.files.file(*mark) for mark in plan.files.items()]
        return WindowReads(plan, memory, columns, files)

    def start(
        self,
        threads: Threads,
        reads: WindowReads,
        until: Cancellation = NEVER,
        tasks: Sequence[ReadTask] | None = None,
    ) -> list[Future[None]]:
        """Start the tasks of a window, or some of them, on threads; see `start_tasks`."""
        some = reads.plan.tasks if tasks is None else tasks
        return start_tasks(threads, self.executor, some, reads.memory, until)

    def run(self, reads: WindowReads, tasks: Sequence[ReadTask] | None = None) -> None:
        """Do the tasks of a window, or some of them, on the calling thread."""
        some = reads.plan.tasks if tasks is None else tasks
        run_here(self.executor, some, reads.memory, self.executor.scratch())

    def release_files(self) -> None:
        """Let go of all files; a task that still needs one opens it again."""
        self.executor.files.release()

    def forget_buffers(self) -> None:
        """Give the memory of windows back to the system, once nobody holds it any more."""
        self._pool.forget()
