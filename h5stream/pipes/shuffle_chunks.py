"""shuffle_chunks: another order of the row chunks in every epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from h5stream.pipes.stage import Items, Stage
from h5stream.plan import RowChunks, spread_permutation

__all__ = ["ShuffleChunks"]


@dataclass(frozen=True)
class ShuffleChunks(Stage):
    """Permute the row chunks by (seed, epoch); neighbours come from all over the files."""

    seed: int

    method: ClassVar[str] = "shuffle_chunks"
    takes: ClassVar[frozenset[Items]] = frozenset({Items.ROW_CHUNKS})

    def gives(self, taken: Items) -> Items:
        """Row chunks."""
        return Items.ROW_CHUNKS

    def plan_parameters(self) -> dict[str, int | str | None]:
        """Return what decides which rows come when."""
        return {"seed": self.seed}

    def arrange(self, chunks: RowChunks, epoch: int) -> RowChunks:
        """Return the row chunks in the order of an epoch."""
        return chunks.take(spread_permutation(len(chunks), seed=self.seed, epoch=epoch))
