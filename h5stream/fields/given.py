"""Given fields: columns that are in memory already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from h5stream.columns import Column, Ragged, Sparse
from h5stream.fields.field import ColumnType, Field
from h5stream.layout import DatasetLayout

__all__ = ["GivenField"]


@dataclass(frozen=True, eq=False)
class GivenField(Field):
    """A column that was read when the file was scanned.

    Parameters
    ----------
    name : str
        Key of the column in blocks and batches.
    data : Column
        All its rows.
    """

    name: str
    data: Column

    @property
    def n_rows(self) -> int:
        """Count the rows."""
        return len(self.data)

    @property
    def column(self) -> ColumnType:
        """As the data is."""
        if isinstance(self.data, Ragged):
            kind = "text" if self.data.text else "ragged"
            return ColumnType(kind, self.data.dtype, self.data.element_shape)
        if isinstance(self.data, Sparse):
            return ColumnType("sparse", self.data.dtype, (self.data.n_columns,))
        return ColumnType("dense", self.data.dtype, self.data.shape[1:])

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
        kind = self.column
        if isinstance(self.data, Ragged | Sparse):
            return int(self.data.lengths.sum()) * kind.dtype.itemsize + 16 * self.n_rows
        return self.n_rows * kind.row_nbytes

    @property
    def layouts(self) -> tuple[DatasetLayout, ...]:
        """Nothing is read."""
        return ()

    @property
    def identity(self) -> tuple[Any, ...]:
        """Name and type."""
        return self.name, str(self.column)

    def cut(self, target_bytes: int) -> np.ndarray:
        """Cut by number."""
        step = max(1, target_bytes // max(1, self.row_nbytes))
        return np.append(np.arange(0, self.n_rows, step), self.n_rows)
