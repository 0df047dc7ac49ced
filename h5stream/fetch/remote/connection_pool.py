"""Connections that carry one kind of request, `GET` with a range, straight into memory.

Most of what is streamed comes as thousands of such answers. Here the bytes of a body go from the
socket to their place at once, where a full HTTP client copies them three times. What is sent and
understood is the least of HTTP/1.1: an answer that is not a body of known length, stored as it is,
ends the connection, and is left to the full client.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from multidict import CIMultiDict
from yarl import URL

from h5stream.fetch.buffers import BufferPool
from h5stream.system import has_input

__all__ = ["ConnectionPool", "Head", "NotUnderstoodError", "body_memory", "parse_head"]

_STATUS = re.compile(r"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: (.*))?")
_NUMBER = re.compile(r"[0-9]{1,18}")
_HEAD_BYTES = 2**14
_MOST_STRIKES = 3
_ALWAYS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "h5stream"}
_MOST_IDLE_S = 10.0
_BUFFERS = BufferPool(most_free=128, most_free_bytes=64 * 2**20)
_LONG_BYTES = 2**18
"""From this on, fresh memory costs more than to look for some that was used before."""


Origin = tuple[str, str, int]
"""Scheme, host and port."""


class NotUnderstoodError(Exception):
    """Something is not of the least of HTTP/1.1."""


def body_memory(nbytes: int) -> memoryview:
    """Return memory for the body of an answer; that of long ones is used again."""
    if nbytes < _LONG_BYTES:
        return memoryview(bytearray(nbytes))
    return memoryview(_BUFFERS.array((nbytes,), np.dtype(np.uint8)).data)


@dataclass(frozen=True, eq=False, slots=True)
class Head:
    """Status line and headers of an answer."""

    status: int
    reason: str
    headers: CIMultiDict[str]
    lasting: bool

    @property
    def content_length(self) -> int | None:
        """Length of the body; None unless it follows as it is stored."""
        length = self.headers.get("Content-Length", "")
        plain = self.headers.get("Content-Encoding", "identity") == "identity"
        known = _NUMBER.fullmatch(length) and "Transfer-Encoding" not in self.headers
        return int(length) if plain and known else None


def parse_head(data: bytes) -> Head:
    r"""Read status line and headers.

    Raises
    ------
    NotUnderstoodError
        If this is not HTTP/1.

    Examples
    --------
    >>> head = parse_head(b'HTTP/1.1 206 Partial Content\r\nContent-Length: 7\r\nETag: "a"')
    >>> head.status, head.content_length, head.headers["etag"], head.lasting
    (206, 7, '"a"', True)
    """
    first, *lines = data.decode("latin-1").split("\r\n")
    found = _STATUS.fullmatch(first)
    if found is None:
        raise NotUnderstoodError("the answer is not HTTP/1")
    headers: CIMultiDict[str] = CIMultiDict()
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise NotUnderstoodError("a header of the answer is damaged")
        headers.add(name, value.strip())
    if len(headers.getall("Content-Length", [])) > 1:
        raise NotUnderstoodError("the answer has two lengths")
    said = headers.get("Connection", "").lower()
    return Head(int(found[2]), found[3] or "", headers, found[1] == "1" and "close" not in said)


class _HttpConnection(asyncio.BufferedProtocol):
    """One connection, with at most one request under way."""

    def __init__(self, read_s: float | None) -> None:
        self.loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None
        self.idle_since_s = 0.0
        self._read_s = read_s
        self._head = memoryview(bytearray(_HEAD_BYTES))
        self._filled = self._done = self._expected = 0
        self._found: Head | None = None
        self._body: memoryview | None = None
        self._answer: asyncio.Future[tuple[Head, memoryview | None]] | None = None
        self._seen_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Whether another request can be sent."""
        return self.transport is not None and not self.transport.is_closing()

    @property
    def has_waiting(self) -> bool:
        """Whether bytes, or the end, have come that belong to no request."""
        socket = None if self.transport is None else self.transport.get_extra_info("socket")
        return socket is None or has_input(socket)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    async def ask(self, request: bytes, expected: int) -> tuple[Head, memoryview | None]:
        """Send a request; return the head of the answer, and its body if that is as long."""
        assert self.transport is not None, "it is connected"
        self._filled = self._done = 0
        self._expected, self._found, self._body = expected, None, None
        self._answer = self.loop.create_future()
        self._seen_s = self.loop.time()
        if self._read_s is not None:
            self._timer = self.loop.call_later(self._read_s, self._look)
        self.transport.write(request)
        try:
            return await self._answer
        except BaseException:
            self.close()
            raise
        finally:
            self._answer = self._body = None
            if self._timer is not None:
                self._timer.cancel()

    def close(self) -> None:
        """End the connection."""
        if self.transport is not None:
            self.transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Say where the next bytes go."""
        if self._body is not None:
            return self._body[self._done :]
        return self._head[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """Take note of bytes that have come."""
        self._seen_s = self.loop.time()
        if self._answer is None or self._answer.done():  # nobody asked
            self.close()
        elif self._body is not None:
            self._done += nbytes
            if self._done == self._expected:
                self._finish(self._body)
        else:
            self._filled += nbytes
            self._read_head()

    def _read_head(self) -> None:
        data = bytes(self._head[: self._filled])
        end = data.find(b"\r\n\r\n")
        if end < 0:
            if self._filled == _HEAD_BYTES:
                self._fail(NotUnderstoodError("the headers of the answer have no end"))
            return
        try:
            self._found = parse_head(data[:end])
        except NotUnderstoodError as error:
            self._fail(error)
            return
        surplus = data[end + 4 :]
        if self._found.status != 206 or self._found.content_length != self._expected:
            self._finish(None)
        elif len(surplus) > self._expected:
            self._fail(NotUnderstoodError("the answer is longer than it says"))
        else:
            self._body = body_memory(self._expected)
            self._body[: len(surplus)] = surplus
            self._done = len(surplus)
            if self._done == self._expected:
                self._finish(self._body)

    def _finish(self, body: memoryview | None) -> None:
        assert self._found is not None, "a head was read"
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((self._found, body))
        self._body, self._filled = None, 0
        self.idle_since_s = self.loop.time()
        if body is None or not self._found.lasting:
            self.close()

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        self.close()

    def _look(self) -> None:
        """Give up if nothing has come for too long."""
        assert self._read_s is not None, "there is a limit"
        left_s = self._seen_s + self._read_s - self.loop.time()
        if left_s <= 0:
            self._fail(TimeoutError(f"nothing came for {self._read_s:g} s"))
        else:
            self._timer = self.loop.call_later(left_s, self._look)

    def eof_received(self) -> bool:
        """End with the server."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Tell whoever waits."""
        self._fail(error or ConnectionError("the server closed the connection"))


