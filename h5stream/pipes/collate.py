"""collate: turns blocks and samples into tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from h5stream.collate import collate
from h5stream.pipes.map import apply
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
)

__all__ = ["Collate"]


@dataclass(frozen=True)
class Collate(LaneStage):
    """Make dicts of tensors.

    Parameters
    ----------
    function : callable or None
        Gets a dict of columns or values and returns the batch; None: `h5stream.collate`.
    """

    function: Callable[[dict[str, Any]], Any] | None = None

    method: ClassVar[str] = "collate"
    takes: ClassVar[frozenset[Items]] = frozenset({Items.BLOCKS, Items.SAMPLES})
    keeps_rows: ClassVar[bool] = True

    def gives(self, taken: Items) -> Items:
        """Tensors."""
        return Items.TENSORS

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
        return _Collated(upstream(state), self.function)


class _Collated(LaneIterator):
    def __init__(
        self, upstream: LaneIterator, function: Callable[[dict[str, Any]], Any] | None
    ) -> None:
        self._upstream = upstream
        self._function = function

    def __next__(self) -> Any:
        item = next(self._upstream)
        return collate(item) if self._function is None else apply(self._function, item)

    def state(self) -> State:
        return self._upstream.state()

    def close(self) -> None:
        self._upstream.close()
