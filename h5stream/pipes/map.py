"""map: applies a function to every block, sample or batch of tensors."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from types import GeneratorType
from typing import Any, ClassVar

from h5stream.block import Block, as_block
from h5stream.errors import ConfigError
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
        Gets a dict: of columns for a block, of values for a sample, of tensors after collate. It
        may return any tree of dicts, tuples and lists, the same for every sample. A generator
        function may yield any number of items for one; over blocks these must be `Block`s, for
        nothing else tells rows of a block from the first axis of a sample.
    single : bool
        Items are single samples.
    """

    function: Callable[[dict[str, Any]], Any]
    single: bool = False

    method: ClassVar[str] = "map"
    takes: ClassVar[frozenset[Items]] = frozenset({Items.BLOCKS, Items.SAMPLES, Items.TENSORS})

    @property
    def is_generator(self) -> bool:
        """Whether one item may become many."""
        return inspect.isgeneratorfunction(self.function)

    @property
    def changes_columns(self) -> bool:
        """Yes: what a function makes is its own business."""
        return True

    @property
    def keeps_rows(self) -> bool:  # type: ignore[override] # whether it does depends on the function
        """Whether each sample becomes one."""
        return self.single and not self.is_generator

    def gives(self, taken: Items) -> Items:
        """Items of the same kind."""
        return taken

    def plan_parameters(self) -> dict[str, int | str | None]:
        """Return what decides which rows come when."""
        return {"map": getattr(self.function, "__qualname__", "callable")}

    def count(self, lane: Lane, upstream: Count) -> Count:
        """As many items; how many rows those of several have is the function's business."""
        if self.is_generator:
            return Count(None, None)
        return Count(upstream.items, upstream.items if self.single else None)

    def seek_items(self, count: int, before: Seek) -> State | None:
        """Pass it on: a plain function makes one item of each."""
        return None if self.is_generator else before.items(count)

    def seek_rows(self, count: int, before: Seek) -> tuple[State, int] | None:
        """Find a row: single samples have one."""
        state = self.seek_items(count, before) if self.keeps_rows else None
        return None if state is None else (state, 0)

    def iterate(
        self, lane: Lane, runtime: Runtime, upstream: Upstream, state: State
    ) -> LaneIterator:
        """Start, or go on; a generator's state ends with how much it gave for the current item."""
        if self.is_generator:
            return _Expanded(upstream(state[:-1]), state[-1] if state else 0, self.function)
        return _Mapped(upstream(state), self.function)


def apply(function: Callable[[Any], Any], item: Any) -> Any:
    """Call a user's function on an item as a plain dict, or other tree, that it may change."""
    if isinstance(item, Block):
        return function(item.plain())
    return function(dict(item) if isinstance(item, Mapping) else item)


class _Mapped(LaneIterator):
    def __init__(self, upstream: LaneIterator, function: Callable[[dict[str, Any]], Any]) -> None:
        self._upstream = upstream
        self._function = function

    def __next__(self) -> Any:
        item = next(self._upstream)
        result = apply(self._function, item)
        if isinstance(result, GeneratorType):
            name = getattr(self._function, "__qualname__", "the function")
            raise ConfigError(
                f"{name} returns a generator, which map() cannot know beforehand; write a "
                "function with yield of its own: def f(item): yield from g(item)"
            )
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
        return map(_yielded_block, results) if isinstance(item, Block) else results


def _yielded_block(result: Any) -> Block:
    """Accept blocks only: a dict may be a sample whose first axis does not count rows."""
    if isinstance(result, Block):
        return result
    raise ConfigError(
        f"a generator over blocks must yield h5stream.Block, not {type(result).__name__}; write "
        "Block({...}) for columns of rows, or call .unbatch() before .map() to make samples"
    )
