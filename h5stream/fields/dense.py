"""Dense fields: row i of the column is ``dataset[i]``, or a member of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from h5stream.errors import ConfigError, UnsupportedError
from h5stream.layout import DatasetLayout

__all__ = ["DenseField"]


@dataclass(frozen=True, eq=False)
class DenseField:
    """One dataset, or one member of a dataset's compound type, as a column.

    Parameters
    ----------
    name : str
        Key of the column in blocks and batches.
    layout : DatasetLayout
        The dataset.
    members : tuple of str
        Which member of its compound type, from the outside in; empty for whole elements.

    Raises
    ------
    ConfigError
        If the dataset is scalar or empty, or has no such member.
    UnsupportedError
        If its elements cannot be streamed.
    """

    name: str
    layout: DatasetLayout
    members: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        layout = self.layout
        if layout.refused:
            kind = UnsupportedError if layout.shape else ConfigError
            raise kind(
                f"{layout.file}: {layout.path!r} cannot be a field: {layout.refused}; choose "
                "datasets with one row of numbers or fixed-length strings per sample"
            )
        self._member_type()

    def _member_type(self) -> np.dtype[Any]:
        dtype = self.layout.dtype
        for member in self.members:
            if dtype.names is None or member not in dtype.names:
                has = ", ".join(dtype.names) if dtype.names else "no members"
                raise ConfigError(
                    f"{self.layout.file}: {self.layout.path!r} has no member {member!r}; its "
                    f"type has {has}"
                )
            dtype = dtype[member]
        return dtype

    @property
    def n_rows(self) -> int:
        """Rows of the column in this file."""
        return self.layout.n_rows

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type of the column, in the machine's byte order."""
        member = self._member_type()
        base = member.base if self.members else member
        if base.names is not None or base == ml_dtypes.bfloat16:
            return base.newbyteorder("=")
        return np.dtype(base.str).newbyteorder("=")

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row of the column."""
        return (*self.layout.row_shape, *(self._member_type().shape if self.members else ()))

    @property
    def row_nbytes(self) -> int:
        """Bytes of one row of the column."""
        return math.prod(self.row_shape) * self.dtype.itemsize

    def select(self, elements: np.ndarray) -> np.ndarray:
        """Pick the field's member out of decoded elements of the dataset; a view."""
        for member in self.members:
            elements = elements[member]
        return elements
