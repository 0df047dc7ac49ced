"""An HTTP proxy that breaks answers on a script. It runs on a thread of the test's process."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import aiohttp
from aiohttp import web

from tests.remote.serving import serving

Script = Callable[[int], str | None]
"""Number of a request -> what goes wrong, None if nothing does."""

TRANSIENT = (
    "reset",
    "stall",
    "429",
    "500",
    "503",
    "short body",
    "short answer",
    "ignores range",
    "wrong range",
    "corrupted",
)
"""What another attempt gets over."""

_VERSIONS = ("ETag", "X-Goog-Generation")


def at_random(kinds: Sequence[str], rate: float, seed: int = 0) -> Script:
    """Break each request in each way at this rate."""
    generator = random.Random(seed)

    def script(_number: int) -> str | None:
        drawn = generator.random()
        return kinds[int(drawn / rate)] if drawn < rate * len(kinds) else None

    return script


P = TypeVar("P", bound="Proxy")


@dataclass
class Proxy:
    """A proxy that is running; scripts may be changed between requests."""

    upstream: str
    script: Script = field(default=lambda number: None)
    delay_s: float = 0.0
    port: int = 0
    requests: int = 0
    broken: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        kind = self.script(self.requests)
        self.requests += 1
        self.ranges.append(request.headers.get("Range", ""))
        if kind is not None:
            self.broken.append(kind)
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if kind == "reset":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if kind == "stall":
            await asyncio.sleep(30)
        if kind == "hang":
            await asyncio.Event().wait()
        if kind is not None and kind.isdecimal():
            headers = {"Retry-After": "0"} if kind in ("429", "503") else {}
            return web.Response(status=int(kind), headers=headers)
        status, headers, body = await self._forward(request, kind)
        return await self._break(request, kind, status, headers, body)

    async def _forward(
        self, request: web.Request, kind: str | None
    ) -> tuple[int, dict[str, str], bytes]:
        headers = {k: v for k, v in request.headers.items() if k.lower() != "host"}
        if kind == "ignores range":
            headers.pop("Range", None)
        url = self.upstream + request.path_qs
        sent = await request.read()
        async with self.session.request(
            request.method, url, headers=headers, data=sent or None
        ) as answer:
            kept = (*_VERSIONS, "Last-Modified", "Content-Range", "Content-Type")
            found = {name: answer.headers[name] for name in kept if name in answer.headers}
            return answer.status, found, await answer.read()

    async def _break(
        self,
        request: web.Request,
        kind: str | None,
        status: int,
        headers: dict[str, str],
        body: bytes,
    ) -> web.StreamResponse:
        if kind == "short answer":
            body = body[: len(body) // 2]
        elif kind == "wrong range" and "Content-Range" in headers:
            total = headers["Content-Range"].rpartition("/")[2]
            headers["Content-Range"] = f"bytes 1-{len(body)}/{total}"
        elif kind == "corrupted" and body:
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 0xFF]) + body[middle + 1 :]
        elif kind == "replaced":
            headers |= {name: '"another"' for name in _VERSIONS if name in headers}
        elif kind == "grown" and "Content-Range" in headers:
            first, _, total = headers["Content-Range"].rpartition("/")
            headers["Content-Range"] = f"{first}/{int(total) + 1}"
        if kind != "short body":
            return web.Response(status=status, headers=headers, body=body)
        answer = web.StreamResponse(status=status, headers=headers)
        answer.content_length = len(body)
        await answer.prepare(request)
        await answer.write(body[: len(body) // 2])
        assert request.transport is not None
        request.transport.abort()
        return answer


@contextlib.contextmanager
def faulty(upstream: str, make: Callable[[str], P] = Proxy) -> Iterator[P]:
    """Run a proxy in front of a server until the block ends."""
    proxy = make(upstream)

    async def session(_application: web.Application) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(auto_decompress=False) as proxy.session:
            yield

    with serving(proxy.answer, session) as proxy.port:
        yield proxy
