"""draw_rows: draws rows of the row chunks by weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from h5stream.errors import ConfigError
from h5stream.pipes.stage import Items, Stage
from h5stream.plan import Draws, RowChunks, draw_rows
from h5stream.reader import Catalog

__all__ = ["DrawRows"]


@dataclass(frozen=True)
class DrawRows(Stage):
    """Draw rows by the weights of the files, others in every epoch.

    Parameters
    ----------
    seed : int
        Of the draws.
    rows_per_epoch : int or None
        How many; None: as many as there are.
    replacement : bool
        Rows may come several times in an epoch.
    """

    seed: int
    rows_per_epoch: int | None = None
    replacement: bool = True

    method: ClassVar[str] = "draw_rows"
    takes: ClassVar[frozenset[Items]] = frozenset({Items.ROW_CHUNKS})

    def gives(self, taken: Items) -> Items:
        """Row chunks."""
        return Items.ROW_CHUNKS

    def plan_parameters(self) -> dict[str, int | str | None]:
        """Return what decides which rows come when."""
        return {
            "draw_seed": self.seed,
            "rows_per_epoch": self.rows_per_epoch,
            "replacement": int(self.replacement),
        }

    def n_rows(self, catalog: Catalog) -> int:
        """Count the rows of an epoch."""
        return self.rows_per_epoch or catalog.n_rows

    def draw(self, chunks: RowChunks, catalog: Catalog, epoch: int) -> Draws:
        """Draw the rows of an epoch.

        Raises
        ------
        ConfigError
            If fewer rows have a weight than are drawn without replacement, or none has.
        """
        weights, n_rows = catalog.weights, self.n_rows(catalog)
        assert weights is not None, "files of a stream that draws have weights"
        usable = int(np.count_nonzero(weights))
        if not usable:
            raise ConfigError("all rows have the weight zero; give some of them another")
        if not self.replacement and n_rows > usable:
            raise ConfigError(
                f"{n_rows} rows cannot be drawn without replacement from {usable} that have a "
                "weight; pass a smaller rows_per_epoch=, or replacement=True"
            )
        return draw_rows(
            chunks, weights, n_rows, replacement=self.replacement, seed=self.seed, epoch=epoch
        )
