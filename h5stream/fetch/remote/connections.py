"""The connections of one process: one transport for each server, one queue over all of them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable, Mapping
from typing import Any

from h5stream.fetch.disk_cache import DiskCache
from h5stream.fetch.loop import LoopThread, loop_of_this_process
from h5stream.fetch.redact import links_of, public_url, secrets_in, selection_of
from h5stream.fetch.remote.file import Connection, RemoteFile
from h5stream.fetch.remote.filesystems import filesystem_class, make_transport, transport_key
from h5stream.fetch.remote.transport import Transport
from h5stream.fetch.request_queue import ConcurrencyLimit, RequestQueue
from h5stream.fetch.retry import RetryPolicy
from h5stream.layout import Fingerprint, PartialFile

__all__ = ["HEAD_BYTES", "Connections"]

HEAD_BYTES = 64 * 2**10
"""The first request brings so many bytes: superblock and root group of most files."""

_MOST_BYTES_IN_FLIGHT = 128 * 2**20
"""What a link of 10 Gbit/s brings in 100 ms."""

_OPENING_S = 20.0
"""A file that cannot be opened at first is given up sooner than one that was read before."""


class Connections:
    """Connections to servers.

    Parameters
    ----------
    options : mapping
        Storage options.
    requests : int, optional
        In flight at once; by default as many as are found to be worth it.
    retry_s : float, optional
        How long to keep asking for a range.
    disk_cache : DiskCache, optional
        Keeps on disk what was fetched.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        *,
        requests: int | None,
        retry_s: float | None,
        disk_cache: DiskCache | None = None,
    ) -> None:
        self._options = options
        self._disk_cache = disk_cache
        self._policy = RetryPolicy() if retry_s is None else RetryPolicy(deadline_s=retry_s)
        self._queue = RequestQueue(ConcurrencyLimit(requests), _MOST_BYTES_IN_FLIGHT)
        self._transports: dict[str, Transport] = {}
        self._making = threading.Lock()
        self._threads: set[LoopThread] = set()
        weakref.finalize(self, _release, self._threads, self._transports).atexit = False

    @property
    def limit(self) -> int:
        """How many requests are in flight at most, now."""
        return self._queue.limit.requests

    @property
    def asked(self) -> int:
        """How many requests were made so far, tries again included."""
        return self._queue.asked

    def source(self, name: str, url: str) -> PartialFile:
        """Open a file to be scanned, with one request."""
        opening = RetryPolicy(deadline_s=min(_OPENING_S, self._policy.deadline_s))
        unknown = self._file(name, url, Fingerprint(0), opening)
        fingerprint, head = unknown.open(HEAD_BYTES)
        source = self.reopen(name, url, fingerprint)
        source.keep(0, head)
        return source

    def reopen(self, name: str, url: str, fingerprint: Fingerprint) -> PartialFile:
        """Look again at a version of a file; asks for nothing."""
        return PartialFile(name, fingerprint, self.file(name, url, fingerprint).fetch_now)

    def file(self, name: str, url: str, fingerprint: Fingerprint) -> RemoteFile:
        """Open a version of a file to be read; asks for nothing."""
        return self._file(name, url, fingerprint, self._policy)

    def _file(
        self, name: str, url: str, fingerprint: Fingerprint, policy: RetryPolicy
    ) -> RemoteFile:
        transport = self._transport(url)
        connection = Connection(loop_of_this_process(), transport, self._queue, policy, self)
        path = filesystem_class(url)._strip_protocol(links_of(url)[0])
        # Without a version, pieces of an object that was replaced cannot be told apart.
        disk_cache = self._disk_cache if fingerprint.version else None
        secrets = secrets_in(url, self._options)
        selection = selection_of(url, self._options)
        return RemoteFile(name, path, connection, fingerprint, secrets, disk_cache, selection)

    def find(self, pattern: str) -> list[str]:
        """List the URLs that match a pattern."""
        first, *others = links_of(pattern)
        name = public_url(pattern)
        file = self._file(name, pattern, Fingerprint(0), self._policy)
        return ["::".join([found, *others]) for found in file.find(first)]

    def _transport(self, url: str) -> Transport:
        key = transport_key(url)
        with self._making:
            if key not in self._transports:
                thread = loop_of_this_process()
                made = make_transport(url, self._options, thread.loop)
                thread.keep(made)
                self._threads.add(thread)
                self._transports[key] = made
            return self._transports[key]


def _release(threads: Iterable[LoopThread], transports: dict[str, Transport]) -> None:
    """Close what nobody uses any more."""
    for thread in threads:
        thread.release(transports.values())
