"""Variable-length fields: row i is what the i-th descriptor of a dataset points to in a heap."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from h5stream.columns import Text
from h5stream.errors import LayoutError
from h5stream.fields.casting import fit_for
from h5stream.fields.field import ColumnType, Field, Reading
from h5stream.fields.specs import Casting
from h5stream.layout import DatasetLayout
from h5stream.plan.reads import cut_by_weight

__all__ = ["DESCRIPTOR", "VlenField", "checked_descriptors", "expected_places"]

DESCRIPTOR = np.dtype([("length", "<u4"), ("address", "<u8"), ("index", "<u4")])
"""As HDF5 stores an element of variable length (file format specification, IV.B)."""

_COLLECTION_HEADER = _OBJECT_HEADER = 16

_NO_ADDRESS = np.uint64(2**64 - 1)


@dataclass(frozen=True, eq=False)
class VlenField(Field):
    """A dataset of numbers or strings of variable length.

    Parameters
    ----------
    name : str
        Key of the column in blocks and batches.
    layout : DatasetLayout
        The dataset.
    descriptors : numpy.ndarray
        Type `DESCRIPTOR`: one a row, addresses counted from the start of the file.
    expected : numpy.ndarray
        int64: where each row's elements should begin in their heap collection; see
        `expected_places`.
    dtype : numpy.dtype
        Of the elements of the column.
    casting : {"exact", "unsafe"}
        What a conversion to `dtype` may do to values.
    text : bool or "replace"
        Rows are `str`; see `h5stream.columns.Ragged`.
    """

    name: str
    layout: DatasetLayout
    descriptors: np.ndarray
    expected: np.ndarray
    dtype: np.dtype[Any]
    text: Text = False
    casting: Casting = "exact"

    def picked(self, at: np.ndarray) -> VlenField:
        """Return the field whose row i is row ``at[i]`` of this one."""
        return replace(self, descriptors=self.descriptors[at], expected=self.expected[at])

    @property
    def stored(self) -> np.dtype[Any]:
        """Element type in the heap."""
        assert self.layout.vlen is not None, "only elements of variable length lie in a heap"
        return self.layout.vlen.dtype

    @property
    def reading(self) -> Reading:
        """Out of heaps."""
        return Reading.HEAP

    @property
    def n_rows(self) -> int:
        """Count the descriptors."""
        return len(self.descriptors)

    def fit(self, elements: np.ndarray) -> np.ndarray:
        """Return elements of the heap that may be written to the column.

        Raises
        ------
        ConfigError
            If the column's type cannot hold them.
        """
        to = None if self.dtype == elements.dtype else self.dtype
        return fit_for(elements, to, self.casting, file=self.layout.file, name=self.name)

    @property
    def column(self) -> ColumnType:
        """Text, or ragged."""
        return ColumnType("text" if self.text else "ragged", self.dtype, ())

    @property
    def nbytes(self) -> int:
        """Bytes of all elements and of their places."""
        elements = int(self.descriptors["length"].sum(dtype=np.int64))
        return elements * self.dtype.itemsize + 16 * self.n_rows

    @property
    def layouts(self) -> tuple[DatasetLayout, ...]:
        """The dataset."""
        return (self.layout,)

    @property
    def identity(self) -> tuple[Any, ...]:
        """Path and type."""
        return self.name, self.layout.path, str(self.column)

    def cut(self, target_bytes: int) -> np.ndarray:
        """Cut by bytes: heaps are filled in the order of writing."""
        lengths = self.descriptors["length"].astype(np.int64)
        weight = np.cumsum(lengths * self.dtype.itemsize + 16)
        return cut_by_weight(weight, target=target_bytes)


def checked_descriptors(layout: DatasetLayout, stored: np.ndarray, size_bytes: int) -> np.ndarray:
    """Check where descriptors point to.

    Parameters
    ----------
    layout : DatasetLayout
        The dataset that holds them.
    stored : numpy.ndarray
        16 bytes each.
    size_bytes : int
        Of the file.

    Raises
    ------
    LayoutError
        Naming the first row that points outside the file, or to more than the file holds; or if
        all rows together do.
    """
    assert layout.vlen is not None, "only elements of variable length have descriptors"
    descriptors = np.ascontiguousarray(stored).view(DESCRIPTOR).reshape(-1).copy()
    empty = (descriptors["length"] == 0) | (descriptors["address"] == 0)
    descriptors[empty | (descriptors["address"] == _NO_ADDRESS)] = np.zeros((), DESCRIPTOR)
    descriptors["address"] += np.uint64(layout.user_block_bytes)
    nbytes = descriptors["length"].astype(np.int64) * layout.vlen.dtype.itemsize
    outside = (descriptors["address"] >= size_bytes) | (nbytes > size_bytes)
    outside &= descriptors["length"] > 0
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        found = descriptors[row]
        raise LayoutError(
            f"{layout.file}: row {row} of {layout.path!r} has {int(found['length'])} elements in "
            f"the heap at byte {int(found['address'])}, but the file ends at byte {size_bytes}; it "
            "is truncated or damaged, copy it again"
        )
    if nbytes.sum() > size_bytes:
        _objects, first = np.unique(descriptors[["address", "index"]], return_index=True)
        if nbytes[first].sum() > size_bytes:
            raise LayoutError(
                f"{layout.file}: the rows of {layout.path!r} have {int(nbytes.sum())} bytes "
                f"together, but the file has only {size_bytes}; it is damaged, copy it again"
            )
    return descriptors


def expected_places(descriptors: np.ndarray, itemsize: int) -> np.ndarray:
    """Work out where objects should lie in their collections if nothing else lies there.

    A collection begins with a header of 16 bytes; each object, numbered from 1 on, has another and
    is padded to a multiple of 8 bytes. Whoever reads must check: objects of other datasets may lie
    between, and others may have been taken away.

    Parameters
    ----------
    descriptors : numpy.ndarray
        Type `DESCRIPTOR`.
    itemsize : int
        Bytes of an element.

    Returns
    -------
    numpy.ndarray
        int64: bytes from the start of the collection to the first element.

    Examples
    --------
    >>> rows = np.array([(3, 4096, 1), (1, 4096, 2), (2, 8192, 1)], DESCRIPTOR)
    >>> expected_places(rows, 4)
    array([32, 64, 32])
    """
    filled = np.flatnonzero(descriptors["length"])
    address, index = descriptors["address"][filled], descriptors["index"][filled]
    order = np.lexsort((index, address))
    if (order[1:] > order[:-1]).all():
        order = np.arange(len(filled))
    address = address[order]
    nbytes = descriptors["length"][filled[order]].astype(np.int64) * itemsize
    room = _OBJECT_HEADER + -(-nbytes // 8) * 8
    ends = np.cumsum(room)
    begins = np.flatnonzero(np.append(True, address[1:] != address[:-1])[: len(address)])
    sizes = np.diff(np.append(begins, len(address)))
    origin = np.repeat((ends - room)[begins], sizes)
    places = np.zeros(len(descriptors), np.int64)
    places[filled[order]] = ends - room - origin + _COLLECTION_HEADER + _OBJECT_HEADER
    return places
