"""Columns of a file that is being written: each is one or more datasets that grow together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import h5py
import numpy as np

from h5stream.columns import Ragged, Sparse
from h5stream.errors import LayoutError
from h5stream.layout.elements import read_element_type
from h5stream.write.arrays import (
    ArraySpec,
    ChunkQueue,
    GrowingArray,
    PlainArray,
    begin_array,
    write_array,
)
from h5stream.write.columns import (
    ColumnSpec,
    DenseColumn,
    RaggedColumn,
    SparseColumn,
    TextColumn,
)
from h5stream.write.filters import Filters
from h5stream.write.output import Output

__all__ = ["ColumnWriter", "Storage", "make_column", "spec_of", "write_whole"]

_STRING_CHUNK = 4096
"""Strings in a chunk of a dataset of HDF5's own."""


@dataclass(frozen=True, slots=True)
class Storage:
    """How arrays of a file are stored.

    Parameters
    ----------
    filters : callable
        Bytes of an element -> filters.
    may_drop_codec : bool
        Whether chunks are left uncompressed if the first does not shrink.
    chunk_bytes : int
        About how large a chunk is.
    chunk_rows : callable
        Bytes of a row -> rows of a chunk of a dense column, aligned with those of other columns.
    n_rows : int or None
        How many rows there will be, if that is known.
    """

    filters: Callable[[int], Filters]
    may_drop_codec: bool
    chunk_bytes: int
    chunk_rows: Callable[[int], int]
    n_rows: int | None

    def array(
        self,
        path: str,
        dtype: np.dtype[Any],
        row_shape: tuple[int, ...] = (),
        *,
        chunk_rows: int | None = None,
        n_rows: int | None = None,
    ) -> ArraySpec:
        """Describe an array; by default a chunk has as many rows as fit."""
        nbytes = max(1, dtype.itemsize * int(np.prod(row_shape)))
        rows = chunk_rows or max(1, self.chunk_bytes // nbytes)
        filters = self.filters(dtype.itemsize)
        drops = self.may_drop_codec
        return ArraySpec(path, row_shape, dtype, rows, filters, drops, n_rows)


class ColumnWriter(ABC):
    """A column that is being written.

    Parameters
    ----------
    name : str
        Path in the file.
    spec : ColumnSpec
        What it is.
    """

    kind: ClassVar[str]

    def __init__(self, name: str, spec: ColumnSpec) -> None:
        self.name = name
        self.spec = spec
        self.arrays: list[GrowingArray | PlainArray] = []

    @property
    @abstractmethod
    def n_rows(self) -> int:
        """How many rows it has."""

    @abstractmethod
    def append(self, column: Any) -> None:
        """Take rows that fit the spec."""

    def finish(self) -> None:
        """Write the chunks that are not full."""
        for array in self.arrays:
            array.finish_chunk()

    def settle(self, file: h5py.File, n_rows: int) -> None:
        """Give the datasets their lengths, once all chunks are written."""
        for array in self.arrays:
            array.settle()

    def end(self) -> None:
        """Note that there will be no more rows."""
        for array in self.arrays:
            array.shrink_to(array.n_rows)

    def trim(self) -> None:
        """Waste no room on rows that did not come, but stay able to grow."""
        for array in self.arrays:
            array.shrink_to(array.n_rows, may_grow=True)


class _Dense(ColumnWriter):
    kind = "dense"

    def __init__(
        self, name: str, spec: DenseColumn, output: Output, storage: Storage, queue: ChunkQueue
    ) -> None:
        super().__init__(name, spec)
        nbytes = spec.dtype.itemsize * int(np.prod(spec.shape))
        array = storage.array(
            name,
            spec.dtype,
            spec.shape,
            chunk_rows=storage.chunk_rows(nbytes),
            n_rows=storage.n_rows,
        )
        self.arrays = [begin_array(output, array, queue)]

    @property
    def n_rows(self) -> int:
        return self.arrays[0].n_rows

    def append(self, column: np.ndarray) -> None:
        self.arrays[0].append(column)


class _Rows(ColumnWriter):
    """Elements of all rows, and where each begins."""

    def __init__(
        self,
        name: str,
        spec: ColumnSpec,
        parts: list[ArraySpec],
        offsets: str,
        output: Output,
        storage: Storage,
        queue: ChunkQueue,
    ) -> None:
        super().__init__(name, spec)
        index = storage.array(
            f"{name}/{offsets}",
            np.dtype("<i8"),
            n_rows=None if storage.n_rows is None else storage.n_rows + 1,
        )
        self.arrays = [begin_array(output, part, queue) for part in (*parts, index)]
        if not self.arrays[-1].n_rows:
            self.arrays[-1].append(np.zeros(1, np.int64))

    @property
    def n_rows(self) -> int:
        return self.arrays[-1].n_rows - 1

    def _append(self, offsets: np.ndarray, *parts: np.ndarray) -> None:
        before = self.arrays[0].n_rows
        for array, part in zip(self.arrays[:-1], parts, strict=True):
            array.append(part)
        self.arrays[-1].append(offsets[1:] - offsets[0] + before)


class _Ragged(_Rows):
    kind = "ragged"

    def __init__(
        self, name: str, spec: RaggedColumn, output: Output, storage: Storage, queue: ChunkQueue
    ) -> None:
        values = storage.array(f"{name}/values", spec.dtype, spec.shape)
        super().__init__(name, spec, [values], "offsets", output, storage, queue)

    def append(self, column: Ragged) -> None:
        self._append(column.offsets, column.values)


class _Text(_Rows):
    kind = "text"

    def __init__(
        self, name: str, spec: TextColumn, output: Output, storage: Storage, queue: ChunkQueue
    ) -> None:
        values = storage.array(f"{name}/values", np.dtype("u1"))
        super().__init__(name, spec, [values], "offsets", output, storage, queue)

    def append(self, column: Ragged) -> None:
        self._append(column.offsets, column.values)


class _Sparse(_Rows):
    kind = "sparse"

    def __init__(
        self, name: str, spec: SparseColumn, output: Output, storage: Storage, queue: ChunkQueue
    ) -> None:
        kind = np.dtype("<i4" if spec.n_columns <= 2**31 else "<i8")
        parts = [
            storage.array(f"{name}/data", spec.dtype),
            storage.array(f"{name}/indices", kind),
        ]
        super().__init__(name, spec, parts, "indptr", output, storage, queue)
        self._n_columns = spec.n_columns

    def append(self, column: Sparse) -> None:
        indices = column.indices.astype(self.arrays[1].dtype)
        self._append(column.indptr, column.data, indices)

    def settle(self, file: h5py.File, n_rows: int) -> None:
        super().settle(file, n_rows)
        group = file[self.name]
        group.attrs["shape"] = np.array([n_rows, self._n_columns], np.int64)
        if "encoding-type" not in group.attrs:  # so AnnData knows it as well
            group.attrs["encoding-type"] = np.bytes_("csr_matrix")
            group.attrs["encoding-version"] = np.bytes_("0.1.0")


class _Strings(ColumnWriter):
    """Strings as HDF5 has them."""

    kind = "strings"

    def __init__(
        self, name: str, spec: TextColumn, output: Output, _storage: Storage, _queue: ChunkQueue
    ) -> None:
        super().__init__(name, spec)
        before = output.find(name)
        self._n_rows = 0 if before is None else len(before)
        self._rows: list[str] = []

    @property
    def n_rows(self) -> int:
        return self._n_rows

    def append(self, column: Ragged) -> None:
        self._rows += column.strings()
        self._n_rows += len(column)

    def settle(self, file: h5py.File, n_rows: int) -> None:
        dataset = file.get(self.name)
        if dataset is None:
            dataset = file.create_dataset(
                self.name, (0,), h5py.string_dtype(), maxshape=(None,), chunks=(_STRING_CHUNK,)
            )
        before = len(dataset)
        dataset.resize((n_rows,))
        if self._rows:
            dataset[before:] = self._rows
        self._rows = []


_LEAST_COMPRESSED = 4096
"""Bytes of a dataset of its own below which no filter is worth its overhead."""


def write_whole(file: h5py.File, path: str, array: np.ndarray, storage: Storage) -> None:
    """Write a dataset that does not grow; compressed, if that is worth it."""
    filters = storage.filters(array.dtype.itemsize)
    plain = np.ascontiguousarray(array)
    start = plain.reshape(-1)[: max(1, 2**20 // plain.dtype.itemsize)].view(np.uint8)
    pays = filters.codec is not None and (not storage.may_drop_codec or filters.pays(start))
    if plain.nbytes < _LEAST_COMPRESSED or not pays:
        file.create_dataset(path, data=array)
    else:
        write_array(file, path, array, filters)


_WRITERS: dict[type[ColumnSpec], Any] = {
    DenseColumn: _Dense,
    RaggedColumn: _Ragged,
    SparseColumn: _Sparse,
}


def make_column(
    name: str, spec: ColumnSpec, output: Output, storage: Storage, queue: ChunkQueue
) -> ColumnWriter:
    """Begin a column, or go on with the one of that name in the file."""
    if isinstance(spec, TextColumn):
        kind = _Strings if spec.vlen else _Text
        return kind(name, spec, output, storage, queue)
    made: ColumnWriter = _WRITERS[type(spec)](name, spec, output, storage, queue)
    return made


def spec_of(file: h5py.File, name: str, kind: str) -> ColumnSpec:
    """Say what a column of a file is.

    Raises
    ------
    LayoutError
        If it is not what the file says.
    """
    try:
        if kind == "dense":
            return DenseColumn(file[name].shape[1:], _dtype(file[name]))
        if kind == "ragged":
            values = file[f"{name}/values"]
            return RaggedColumn(_dtype(values), values.shape[1:])
        if kind == "sparse":
            return SparseColumn(int(file[name].attrs["shape"][1]), _dtype(file[f"{name}/data"]))
    except (KeyError, AttributeError, ValueError, IndexError) as error:
        raise LayoutError(
            f"{file.filename}: the column {name!r} is not {kind}, as the file says: {error}"
        ) from error
    return TextColumn(vlen=kind == "strings")


def _dtype(dataset: Any) -> np.dtype[Any]:
    """Return the type of elements; h5py takes bfloat16 for float32."""
    return read_element_type(dataset.id)[0]