class ConnectionPool:
    """Connections to servers, kept for the next request.

    Parameters
    ----------
    connect_s, read_s : float or None
        How long to wait for a connection, and for the next bytes.
    """

    def __init__(self, connect_s: float | None, read_s: float | None) -> None:
        self._connect_s = connect_s
        self._read_s = read_s
        self._idle: dict[Origin, list[_HttpConnection]] = {}
        self._strikes: Counter[Origin] = Counter()
        self._context: ssl.SSLContext | None = None
        self._closed = False

    async def get(
        self, url: URL, headers: Mapping[str, str], nbytes: int
    ) -> tuple[Head, memoryview | None] | None:
        """Ask for a range that is so long.

        Returns
        -------
        head : Head
            Of the answer.
        body : memoryview or None
            The range; None if the server says what is wrong.

        None instead, if this is for the full client: redirects, bodies of other lengths, and all
        requests to a server that gave nothing else for a while.
        """
        host, port = url.raw_host, url.port
        if url.scheme not in ("http", "https") or host is None or port is None:
            return None
        if url.user or url.password:
            return None
        origin = (url.scheme, host, port)
        if self._strikes[origin] >= _MOST_STRIKES:
            return None
        try:
            request = _pack(url, headers)
            connection = self._take(origin) or await self._connect(*origin)
            head, body = await connection.ask(request, nbytes)
        except NotUnderstoodError:
            self._strikes[origin] += 1
            return None
        if connection.is_open:
            self._keep(origin, connection)
        if body is None and head.status < 400:
            self._strikes[origin] += 1
            return None
        if body is not None:
            self._strikes[origin] = 0
        return head, body

    def _keep(self, origin: Origin, connection: _HttpConnection) -> None:
        if self._closed:
            connection.close()
        else:
            self._idle.setdefault(origin, []).append(connection)

    def close(self) -> None:
        """End all connections, those in use once they are not."""
        self._closed = True
        for pool in self._idle.values():
            for connection in pool:
                connection.close()
        self._idle.clear()

    def _take(self, origin: Origin) -> _HttpConnection | None:
        """Take the connection that was used last."""
        pool = self._idle.get(origin, [])
        while pool:
            connection = pool.pop()
            is_fresh = connection.loop.time() - connection.idle_since_s < _MOST_IDLE_S
            if connection.is_open and is_fresh and not connection.has_waiting:
                return connection
            connection.close()
        return None

    async def _connect(self, scheme: str, host: str, port: int) -> _HttpConnection:
        loop = asyncio.get_running_loop()
        if scheme == "https" and self._context is None:
            self._context = await asyncio.to_thread(ssl.create_default_context)
        context = self._context if scheme == "https" else None
        connecting = loop.create_connection(
            lambda: _HttpConnection(self._read_s), host, port, ssl=context
        )
        try:
            _transport, connection = await asyncio.wait_for(connecting, self._connect_s)
        except TimeoutError as error:  # the full client tries several addresses at once
            raise NotUnderstoodError("no connection came about") from error
        return connection


def _pack(url: URL, headers: Mapping[str, str]) -> bytes:
    """Write a request.

    Raises
    ------
    NotUnderstoodError
        If a header would break out of its line.
    """
    sent = CIMultiDict({"Host": url.host_port_subcomponent or "", **_ALWAYS})
    sent.update(headers)
    lines = [f"GET {url.raw_path_qs} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in sent.items()]
    if any("\r" in line or "\n" in line for line in lines):
        raise NotUnderstoodError("a header has more than one line")
    return "\r\n".join([*lines, "", ""]).encode()
