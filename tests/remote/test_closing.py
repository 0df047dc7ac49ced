"""Streams that are closed while a server does not answer, now or ever."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

import h5stream as h5s
from h5stream.fetch.loop import loop_of_this_process
from tests.remote.faults import Proxy
from tests.streams import write_columns

N_ROWS = 4000
PATIENT: dict[str, Any] = {
    "storage_options": {"timeout": aiohttp.ClientTimeout()},
    "layout": False,
    "retry_s": 1e6,
}
"""Nothing but closing ends a request."""

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def file(served: Path) -> str:
    """Rows of a heavy field, read in place, and of a light one that is kept in memory."""
    generator = np.random.default_rng(0)
    columns = {"row": np.arange(N_ROWS), "x": generator.integers(0, 256, (N_ROWS, 500), np.uint8)}
    return Path(write_columns(served / "closing.h5", columns, chunk_rows=50)).name


def threads_of_streams() -> list[str]:
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith(("h5stream_", "h5stream-prefetch"))]


def wait_until_nothing_is_asked_for() -> None:
    """Return once the event loop has no more to do; what never ends runs into the time limit."""
    while asyncio.all_tasks(loop_of_this_process().loop):
        time.sleep(0.01)


def interrupt_once(happened: Callable[[], bool]) -> threading.Thread:
    """Send what Ctrl-C sends to the main thread, once something has happened."""
    main = threading.main_thread().ident
    assert main is not None

    def wait_and_interrupt() -> None:
        pause = threading.Event()
        while not happened():
            pause.wait(0.05)
        pause.wait(0.3)
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=wait_and_interrupt)
    thread.start()
    return thread


@pytest.mark.parametrize("fields", [["row", "x"], ["x"]], ids=["resident", "asked for ahead"])
@pytest.mark.parametrize("prefetch", [False, True])
def test_an_interrupted_stream_ends_at_once(
    fields: list[str], prefetch: bool, proxy: Proxy, file: str
) -> None:
    pipe = h5s.open_files(f"{proxy.url}/{file}", fields, **PATIENT)
    pipe = pipe.list_chunks(2**14).read_chunks().batch(10)
    pipe = pipe.prefetch(2) if prefetch else pipe
    pipe.catalog  # noqa: B018 - scans while the server answers
    proxy.script = lambda number: "hang"
    thread = interrupt_once(lambda: "hang" in proxy.broken)
    with pytest.raises(KeyboardInterrupt):
        next(iter(pipe))
    thread.join()
    assert threads_of_streams() == []
    wait_until_nothing_is_asked_for()


@pytest.mark.parametrize("prefetch", [False, True])
def test_a_stream_is_closed_while_its_threads_wait(
    prefetch: bool, proxy: Proxy, file: str, tmp_path: Path
) -> None:
    pipe = h5s.open_files(f"{proxy.url}/{file}", ["row", "x"], cache_dir=tmp_path, **PATIENT)
    pipe = pipe.list_chunks(2**14).read_chunks(prefetch=2).batch(10)
    pipe = pipe.prefetch(2) if prefetch else pipe
    batches = iter(pipe)
    assert next(batches)["row"].tolist() == list(range(10))
    proxy.script = lambda number: "hang"
    for _ in range(5):  # into the next block, so that one more is asked for
        next(batches)
    while "hang" not in proxy.broken:
        time.sleep(0.01)
    batches.close()
    assert threads_of_streams() == []
    assert list(batches) == []
    wait_until_nothing_is_asked_for()
