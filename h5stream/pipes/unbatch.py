"""unbatch: takes blocks apart into samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from h5stream.block import Block
from h5stream.errors import StateError
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

__all__ = ["Flattened", "Unbatch", "damaged"]


@dataclass(frozen=True)
class Unbatch(LaneStage):
    """Yield each row as a dict of its values."""

    method: ClassVar[str] = "unbatch"
    takes: ClassVar[frozenset[Items]] = frozenset({Items.BLOCKS})
    keeps_rows: ClassVar[bool] = True

    def gives(self, taken: Items) -> Items:
        """Say samples."""
        return Items.SAMPLES

    def unit(self, unit: Items) -> Items:
        """Say samples."""
        return Items.SAMPLES

    def plan_parameters(self) -> dict[str, int | str | None]:
        """Return what decides which rows come when."""
        return {"unbatch": 1}

    def count(self, lane: Lane, upstream: Count) -> Count:
        """One item a row."""
        return Count(upstream.rows, upstream.rows)

    def seek_items(self, count: int, before: Seek) -> State | None:
        """Find a row."""
        found = before.rows(count)
        return None if found is None else (*found[0], found[1])

    def seek_rows(self, count: int, before: Seek) -> tuple[State, int] | None:
        """Find a row: items have one."""
        state = self.seek_items(count, before)
        return None if state is None else (state, 0)

    def iterate(
        self, lane: Lane, runtime: Runtime, upstream: Upstream, state: State
    ) -> LaneIterator:
        """Start, or go on ``state[-1]`` samples after the upstream's state."""
        return _Samples(upstream(state[:-1]), state[-1] if state else 0)


def damaged(skip: int, most: int) -> StateError:
    """Make the error of a state that is further than the plan goes."""
    return StateError(f"the state is after item {skip} of {most}; it is damaged")


class Flattened(LaneIterator):
    """Gives several items for each of the upstream's, and counts those of the current one."""

    def __init__(self, upstream: LaneIterator, skip: int) -> None:
        self._upstream = upstream
        self._origin = upstream.state()
        self._given = skip
        self._current: Iterator[Any] | None = None

    def open(self, item: Any, skip: int) -> Iterator[Any]:
        """Yield what one upstream item becomes, without the first `skip`."""
        raise NotImplementedError

    def __next__(self) -> Any:
        while True:
            if self._current is None:
                self._current = self._next_item()
            for item in self._current:
                self._given += 1
                return item
            self._current = None
            self._origin, self._given = self._upstream.state(), 0

    def _next_item(self) -> Iterator[Any]:
        try:
            return self.open(next(self._upstream), self._given)
        except StopIteration:
            if self._given:
                raise damaged(self._given, 0) from None
            raise

    def state(self) -> State:
        """Return the state before the current item, and how much was given for it."""
        return (*self._origin, self._given)

    def close(self) -> None:
        """Let go of the current item and close the upstream."""
        self._current = None
        self._upstream.close()


class _Samples(Flattened):
    def open(self, item: Block, skip: int) -> Iterator[dict[str, Any]]:
        if skip > item.n_rows:
            raise damaged(skip, item.n_rows)
        return item.part(skip, item.n_rows).samples()
