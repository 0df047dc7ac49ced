"""map: applies a function to every block, sample or batch of tensors."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

from h5stream.block import Block, as_block
from h5stream.columns import arrays
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
from h5stream.pipes.unbatch import Flattened, damaged

__all__ = ["Map", "apply"]


@dataclass(frozen=True)
class Map(LaneStage):
    """Replace each item by what a function makes of it.

    Parameters
    ----------
    function : callable
        Gets a dict: of columns for a block, of values for a sample, of tensors after collate. A
        generator function may yield any number of items for one.
    """

    function: Callable[[dict[str, Any]], Any]

    method: ClassVar[str] = "map"
    takes: ClassVar[frozenset[Items]] = frozenset({Items.BLOCKS, Items.SAMPLES, Items.TENSORS})

    @property
    def is_generator(self) -> bool:
        """Whether one item may become many."""
        return inspect.isgeneratorfunction(self.function)

    def gives(self, taken: Items) -> Items:
        """Items of the same kind."""
        return taken

    def plan_parameters(self) -> dict[str, int | str | None]:
        """Return what decides which rows come when."""
        return {"map": getattr(self.function, "__qualname__", "callable")}

    def count(self, lane: Lane, upstream: Count) -> Count:
        """As many items; how many rows they have is the function's business."""
        return Count(None, None) if self.is_generator else Count(upstream.items, None)

    def seek_items(self, count: int, before: Seek) -> State | None:
        """Pass it on: a plain function makes one item of each."""
        return None if self.is_generator else before.items(count)

    def iterate(
        self, lane: Lane, runtime: Runtime, upstream: Upstream, state: State
    ) -> LaneIterator:
        """Start, or go on; a generator's state ends with how much it gave for the current item."""
        if self.is_generator:
            return _Expanded(upstream(state[:-1]), state[-1] if state else 0, self.function)
        return _Mapped(upstream(state), self.function)


def apply(function: Callable[[dict[str, Any]], Any], item: Any) -> Any:
    """Call a user's function on an item as a plain dict that it may change."""
    return function(arrays(item.columns) if isinstance(item, Block) else dict(item))


class _Mapped(LaneIterator):
    def __init__(self, upstream: LaneIterator, function: Callable[[dict[str, Any]], Any]) -> None:
        self._upstream = upstream
        self._function = function

    def __next__(self) -> Any:
        item = next(self._upstream)
        result = apply(self._function, item)
        return as_block(result) if isinstance(item, Block) else result

    def state(self) -> State:
        return self._upstream.state()

    def close(self) -> None:
        self._upstream.close()


class _Expanded(Flattened):
    def __init__(
        self, upstream: LaneIterator, skip: int, function: Callable[[dict[str, Any]], Any]
    ) -> None:
        super().__init__(upstream, skip)
        self._function = function

    def open(self, item: Any, skip: int) -> Iterator[Any]:
        results = iter(apply(self._function, item))
        passed = sum(1 for _result in islice(results, skip))
        if passed < skip:
            raise damaged(skip, passed)
        return map(as_block, results) if isinstance(item, Block) else results
