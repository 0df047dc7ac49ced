"""Dense fields: row i of the column is ``dataset[i]``, or a member of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from h5stream.errors import ConfigError, LayoutError, UnsupportedError
from h5stream.fields.casting import fit_for
from h5stream.fields.field import ColumnType, Field, Reading
from h5stream.fields.inner import Inner
from h5stream.fields.specs import Casting
from h5stream.layout import DatasetLayout, Packing
from h5stream.plan.row_chunks import rows_per_row_chunk

__all__ = ["DenseField"]


_MOST_ROW_CHUNKS = 2**27
"""Of a megabyte each they would be 128 TiB."""


@dataclass(frozen=True, eq=False)
class DenseField(Field):
    """One dataset, or one member of a dataset's compound type, as a column.

    Parameters
    ----------
    name : str
        Key of the column in blocks and batches.
    layout : DatasetLayout
        The dataset.
    members : tuple of str
        Which member of its compound type, from the outside in; empty for whole elements.
    convert : numpy.dtype or None
        Type of the column, if another than that of the elements.
    casting : {"exact", "unsafe"}
        What the conversion may do to values.
    packing : Packing or None
        How elements are decoded before; None: they come out as stored.
    inner : Inner or None
        Which part of a row of the layout makes a row of the column; None: all.

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
    convert: np.dtype[Any] | None = None
    casting: Casting = "exact"
    packing: Packing | None = None
    inner: Inner | None = None

    def __post_init__(self) -> None:
        layout = self.layout
        if layout.vlen is not None:
            raise UnsupportedError(
                f"{layout.file}: {layout.path!r} has elements of variable length; ask for it by "
                "its path alone or as Vlen(path)"
            )
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
    def reading(self) -> Reading:
        """Straight to their places."""
        return Reading.PLACED

    @property
    def n_rows(self) -> int:
        """Rows of the column in this file."""
        return self.layout.n_rows

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type of the column, in the machine's byte order."""
        if self.convert is not None:
            return self.convert
        if self.packing is not None:
            return np.dtype(self.packing.dtype)
        member = self._member_type()
        base = member.base if self.members else member
        if base.names is not None or base == ml_dtypes.bfloat16:
            return base.newbyteorder("=")
        return np.dtype(base.str).newbyteorder("=")

    @property
    def as_stored(self) -> bool:
        """Whether stored elements, at most byte-swapped, are those of the column."""
        changed = self.members or self.convert is not None or self.packing is not None
        return not changed and self.inner is None

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row of the column."""
        within = self.layout.row_shape if self.inner is None else self.inner.shape
        return (*within, *(self._member_type().shape if self.members else ()))

    @property
    def column(self) -> ColumnType:
        """Type and shape of a row."""
        return ColumnType("dense", self.dtype, self.row_shape)

    @property
    def row_nbytes(self) -> int:
        """Bytes of one row of the column."""
        return math.prod(self.row_shape) * self.dtype.itemsize

    @property
    def fixed_row_nbytes(self) -> int:
        """Bytes of one row of the column."""
        return self.row_nbytes

    @property
    def nbytes(self) -> int:
        """Bytes of the dataset's elements."""
        return self.layout.nbytes

    @property
    def layouts(self) -> tuple[DatasetLayout, ...]:
        """The dataset."""
        return (self.layout,)

    @property
    def packed(self) -> tuple[DatasetLayout, ...]:
        """The dataset, if its numbers stand for others and are not decoded."""
        packing = self.layout.packing
        told = packing is not None and packing.matters and self.packing is None
        return self.layouts if told else ()

    @property
    def identity(self) -> tuple[Any, ...]:
        """Path, members, type and shape."""
        which = () if self.inner is None else (repr(self.inner),)
        kind = (self.members, str(self.dtype), self.row_shape)
        return self.name, self.layout.key[1], *kind, *which

    def cut(self, target_bytes: int) -> np.ndarray:
        """Cut every so many chunks."""
        step = rows_per_row_chunk(
            chunk_rows=self.layout.chunk_rows,
            row_nbytes=self.layout.row_nbytes,
            target_bytes=target_bytes,
        )
        if self.n_rows // step > _MOST_ROW_CHUNKS:
            raise LayoutError(
                f"{self.layout.file}: {self.layout.path!r} claims {self.n_rows} rows, which make "
                f"{self.n_rows // step} row chunks, more than {_MOST_ROW_CHUNKS}; it is damaged, "
                "or take a part of it with n_rows="
            )
        return np.append(np.arange(0, self.n_rows, step), self.n_rows)

    def select(self, elements: np.ndarray) -> np.ndarray:
        """Make elements of the column, but for a last conversion, of elements of the dataset.

        Raises
        ------
        ConfigError
            If the column's type cannot hold them.
        """
        for member in self.members:
            elements = elements[member]
        if self.packing is not None:
            elements = self._decode(elements)
        return fit_for(elements, self.convert, self.casting, file=self.layout.file, name=self.name)

    def _decode(self, elements: np.ndarray) -> np.ndarray:
        """Decode packed numbers, after a look at what floats can hold."""
        packing = self.packing
        assert packing is not None, "elements that are not packed are not decoded"
        if elements.dtype.kind in "iu" and elements.dtype.itemsize == 8:
            kept = elements[~np.isin(elements, packing.missing)]
            floats = np.dtype(packing.dtype)
            fit_for(kept, floats, self.casting, file=self.layout.file, name=self.name)
        return packing.decode(elements)
