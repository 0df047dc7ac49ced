"""Reads ranges of one version of a remote file.

1. Ranges that are asked for together are joined where little lies between them.
2. They are lined up in the order in which they will be needed, behind all that was asked for
   before; the queue keeps a bounded number of them in flight.
3. Each answer must be of the version that was scanned, and as long as was asked for. What fails
   is asked for again, within the patience of the policy.
4. Where answers do not tell their version, it is looked up after the bytes have come.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

import numpy as np

from h5stream.cancellation import NEVER, Cancellation
from h5stream.errors import FetchError, H5StreamError, LayoutError
from h5stream.fetch.coalesce import join_ranges
from h5stream.fetch.disk_cache import DiskCache
from h5stream.fetch.loop import LoopThread
from h5stream.fetch.redact import redact_text
from h5stream.fetch.remote.arrival import Arrival
from h5stream.fetch.remote.transport import Response, Transport
from h5stream.fetch.request_queue import SMALL_BYTES, QueuedRequest, RequestQueue
from h5stream.fetch.retry import Failed, Fault, FaultError, RetryPolicy, retried
from h5stream.layout import Fingerprint

__all__ = ["Connection", "RemoteFile"]

_LOG = logging.getLogger("h5stream")

T = TypeVar("T")

Span = tuple[int, int]

_ADVICE = {
    Fault.TRANSIENT: "check the network and the server; retry_s says how long to keep trying",
    Fault.PERMANENT: "check the URL and the server",
    Fault.REPLACED: "the object was replaced or changed: make a new stream once its writer is done",
    Fault.REFUSED: "the credentials are missing, wrong or expired: renew them, or pass "
    "storage_options (they are not kept in pickles)",
    Fault.MISSING: "there is no such object, or no longer: check the URL",
}


class Connection:
    """What the files of one server share.

    Parameters
    ----------
    thread : LoopThread
        Where requests run.
    transport : Transport
        Asks once.
    queue : RequestQueue
        Bounds what is in flight.
    policy : RetryPolicy
        How often to ask.
    owner : object
        Kept alive, because it closes the transport when it goes.
    """

    def __init__(
        self,
        thread: LoopThread,
        transport: Transport,
        queue: RequestQueue,
        policy: RetryPolicy,
        owner: object = None,
    ) -> None:
        self.owner = owner
        self.thread = thread
        self.transport = transport
        self.queue = queue
        self.policy = policy

    def end_unwanted(self) -> None:
        """End requests that nobody wants any more, soon; those of a parent are left alone."""
        self.thread.call_if_running(self.queue.cancel_unwanted)


_ATTEMPT_S, _LEAST_BYTES_PER_S = 60.0, 4096
"""How long one attempt may take: a server that sends a byte a second would never end it."""


class RemoteFile:
    """One version of a remote file, read by many threads at once.

    Parameters
    ----------
    name : str
        What messages call it; free of secrets.
    path : str
        What the transport calls it.
    connection : Connection
        The way to it.
    fingerprint : Fingerprint
        The version that may be read.
    secrets : frozenset of str
        What no message may repeat.
    disk_cache : DiskCache, optional
        Keeps on disk what was fetched.
    selection : str
        All that selects the object, for the cache.
    """

    def __init__(
        self,
        name: str,
        path: str,
        connection: Connection,
        fingerprint: Fingerprint,
        secrets: frozenset[str] = frozenset(),
        disk_cache: DiskCache | None = None,
        selection: str = "",
    ) -> None:
        self.name = name
        self.on_retry: Callable[[], None] = lambda: None
        self._disk_cache = disk_cache
        self._path = path
        self._connection = connection
        self._fingerprint = fingerprint
        self._secrets = secrets
        self._selection = selection

    def fetch(self, offset: np.ndarray, size: np.ndarray, until: Cancellation = NEVER) -> Arrival:
        """Ask for ranges, and return at once.

        Parameters
        ----------
        offset, size : numpy.ndarray
            int64, in any order.
        until : Cancellation
            Ends what waits for them.
        """
        wanted = size > 0
        offset, size = offset[wanted], size[wanted]
        if self._disk_cache is None:
            return self._ask(join_ranges(offset, size), until)
        pairs = zip(offset.tolist(), size.tolist(), strict=True)
        ranges = sorted({(start, start + n) for start, n in pairs})
        here = {span for span in ranges if self._disk_cache.has(self._digest(span))}
        rest = np.array([span for span in ranges if span not in here], np.int64).reshape(-1, 2)
        spans = join_ranges(rest[:, 0], rest[:, 1] - rest[:, 0])
        return self._ask(spans, until, sorted(here), partial(self._keep, rest.tolist()))

    def _ask(
        self,
        spans: Sequence[Span],
        until: Cancellation,
        cached: Sequence[Span] = (),
        keep: Callable[[Arrival], None] | None = None,
        *,
        scan: bool = False,
    ) -> Arrival:
        arrival = Arrival(
            spans,
            partial(self._read_kept, until=until),
            partial(self._read_anew, until=until),
            partial(self.fetch, until=until),
            cached,
            keep,
            self._connection.end_unwanted,
            until,
        )
        queued = [
            QueuedRequest(
                stop - start,
                partial(self._bring, arrival, number, start, stop),
                lambda: arrival.wanted,
                small=scan and stop - start <= SMALL_BYTES,
            )
            for number, (start, stop) in enumerate(spans)
        ]
        if queued:
            self._connection.thread.call(self._connection.queue.put, queued)
        return arrival

    def _digest(self, span: Span) -> bytes:
        assert self._disk_cache is not None, "pieces have names only where they are kept"
        return self._disk_cache.digest_of(self._selection, self._fingerprint, span)

    def _keep(self, ranges: Sequence[Sequence[int]], arrival: Arrival) -> None:
        """Put ranges that have arrived on disk."""
        if self._disk_cache is not None:
            for start, stop in ranges:
                self._disk_cache.put(self._digest((start, stop)), arrival.view(start, stop - start))

    def _read_kept(self, offset: int, size: int, until: Cancellation) -> bytes:
        """Read a range from disk, or fetch it if it is there no more."""
        span = (offset, offset + size)
        data = self._disk_cache.get(self._digest(span)) if self._disk_cache is not None else None
        return self._read_anew(offset, size, until) if data is None else data

    def _read_anew(self, offset: int, size: int, until: Cancellation) -> bytes:
        """Fetch a range, and forget what is on disk of it."""
        span = (offset, offset + size)
        arrival = self._ask([span], until)
        arrival.wait()
        data = bytes(arrival.view(offset, size))
        if self._disk_cache is not None:
            self._disk_cache.put(self._digest(span), data)
        return data

    def fetch_now(
        self, ranges: Sequence[tuple[int, int]], until: Cancellation = NEVER
    ) -> list[bytes]:
        """Return the bytes of ranges of a scan, all fetched at once.

        Raises
        ------
        FetchError
            If some of them do not arrive.
        """
        starts, stops = np.array(ranges, np.int64).reshape(-1, 2).T
        arrival = self._ask(join_ranges(starts, stops - starts), until, scan=True)
        arrival.wait()
        return [bytes(arrival.view(start, stop - start)) for start, stop in ranges]

    def check_unchanged(self) -> None:
        """Raise unless the file is still the version that was scanned.

        Raises
        ------
        FetchError
            If its size or its version differs.
        """
        if self._connection.transport.tells_version:
            return  # every answer was compared
        stat = partial(self._connection.transport.stat, self._path)
        size_bytes, version = self._connection.thread.submit(self._patiently(stat)).result()
        self._compare(size_bytes, version)

    async def _bring(self, arrival: Arrival, number: int, start: int, stop: int) -> None:
        if not arrival.wanted:
            return
        try:
            attempt = partial(self._attempt, arrival, start, stop)
            arrival.put(number, await self._patiently(attempt, (start, stop)))
        except asyncio.CancelledError:
            arrival.cancel()
            raise
        except Exception as error:
            arrival.fail(error)
            self._connection.queue.cancel_unwanted()

    async def _attempt(self, arrival: Arrival, start: int, stop: int) -> bytes | memoryview:
        if not arrival.wanted:
            raise FaultError(Fault.PERMANENT, "nobody waits for it any more")
        transport, version = self._connection.transport, self._fingerprint.version
        limit_s = _ATTEMPT_S + (stop - start) / _LEAST_BYTES_PER_S
        try:
            getting = transport.get(self._path, start, stop, version)
            response = await asyncio.wait_for(getting, limit_s)
        except TimeoutError as error:
            what = f"the range did not come within {limit_s:.0f} s"
            raise FaultError(Fault.TRANSIENT, what) from error
        self._check(response)
        if len(response.data) != stop - start:
            raise FaultError(
                Fault.TRANSIENT, f"{len(response.data)} bytes came, expected {stop - start}"
            )
        return response.data

    def _check(self, response: Response) -> None:
        expected = self._fingerprint
        size_bytes = expected.size_bytes if response.size_bytes is None else response.size_bytes
        tells = self._connection.transport.tells_version
        version = response.version if tells else response.version or expected.version
        if (size_bytes, version) != (expected.size_bytes, expected.version):
            raise FaultError(Fault.REPLACED, _difference(size_bytes, version, expected))

    def _compare(self, size_bytes: int, version: str) -> None:
        expected = self._fingerprint
        if (size_bytes, version) != (expected.size_bytes, expected.version):
            found = _difference(size_bytes, version, expected)
            raise FetchError(f"{self.name}: {found}; {_ADVICE[Fault.REPLACED]}", url=self.name)

    async def _patiently(self, attempt: Callable[[], Awaitable[T]], span: Span | None = None) -> T:
        """Retry within the policy; tell a failure without secrets, and without what caused it."""

        async def counted() -> T:
            self._connection.queue.asked += 1
            return await attempt()

        try:
            return await retried(
                counted, self._connection.policy, sleep=asyncio.sleep, on_fault=self._on_fault
            )
        except Failed as error:
            failed = error
        raise self._error(failed, span)

    def _on_fault(self, fault: FaultError) -> None:
        if fault.throttled:
            self._connection.queue.limit.note_throttled(time.monotonic())
        if fault.fault is Fault.TRANSIENT:
            _LOG.info("%s: %s", self.name, redact_text(fault.what, self._secrets))
            self.on_retry()

    def _error(self, failed: Failed, span: Span | None) -> H5StreamError:
        what = redact_text(failed.fault.what, self._secrets)
        where = "cannot be opened" if span is None else f"bytes {span[0]} to {span[1]} are missing"
        times = "1 attempt" if failed.attempts == 1 else f"{failed.attempts} attempts"
        message = f"{self.name}: {where} after {times}: {what}; {_ADVICE[failed.fault.fault]}"
        if span is None and failed.fault.fault is Fault.MISSING:
            return LayoutError(message)
        return FetchError(message, url=self.name, byte_range=span, attempts=failed.attempts)

    def find(self, pattern: str) -> list[str]:
        """List the URLs that match a pattern.

        Raises
        ------
        FetchError
            If the server does not answer as it should.
        """
        attempt = partial(self._connection.transport.find, pattern)
        return list(self._connection.thread.submit(self._patiently(attempt)).result())

    def open(self, head_bytes: int) -> tuple[Fingerprint, bytes]:
        """Ask for the fingerprint, whatever it is, and the first bytes.

        Raises
        ------
        LayoutError
            If there is no such file.
        FetchError
            If the server does not answer as it should.
        """
        opening = self._connection.transport.open
        limit_s = _ATTEMPT_S + head_bytes / _LEAST_BYTES_PER_S

        async def attempt() -> Response:
            try:
                return await asyncio.wait_for(opening(self._path, head_bytes), limit_s)
            except TimeoutError as error:
                what = f"no answer came within {limit_s:.0f} s"
                raise FaultError(Fault.TRANSIENT, what) from error

        response = self._connection.thread.submit(self._patiently(attempt)).result()
        if response.size_bytes is None:
            raise FetchError(
                f"{self.name}: the server does not tell how long the file is; h5stream needs "
                "Content-Range with a total",
                url=self.name,
            )
        return Fingerprint(response.size_bytes, version=response.version), bytes(response.data)


def _difference(size_bytes: int, version: str, expected: Fingerprint) -> str:
    return (
        f"found {size_bytes} bytes of version {version or 'unknown'!r}, expected "
        f"{expected.size_bytes} of {expected.version or 'unknown'!r}"
    )
