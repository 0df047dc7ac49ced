"""What every field of a file tells: how many rows, of what, how heavy, and where to cut them."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from h5stream.layout import DatasetLayout

__all__ = ["ColumnType", "Field", "Reading", "digest_of"]


@dataclass(frozen=True)
class ColumnType:
    """What the rows of a column are.

    Parameters
    ----------
    kind : str
        "dense", "ragged", "text" or "sparse".
    dtype : numpy.dtype
        Of the elements.
    row_shape : tuple of int
        Shape of a row; of one element where rows are ragged; the width of a sparse row.
    """

    kind: str
    dtype: np.dtype[Any]
    row_shape: tuple[int, ...]

    def __str__(self) -> str:
        shape = "x".join(map(str, self.row_shape))
        kind = "" if self.kind == "dense" else self.kind
        return " ".join(filter(None, [kind, str(self.dtype), shape]))

    @property
    def described(self) -> str:
        """Kind, type and shape, each in full."""
        kind = "" if self.kind == "dense" else f"{self.kind} "
        return f"{kind}{self.dtype} {self.row_shape}"

    @property
    def row_nbytes(self) -> int:
        """Bytes of `row_shape` elements."""
        return math.prod(self.row_shape) * self.dtype.itemsize


class Reading(StrEnum):
    """How the column of a window is made: what `reader` has a way of planning for."""

    PLACED = "placed"
    """Rows of one dataset go straight to their places."""

    MEMORY = "memory"
    """Nothing is read."""

    REPEATED = "repeated"
    """Nothing is read, and nothing is copied: rows share values."""

    HEAP = "heap"
    """Rows lie in heaps of HDF5."""

    ELEMENTS = "elements"
    """Rows are ranges of long sequences of elements."""

    VOLUMES = "volumes"
    """Rows are boxes of volumes, of which each file has its own."""

    LISTS = "lists"
    """Rows of datasets become lists of unequal length."""


class Field(ABC):
    """A named column of the rows of one file."""

    name: str

    @property
    @abstractmethod
    def reading(self) -> Reading:
        """How its columns are made."""

    @property
    @abstractmethod
    def n_rows(self) -> int:
        """Rows of the column in this file."""

    @property
    @abstractmethod
    def column(self) -> ColumnType:
        """What its rows are."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes of everything that its rows are made of."""

    @property
    @abstractmethod
    def layouts(self) -> tuple[DatasetLayout, ...]:
        """The datasets that are read for it, again in every epoch."""

    @property
    def packed(self) -> tuple[DatasetLayout, ...]:
        """Those of them whose numbers stand for others, and are not decoded."""
        return ()

    @property
    @abstractmethod
    def identity(self) -> tuple[Any, ...]:
        """What tells this field from another of the same name."""

    @abstractmethod
    def cut(self, target_bytes: int) -> np.ndarray:
        """Cut the rows into row chunks of about `target_bytes`, where chunks of the file end.

        Returns
        -------
        numpy.ndarray
            int64, increasing: 0, the ends of all but the last row chunk, and the number of rows.
        """

    @property
    def shared_with(self) -> tuple[Any, ...]:
        """What must be equal in fields that are read together, once; empty: it is read alone."""
        return ()

    @property
    def fixed_row_nbytes(self) -> int | None:
        """Bytes of every row; None if they differ."""
        return None

    @property
    def row_nbytes(self) -> int:
        """Mean bytes of one row."""
        return -(-self.nbytes // self.n_rows) if self.n_rows else self.column.row_nbytes


def digest_of(numbers: np.ndarray) -> str:
    """Return a short text that tells lists of numbers apart."""
    return hashlib.blake2b(numbers.astype("<i8").tobytes(), digest_size=8).hexdigest()
