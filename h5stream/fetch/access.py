"""How to get at files: which names are remote, with which URL and options, and how many at once.

Everywhere else files go by names without secrets. The URLs and the storage options behind them
are known here only; they go along to processes that are started, and into no other pickle.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.context import get_spawning_popen
from pathlib import Path
from typing import TYPE_CHECKING, Any

from h5stream.arguments import a_count
from h5stream.errors import FetchError, LayoutError
from h5stream.fetch.disk_cache import DiskCache
from h5stream.fetch.file import DataFile
from h5stream.fetch.local import LocalFile, read_small
from h5stream.fetch.redact import harmless_options, is_url, join_url, public_url, selection_of
from h5stream.layout import Fingerprint, LocalSource, PartialFile, Source
from h5stream.system import after_fork

if TYPE_CHECKING:
    from h5stream.fetch.remote import Connections

__all__ = ["Access", "open_access"]

_AT_ONCE = 16
_CACHE_BYTES = 10 * 2**30
_CONNECTING = threading.RLock()


def _renew_lock() -> None:
    global _CONNECTING
    _CONNECTING = threading.RLock()


after_fork(_renew_lock)  # a thread of the parent may have held it


class Access:
    """The way to local and remote files. Holds no connection that is pickled or crosses a fork.

    Parameters
    ----------
    storage_options : mapping, optional
        For fsspec.
    requests : int, optional
        In flight at once; by default as many as are found to be worth it.
    retry_s : float, optional
        How long to keep asking for a range.
    disk_cache : DiskCache, optional
        Keeps on disk what was fetched.
    """

    def __init__(
        self,
        storage_options: Mapping[str, Any] | None = None,
        *,
        requests: int | None = None,
        retry_s: float | None = None,
        disk_cache: DiskCache | None = None,
    ) -> None:
        self._options = dict(storage_options or {})
        self._requests = requests
        self._retry_s = retry_s
        self._disk_cache = disk_cache
        self._urls: dict[str, str] = {}
        self._connections: tuple[int, Connections] | None = None

    def __repr__(self) -> str:
        return f"Access({harmless_options(self._options)!r})"

    def __getstate__(self) -> dict[str, Any]:
        state = {**self.__dict__, "_connections": None}
        if get_spawning_popen() is None:
            state["_options"] = harmless_options(self._options)
            state["_urls"] = {name: name.partition("#")[0] for name in self._urls}
        return state

    def name(self, source: str) -> str:
        """Return what a path or URL is called everywhere else.

        Examples
        --------
        >>> access = Access()
        >>> access.name("https://host/a.h5?sig=1"), access.name("https://host/a.h5?sig=2")
        ('https://host/a.h5', 'https://host/a.h5#2')
        """
        if not is_url(source):
            return source
        public = public_url(source)
        names = (public if n == 1 else f"{public}#{n}" for n in range(1, len(self._urls) + 2))
        name = next(n for n in names if self._urls.get(n, source) == source)
        self._urls[name] = source
        return name

    def is_remote(self, name: str) -> bool:
        """Tell whether a name is that of a remote file."""
        return name in self._urls

    def selection(self, name: str) -> str:
        """Say all that selects a remote file; see `selection_of`."""
        return selection_of(self._urls[name], self._options)

    @property
    def limit(self) -> int:
        """How many requests this process has in flight at most, now."""
        return self._connect().limit

    @property
    def asked(self) -> int:
        """How many requests this process made so far, tries again included."""
        known = self._connections is not None and self._connections[0] == os.getpid()
        return self._connect().asked if known else 0

    def expand(self, pattern: str) -> list[str]:
        """List the URLs that match a pattern, in no order.

        Raises
        ------
        ConfigError
            If the driver of the protocol is not installed.
        FetchError
            If the server does not answer.
        """
        return self._connect().find(pattern)

    def source(self, name: str) -> Source:
        """Open a file to be scanned."""
        if not self.is_remote(name):
            return LocalSource(name)
        return self._connect().source(name, self._urls[name])

    def unchanged(self, name: str, fingerprint: Fingerprint) -> bool:
        """Tell whether a file is still of this version."""
        return self.source(name).fingerprint(name) == fingerprint

    def read_all(self, name: str, most_bytes: int) -> bytes:
        """Read a remote file that is not HDF5.

        Raises
        ------
        FetchError
            If it does not arrive, or has more than `most_bytes`.
        """
        return self._read_url(name, self._urls[name], most_bytes)

    def _read_url(self, name: str, url: str, most_bytes: int) -> bytes:
        source = self._connect().source(name, url)
        size_bytes = source.fingerprint(name).size_bytes
        if size_bytes > most_bytes:
            raise FetchError(f"{name}: has {size_bytes} bytes, expected at most {most_bytes}")
        return source.read(name, 0, size_bytes)

    def read_inside(
        self, folder: str, files: Sequence[str], *, most_bytes: int
    ) -> list[bytes | None]:
        """Read files of a folder, several at once if it is remote; None for one that is not there.

        Raises
        ------
        FetchError
            If one does not arrive, or has more than `most_bytes`.
        """
        if not self.is_remote(folder):
            return [read_small(Path(folder) / file, most_bytes) for file in files]
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="h5stream-scan") as threads:
            return list(threads.map(lambda file: self._inside(folder, file, most_bytes), files))

    def _inside(self, folder: str, file: str, most_bytes: int) -> bytes | None:
        url = join_url(self._urls[folder], file)
        try:
            return self._read_url(public_url(url), url, most_bytes)
        except LayoutError:
            return None

    def reopen(self, name: str, fingerprint: Fingerprint) -> PartialFile | None:
        """Look again at a version of a remote file, for which nothing is asked; None if local."""
        if not self.is_remote(name):
            return None
        return self._connect().reopen(name, self._urls[name], fingerprint)

    def data_file(
        self, name: str, fingerprint: Fingerprint, on_retry: Callable[[], None] = lambda: None
    ) -> DataFile:
        """Open a version of a file to be read; `on_retry` is told of ranges that failed."""
        if not self.is_remote(name):
            return LocalFile(name, fingerprint)
        file = self._connect().file(name, self._urls[name], fingerprint)
        file.on_retry = on_retry
        return file

    def _connect(self) -> Connections:
        """Return this process's connections; a forked child makes its own."""
        with _CONNECTING:
            return self._connect_once()

    def _connect_once(self) -> Connections:
        from h5stream.fetch.remote import Connections

        if self._connections is None or self._connections[0] != os.getpid():
            connections = Connections(
                self._options,
                requests=self._requests,
                retry_s=self._retry_s,
                disk_cache=self._disk_cache,
            )
            self._connections = (os.getpid(), connections)
        return self._connections[1]


def open_access(
    storage_options: Mapping[str, Any] | None = None,
    *,
    requests: int | None = None,
    retry_s: float | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    cache_limit: int | None = None,
) -> Access:
    """Make the way to files as a user describes it.

    Parameters
    ----------
    storage_options, requests, retry_s
        As for `Access`.
    cache_dir : path, optional
        Where what is fetched is kept.
    cache_limit : int, optional
        Bytes that may be kept there.

    Raises
    ------
    ConfigError
        If a number is not positive.
    """
    for name, value in {"requests": requests, "cache_limit": cache_limit}.items():
        if value is not None:
            a_count(name, value)
    disk_cache = None
    if cache_dir is not None:
        disk_cache = DiskCache(Path(cache_dir) / "chunks", cache_limit or _CACHE_BYTES)
    return Access(storage_options, requests=requests, retry_s=retry_s, disk_cache=disk_cache)
