"""prefetch: runs everything before it on a thread of its own, a few items ahead of the caller."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

from h5stream.pipes.stage import (
    Count,
    Items,
    Lane,
    LaneIterator,
    LaneStage,
    Runtime,
    Seek,
    State,
    Upstream,
    wait_for,
    waited_here,
)
from h5stream.reader import Stats

__all__ = ["Prefetch"]

_END = object()


@dataclass(frozen=True)
class Prefetch(LaneStage):
    """Keep items ready: worth it after a costly `map`.

    Parameters
    ----------
    items : int
        How many are made ahead.
    """

    items: int = 2

    method: ClassVar[str] = "prefetch"
    takes: ClassVar[frozenset[Items]] = frozenset({Items.BLOCKS, Items.SAMPLES, Items.TENSORS})
    keeps_rows: ClassVar[bool] = True

    def gives(self, taken: Items) -> Items:
        """Items of the same kind."""
        return taken

    def count(self, lane: Lane, upstream: Count) -> Count:
        """As many items."""
        return upstream

    def seek_items(self, count: int, before: Seek) -> State | None:
        """Pass it on: items go through one by one."""
        return before.items(count)

    def seek_rows(self, count: int, before: Seek) -> tuple[State, int] | None:
        """Pass it on."""
        return before.rows(count)

    def iterate(
        self, lane: Lane, runtime: Runtime, upstream: Upstream, state: State
    ) -> LaneIterator:
        """Start, or go on."""
        return _Ahead(upstream(state), self.items, runtime)


class _Ahead(LaneIterator):
    """Pulls on one thread, so that items keep their order; each brings the state after it."""

    def __init__(self, upstream: LaneIterator, items: int, runtime: Runtime) -> None:
        self._upstream = upstream
        self._items = items
        self._runtime = runtime
        self._state = upstream.state()
        self._executor: ThreadPoolExecutor | None = None
        self._pending: deque[Future[tuple[Any, State]]] = deque()

    def __next__(self) -> Any:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="h5stream-prefetch")
        while len(self._pending) <= self._items:
            self._pending.append(self._executor.submit(_pull, self._upstream, self._runtime.stats))
        item, state = wait_for(self._pending.popleft(), self._runtime)
        if item is _END:
            raise StopIteration
        self._state = state
        return item

    def state(self) -> State:
        return self._state

    def close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None
        self._pending.clear()
        self._upstream.close()


def _pull(upstream: LaneIterator, stats: Stats) -> tuple[Any, State]:
    """Make an item, and count the time that the stages before took for it."""
    started, waited = time.perf_counter(), waited_here()
    item = next(upstream, _END)
    stats.add(make_s=time.perf_counter() - started - (waited_here() - waited))
    return item, upstream.state()
