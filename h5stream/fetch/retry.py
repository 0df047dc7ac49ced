"""When to ask again for a range that did not arrive, and when to give up. Pure but for `retried`.

Waits grow exponentially, with full jitter, so that many processes do not come back together; what
a server asks for in Retry-After is waited at least.
"""

from __future__ import annotations

import email.utils
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

__all__ = ["Failed", "Fault", "FaultError", "RetryPolicy", "fault_of_status", "retried"]

T = TypeVar("T")


_DICE = random.SystemRandom()
"""Of nobody else, so that it changes nothing for those who seed theirs; and not shared by forks."""


class Fault(StrEnum):
    """What a failure says about another attempt."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"
    REPLACED = "replaced"
    REFUSED = "refused"
    MISSING = "missing"


class FaultError(Exception):
    """One attempt failed.

    Parameters
    ----------
    fault : Fault
        Whether another can help.
    what : str
        What happened, for people; free of secrets.
    retry_after_s : float or None
        What the server asks for.
    throttled : bool
        Whether the server has too much to do.
    """

    def __init__(
        self,
        fault: Fault,
        what: str,
        *,
        retry_after_s: float | None = None,
        throttled: bool = False,
    ) -> None:
        super().__init__(what)
        self.fault = fault
        self.what = what
        self.retry_after_s = retry_after_s
        self.throttled = throttled


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How patient to be.

    Parameters
    ----------
    deadline_s : float
        No attempt starts later than this after the first.
    first_wait_s, longest_wait_s : float
        Bounds of the growing wait, before jitter.
    most_attempts : int
        Also a bound.
    """

    deadline_s: float = 120.0
    first_wait_s: float = 0.1
    longest_wait_s: float = 10.0
    most_attempts: int = 30

    def wait_s(self, attempts: int, drawn: float, retry_after_s: float | None = None) -> float:
        """Return how long to wait after so many attempts.

        Parameters
        ----------
        attempts : int
            How many have failed, at least 1.
        drawn : float
            Uniform in [0, 1).
        retry_after_s : float, optional
            What the server asks for.

        Examples
        --------
        >>> policy = RetryPolicy()
        >>> policy.wait_s(1, 0.5), policy.wait_s(3, 0.5), policy.wait_s(1, 0.0, retry_after_s=7)
        (0.05, 0.2, 7)
        """
        longest = min(self.longest_wait_s, self.first_wait_s * 2.0 ** min(attempts - 1, 60))
        return max(longest * drawn, retry_after_s or 0.0)


class Failed(Exception):  # noqa: N818 - carries the last fault, is never seen by users
    """All attempts failed."""

    def __init__(self, fault: FaultError, attempts: int) -> None:
        super().__init__(fault.what)
        self.fault = fault
        self.attempts = attempts


async def retried(
    attempt: Callable[[], Awaitable[T]],
    policy: RetryPolicy,
    *,
    sleep: Callable[[float], Awaitable[None]],
    clock: Callable[[], float] = time.monotonic,
    draw: Callable[[], float] = _DICE.random,
    on_fault: Callable[[FaultError], None] = lambda fault: None,
) -> T:
    """Call `attempt` until it succeeds, fails for good, or the policy's patience ends.

    Raises
    ------
    Failed
        With the last fault.
    """
    started, attempts = clock(), 0
    while True:
        attempts += 1
        try:
            return await attempt()
        except FaultError as error:
            fault = error
        on_fault(fault)
        wait_s = policy.wait_s(attempts, draw(), fault.retry_after_s)
        late = clock() - started + wait_s > policy.deadline_s
        if fault.fault is not Fault.TRANSIENT or late or attempts >= policy.most_attempts:
            raise Failed(fault, attempts)
        await sleep(wait_s)


_THROTTLING = {429, 503}
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504, 509}
_KINDS = {401: Fault.REFUSED, 403: Fault.REFUSED, 404: Fault.MISSING, 410: Fault.MISSING}
_LONGEST_RETRY_AFTER_S = 3600.0


def fault_of_status(status: int, retry_after: str | None = None, detail: str = "") -> FaultError:
    """Tell what a status of HTTP means for another attempt.

    Examples
    --------
    >>> fault = fault_of_status(503, "2")
    >>> str(fault.fault), fault.retry_after_s
    ('transient', 2.0)
    >>> str(fault_of_status(412).fault)
    'replaced'
    """
    what = f"the server answered {status}{detail and f' ({detail})'}"
    if status in (412, 416):
        return FaultError(Fault.REPLACED, what)
    if status in _TRANSIENT:
        return FaultError(
            Fault.TRANSIENT,
            what,
            retry_after_s=_seconds(retry_after),
            throttled=status in _THROTTLING,
        )
    return FaultError(_KINDS.get(status, Fault.PERMANENT), what)


def _seconds(retry_after: str | None) -> float | None:
    """Read a Retry-After: seconds, or a date."""
    if not retry_after:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER_S) if seconds == seconds else None
