"""collate: turns blocks and samples into tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from h5stream.collation import Collation, collate_counted, ignore_csr_warning
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
from h5stream.reader import Stats

__all__ = ["Collate"]


@dataclass(frozen=True)
class Collate(LaneStage):
    """Make dicts of tensors.

    Parameters
    ----------
    function : callable or None
        Gets a dict of columns or values and returns the batch; None: `h5stream.collate`.
    options : Collation
        Its options.
    """

    function: Callable[[dict[str, Any]], Any] | None = None
    options: Collation = field(default_factory=Collation)

    method: ClassVar[str] = "collate"
    takes: ClassVar[frozenset[Items]] = frozenset({Items.BLOCKS, Items.SAMPLES})
    keeps_rows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.function is None:
            ignore_csr_warning()

    @property
    def changes_columns(self) -> bool:
        """Only a function of the user's own does."""
        return self.function is not None

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
        if self.function is None:
            return _Tensors(upstream(state), self.options, runtime.stats)
        return _Collated(upstream(state), self.function)


class _Collated(LaneIterator):
    def __init__(self, upstream: LaneIterator, function: Callable[[dict[str, Any]], Any]) -> None:
        self._upstream = upstream
        self._function = function

    def __next__(self) -> Any:
        return apply(self._function, next(self._upstream))

    def state(self) -> State:
        return self._upstream.state()

    def close(self) -> None:
        self._upstream.close()


class _Tensors(LaneIterator):
    def __init__(self, upstream: LaneIterator, options: Collation, stats: Stats) -> None:
        self._upstream = upstream
        self._options = options
        self._stats = stats

    def __next__(self) -> Any:
        batch, counts = collate_counted(next(self._upstream), self._options)
        for count in counts:
            self._stats.add(
                batch_elements=count.elements,
                padding_elements=count.padding,
            )
        return batch

    def state(self) -> State:
        return self._upstream.state()

    def close(self) -> None:
        self._upstream.close()
