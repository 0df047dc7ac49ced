"""where: keeps the rows that a predicate likes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from h5stream.block import Block
from h5stream.errors import ConfigError
from h5stream.pipes.map import apply
from h5stream.pipes.stage import (
    Count,
    Items,
    Lane,
    LaneIterator,
    LaneStage,
    Runtime,
    State,
    Upstream,
)

__all__ = ["Where"]


@dataclass(frozen=True)
class Where(LaneStage):
    """Keep rows by a predicate.

    Parameters
    ----------
    predicate : callable
        Gets a dict. Over blocks it returns a boolean array of shape (rows,); over samples a bool.
    """

    predicate: Callable[[dict[str, Any]], Any]

    method: ClassVar[str] = "where"
    takes: ClassVar[frozenset[Items]] = frozenset({Items.BLOCKS, Items.SAMPLES})

    def gives(self, taken: Items) -> Items:
        """Items of the same kind."""
        return taken

    def plan_parameters(self) -> dict[str, int | str | None]:
        """Return what decides which rows come when."""
        return {"where": getattr(self.predicate, "__qualname__", "callable")}

    def count(self, lane: Lane, upstream: Count) -> Count:
        """Only a run can tell."""
        return Count(None, None)

    def iterate(
        self, lane: Lane, runtime: Runtime, upstream: Upstream, state: State
    ) -> LaneIterator:
        """Start, or go on."""
        return _Kept(upstream(state), self.predicate)


class _Kept(LaneIterator):
    def __init__(self, upstream: LaneIterator, predicate: Callable[[dict[str, Any]], Any]) -> None:
        self._upstream = upstream
        self._predicate = predicate

    def __next__(self) -> Any:
        while True:
            item = next(self._upstream)
            wanted = apply(self._predicate, item)
            if isinstance(item, Block):
                kept = np.flatnonzero(_as_mask(wanted, item.n_rows))
                if len(kept):
                    return item.take(kept)
            elif wanted:
                return item

    def state(self) -> State:
        return self._upstream.state()

    def close(self) -> None:
        self._upstream.close()


def _as_mask(wanted: Any, n_rows: int) -> np.ndarray:
    mask = np.asarray(wanted)
    if mask.dtype != bool or mask.shape != (n_rows,):
        raise ConfigError(
            f"where() over blocks needs a boolean array of shape ({n_rows},), but the predicate "
            f"returned {mask.dtype} of shape {mask.shape}; unbatch() first to decide per sample"
        )
    return mask
