"""Asks HTTP servers for ranges, over the session that fsspec makes out of the storage options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import aiohttp
from yarl import URL

from h5stream.fetch.remote.connection_pool import ConnectionPool, Head, body_memory
from h5stream.fetch.remote.transport import Response, TellingTransport, fault_of_error
from h5stream.fetch.retry import Fault, FaultError, fault_of_status

__all__ = [
    "BUFFER_BYTES",
    "TIMEOUT",
    "HttpTransport",
    "check_place",
    "make_client",
    "read_range",
    "response_of",
    "version_of",
]

_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
TIMEOUT = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=10, sock_read=20)
BUFFER_BYTES = 2**20

_REDIRECTS = {301, 302, 303, 307, 308}
_MOST_REDIRECTS = 10
_HARMLESS = {"Range", "Accept-Encoding"}
"""Headers that another server than the one that was asked may see."""

_OF_TRANSFER = ("timeout", "read_bufsize")


async def make_client(**options: Any) -> aiohttp.ClientSession:
    """Make a session that leaves the number of connections to the queue of requests."""
    options.pop("loop", None)
    if "connector" not in options:
        options["connector"] = aiohttp.TCPConnector(limit=0, ttl_dns_cache=300)
    return aiohttp.ClientSession(**options)


class HttpTransport(TellingTransport):
    """An `HTTPFileSystem`, whose answers are looked at."""

    def __init__(self, filesystem: Any) -> None:
        super().__init__(filesystem)
        self._pool = _make_pool(filesystem)
        self._bare: aiohttp.ClientSession | None = None

    async def get(self, path: str, start: int, stop: int, version: str) -> Response:
        """Ask for a range."""
        if self._pool is not None:
            response = await self._ask_pool(self._pool, path, start, stop)
            if response is not None:
                return response
        return await self._ask(path, start, stop)

    async def _ask_first(self, path: str, nbytes: int) -> Response:
        return await self._ask(path, 0, nbytes, is_head=True)

    async def close(self) -> None:
        """Close the connections."""
        if self._pool is not None:
            self._pool.close()
        for session in (self.filesystem._session, self._bare):
            if session is not None:
                await session.close()

    async def _ask_pool(
        self, pool: ConnectionPool, path: str, start: int, stop: int
    ) -> Response | None:
        """Ask with as little effort as can be; None if that is not enough."""
        headers = {
            **self.filesystem.kwargs.get("headers", {}),
            "Range": f"bytes={start}-{stop - 1}",
        }
        try:
            answer = await pool.get(self.filesystem.encode_url(path), headers, stop - start)
        except Exception as error:
            fault = _fault_of_client(error)
        else:
            return None if answer is None else response_of(*answer, start, stop)
        raise fault

    async def _ask(self, path: str, start: int, stop: int, is_head: bool = False) -> Response:
        filesystem = self.filesystem
        options = dict(filesystem.kwargs)
        headers = {"Accept-Encoding": "identity", **options.pop("headers", {})}
        headers["Range"] = f"bytes={start}-{stop - 1}"
        options = {"timeout": TIMEOUT, "read_bufsize": BUFFER_BYTES, **options}
        try:
            session = await filesystem.set_session()
            url = filesystem.encode_url(path)
            async with await self._follow(session, URL(url), headers, options) as answer:
                return await read_range(answer, start, stop, version_of(answer), is_head)
        except FaultError as error:
            fault = error
        except Exception as error:
            fault = _fault_of_client(error)
        raise fault

    async def _follow(
        self, session: Any, url: URL, headers: dict[str, str], options: dict[str, Any]
    ) -> aiohttp.ClientResponse:
        """Follow redirects; another server is told nothing but which bytes are wanted."""
        if not options.pop("allow_redirects", True):
            return await session.get(url, headers=headers, allow_redirects=False, **options)
        first = url.origin()
        for _turn in range(_MOST_REDIRECTS + 1):
            answer = await session.get(url, headers=headers, allow_redirects=False, **options)
            location = answer.headers.get("Location")
            if answer.status not in _REDIRECTS or not location:
                return answer
            answer.close()
            url = url.join(URL(location))
            if url.scheme not in ("http", "https"):
                raise FaultError(Fault.PERMANENT, f"the server redirects to {url.scheme}:")
            if url.origin() != first:
                if self._bare is None:
                    self._bare = await make_client()
                session, options = self._bare, {name: options[name] for name in _OF_TRANSFER}
                headers = {name: headers[name] for name in _HARMLESS & headers.keys()}
        raise FaultError(Fault.PERMANENT, "the server redirects without end")


def _fault_of_client(error: Exception) -> FaultError:
    if isinstance(error, aiohttp.InvalidURL):
        return FaultError(Fault.PERMANENT, "this is no valid URL")
    if isinstance(error, aiohttp.TooManyRedirects):
        return FaultError(Fault.PERMANENT, "the server redirects without end")
    if isinstance(error, aiohttp.ClientResponseError):  # statuses are looked at elsewhere
        return FaultError(Fault.TRANSIENT, f"the answer is damaged: {_first_line(error)}")
    return fault_of_error(error)


def _first_line(error: aiohttp.ClientResponseError) -> str:
    return next(iter(error.message.splitlines()), "")


async def read_range(
    answer: aiohttp.ClientResponse, start: int, stop: int, version: str, is_head: bool
) -> Response:
    """Read the body, unless the answer is none to this request."""
    headers = answer.headers
    if answer.status == 200:
        if headers.get("Content-Encoding", "identity") != "identity":
            answer.close()
            raise FaultError(
                Fault.PERMANENT, "the server compresses the file on the way; turn that off for it"
            )
        size_bytes = answer.content_length
        if start or size_bytes is None or size_bytes > stop:
            answer.close()  # the rest of the body is not wanted
            raise FaultError(Fault.TRANSIENT, "the server ignores Range and sends the whole file")
        return Response(await answer.read(), size_bytes, version)
    if answer.status != 206:
        answer.close()
        raise fault_of_status(answer.status, headers.get("Retry-After"), answer.reason or "")
    try:
        size_bytes, expected = check_place(headers, start, stop)
    except FaultError:
        answer.close()
        raise
    if not is_head and expected != stop - start:
        answer.close()
        return Response(b"", size_bytes, version)
    return Response(await _read_body(answer.content, expected), size_bytes, version)


def check_place(headers: Mapping[str, str], start: int, stop: int) -> tuple[int | None, int]:
    """Return the length of the object, and of the range that was sent.

    Raises
    ------
    FaultError
        If it is another range.
    """
    told = headers.get("Content-Range", "no range")
    found = _RANGE.fullmatch(told)
    if found is None or int(found[1]) != start or int(found[2]) >= stop:
        raise FaultError(Fault.TRANSIENT, f"the answer is for {told!r}")
    return None if found[3] == "*" else int(found[3]), int(found[2]) + 1 - start


def response_of(head: Head, body: memoryview | None, start: int, stop: int) -> Response:
    """Make a response of what came over a connection.

    Raises
    ------
    FaultError
        If it is not the range.
    """
    if body is None:
        raise fault_of_status(head.status, head.headers.get("Retry-After"), head.reason)
    size_bytes, _length = check_place(head.headers, start, stop)
    return Response(body, size_bytes, version_of(head))


def _make_pool(filesystem: Any) -> ConnectionPool | None:
    """Make plain connections, unless the storage options ask for more than that."""
    options = getattr(filesystem, "kwargs", {})
    timeout = options.get("timeout", TIMEOUT)
    plain = (
        getattr(filesystem, "get_client", None) is make_client
        and not filesystem.client_kwargs
        and {"headers", "timeout"}.issuperset(options)
        and isinstance(timeout, aiohttp.ClientTimeout)
        and timeout.total is None
        and timeout.connect is None
    )
    return ConnectionPool(timeout.sock_connect, timeout.sock_read) if plain else None


async def _read_body(content: aiohttp.StreamReader, expected: int) -> bytes | memoryview:
    """Read a body; one that is too short stays so."""
    body, done = body_memory(expected), 0
    while done < expected and (part := await content.readany()):
        end = min(expected, done + len(part))
        body[done:end] = part[: end - done]
        done = end
    return body[:done]


def version_of(answer: aiohttp.ClientResponse | Head) -> str:
    """Return the ETag or the time of modification; empty if there is neither."""
    etags, modified = answer.headers.getall("ETag", []), answer.headers.get("Last-Modified")
    if len(etags) > 1:
        return ""
    etag = etags[0] if etags else ""
    if etag:
        return f"etag {etag}"
    return f"modified {modified}" if modified else ""
