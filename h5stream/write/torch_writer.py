"""Files of h5torch: a central object, and objects that are aligned to its axes."""

from __future__ import annotations

import os
from typing import Any, Literal

import h5py
import numpy as np

from h5stream.columns import Sparse
from h5stream.conventions.h5torch import read_object, recognise
from h5stream.errors import ConfigError, LayoutError, WriteError
from h5stream.fields.specs import Casting
from h5stream.write.file_writer import FileWriter, count_of
from h5stream.write.filters import Compression
from h5stream.write.torch_objects import OBJECTS, Place, StoredAs, TorchObject, require_mode
from h5stream.write.values import as_array

__all__ = ["H5torchWriter"]

_CENTRAL = "central"
_LEAST_CHUNK_BYTES = 2**16

Mode = Literal["N-D", "csr", "coo", "vlen", "separate"]


class H5torchWriter(FileWriter):
    """Writes files as h5torch 0.3.1 does, which both libraries read.

    Objects are registered: first the central one, then others whose rows follow one of its axes.
    Unlike h5torch's they are stored in chunks of whole rows that may be compressed, no value is
    changed in silence, and the file appears whole when the writer is closed.

    Parameters
    ----------
    path : path
        The file.
    mode : {"new", "append"}
        "append": go on with a file of h5torch or of this writer; see `Writer`.
    overwrite, compression, level, checksum, chunk_bytes, threads
        As for `Writer`. Lists of variable length cannot be compressed.

    Raises
    ------
    ConfigError
        If an argument does not fit, or the file is there already.
    LayoutError
        If a file to append to is damaged, open elsewhere, or not of h5torch.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import h5stream as h5s
    >>> path = Path(tempfile.mkdtemp()) / "cells.h5"
    >>> with h5s.H5torchWriter(path) as writer:
    ...     writer.register(np.eye(4, dtype="f4"), "central", mode="csr")
    ...     writer.register(["a", "b", "a", "c"], 0, name="type")
    ...     writer.register(np.arange(2), 0, name="batch", length=4)
    ...     writer.append([7, 8], "0/batch")
    >>> batch = next(iter(h5s.H5Stream(path, batch_size=4)))
    >>> batch["0/type"], batch["0/batch"].tolist(), batch["central"].shape
    (['a', 'b', 'a', 'c'], [0, 1, 7, 8], torch.Size([4, 4]))
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        mode: Literal["new", "append"] = "new",
        overwrite: bool = False,
        compression: Compression = "auto",
        level: int | None = None,
        checksum: bool = True,
        chunk_bytes: int = 2**20,
        threads: int | None = None,
    ) -> None:
        self._objects: dict[str, TorchObject] = {}
        self._row_bytes = 0
        super().__init__(
            path,
            mode=mode,
            overwrite=overwrite,
            compression=compression,
            level=level,
            checksum=checksum,
            chunk_bytes=chunk_bytes,
            threads=threads,
        )

    def register(
        self,
        data: Any,
        axis: int | Literal["central", "unstructured"],
        *,
        name: str | None = None,
        mode: Mode = "N-D",
        length: int | None = None,
        dtype_save: Any = None,
        dtype_load: Any = None,
        csr_load_sparse: bool = False,
        casting: Casting = "exact",
    ) -> None:
        """Add an object.

        Parameters
        ----------
        data : array, tensor, list, SciPy matrix, or tuple
            Of mode ``"N-D"`` an array, or strings of ASCII; ``"csr"`` a matrix; ``"coo"`` a matrix,
            or ``(indices, values, shape)``; ``"vlen"`` lists of numbers; ``"separate"`` arrays that
            may differ in shape.
        axis : int or "central" or "unstructured"
            Axis of the central object that rows follow; the central object, which comes first;
            or none.
        name : str, optional
            Of the object, but for the central one.
        mode : {"N-D", "csr", "coo", "vlen", "separate"}
            How it is stored.
        length : int, optional
            Rows that it will have: room for those that `append` adds.
        dtype_save, dtype_load : dtype, optional
            Type that it is stored in, and loaded in; by default that of the data. ``"bytes"`` is as
            wide as the longest string.
        csr_load_sparse : bool
            Whether rows of csr are loaded as indices and values.
        casting : {"exact", "unsafe"}
            Whether values that `dtype_save` cannot hold are an error, or changed as NumPy does.

        Raises
        ------
        ConfigError
            If the arguments do not fit.
        WriteError
            If a row does not fit; then nothing of the object is written.
        """
        self._require_open()
        full = self._full_name(axis, name)
        kind = require_mode(mode)
        if mode == "coo" and axis not in (_CENTRAL, "unstructured"):
            raise ConfigError(f"{full!r}: coo has no rows to align; store it as csr")
        if csr_load_sparse and mode != "csr":
            raise ConfigError(f"{full!r}: csr_load_sparse=True is for mode='csr'")
        given = _as_given(data, mode, full)
        shape = _shape_of(given, mode, full, count_of("length", length, least=0))
        self._require_length(axis, shape, full)
        save = _type_of(given, mode, full, dtype_save, fixed=length is not None)
        load = _load_type(dtype_load, given, mode, save, full)
        about = StoredAs(full, shape, save, load, casting, csr_load_sparse)
        made = kind(about, self._place(), 0)
        fitted = made.fit(given)
        if mode == "N-D" and not save.itemsize:
            made.about = StoredAs(full, shape, fitted.dtype, load, casting)
        with self._explained():
            made.begin()
            made.write(fitted)
        self._objects[full] = made
        if full == _CENTRAL:
            self._row_bytes = fitted.nbytes // max(1, len(fitted)) if mode == "N-D" else 0

    def append(self, data: Any, name: str) -> None:
        """Add rows to an object that was registered with a length.

        Parameters
        ----------
        data : as for `register`
            The rows.
        name : str
            ``"central"`` or ``"0/label"``.

        Raises
        ------
        ConfigError
            If there is no such object, or it takes no rows.
        WriteError
            If a row does not fit, or there is no room; then nothing is written.
        """
        self._require_open()
        found = self._find(name)
        if found.mode == "coo":
            raise ConfigError(f"{name!r} is stored as coo, which has no rows to add to")
        fitted = found.fit(_as_given(data, found.mode, name))
        if found.n_rows + len(fitted) > found.length:
            raise WriteError(
                f"{name!r} has room for {found.length - found.n_rows} more rows of "
                f"{found.length}, and {len(fitted)} came"
            )
        with self._explained():
            found.write(fitted)

    def _full_name(self, axis: Any, name: str | None) -> str:
        if axis != _CENTRAL and not self._has(_CENTRAL):
            raise ConfigError(f"{self.path}: the central object comes first")
        if axis == _CENTRAL:
            full = _CENTRAL
        else:
            axes = self._shape_of_central()
            is_axis = isinstance(axis, int) and not isinstance(axis, bool) and 0 <= axis < len(axes)
            if axis != "unstructured" and not is_axis:
                raise ConfigError(
                    f'axis must be "central", "unstructured", or an axis of the central object of '
                    f"shape {axes}, not {axis!r}"
                )
            if not isinstance(name, str) or name in ("", ".", "..") or set("/\0") & set(name):
                raise ConfigError(f"{name!r} is no name of an object; write name='label'")
            full = f"{axis}/{name}"
        if self._has(full):
            raise ConfigError(f"{self.path}: {full!r} is there already; append() adds rows")
        return full

    def _has(self, name: str) -> bool:
        return name in self._objects or (not self._is_new and name in self._output.file)

    def _find(self, name: str) -> TorchObject:
        """Return an object, which an earlier writer may have begun."""
        if name not in self._objects:
            if self._is_new or name not in self._output.file:
                raise ConfigError(f"{self.path}: there is no object {name!r}; register it first")
            self._objects[name] = self._resumed(name)
        return self._objects[name]

    def _resumed(self, name: str) -> TorchObject:
        found = read_object(self._output.file, name)
        stored = found.node
        if found.mode in ("csr", "coo"):
            stored = found.node["data"]
        elif found.mode == "separate":
            if not len(found.node):
                raise ConfigError(f"{name!r} has no rows yet whose type could be known")
            stored = found.node["0"]
        save = h5py.check_vlen_dtype(stored.dtype) or stored.dtype
        about = StoredAs(name, found.shape, np.dtype(save), np.dtype(save))
        made = OBJECTS[found.mode](about, self._place(), found.n_rows)
        made.is_marked = True
        with self._explained():
            made.begin()
        return made

    def _shape_of_central(self) -> tuple[int, ...]:
        if _CENTRAL in self._objects:
            return self._objects[_CENTRAL].about.shape
        return read_object(self._output.file, _CENTRAL).shape

    def _require_length(self, axis: Any, shape: tuple[int, ...], name: str) -> None:
        if not isinstance(axis, int):
            return
        expected = self._shape_of_central()[axis]
        if shape[0] != expected:
            raise ConfigError(
                f"{name!r} has {shape[0]} rows, but axis {axis} of the central object has "
                f"{expected}; with length={expected} the rest may come later"
            )

    def _place(self) -> Place:
        return Place(self._output, self._storage(self._chunk_rows), self._queue)

    def _chunk_rows(self, nbytes: int) -> int:
        """Give chunks as many rows as those of the central object, or more if they are light."""
        count = max(1, self._chunk_bytes // max(1, self._row_bytes or nbytes))
        count = min(count, max(1, self._chunk_bytes // max(1, nbytes)))
        while count * nbytes < min(_LEAST_CHUNK_BYTES, self._chunk_bytes) and count < 2**31:
            count *= 2
        return count if nbytes else 1

    def _go_on(self) -> None:
        file = self._output.file
        if len(file) and not recognise(file):
            raise LayoutError(f"{self.path}: is no file of h5torch")

    def _end(self) -> None:
        if not self._has(_CENTRAL):
            raise WriteError(f"{self.path}: has no central object; register it")
        if self._is_new:
            for each in self._objects.values():
                if each.n_rows == each.length:
                    each.end()

    def _settle(self) -> None:
        for each in self._objects.values():
            each.finish()
        self._queue.drain()
        for each in self._objects.values():
            each.settle(self._output.file)


def _as_given(data: Any, mode: str, name: str) -> Any:
    """Bring what was given into the form that its mode fits."""
    if mode == "coo":
        return _elements(data, name)
    found = as_array(data)
    if mode == "csr" and not isinstance(found, Sparse):
        found = np.asarray(found)
        if found.ndim != 2:
            raise WriteError(f"{name!r} has shape {found.shape}, expected a matrix for csr")
    elif mode == "N-D":
        try:
            found = np.asarray(found)
        except ValueError as error:
            raise WriteError(f"{name!r} is no array: {error}; use vlen or separate") from error
        if not found.ndim:
            raise WriteError(f"{name!r} is a single value, expected rows")
    elif mode in ("vlen", "separate") and not hasattr(found, "__len__"):
        raise WriteError(f"{name!r} is {type(data).__name__}, expected rows")
    return found


def _elements(data: Any, name: str) -> tuple[Any, np.ndarray, tuple[int, ...]]:
    """Take an array apart into indices, values and its shape."""
    if isinstance(data, tuple):
        if len(data) != 3:
            raise WriteError(f"{name!r}: coo takes (indices, values, shape), not {len(data)} parts")
        return data[0], np.asarray(as_array(data[1])), tuple(int(n) for n in data[2])
    if hasattr(data, "tocoo"):
        matrix = data.tocoo()
        return np.stack([matrix.row, matrix.col]), matrix.data, tuple(matrix.shape)
    array = np.asarray(as_array(data))
    found = np.nonzero(array)
    return np.stack(found), array[found], array.shape


def _shape_of(given: Any, mode: str, name: str, length: int | None) -> tuple[int, ...]:
    if mode == "coo":
        if length is not None:
            raise ConfigError(f"{name!r}: coo has no rows to add to; leave out length=")
        return tuple(given[2])
    shape = (len(given),) if mode in ("vlen", "separate") else tuple(map(int, given.shape))
    if length is None:
        return shape
    if length < shape[0]:
        raise ConfigError(f"{name!r} has {shape[0]} rows, more than length={length}")
    return length, *shape[1:]


def _natural_type(given: Any, mode: str, name: str) -> np.dtype[Any]:
    """Return the type of what was given; of strings "bytes" of any width."""
    if mode == "coo":
        return given[1].dtype
    if mode in ("csr", "N-D"):
        return np.dtype("S") if given.dtype.kind == "U" else given.dtype
    if hasattr(given, "dtype") and given.dtype != object:
        return given.dtype
    if not len(given):
        raise ConfigError(f"{name!r} has no rows whose type could be known; write dtype_save=")
    return np.asarray(as_array(given[0])).dtype


def _type_of(given: Any, mode: str, name: str, asked: Any, *, fixed: bool) -> np.dtype[Any]:
    dtype = _natural_type(given, mode, name) if asked is None else _dtype(asked, name)
    if dtype.kind not in "biufcS" or (dtype.kind == "S" and mode != "N-D"):
        raise ConfigError(f"{name!r} cannot be stored as {dtype} in mode {mode!r}")
    if dtype.kind == "S" and fixed and not dtype.itemsize:
        raise ConfigError(
            f"{name!r}: with length= the longest string to come is not known; write "
            "dtype_save='S20', or how long it may be"
        )
    return dtype.newbyteorder("<")


def _load_type(asked: Any, given: Any, mode: str, save: np.dtype[Any], name: str) -> np.dtype[Any]:
    if asked is not None:
        return _dtype(asked, name)
    if mode == "N-D" and given.dtype.kind == "U":
        return np.dtype("U")
    return _natural_type(given, mode, name) if save.itemsize else save


def _dtype(asked: Any, name: str) -> np.dtype[Any]:
    try:
        return np.dtype(asked)
    except TypeError as error:
        raise ConfigError(f"{name!r}: {asked!r} is no type of NumPy") from error
