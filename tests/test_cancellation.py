from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

import pytest

from h5stream.cancellation import NEVER, Cancellation


def test_what_is_done_is_given_even_if_nobody_wants_it() -> None:
    until, future = Cancellation(), Future[int]()
    future.set_result(5)
    until.cancel()
    assert until.wait(future) == 5


def test_a_result_that_comes_later_is_waited_for() -> None:
    future = Future[int]()
    threading.Timer(0.05, future.set_result, (5,)).start()
    assert NEVER.wait(future) == 5


def test_a_failure_is_raised() -> None:
    future = Future[int]()
    threading.Timer(0.05, future.set_exception, (ValueError("bad"),)).start()
    with pytest.raises(ValueError, match="bad"):
        Cancellation().wait(future)


def test_all_that_wait_are_let_go() -> None:
    until, futures = Cancellation(), [Future[int]() for _ in range(3)]
    with ThreadPoolExecutor(3) as threads:
        waiting = [threads.submit(until.wait, future) for future in futures]
        while len(until._waiting) < 3:
            time.sleep(0.001)
        until.cancel()
        for each in waiting:
            with pytest.raises(CancelledError):
                each.result(10)
    assert not any(future.done() for future in futures)
    assert until._waiting == set()


def test_nothing_is_waited_for_afterwards() -> None:
    until = Cancellation()
    until.cancel()
    with pytest.raises(CancelledError):
        until.wait(Future[int]())
