"""A TCP proxy that holds back what clients send, and can bound how fast answers come.

It knows nothing of HTTP, so that it costs little: a request that arrives is passed on after the
delay, while others pass it on their own connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.remote.processes import free_port, running


@dataclass
class Link:
    """What all connections share."""

    upstream_port: int
    delay_s: float
    bytes_per_s: float
    free_at_s: float = field(default=0.0)

    def book(self, now_s: float, nbytes: int) -> float:
        """Send some bytes through the link; return when they are through."""
        if self.bytes_per_s:
            self.free_at_s = max(now_s, self.free_at_s) + nbytes / self.bytes_per_s
        return self.free_at_s


class _Client(asyncio.Protocol):
    def __init__(self, link: Link) -> None:
        self.link = link
        self.loop = asyncio.get_running_loop()
        self.upstream: asyncio.Transport | None = None
        self.early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.task = self.loop.create_task(self._connect())

    async def _connect(self) -> None:
        self.upstream, _ = await self.loop.create_connection(
            lambda: _Upstream(self), "127.0.0.1", self.link.upstream_port
        )
        for data in self.early:
            self._send(data)

    def data_received(self, data: bytes) -> None:
        self.loop.call_later(self.link.delay_s, self._send, data)

    def _send(self, data: bytes) -> None:
        if self.upstream is None:
            self.early.append(data)
        elif not self.upstream.is_closing():
            self.upstream.write(data)

    def pause_writing(self) -> None:
        if self.upstream is not None:
            self.upstream.pause_reading()

    def resume_writing(self) -> None:
        if self.upstream is not None:
            self.upstream.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        if self.upstream is not None:
            self.upstream.close()


class _Upstream(asyncio.Protocol):
    def __init__(self, client: _Client) -> None:
        self.client = client

    def data_received(self, data: bytes) -> None:
        client = self.client
        through_s = client.link.book(client.loop.time(), len(data))
        if through_s:
            client.loop.call_at(through_s, client.transport.write, data)
        else:
            client.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.client.loop.call_at(self.client.link.free_at_s, self.client.transport.close)


async def _serve(port: int, link: Link) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Client(link), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


@contextlib.contextmanager
def delayed(upstream_port: int, delay_s: float, bytes_per_s: float = 0) -> Iterator[int]:
    """Run the proxy; gives its port."""
    port = free_port()
    numbers = [str(number) for number in (port, upstream_port, delay_s, bytes_per_s)]
    with running([sys.executable, "-m", "tests.remote.delay", *numbers], port):
        yield port


if __name__ == "__main__":
    _port, _upstream, _delay, _rate = sys.argv[1:]
    asyncio.run(_serve(int(_port), Link(int(_upstream), float(_delay), float(_rate))))
