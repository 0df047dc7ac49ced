"""Objects of a file of h5torch, one class for each way in which it stores them.

Each fits what callers give to what it stores, before anything of it is written, and marks itself as
h5torch does: ``mode``, ``shape``, ``dtypes``, ``filled_to`` and, of csr, ``load_sparse``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import h5py
import numpy as np
from h5py import h5s

from h5stream.columns import Ragged, Sparse
from h5stream.errors import ConfigError, WriteError
from h5stream.fields.specs import Casting
from h5stream.write.arrays import (
    ArraySpec,
    ChunkQueue,
    GrowingArray,
    PlainArray,
    begin_array,
)
from h5stream.write.column_writers import Storage, write_whole
from h5stream.write.columns import DenseColumn, RaggedColumn, SparseColumn
from h5stream.write.output import Output
from h5stream.write.values import At, as_array, fit

__all__ = ["OBJECTS", "Place", "StoredAs", "TorchObject", "require_mode"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where objects are written.

    Parameters
    ----------
    output : Output
        The file.
    storage : Storage
        How its arrays are stored.
    queue : ChunkQueue
        Where chunks are encoded.
    """

    output: Output
    storage: Storage
    queue: ChunkQueue

    def begin(self, spec: ArraySpec, n_rows: int = 0) -> GrowingArray | PlainArray:
        """Begin a dataset, or go on with it behind its first `n_rows` rows."""
        return begin_array(self.output, spec, self.queue, n_rows)


@dataclass(frozen=True)
class StoredAs:
    """What an object is, apart from its rows.

    Parameters
    ----------
    name : str
        ``central``, or ``0/label``.
    shape : tuple of int
        With the length that it will have; of vlen and separate objects that alone.
    save, load : numpy.dtype
        Type that it is stored in, and to be loaded in.
    casting : {"exact", "unsafe"}
        What may happen to values of another type.
    load_sparse : bool
        Whether rows of csr are loaded as indices and values.
    """

    name: str
    shape: tuple[int, ...]
    save: np.dtype[Any]
    load: np.dtype[Any]
    casting: Casting = "exact"
    load_sparse: bool = False


class TorchObject(ABC):
    """An object that is being written.

    Parameters
    ----------
    about : StoredAs
        What it is.
    place : Place
        Where it is written.
    n_rows : int
        Rows that are there already.
    """

    mode: ClassVar[str]
    is_marked: bool
    """Whether its attributes say what it is."""

    def __init__(self, about: StoredAs, place: Place, n_rows: int = 0) -> None:
        self.about = about
        self.place = place
        self.n_rows = n_rows
        self.is_marked = False
        self.arrays: list[GrowingArray | PlainArray] = []

    @property
    def length(self) -> int:
        """How many rows it is to have."""
        return self.about.shape[0]

    @property
    def at(self) -> At:
        """Where the next rows go, for messages."""
        return At(self.about.name, self.n_rows)

    @abstractmethod
    def fit(self, data: Any) -> Any:
        """Make rows that may be written, or name the first that does not fit."""

    @abstractmethod
    def write(self, rows: Any) -> None:
        """Write rows that fit."""

    @abstractmethod
    def begin(self) -> None:
        """Make the datasets, or find them."""

    def end(self) -> None:
        """Note that no more rows will come."""
        for array in self.arrays:
            if isinstance(array, GrowingArray) and not array.spec.least_rows:
                array.shrink_to(array.n_rows)

    def finish(self) -> None:
        """Write the chunks that are not full."""
        for array in self.arrays:
            array.finish_chunk()

    def settle(self, file: h5py.File) -> None:
        """Bring lengths and attributes up to the rows that were written."""
        for array in self.arrays:
            array.settle()
        node = file.require_group(self.about.name) if self.in_group else file[self.about.name]
        node.attrs["filled_to"] = np.int64(self.n_rows)
        if self.is_marked:
            return
        node.attrs["shape"] = np.array(self.about.shape, np.int64)
        node.attrs["mode"] = self.mode
        node.attrs["dtypes"] = [str(self.about.save), str(self.about.load)]
        if self.mode == "csr":
            node.attrs["load_sparse"] = self.about.load_sparse
        self.is_marked = True

    @property
    def in_group(self) -> bool:
        """Whether it is a group, not a dataset."""
        return self.mode not in ("N-D", "vlen")


