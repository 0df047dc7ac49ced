"""Jobs go to a thread when their bytes have come, and not before."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from h5stream.decode import Scratch
from h5stream.reader import Stats, start_job
from h5stream.reader.asking import AskingJob, Job, ask_for, can_ask


class FakeRequest:
    """Ranges that arrive when the test says so."""

    requests, moved_bytes, cached_bytes = 2, 100, 7

    def __init__(self) -> None:
        self.arrived: Future[None] = Future()
        self.dropped = False

    def settle(self) -> None:
        self.arrived.result(10)

    def drop(self) -> None:
        self.dropped = True

    def cancel(self) -> None:
        self.arrived.cancel()


class FakeFile:
    """Records what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[int], list[int]]] = []
        self.given: list[FakeRequest] = []

    def request(self, offset: np.ndarray, size: np.ndarray) -> FakeRequest:
        self.asked.append((offset.tolist(), size.tolist()))
        self.given.append(FakeRequest())
        return self.given[-1]


def make_job(file: Any, done: list[Any], error: Exception | None = None) -> AskingJob:
    def work(request: Any, _scratch: Scratch) -> None:
        if error is not None:
            raise error
        done.append(request)

    return AskingJob(file, np.array([5]), np.array([10]), work, Stats())


def run(job: Job) -> None:
    job(Scratch())


@pytest.fixture
def executor() -> Any:
    with ThreadPoolExecutor(1) as threads:
        yield threads


def test_no_thread_waits_for_bytes(executor: ThreadPoolExecutor) -> None:
    file, done = FakeFile(), []
    futures = [start_job(executor, run, make_job(file, done)) for _ in range(3)]
    assert file.asked == [([5], [10])] * 3
    assert executor.submit(lambda: "free").result(10) == "free"
    for request in reversed(file.given):
        request.arrived.set_result(None)
    for future in futures:
        future.result(10)
    assert done == file.given[::-1]
    assert all(request.dropped for request in file.given)


def test_a_failed_request_is_the_error_of_the_job(executor: ThreadPoolExecutor) -> None:
    file, done = FakeFile(), []
    future = start_job(executor, run, make_job(file, done))
    file.given[0].arrived.set_exception(OSError("gone"))
    with pytest.raises(OSError, match="gone"):
        future.result(10)
    assert done == []


def test_a_failed_job_is_told_and_lets_go_of_its_bytes(executor: ThreadPoolExecutor) -> None:
    file: Any = FakeFile()
    future = start_job(executor, run, make_job(file, [], ValueError("bad")))
    file.given[0].arrived.set_result(None)
    with pytest.raises(ValueError, match="bad"):
        future.result(10)
    assert file.given[0].dropped


def test_a_cancelled_job_cancels_its_request(executor: ThreadPoolExecutor) -> None:
    file, done = FakeFile(), []
    future = start_job(executor, run, make_job(file, done))
    assert future.cancel()
    assert file.given[0].arrived.cancelled()
    with pytest.raises(CancelledError):
        future.result(10)


def test_bytes_that_come_after_the_end_are_dropped_with_an_error() -> None:
    file, executor = FakeFile(), ThreadPoolExecutor(1)
    future = start_job(executor, run, make_job(file, []))
    executor.shutdown()
    file.given[0].arrived.set_result(None)
    with pytest.raises(RuntimeError):
        future.result(10)


def test_a_job_asks_once_and_counts_what_it_asked_for() -> None:
    file: Any = FakeFile()
    stats = Stats()
    job = AskingJob(file, np.array([0]), np.array([1]), lambda request, scratch: None, stats)
    assert ask_for(ask_for(job)) is job
    assert len(file.asked) == 1
    counted = stats.as_dict()
    assert (counted["requests"], counted["fetched_bytes"], counted["cached_bytes"]) == (2, 100, 7)


def test_other_jobs_run_at_once(executor: ThreadPoolExecutor) -> None:
    done: Sequence[int] = []
    start_job(executor, run, lambda scratch: done.append(1)).result(10)  # type: ignore[attr-defined]
    assert done == [1]
    assert not can_ask(object())
