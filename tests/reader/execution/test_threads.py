"""Tasks go to a thread when their bytes have come, and not before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

import numpy as np
import pytest

from h5stream.cancellation import NEVER, Cancellation
from h5stream.columns import Ragged
from h5stream.decode import Scratch
from h5stream.fetch import Access, DataFile
from h5stream.fetch.file import AtHand, Room
from h5stream.fields import DenseField
from h5stream.layout import DatasetLayout, Fingerprint, Storage
from h5stream.reader import Stats
from h5stream.reader.execution.executor import Executor
from h5stream.reader.execution.threads import run_here, start_tasks
from h5stream.reader.planning.datasets import DatasetPlans
from h5stream.reader.tasks import Copies, Destination, RawRows, ReadTask, Target

CONTENT = np.arange(100, 200, dtype=np.uint8)


class LateRanges(AtHand):
    """Ranges that arrive when the test says so."""

    requests, moved_bytes, cached_bytes = 2, 100, 7

    def __init__(self) -> None:
        self.arrived: Future[None] = Future()
        self.dropped = False

    def read(self, offset: int, size: int, room: Room) -> np.ndarray:
        return CONTENT[offset : offset + size]

    def settle(self) -> None:
        self.arrived.result(10)

    def drop(self) -> None:
        self.dropped = True

    def cancel(self) -> None:
        self.arrived.cancel()


class LateFile:
    """Records what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[int], list[int]]] = []
        self.given: list[LateRanges] = []

    def fetch(
        self, offset: np.ndarray, size: np.ndarray, until: Cancellation = NEVER
    ) -> LateRanges:
        self.asked.append((offset.tolist(), size.tolist()))
        self.given.append(LateRanges())
        return self.given[-1]

    def check_unchanged(self) -> None:
        """It never changes."""


class LateAccess(Access):
    """The way to one file."""

    def __init__(self, file: LateFile) -> None:
        super().__init__()
        self._file = file

    def data_file(self, *_arguments: object) -> DataFile:
        return self._file


def read_task(offset: int = 5, buffer: int = 0) -> ReadTask:
    """Make a task that reads ten bytes as one row."""
    layout = DatasetLayout("f.h5", "/x", (9, 10), np.dtype("u1"), Storage.CONTIGUOUS)
    one, zero = np.ones(1, np.int64), np.zeros(1, np.int64)
    target = Target(DenseField("x", layout), buffer)
    body = RawRows(layout, Destination((target,)), one * offset, zero, one)
    return ReadTask(body, "f.h5", Fingerprint(100), one * offset, one * 10)


@pytest.fixture
def file() -> LateFile:
    return LateFile()


@pytest.fixture
def stats() -> Stats:
    return Stats()


@pytest.fixture
def executor(file: LateFile, stats: Stats) -> Executor:
    return Executor(DatasetPlans({}, LateAccess(file)), stats)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def memory() -> list[np.ndarray]:
    return [np.zeros((1, 10), np.uint8)]


def test_no_thread_waits_for_bytes(
    threads: ThreadPoolExecutor, executor: Executor, file: LateFile
) -> None:
    buffers = [np.zeros((1, 10), np.uint8) for _ in range(3)]
    tasks = [read_task(10 * n, n) for n in range(3)]
    futures = start_tasks(threads, executor, tasks, buffers)
    assert file.asked == [([0], [10]), ([10], [10]), ([20], [10])]
    assert threads.submit(lambda: "free").result(10) == "free"
    for ranges in reversed(file.given):
        ranges.arrived.set_result(None)
    for future in futures:
        future.result(10)
    assert [buffer[0, 0] for buffer in buffers] == [100, 110, 120]
    assert all(ranges.dropped for ranges in file.given)


def test_ranges_that_fail_are_the_error_of_the_task(
    threads: ThreadPoolExecutor, executor: Executor, file: LateFile
) -> None:
    buffers = memory()
    (future,) = start_tasks(threads, executor, [read_task()], buffers)
    file.given[0].arrived.set_exception(OSError("gone"))
    with pytest.raises(OSError, match="gone"):
        future.result(10)
    assert not buffers[0].any()


def test_a_failed_task_is_told_and_lets_go_of_its_bytes(
    threads: ThreadPoolExecutor, executor: Executor, file: LateFile
) -> None:
    (future,) = start_tasks(threads, executor, [read_task(buffer=3)], memory())
    file.given[0].arrived.set_result(None)
    with pytest.raises(IndexError):
        future.result(10)
    assert file.given[0].dropped


def test_a_cancelled_task_cancels_its_ranges(
    threads: ThreadPoolExecutor, executor: Executor, file: LateFile
) -> None:
    (future,) = start_tasks(threads, executor, [read_task()], memory())
    assert future.cancel()
    assert file.given[0].arrived.cancelled()
    with pytest.raises(CancelledError):
        future.result(10)


def test_bytes_that_come_after_the_end_are_dropped_with_an_error(
    executor: Executor, file: LateFile
) -> None:
    pool = ThreadPoolExecutor(1)
    (future,) = start_tasks(pool, executor, [read_task()], memory())
    pool.shutdown()
    file.given[0].arrived.set_result(None)
    with pytest.raises(RuntimeError):
        future.result(10)


def test_a_task_asks_once_and_counts_what_it_asked_for(
    executor: Executor, file: LateFile, stats: Stats
) -> None:
    task = read_task()
    fetched = executor.fetch(task)
    file.given[0].arrived.set_result(None)
    executor.run(task, fetched, memory(), Scratch())
    assert len(file.asked) == 1
    counted = stats.as_dict()
    assert (counted["requests"], counted["fetched_bytes"], counted["cached_bytes"]) == (2, 100, 7)


def test_what_is_in_memory_asks_for_nothing(
    threads: ThreadPoolExecutor, executor: Executor, file: LateFile
) -> None:
    rows = Ragged.from_rows([np.arange(2), np.arange(3)])
    tasks: Sequence[ReadTask] = [ReadTask(Copies(rows, 0, 1))]
    buffers = [np.zeros(7, np.int64)]
    start_tasks(threads, executor, tasks, buffers)[0].result(10)
    assert buffers[0].tolist() == [0, 0, 1, 0, 1, 2, 0]
    run_here(executor, tasks, buffers, Scratch())
    assert file.asked == []