class _Plain(TorchObject):
    """An array with a row for each row, or element, of an axis."""

    mode = "N-D"

    def fit(self, data: Any) -> np.ndarray:
        about = self.about
        save = about.save if about.save.itemsize else np.dtype(f"S{_widest(data)}")
        spec = DenseColumn(about.shape[1:], save, about.casting)
        fitted = fit(_as_bytes(data, self.at) if save.kind == "S" else data, spec, self.at)
        assert isinstance(fitted, np.ndarray), "it is dense"
        return fitted

    def begin(self) -> None:
        about, storage = self.about, self.place.storage
        nbytes = about.save.itemsize * int(np.prod(about.shape[1:]))
        rows = min(storage.chunk_rows(nbytes), max(1, self.length))
        spec = storage.array(
            about.name, about.save, about.shape[1:], chunk_rows=rows, n_rows=self.length
        )
        self.arrays = [self.place.begin(_from_the_start(spec, self.length), self.n_rows)]

    def write(self, rows: np.ndarray) -> None:
        self.arrays[0].append(rows)
        self.n_rows += len(rows)


class _Vlen(TorchObject):
    """Lists of variable length, as HDF5 has them."""

    mode = "vlen"

    def fit(self, data: Any) -> Ragged:
        found = fit(data, RaggedColumn(self.about.save, (), self.about.casting), self.at)
        assert isinstance(found, Ragged), "it is ragged"
        return found

    def begin(self) -> None:
        output, about = self.place.output, self.about
        if output.find(about.name) is None:
            output.file.create_dataset(about.name, about.shape, h5py.vlen_dtype(about.save))

    def write(self, rows: Ragged) -> None:
        values = np.empty(len(rows), h5py.vlen_dtype(self.about.save))
        for number in range(len(rows)):
            values[number] = rows.values[rows.offsets[number] : rows.offsets[number + 1]]
        if len(rows):  # not as a list: rows that are equally long would become one array
            dataset = self.place.output.file[self.about.name].id
            space = dataset.get_space()
            space.select_hyperslab((self.n_rows,), (len(rows),))
            dataset.write(h5s.create_simple((len(rows),)), space, values)
        self.n_rows += len(rows)


class _Csr(TorchObject):
    """Rows of a sparse matrix."""

    mode = "csr"

    def fit(self, data: Any) -> Sparse:
        spec = SparseColumn(self.about.shape[1], self.about.save, self.about.casting)
        found = fit(data, spec, self.at)
        assert isinstance(found, Sparse), "it is sparse"
        return found

    def begin(self) -> None:
        name, storage, length = self.about.name, self.place.storage, self.length
        file = self.place.output.file
        there = file[name] if self.is_marked else None
        stored = {
            part: np.dtype("<i8") if there is None else there[part].dtype
            for part in ("indices", "indptr")
        }
        if there is None and self.about.shape[1] <= 2**31:
            stored["indices"] = np.dtype("<i4")
        index = storage.array(f"{name}/indptr", stored["indptr"], n_rows=length + 1)
        rows = min(index.chunk_rows, length + 1)
        index = storage.array(f"{name}/indptr", index.dtype, chunk_rows=rows, n_rows=length + 1)
        filled = 0 if there is None else int(there["indptr"][self.n_rows])
        parts = [
            storage.array(f"{name}/data", self.about.save),
            storage.array(f"{name}/indices", stored["indices"]),
        ]
        self.arrays = [
            *(self.place.begin(part, filled) for part in parts),
            self.place.begin(
                _from_the_start(index, length + 1), self.n_rows + 1 if there is not None else 0
            ),
        ]
        if there is None:
            self.arrays[2].append(np.zeros(1, index.dtype))
        self._index_type = index.dtype

    def write(self, rows: Sparse) -> None:
        data, indices, indptr = self.arrays
        before = data.n_rows
        if before + len(rows.data) > np.iinfo(self._index_type).max:
            raise WriteError(
                f"{self.about.name!r} would have more elements than its offsets of "
                f"{self._index_type} can count"
            )
        _append_resized(data, rows.data)
        _append_resized(indices, rows.indices.astype(indices.dtype))
        indptr.append((rows.indptr[1:] - rows.indptr[0] + before).astype(self._index_type))
        self.n_rows += len(rows)


