"""Region fields: row i of the column is made of a range of elements of one or more datasets."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np

from h5stream.columns import Column, DenseRows, Padding, Patches, Ragged, Slices, Sparse, Text
from h5stream.errors import DecodeError
from h5stream.fields.dense import DenseField
from h5stream.fields.field import ColumnType, Field, Reading, digest_of
from h5stream.fields.regions import Grid, Regions, Steps
from h5stream.layout import DatasetLayout
from h5stream.plan.row_chunks import rows_per_row_chunk

__all__ = [
    "ElementForm",
    "Elements",
    "Form",
    "LaneForm",
    "PatchForm",
    "RaggedForm",
    "RegionField",
    "RowForm",
    "SliceForm",
    "SparseForm",
]


@dataclass(frozen=True, eq=False)
class Elements:
    """One long sequence of elements: the rows of datasets, one after the other.

    Parameters
    ----------
    datasets : tuple of DenseField
        Alike in type and, but for those of a `RowForm`, in the shape of their rows.
    """

    datasets: tuple[DenseField, ...]

    @cached_property
    def bounds(self) -> np.ndarray:
        """int64: where each dataset begins, and where the last one ends."""
        return np.cumsum([0, *(field.n_rows for field in self.datasets)])

    @property
    def first(self) -> DenseField:
        """Return the dataset that stands for all."""
        return self.datasets[0]

    @cached_property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return sum(field.n_rows * field.row_nbytes for field in self.datasets)

    @property
    def element_nbytes(self) -> int:
        """Mean bytes of one element."""
        count = int(self.bounds[-1])
        return -(-self.nbytes // count) if count else self.first.row_nbytes


class Form(ABC):
    """How a column is made of the elements that were read."""

    reading: ClassVar[Reading] = Reading.ELEMENTS

    shares_elements: ClassVar[bool] = False
    """Whether columns of the same elements may be views of the same memory."""

    @abstractmethod
    def column_type(self, parts: tuple[Elements, ...]) -> ColumnType:
        """Say what its rows are."""

    @abstractmethod
    def place(self, regions: Regions, rows: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, ...]:
        """Say where rows lie in what was read: int64 arrays, one number a row.

        Parameters
        ----------
        regions : Regions
            Those of the file.
        rows : numpy.ndarray
            int64: rows of the file.
        at : numpy.ndarray
            int64: where the region of each row begins in what was read.
        """

    @property
    def identity(self) -> tuple[Any, ...]:
        """What tells it from other forms that make columns of the same type."""
        return ()

    @abstractmethod
    def make(self, values: tuple[np.ndarray, ...], placed: tuple[np.ndarray, ...]) -> Column:
        """Make the column."""

    def checks(
        self,
        fields: Sequence[RegionField],
        values: Sequence[tuple[np.ndarray, ...]],
        column: Column,
    ) -> list[Callable[[], None]]:
        """Return what is to be done, in order, once all values are there.

        Parameters
        ----------
        fields : sequence of RegionField
            Of each file.
        values : sequence of tuple of numpy.ndarray
            The elements of all parts that were read of each file.
        column : Column
            What was made of them.
        """
        return []


@dataclass(frozen=True)
class RaggedForm(Form):
    """Rows of unequal length.

    Parameters
    ----------
    text : bool or "replace"
        Rows are text, and the elements its bytes in UTF-8; see `h5stream.columns.Ragged`.
    """

    text: Text = field(default=False, kw_only=True)

    def column_type(self, parts: tuple[Elements, ...]) -> ColumnType:
        """Ragged, or text."""
        if self.text:
            return ColumnType("text", parts[0].first.dtype, ())
        return ColumnType("ragged", parts[0].first.dtype, parts[0].first.row_shape)

    def place(self, regions: Regions, rows: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return starts and lengths."""
        start, stop = regions.of(rows)
        return at, stop - start

    def make(self, values: tuple[np.ndarray, ...], placed: tuple[np.ndarray, ...]) -> Column:
        """Keep the values where they are."""
        return Ragged.placed(values[0], *placed, text=self.text)


