"""list_chunks: cuts the files into row chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from h5stream.pipes.stage import Items, Stage
from h5stream.plan import RowChunks
from h5stream.reader import Catalog

__all__ = ["ListChunks"]


@dataclass(frozen=True)
class ListChunks(Stage):
    """Cut files on the chunk boundaries of their heaviest field.

    Parameters
    ----------
    target_bytes : int
        Neighbouring chunks are joined up to this many decoded bytes of that field.
    """

    target_bytes: int

    method: ClassVar[str] = "list_chunks"
    takes: ClassVar[frozenset[Items]] = frozenset({Items.FILES})

    def gives(self, taken: Items) -> Items:
        """Row chunks."""
        return Items.ROW_CHUNKS

    def plan_parameters(self) -> dict[str, int | str | None]:
        """Return what decides which rows come when."""
        return {"target_bytes": self.target_bytes}

    def cut(self, catalog: Catalog) -> RowChunks:
        """Cut the files of a catalog."""
        return catalog.row_chunks(self.target_bytes)
