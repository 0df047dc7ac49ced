"""Serves whatever a function answers, on a thread of the test's process."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from aiohttp import web

__all__ = ["Handler", "ranges_of", "serving"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def ranges_of(path: Path) -> Handler:
    """Answer every request with a range of one file."""
    data = path.read_bytes()

    async def answer(request: web.Request) -> web.StreamResponse:
        first, last = map(int, request.headers["Range"].removeprefix("bytes=").split("-"))
        body = data[first : last + 1]
        place = f"bytes {first}-{first + len(body) - 1}/{len(data)}"
        return web.Response(status=206, body=body, headers={"Content-Range": place, "ETag": '"1"'})

    return answer


@contextlib.contextmanager
def serving(handler: Handler, host: str = "127.0.0.1") -> Iterator[int]:
    """Run a server until the block ends; gives its port."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="handlers", daemon=True)
    thread.start()

    async def start() -> web.AppRunner:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, host, 0).start()
        return runner

    runner = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield runner.addresses[0][1]
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