@dataclass(frozen=True, eq=False)
class SparseForm(RaggedForm):
    """Rows of a sparse matrix; the parts are data and indices.

    Parameters
    ----------
    n_columns : int
        Width of the matrix.
    plain : bool
        Rows are plain arrays.
    chosen : numpy.ndarray or None
        int64: which of its columns make a row of the column, in order; None: all.
    """

    n_columns: int
    plain: bool = False
    chosen: np.ndarray | None = None

    @property
    def width(self) -> int:
        """Elements of a row of the column."""
        return self.n_columns if self.chosen is None else len(self.chosen)

    @cached_property
    def places(self) -> np.ndarray:
        """int64, one a column of the matrix: where it goes, -1 if nowhere."""
        assert self.chosen is not None, "asked only where columns are chosen"
        places = np.full(self.n_columns, -1, np.int64)
        places[self.chosen] = np.arange(len(self.chosen))
        return places

    @property
    def identity(self) -> tuple[Any, ...]:
        """Which columns are chosen."""
        return () if self.chosen is None else (digest_of(self.chosen),)

    def column_type(self, parts: tuple[Elements, ...]) -> ColumnType:
        """Sparse, or dense."""
        kind = "dense" if self.plain else "sparse"
        return ColumnType(kind, parts[0].first.dtype, (self.width,))

    def make(self, values: tuple[np.ndarray, ...], placed: tuple[np.ndarray, ...]) -> Column:
        """Check the indices, and keep the values where they are."""
        (data, indices), (starts, lengths) = values, placed
        kind = DenseRows if self.plain else Sparse
        return kind.placed(data, indices, starts, lengths, self.width)

    def checks(
        self,
        fields: Sequence[RegionField],
        values: Sequence[tuple[np.ndarray, ...]],
        column: Column,
    ) -> list[Callable[[], None]]:
        """Look at the indices of each file; drop elements of columns that are not chosen."""
        checks: list[Callable[[], None]] = [
            partial(_check_indices, field, indices)
            for field, (_data, indices) in zip(fields, values, strict=True)
        ]
        if self.chosen is not None and isinstance(column, Sparse):
            checks.append(column.drop_negative)
        return checks


@dataclass(frozen=True)
class RowForm(RaggedForm):
    """Rows of datasets that may differ in the shape of their rows.

    Parameters
    ----------
    flat : bool
        Rows are flattened; else only their first axes may differ in length.
    """

    flat: bool = False

    reading: ClassVar[Reading] = Reading.LISTS

    @property
    def identity(self) -> tuple[Any, ...]:
        """Whether rows are flattened."""
        return ("flat",) if self.flat else ()

    def element_shape(self, field: DenseField) -> tuple[int, ...]:
        """Return the shape of what the rows of a dataset are lists of."""
        return () if self.flat else field.row_shape[1:]

    def length(self, field: DenseField) -> int:
        """Count the elements in a row of a dataset."""
        return math.prod(field.row_shape) if self.flat else field.row_shape[0]

    def column_type(self, parts: tuple[Elements, ...]) -> ColumnType:
        """Ragged."""
        first = parts[0].first
        return ColumnType("ragged", first.dtype, self.element_shape(first))


