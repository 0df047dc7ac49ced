"""Serves answers to HTTP requests on a thread of the test's process."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
_SETTLE_S = 0.1
Context = Callable[[web.Application], AsyncIterator[None]]


@contextlib.contextmanager
def serving(answer: Answer, *contexts: Context, host: str = "127.0.0.1") -> Iterator[int]:
    """Answer requests to a free port, within contexts, until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="server", daemon=True)
    thread.start()
    application = web.Application(client_max_size=2**26)
    application.cleanup_ctx.extend(contexts)
    application.router.add_route("*", "/{path:.*}", answer)

    async def start() -> web.AppRunner:
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, host, 0).start()
        return runner

    async def stop(runner: web.AppRunner) -> None:
        for site in runner.sites:
            for listening in site._server.sockets:  # type: ignore[attr-defined]
                loop.remove_reader(listening.fileno())
        await asyncio.sleep(_SETTLE_S)  # a server that is closed while it accepts leaks sockets
        await runner.cleanup()
        stalled = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in stalled:
            task.cancel()
        await asyncio.gather(*stalled, return_exceptions=True)
        # Connections that came last are known to nobody else.
        for transport in list(loop._transports.values()):  # type: ignore[attr-defined]
            transport.abort()
        await asyncio.sleep(_SETTLE_S)  # until all is closed

    runner = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield runner.addresses[0][1]
    finally:
        asyncio.run_coroutine_threadsafe(stop(runner), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def ranges_of(path: Path) -> Answer:
    """Answer every request with a range of one file."""
    data = path.read_bytes()

    async def answer(request: web.Request) -> web.StreamResponse:
        first, last = map(int, request.headers["Range"].removeprefix("bytes=").split("-"))
        body = data[first : last + 1]
        place = f"bytes {first}-{first + len(body) - 1}/{len(data)}"
        return web.Response(status=206, body=body, headers={"Content-Range": place, "ETag": '"1"'})

    return answer