def _append_resized(array: GrowingArray | PlainArray, rows: np.ndarray) -> None:
    """Append to a dataset that grows."""
    if isinstance(array, PlainArray) and not array.can_grow and len(rows):
        raise WriteError(
            f"{array.dataset.file.filename}: {array.dataset.name!r} was registered without "
            "length=, and cannot grow"
        )
    array.append(rows)


class _Coo(TorchObject):
    """Elements of a sparse array of any shape."""

    mode = "coo"

    def fit(self, data: Any) -> tuple[np.ndarray, np.ndarray]:
        indices, values, shape = data
        index = np.asarray(as_array(indices))
        if index.dtype.kind not in "iu" or index.shape != (len(shape), len(values)):
            raise self.at.error(
                0,
                f"has indices of {index.dtype} in shape {index.shape}, expected integers in shape "
                f"{(len(shape), len(values))}: one row an axis, one column an element",
            )
        limits = np.array(shape).reshape(-1, 1)
        outside = np.argwhere(((index < 0) | (index >= limits)).any(axis=0))
        if len(outside):
            number = int(outside[0, 0])
            raise self.at.error(
                number, f"lies at {tuple(index[:, number].tolist())}, outside of {tuple(shape)}"
            )
        spec = DenseColumn((), self.about.save, self.about.casting)
        fitted = fit(values, spec, self.at)
        assert isinstance(fitted, np.ndarray), "it is dense"
        kind = "<i4" if max(shape, default=0) <= 2**31 else "<i8"
        return index.astype(kind), fitted

    def begin(self) -> None:
        """Do nothing: it is written at once."""

    def write(self, rows: tuple[np.ndarray, np.ndarray]) -> None:
        indices, values = rows
        file, name = self.place.output.file, self.about.name
        for part, array in (("indices", indices), ("data", values)):
            write_whole(file, f"{name}/{part}", array, self.place.storage)
        self.n_rows = self.length


class _Separate(TorchObject):
    """A dataset for each row."""

    mode = "separate"

    def fit(self, data: Any) -> list[np.ndarray]:
        rows = []
        for number, row in enumerate(data):
            at = At(self.about.name, self.n_rows + number)
            array = np.asarray(as_array(row))
            spec = DenseColumn(array.shape, self.about.save, self.about.casting)
            rows.append(fit([array], spec, at)[0])
        axes = {row.ndim for row in [*self._first(), *rows]}
        if len(axes) > 1:
            raise self.at.error(0, f"has rows of {sorted(axes)} axes, expected one number of axes")
        return rows

    def _first(self) -> list[Any]:
        return [self.place.output.file[f"{self.about.name}/0"]] if self.n_rows else []

    def begin(self) -> None:
        self.place.output.file.require_group(self.about.name)

    def write(self, rows: list[np.ndarray]) -> None:
        file = self.place.output.file
        for row in rows:
            write_whole(file, f"{self.about.name}/{self.n_rows}", row, self.place.storage)
            self.n_rows += 1


def _from_the_start(spec: ArraySpec, length: int) -> ArraySpec:
    """Say that a dataset has its whole length before its rows are written."""
    return replace(spec, least_rows=length)


def _widest(data: Any) -> int:
    array = np.asarray(data)
    width = np.strings.str_len(array) if array.dtype.kind in "SU" else 1
    return max(1, int(np.max(width, initial=1)))


def _as_bytes(data: Any, at: At) -> Any:
    """Encode strings, of which h5torch stores ASCII."""
    array = np.asarray(data)
    if array.dtype.kind != "U":
        return data
    for number, row in enumerate(array):
        for text in np.ravel(row):
            if not str(text).isascii():
                raise at.error(
                    number,
                    f"is {str(text)!r:.60}, and files of h5torch hold ASCII; h5stream.Writer "
                    "stores any text",
                )
    return np.strings.encode(array, "ascii")


OBJECTS: dict[str, type[TorchObject]] = {
    kind.mode: kind for kind in (_Plain, _Vlen, _Csr, _Coo, _Separate)
}
"""Mode -> what writes it."""


def require_mode(mode: Any) -> type[TorchObject]:
    """Return what writes a mode.

    Raises
    ------
    ConfigError
        If there is no such mode.
    """
    if mode not in OBJECTS:
        raise ConfigError(f"mode must be one of {list(OBJECTS)}, not {mode!r}")
    return OBJECTS[mode]
