"""An HTTP proxy that breaks answers on a script. It runs on a thread of the test's process."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

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


def at_random(kinds: Sequence[str], rate: float, seed: int = 0) -> Script:
    """Break each request in each way at this rate."""
    generator = random.Random(seed)

    def script(_number: int) -> str | None:
        drawn = generator.random()
        return kinds[int(drawn / rate)] if drawn < rate * len(kinds) else None

    return script


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
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.ended.wait(), 30)
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
            kept = ("ETag", "Last-Modified", "Content-Range", "Content-Type")
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
            headers["ETag"] = '"another"'
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
def faulty(upstream: str) -> Iterator[Proxy]:
    """Run a proxy in front of a server until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="proxy", daemon=True)
    thread.start()
    proxy = Proxy(upstream)

    async def start() -> web.AppRunner:
        proxy.ended = asyncio.Event()
        proxy.session = aiohttp.ClientSession(auto_decompress=False)
        application = web.Application(client_max_size=2**26)
        application.router.add_route("*", "/{path:.*}", proxy.answer)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        proxy.port = runner.addresses[0][1]
        return runner

    async def stop(runner: web.AppRunner) -> None:
        proxy.ended.set()
        for site in list(runner.sites):
            await site.stop()
        await asyncio.sleep(0.1)  # until all is accepted that clients had asked for
        await runner.cleanup()
        await proxy.session.close()
        await asyncio.sleep(0.1)  # until all is closed

    runner = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(stop(runner), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