@dataclass(frozen=True)
class SliceForm(Form):
    """Slices of fixed length, or single elements.

    Parameters
    ----------
    length : int or None
        Elements of a slice; None: a row is one element, without an axis of its own.
    step : int
        From one element of a slice to the next.
    padding : {"constant", "edge", "reflect"} or None
        Of slices that go beyond their sequence; None if none does.
    """

    length: int | None
    step: int = 1
    padding: Padding | None = None

    shares_elements: ClassVar[bool] = True

    def column_type(self, parts: tuple[Elements, ...]) -> ColumnType:
        """Dense."""
        within = () if self.length is None else (self.length,)
        return ColumnType("dense", parts[0].first.dtype, (*within, *parts[0].first.row_shape))

    def place(self, regions: Regions, rows: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return starts, and limits where slices are padded."""
        if self.padding is None:
            return (at,)
        assert isinstance(regions, Steps), "only slices at regular steps are padded"
        shift = at - regions.of(rows)[0]
        parent = regions.parents(rows)
        nominal = regions.nominal(rows)
        return nominal + shift, regions.low[parent] + shift, regions.high[parent] + shift

    def make(self, values: tuple[np.ndarray, ...], placed: tuple[np.ndarray, ...]) -> Column:
        """Keep the values where they are."""
        limits = None if self.padding is None else (placed[1], placed[2])
        return Slices(
            values[0],
            placed[0],
            self.length,
            step=self.step,
            limits=limits,
            padding=self.padding or "constant",
        )


@dataclass(frozen=True)
class LaneForm(SliceForm):
    """Slices of sequences that lie beside each other: elements hold one of each lane.

    Parameters
    ----------
    lanes : int
        How many; sequence i is lane ``i % lanes``.
    """

    lanes: int = 1

    def column_type(self, parts: tuple[Elements, ...]) -> ColumnType:
        """Dense, of one lane."""
        kind = super().column_type(parts)
        at = 0 if self.length is None else 1
        return ColumnType("dense", kind.dtype, kind.row_shape[:at] + kind.row_shape[at + 1 :])

    def place(self, regions: Regions, rows: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, ...]:
        """Count starts, and limits, in elements of all lanes."""
        assert isinstance(regions, Steps), "lanes are cut at regular steps"
        lane = regions.parents(rows) % self.lanes
        start, *limits = super().place(regions, rows, at)
        if not limits:
            return (start * self.lanes + lane,)
        low, last = limits[0] * self.lanes + lane, (limits[1] - 1) * self.lanes + lane
        return start * self.lanes + lane, low, last + 1

    def make(self, values: tuple[np.ndarray, ...], placed: tuple[np.ndarray, ...]) -> Column:
        """Step from one element of a lane to its next."""
        (stored,) = values
        every = stored.reshape(len(stored) * self.lanes, *stored.shape[2:])
        limits = None if self.padding is None else (placed[1], placed[2])
        return Slices(
            every,
            placed[0],
            self.length,
            step=self.step * self.lanes,
            limits=limits,
            padding=self.padding or "constant",
        )


@dataclass(frozen=True)
class PatchForm(SliceForm):
    """Boxes of volumes, which may differ in size from file to file.

    Parameters
    ----------
    extent : tuple of int
        Size of a box along all axes of the elements.
    axis : int
        Where the axis of the elements stands in a row.
    """

    extent: tuple[int, ...] = ()
    axis: int = 0

    reading: ClassVar[Reading] = Reading.VOLUMES
    shares_elements: ClassVar[bool] = False

    @property
    def identity(self) -> tuple[Any, ...]:
        """Along which axis patches are cut first."""
        return (self.axis,)

    def column_type(self, parts: tuple[Elements, ...]) -> ColumnType:
        """Dense."""
        first, *others = self.extent
        shape = (*others[: self.axis], first, *others[self.axis :])
        return ColumnType("dense", parts[0].first.dtype, shape)

    def place(self, regions: Regions, rows: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return starts, and corners along the other axes."""
        assert isinstance(regions, Grid), "patches lie on a grid"
        return at, *regions.corners(rows)

    def cut(
        self, volumes: Sequence[np.ndarray], which: np.ndarray, placed: tuple[np.ndarray, ...]
    ) -> Column:
        """Make the column."""
        start, *corners = placed
        return Patches(volumes, which, start, np.stack(corners, 1), self.extent, self.axis)


@dataclass(frozen=True)
class ElementForm(SliceForm):
    """Single numbers out of rows that were read.

    Parameters
    ----------
    within : numpy.ndarray
        int64: which element of the flattened row.
    row_size : int
        Elements of a row.
    """

    within: np.ndarray | None = None
    row_size: int = 1

    def column_type(self, parts: tuple[Elements, ...]) -> ColumnType:
        """Numbers."""
        return ColumnType("dense", parts[0].first.dtype, ())

    def place(self, regions: Regions, rows: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, ...]:
        """Positions in the flattened rows."""
        assert self.within is not None, "elements are picked out of rows"
        return (at * self.row_size + self.within[rows],)

    def make(self, values: tuple[np.ndarray, ...], placed: tuple[np.ndarray, ...]) -> Column:
        """Flatten what was read."""
        return Slices(values[0].reshape(-1), placed[0], None)


@dataclass(frozen=True, eq=False)
class RegionField(Field):
    """A column whose rows are ranges of elements.

    Parameters
    ----------
    name : str
        Key of the column in blocks and batches.
    parts : tuple of Elements
        Sequences of equal length; each row takes the same range of all.
    regions : Regions
        Which range.
    form : Form
        What a row is made of it.
    """

    name: str
    parts: tuple[Elements, ...]
    regions: Regions
    form: Form

    @property
    def reading(self) -> Reading:
        """As the form says."""
        return self.form.reading

    @property
    def shared_with(self) -> tuple[Any, ...]:
        """Its elements, if the form shares them."""
        return self.sources if self.form.shares_elements else ()

    @property
    def n_rows(self) -> int:
        """Count the regions."""
        return len(self.regions)

    @property
    def column(self) -> ColumnType:
        """As the form says."""
        return self.form.column_type(self.parts)

    @property
    def nbytes(self) -> int:
        """Bytes of all elements, each counted once, and of their places."""
        return sum(part.nbytes for part in self.parts) + 16 * self.n_rows

    @property
    def layouts(self) -> tuple[DatasetLayout, ...]:
        """All datasets of all parts."""
        return tuple(field.layout for part in self.parts for field in part.datasets)

    @property
    def packed(self) -> tuple[DatasetLayout, ...]:
        """The datasets whose numbers stand for others, and are not decoded."""
        fields = (field for part in self.parts for field in part.datasets)
        return tuple(layout for field in fields for layout in field.packed)

    @property
    def identity(self) -> tuple[Any, ...]:
        """Paths, type and form."""
        paths = tuple(part.first.layout.path for part in self.parts)
        moves = isinstance(self.regions, Steps) and self.regions.random
        kind = (str(self.column), type(self.regions).__name__, *(("random",) if moves else ()))
        inner, layout = self.parts[0].first.inner, self.parts[0].first.layout
        whole = inner is None and layout.stacking is None
        part = () if whole else (layout.key[1], repr(inner))
        return self.name, paths, *kind, *self.form.identity, *part

    @cached_property
    def sources(self) -> tuple[Any, ...]:
        """What tells the elements from those of other datasets, or other views of them."""
        return tuple(
            (
                field.layout.key,
                field.layout.axis,
                field.layout.shape,
                field.members,
                field.convert,
                field.packing,
                field.inner,
            )
            for part in self.parts
            for field in part.datasets
        )

    def cut(self, target_bytes: int) -> np.ndarray:
        """Cut where chunks of the elements end; rows without order are cut by number."""
        part = max(self.parts, key=lambda part: part.element_nbytes)
        step = rows_per_row_chunk(
            chunk_rows=part.first.layout.chunk_rows if len(part.datasets) == 1 else None,
            row_nbytes=part.element_nbytes,
            target_bytes=target_bytes,
        )
        edges = np.arange(step, int(part.bounds[-1]), step)
        rows = self.regions.first_at(edges)
        if rows is None:
            step = max(1, target_bytes // max(1, self.row_nbytes))
            rows = np.arange(0, self.n_rows, step)
        return np.unique(np.concatenate([[0], np.clip(rows, 0, self.n_rows), [self.n_rows]]))


def _check_indices(field: RegionField, indices: np.ndarray) -> None:
    """Refuse indices outside a sparse matrix; count those of chosen columns anew, others as -1."""
    form = field.form
    assert isinstance(form, SparseForm), "only matrices have indices"
    if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < form.n_columns:
        layout = field.parts[1].first.layout
        raise DecodeError(
            f"{layout.file}: {layout.path!r} has indices from {indices.min()} to "
            f"{indices.max()}, but the matrix has {form.n_columns} columns; the file is damaged",
            url=layout.file,
            dataset=layout.path,
        )
    if form.chosen is not None and len(indices):
        indices[...] = form.places[indices]
