from __future__ import annotations

import asyncio
import email.utils
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h5stream.fetch.retry import (
    Failed,
    Fault,
    FaultError,
    RetryPolicy,
    fault_of_status,
    retried,
)


class Clock:
    """Time that passes only in sleeps and attempts."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


def run(faults: list[FaultError], policy: RetryPolicy, drawn: float = 0.5) -> tuple[int, Clock]:
    """Fail with each fault in turn, then succeed; return how many attempts that took."""
    clock, attempts = Clock(), 0

    async def attempt() -> int:
        nonlocal attempts
        attempts += 1
        if attempts <= len(faults):
            raise faults[attempts - 1]
        return attempts

    done = retried(attempt, policy, sleep=clock.sleep, clock=clock, draw=lambda: drawn)
    return asyncio.run(done), clock


BROKEN = FaultError(Fault.TRANSIENT, "broken")


def test_waits_double_with_jitter_up_to_a_bound() -> None:
    policy = RetryPolicy(first_wait_s=1, longest_wait_s=5)
    attempts, clock = run([BROKEN] * 5, policy)
    assert attempts == 6
    assert clock.slept == [0.5, 1, 2, 2.5, 2.5]


def test_what_the_server_asks_for_is_waited_at_least() -> None:
    _attempts, clock = run([fault_of_status(503, "7")], RetryPolicy())
    assert clock.slept == [7]


def test_no_attempt_starts_past_the_deadline() -> None:
    with pytest.raises(Failed) as raised:
        run([BROKEN] * 99, RetryPolicy(deadline_s=10, first_wait_s=4, longest_wait_s=4))
    assert raised.value.attempts == 6
    with pytest.raises(Failed) as raised:
        run([fault_of_status(429, "60")], RetryPolicy(deadline_s=10))
    assert raised.value.attempts == 1


def test_attempts_are_bounded_where_no_time_passes() -> None:
    with pytest.raises(Failed) as raised:
        run([BROKEN] * 99, RetryPolicy(most_attempts=4), drawn=0)
    assert raised.value.attempts == 4


@pytest.mark.parametrize("kind", [kind for kind in Fault if kind is not Fault.TRANSIENT])
def test_what_another_attempt_cannot_help_is_tried_once(kind: Fault) -> None:
    with pytest.raises(Failed) as raised:
        run([FaultError(kind, "for good")], RetryPolicy())
    assert raised.value.attempts == 1


@given(st.integers(1, 10_000), st.floats(0, 0.999), st.none() | st.floats(0, 100))
def test_waits_are_between_what_was_asked_and_the_bound(
    attempts: int, drawn: float, asked: float | None
) -> None:
    policy = RetryPolicy()
    wait_s = policy.wait_s(attempts, drawn, asked)
    assert (asked or 0) <= wait_s <= max(asked or 0, policy.longest_wait_s)


def test_retry_after_may_be_a_date() -> None:
    later = email.utils.formatdate(time.time() + 100, usegmt=True)
    assert 90 < (fault_of_status(429, later).retry_after_s or 0) <= 100
    assert fault_of_status(429, "soon").retry_after_s is None
    assert fault_of_status(429, "nan").retry_after_s is None
    assert fault_of_status(429, "-5").retry_after_s == 0


@pytest.mark.parametrize(
    ("status", "fault"),
    [(500, "transient"), (404, "missing"), (403, "refused"), (416, "replaced"), (418, "permanent")],
)
def test_each_status_says_whether_another_attempt_helps(status: int, fault: str) -> None:
    assert fault_of_status(status).fault == fault
