"""Serves answers to HTTP requests on a thread of the test's process."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
_SETTLE_S = 0.1
Context = Callable[[web.Application], AsyncIterator[None]]


@contextlib.contextmanager
def serving(answer: Answer, *contexts: Context) -> Iterator[int]:
    """Answer requests to a free port of 127.0.0.1, within contexts, until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="server", daemon=True)
    thread.start()
    application = web.Application(client_max_size=2**26)
    application.cleanup_ctx.extend(contexts)
    application.router.add_route("*", "/{path:.*}", answer)

    async def start() -> web.AppRunner:
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    async def stop(runner: web.AppRunner) -> None:
        server = runner.server
        assert server is not None
        for site in list(runner.sites):
            await site.stop()
        await asyncio.sleep(_SETTLE_S)  # until what was accepted last is a connection
        open_ones = list(server.connections)
        await runner.cleanup()
        stalled = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in stalled:
            task.cancel()
        await asyncio.gather(*stalled, return_exceptions=True)
        for connection in open_ones:
            if connection.transport is not None:
                connection.transport.abort()
        await asyncio.sleep(_SETTLE_S)  # until all is closed

    runner = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield runner.addresses[0][1]
    finally:
        asyncio.run_coroutine_threadsafe(stop(runner), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
