"""What can be read: files, their fields, and how each dataset is read. Holds no handle."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from h5stream.fetch import Access
from h5stream.fields import ColumnType, FileFields, Rows, locate_rows
from h5stream.plan import Pieces, RowChunks, expand_spans, join_bounds

__all__ = ["ORDERED", "Catalog", "Route"]

ORDERED = -1
"""In place of the number of a file: an order of rows over several files."""


@dataclass(frozen=True, slots=True)
class Route:
    """How a dataset is read.

    Parameters
    ----------
    reason : str or None
        Why it goes through h5py; None if it is read directly.
    """

    reason: str | None = None

    @property
    def direct(self) -> bool:
        """Whether h5py is left out."""
        return self.reason is None

    def __str__(self) -> str:
        return "direct" if self.reason is None else f"through h5py: {self.reason}"


@dataclass(frozen=True, eq=False)
class Catalog:
    """Files, their fields and the route of each dataset. Holds no handle; can be pickled.

    Parameters
    ----------
    files : tuple of FileFields
        In the order in which their rows count.
    routes : dict
        (file that holds the dataset, its path there) -> how it is read.
    access : Access
        The way to the files.
    numbered : bool
        Rows are read with their numbers over all files beside them, as `ROW_NUMBERS`.
    order : numpy.ndarray or None
        int64: the row that comes first, second and so on, counted over the rows of all files one
        after another; None: in that order.
    weights : numpy.ndarray or None
        float64: how often each row is wanted, in proportion; None: all rows are streamed.
    """

    files: tuple[FileFields, ...]
    routes: dict[tuple[str, str], Route]
    access: Access = dataclasses.field(default_factory=Access)
    numbered: bool = False
    order: np.ndarray | None = None
    weights: np.ndarray | None = None

    def row_chunks(self, target_bytes: int) -> RowChunks:
        """Cut the rows into row chunks of about so many bytes; see `FileFields.cut`.

        Those of an order over several files are of "file" -1, and count its rows.
        """
        if self.order is None:
            return join_bounds([file.cut(target_bytes) for file in self.files])
        bounds = (np.diff(file.heaviest.cut(target_bytes)) for file in self.files)
        step = max(int(sizes.max(initial=1)) for sizes in bounds)
        chunks = join_bounds([np.append(np.arange(0, self.n_rows, step), self.n_rows)])
        return replace(chunks, file=np.full(len(chunks), ORDERED))

    def locate(self, pieces: Pieces) -> tuple[Pieces, np.ndarray]:
        """Find where the rows of pieces lie.

        Returns
        -------
        (Pieces, numpy.ndarray)
            Pieces of files, and int64: how many rows come before each.
        """
        sizes = pieces.sizes
        if self.order is None or not (pieces.file == ORDERED).any():
            return pieces, np.cumsum(sizes) - sizes
        places = self.order[expand_spans(pieces.start, pieces.stop)]
        file, within = locate_rows(places, [file.n_rows for file in self.files])
        apart = (np.diff(file) != 0) | (np.diff(within) != 1)
        first = np.flatnonzero(np.concatenate([[True], apart])[: len(places)])
        start = within[first]
        stop = start + np.diff(np.append(first, len(places)))
        return Pieces(file[first], start, stop), first

    @property
    def n_rows(self) -> int:
        """Rows of all files."""
        return sum(file.n_rows for file in self.files)

    @property
    def row_nbytes(self) -> int:
        """Mean bytes of one decoded sample, over all fields."""
        rows = max(1, sum(file.n_stored_rows for file in self.files))
        return sum(self._field_nbytes(name, rows) for name in self.files[0].fields)

    def _field_nbytes(self, name: str, rows: int) -> int:
        fixed = self.files[0].fields[name].fixed_row_nbytes
        if fixed is not None:
            return fixed
        return -(-sum(file.fields[name].nbytes for file in self.files) // rows)

    @property
    def columns(self) -> dict[str, ColumnType]:
        """Field name -> what its rows are."""
        return {name: field.column for name, field in self.files[0].fields.items()}

    @property
    def categories(self) -> dict[str, list[Any]]:
        """Field name -> what its codes stand for, in the order of the codes."""
        return {name: list(known) for name, known in self.files[0].categories.items()}

    def rows(self) -> Rows:
        """Say where each row comes from, in the order of their numbers."""
        n_rows = [file.n_rows for file in self.files]
        within = [file.numbers for file in self.files]
        has_names = all(file.names is not None for file in self.files)
        order = np.arange(self.n_rows) if self.order is None else self.order
        names = [name for file in self.files for name in file.group_names()] if has_names else None
        return Rows(
            [file.path for file in self.files],
            np.repeat(np.arange(len(n_rows)), n_rows)[order],
            names and [names[row] for row in order.tolist()],
            np.concatenate(within)[order],
        )
