"""What asks a server for one range, once. Each kind of file system has its own way.

HTTP, S3 and Google Cloud Storage are asked without fsspec's detours, because their answers say
which version of the object the bytes are of. Other file systems are asked through fsspec, on the
event loop if they can, else in threads; which version they gave is then looked up before and after.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from h5stream.errors import ConfigError
from h5stream.fetch.retry import Fault, FaultError, fault_of_status

__all__ = [
    "ATTEMPT_S",
    "AsyncTransport",
    "Response",
    "TellingTransport",
    "ThreadTransport",
    "Transport",
    "fault_of_error",
    "require_key",
]

ATTEMPT_S = 60.0
"""Longest time that one attempt at a range may take, where the library has no limit of its own."""

_THREADS = 16
_CLIENTS = ("aiohttp", "aiobotocore", "botocore", "requests")


@dataclass(frozen=True, slots=True)
class Response:
    """Bytes, and what the answer says about the whole object.

    Parameters
    ----------
    data : bytes or memoryview
        As many as came.
    size_bytes : int or None
        Length of the object, if the answer has it.
    version : str
        Its ETag, generation or time of modification; empty if the answer has none.
    """

    data: bytes | memoryview
    size_bytes: int | None = None
    version: str = ""


class Transport(Protocol):
    """Asks for ranges of one kind of file system. Raises nothing but `FaultError`."""

    @property
    def tells_version(self) -> bool:
        """Whether each answer says of which version it is."""

    async def open(self, path: str, head_bytes: int) -> Response:
        """Ask for the first bytes, and the size and version."""

    async def get(self, path: str, start: int, stop: int, version: str) -> Response:
        """Ask for bytes ``start`` to ``stop`` of a version."""

    async def stat(self, path: str) -> tuple[int, str]:
        """Ask for size and version."""

    async def find(self, pattern: str) -> list[str]:
        """List the paths that match a pattern."""

    async def close(self) -> None:
        """Let go of connections."""


class AsyncTransport:
    """A file system of fsspec that works on an event loop."""

    tells_version = False

    def __init__(self, filesystem: Any) -> None:
        self.filesystem = filesystem

    async def open(self, path: str, head_bytes: int) -> Response:
        """Ask for size and version, then for the first bytes."""
        size_bytes, version = await self.stat(path)
        data: bytes | memoryview = b""
        if size_bytes:
            data = (await self.get(path, 0, min(size_bytes, head_bytes), version)).data
        return Response(data, size_bytes, version)

    async def get(self, path: str, start: int, stop: int, version: str) -> Response:
        """Ask for a range."""
        return Response(bytes(await self._call("cat_file", path, start=start, end=stop)))

    async def stat(self, path: str) -> tuple[int, str]:
        """Ask for size and version."""
        self.filesystem.invalidate_cache()
        info = await self._call("info", path)
        if info.get("type", "file") != "file" or info.get("size") is None:
            raise FaultError(Fault.PERMANENT, "there is no file of known size at this place")
        return int(info["size"]), _version_of(info)

    async def find(self, pattern: str) -> list[str]:
        """List the paths that match a pattern."""
        self.filesystem.invalidate_cache()
        found = await self._call("glob", pattern)
        return [self.filesystem.unstrip_protocol(path) for path in found]

    async def close(self) -> None:
        """Close the session, where there is one."""
        session = getattr(self.filesystem, "_session", None) or getattr(
            self.filesystem, "session", None
        )
        if session is not None and asyncio.iscoroutinefunction(getattr(session, "close", None)):
            await session.close()

    async def _call(self, name: str, *arguments: Any, **options: Any) -> Any:
        method = getattr(self.filesystem, f"_{name}")
        try:
            return await asyncio.wait_for(method(*arguments, **options), ATTEMPT_S)
        except Exception as error:
            fault = fault_of_error(error)
        raise fault


class TellingTransport(AsyncTransport, ABC):
    """A file system whose answers say of which version they are."""

    tells_version = True

    async def open(self, path: str, head_bytes: int) -> Response:
        """Ask for the first bytes; the answer says the rest."""
        try:
            return await self._ask_first(path, head_bytes)
        except FaultError as error:
            if error.fault is not Fault.REPLACED:
                raise
        return Response(b"", 0)  # no first byte

    async def stat(self, path: str) -> tuple[int, str]:
        """Ask for the first byte."""
        response = await self.open(path, 1)
        return response.size_bytes or 0, response.version

    @abstractmethod
    async def _ask_first(self, path: str, nbytes: int) -> Response:
        """Ask for so many bytes of whatever version; a file may have fewer."""


class ThreadTransport(AsyncTransport):
    """A file system of fsspec that blocks: asked in threads."""

    def __init__(self, filesystem: Any) -> None:
        super().__init__(filesystem)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="h5stream-remote")

    async def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _call(self, name: str, *arguments: Any, **options: Any) -> Any:
        method = getattr(self.filesystem, name)
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, lambda: method(*arguments, **options))
        except Exception as error:
            fault = fault_of_error(error)
        raise fault


_VERSION_KEYS = (
    "ETag",
    "etag",
    "generation",
    "md5Hash",
    "content_md5",
    "CRC",
    "LastModified",
    "last_modified",
    "Last-Modified",
    "updated",
    "mtime",
    "created",
)


def _version_of(info: Mapping[str, Any]) -> str:
    for key in _VERSION_KEYS:
        if info.get(key):
            return f"{key.lower()} {info[key]}"
    return ""


def fault_of_error(error: BaseException) -> FaultError:
    """Tell what an error of a library means for another attempt."""
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    status = getattr(error, "status", None) or getattr(error, "code", None)
    if isinstance(error, FileNotFoundError):
        return FaultError(Fault.MISSING, what)
    if isinstance(error, PermissionError):
        return FaultError(Fault.REFUSED, what)
    if isinstance(status, int) and 400 <= status < 600:
        return fault_of_status(status, detail=what)
    if isinstance(error, ConfigError | NotImplementedError | TypeError | ValueError):
        return FaultError(Fault.PERMANENT, what)
    if isinstance(error, OSError | TimeoutError | EOFError) or _is_of_network(error):
        return FaultError(Fault.TRANSIENT, what)
    return FaultError(Fault.PERMANENT, what)


def _is_of_network(error: BaseException) -> bool:
    """Whether a client library raised it, for whom all that is not an answer is of the network."""
    return type(error).__module__.split(".")[0] in _CLIENTS


def require_key(path: str) -> None:
    """Refuse a bucket alone, which a library would ask for again and again.

    Raises
    ------
    FaultError
        If a path of an object store names no object.
    """
    bucket, _, key = path.strip("/").partition("/")
    if not bucket or not key:
        raise FaultError(Fault.PERMANENT, "the URL names no object: it is bucket/key")
