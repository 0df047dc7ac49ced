"""Files of h5mapper: one dataset for each feature, and which of its rows belong to which source."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

import h5py
import numpy as np
from h5py import h5r

from h5stream.conventions.h5mapper import (
    ARRAY,
    IDS,
    KEYS,
    TABLE,
    list_features,
    list_sources,
    read_bounds,
    recognise,
)
from h5stream.errors import ConfigError, LayoutError, WriteError
from h5stream.write.column_writers import ColumnWriter, make_column
from h5stream.write.columns import ColumnSpec, DenseColumn, TextColumn, form_of
from h5stream.write.file_writer import FileWriter
from h5stream.write.filters import Compression
from h5stream.write.values import At, as_array, fit, infer

__all__ = ["H5mapperWriter"]

_CHUNK = 1024
"""References and ids in a chunk."""

_NOTHING = (-1, -1)


class H5mapperWriter(FileWriter):
    """Writes files as h5mapper 0.3.3 does, which both libraries read.

    Each source has an id and arrays, by the names of features, which may lie in dicts. The arrays
    of a feature are stored one after the other, in chunks of about a megabyte; a reference for each
    source says which rows are its own. A source need not have all features.

    Parameters
    ----------
    path : path
        The file.
    columns : mapping of str to DenseColumn or TextColumn, optional
        What a row of a feature is, by its path (``"data/images"``); by default what the first
        source with it shows. Rows that it cannot hold exactly are an error.
    mode : {"new", "append"}
        "append": go on with a file of h5mapper or of this writer; see `Writer`.
    overwrite, compression, level, checksum, chunk_bytes, threads
        As for `Writer`.

    Raises
    ------
    ConfigError
        If an argument does not fit, or the file is there already.
    LayoutError
        If a file to append to is damaged, open elsewhere, or not of h5mapper.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import h5stream as h5s
    >>> path = Path(tempfile.mkdtemp()) / "sounds.h5"
    >>> with h5s.H5mapperWriter(path) as writer:
    ...     writer.add("a.wav", {"wave": np.arange(5.0), "about": {"speaker": ["Ada"]}})
    ...     writer.add("b.wav", {"wave": np.arange(3.0), "about": {"speaker": ["Bob"]}})
    >>> batch = next(iter(h5s.H5Stream(path, ["wave", "about/speaker"], batch_size=2)))
    >>> batch["wave_lengths"].tolist()
    [5, 3]
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        columns: Mapping[str, ColumnSpec] | None = None,
        *,
        mode: Literal["new", "append"] = "new",
        overwrite: bool = False,
        compression: Compression = "auto",
        level: int | None = None,
        checksum: bool = True,
        chunk_bytes: int = 2**20,
        threads: int | None = None,
    ) -> None:
        self._specs = _checked(columns)
        self._asked = set(self._specs)
        self._ids: dict[str, int] = {}
        self._features: dict[str, ColumnWriter] = {}
        self._bounds: dict[str, list[tuple[int, int]]] = {}
        self._referred: dict[str, int] = {}
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

    def __len__(self) -> int:
        """Count the sources."""
        return len(self._ids)

    def add(self, source: str, features: Mapping[str, Any]) -> None:
        """Add a source.

        Parameters
        ----------
        source : str
            Its id, such as a path.
        features : mapping
            Name -> array whose first axis may differ between sources, list of strings, number, or
            a mapping of more of them. None: the source has no such feature.

        Raises
        ------
        WriteError
            If the id is there already, or an array does not fit those of its feature; then nothing
            of the source is written.
        """
        self._require_open()
        if not _is_text(source) or "\0" in source:
            raise WriteError(f"{source!r:.80} is no id of a source: write some text")
        if source in self._ids:
            raise WriteError(
                f"source {source!r} is there already, and its rows would belong to nobody; give "
                "this one another id"
            )
        flat = _flat(features, source)
        specs, fitted = dict(self._specs), {}
        for name, value in flat.items():
            if name not in specs:
                _refuse_inside(name, specs, source)
                specs[name] = _infer(name, value, source)
            fitted[name] = self._fit(name, value, specs[name], source)
        self._specs = specs
        with self._explained():
            for name, rows in fitted.items():
                self._column(name).append(rows)
                self._note(name, len(rows))
        self._ids[source] = len(self._ids)

    def _fit(self, name: str, value: Any, spec: ColumnSpec, source: str) -> Any:
        try:
            return fit(value, spec, At(name, 0, rounds=name in self._asked))
        except WriteError as error:
            raise WriteError(f"source {source!r}: {error}") from error

    def _column(self, name: str) -> ColumnWriter:
        if name not in self._features:
            storage = self._storage(lambda nbytes: max(1, self._chunk_bytes // max(1, nbytes)))
            path = f"{name}/{ARRAY}"
            self._features[name] = make_column(
                path, self._specs[name], self._output, storage, self._queue
            )
            self._bounds.setdefault(name, [])
        return self._features[name]

    def _note(self, name: str, count: int) -> None:
        """Note whose the rows are that came last."""
        bounds, stop = self._bounds[name], self._features[name].n_rows
        bounds += [_NOTHING] * (len(self._ids) - len(bounds))
        bounds.append((stop - count, stop))

    def _go_on(self) -> None:
        file = self._output.file
        if not recognise(file):
            if len(file):
                raise LayoutError(f"{self.path}: is no file of h5mapper")
            return
        ids = list_sources(file)
        self._ids = {source: number for number, source in enumerate(ids)}
        for name in list_features(file):
            self._bounds[name] = read_bounds(file, name, ids)
            self._referred[name] = len(ids)
            array = file[f"{name}/{ARRAY}"]
            found = _spec_of(array)
            if name in self._asked and form_of(found) != form_of(self._specs[name]):
                raise ConfigError(f"{self.path}: {name!r} is {found}; leave it out of columns")
            self._specs.setdefault(name, found)

    def _end(self) -> None:
        if not self._ids:
            raise WriteError(f"{self.path}: there are no sources")
        if self._is_new:
            for column in self._features.values():
                column.trim()

    def _settle(self) -> None:
        for column in self._features.values():
            column.finish()
        self._queue.drain()
        file = self._output.file
        for name, column in self._features.items():
            column.settle(file, column.n_rows)
            self._refer(file, name)
        for name in self._bounds.keys() - self._features.keys():
            self._refer(file, name)
        _extend_texts(file, IDS, list(self._ids))
        _extend_texts(file, KEYS, list(self._bounds))

    def _refer(self, file: h5py.File, name: str) -> None:
        """Write a reference for each source that has none yet."""
        path = f"{name}/{TABLE}"
        bounds = self._bounds[name]
        bounds += [_NOTHING] * (len(self._ids) - len(bounds))
        first = self._referred.get(name, 0)
        if path not in file:
            _create(file, path, h5py.regionref_dtype)
        if first == len(bounds):
            return
        array, table = file[f"{name}/{ARRAY}"], file[path]
        references = np.empty(len(bounds) - first, h5py.regionref_dtype)
        space = array.id.get_space()
        for number, (start, stop) in enumerate(bounds[first:]):
            references[number] = _reference(array, space, start, stop)
        if len(table) < len(bounds):
            table.resize((len(bounds),))
        table[first : len(bounds)] = references
        self._referred[name] = len(bounds)


def _reference(array: h5py.Dataset, space: Any, start: int, stop: int) -> Any:
    if start < 0:
        return h5r.RegionReference()
    if start == stop:
        space.select_none()
    else:
        rest = array.shape[1:]
        space.select_hyperslab((start, *(0 for _ in rest)), (stop - start, *rest))
    return h5r.create(array.id, b".", h5r.DATASET_REGION, space)


def _create(file: h5py.File, path: str, dtype: Any) -> None:
    file.create_dataset(path, (0,), dtype, maxshape=(None,), chunks=(_CHUNK,))


def _extend_texts(file: h5py.File, path: str, texts: list[str]) -> None:
    """Write those of a list that are not there yet."""
    if path not in file:
        _create(file, path, h5py.string_dtype("utf-8"))
    dataset = file[path]
    first = len(dataset)
    if first < len(texts):
        dataset.resize((len(texts),))
        dataset[first:] = texts[first:]


def _flat(features: Any, source: str, prefix: str = "") -> dict[str, Any]:
    """Take dicts apart into paths; numbers become arrays of one."""
    if not isinstance(features, Mapping):
        raise WriteError(
            f"source {source!r}: expected a mapping from features to arrays, not "
            f"{type(features).__name__}"
        )
    found: dict[str, Any] = {}
    for name, value in features.items():
        if not isinstance(name, str) or not all(
            part not in ("", ".", "..", ARRAY, TABLE, "__src__") and "\0" not in part
            for part in name.split("/")
        ):
            raise WriteError(f"source {source!r}: {name!r} is no name of a feature")
        if isinstance(value, Mapping):
            found |= _flat(value, source, f"{prefix}{name}/")
        elif value is not None:
            found[f"{prefix}{name}"] = _rows_of(value)
    return found


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _rows_of(value: Any) -> Any:
    value = as_array(value)
    if isinstance(value, str | bytes):
        return [value]
    return value if getattr(value, "shape", True) and hasattr(value, "__len__") else [value]


def _infer(name: str, value: Any, source: str) -> ColumnSpec:
    try:
        found = infer({name: value}, 0)[name]
    except WriteError as error:
        raise WriteError(f"source {source!r}: {error}") from error
    if isinstance(found, TextColumn):
        return TextColumn(vlen=True)
    if not isinstance(found, DenseColumn):
        raise WriteError(
            f"source {source!r}: {name!r} has rows of unequal shape; give flat values and "
            "shapes as two features"
        )
    return found


def _refuse_inside(name: str, known: Mapping[str, Any], source: str) -> None:
    for other in known:
        if name.startswith(f"{other}/") or other.startswith(f"{name}/"):
            raise WriteError(f"source {source!r}: {name!r} and {other!r} would lie in one another")


def _checked(columns: Mapping[str, ColumnSpec] | None) -> dict[str, ColumnSpec]:
    found: dict[str, ColumnSpec] = {}
    for name, spec in (columns or {}).items():
        if isinstance(spec, TextColumn):
            found[name] = TextColumn(vlen=True)
        elif isinstance(spec, DenseColumn) and spec.dtype is not None:
            found[name] = spec
        else:
            raise ConfigError(
                f"feature {name!r} must be a DenseColumn with a dtype, or a TextColumn, not "
                f"{spec!r}"
            )
    return found


def _spec_of(array: h5py.Dataset) -> ColumnSpec:
    if h5py.check_string_dtype(array.dtype) is not None and array.dtype == object:
        return TextColumn(vlen=True)
    return DenseColumn(array.shape[1:], array.dtype)
