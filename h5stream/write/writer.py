"""The writer: rows in, a file out that streams fast."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import Any, Literal

import h5py
import numpy as np

from h5stream.conventions.schema import ATTRIBUTE, PROVENANCE, SCHEMA, SPLITS, STATES, read_columns
from h5stream.errors import ConfigError, LayoutError, WriteError
from h5stream.write.column_writers import ColumnWriter, Storage, make_column, spec_of
from h5stream.write.columns import (
    ColumnSpec,
    DenseColumn,
    RaggedColumn,
    SparseColumn,
    TextColumn,
    form_of,
)
from h5stream.write.file_writer import FileWriter, count_of
from h5stream.write.filters import Compression, filters_for
from h5stream.write.in_place import replace_row
from h5stream.write.values import At, as_rows, fit, hold, infer

__all__ = ["COLUMN_OPTIONS", "Writer", "checked_columns"]

_LEAST_CHUNK_BYTES = 2**16
"""Chunks of light columns have as many rows as those of the heaviest, or more up to this size."""

_HOW = ("compression", "level", "checksum")
COLUMN_OPTIONS = frozenset(_HOW)
"""What may be chosen for each column."""

_FIRST_SAMPLES = 64
"""Single samples that are looked at before a column is taken to be dense or ragged."""


class Writer(FileWriter):
    """Writes rows into an HDF5 file that streams fast.

    Rows are gathered into chunks of about a megabyte, which are compressed on threads. Ragged rows
    are stored as values and offsets, sparse ones in CSR form, text as UTF-8 and offsets. `H5Stream`
    knows all of it again without arguments; for other programs they are plain datasets.

    Parameters
    ----------
    path : path
        The file.
    columns : mapping of str to ColumnSpec, optional
        Name -> `DenseColumn`, `RaggedColumn`, `SparseColumn` or `TextColumn`. Without, they follow
        from the first batch, or the first 64 samples. A type that was inferred is not changed later
        in silence: rows that it cannot hold exactly are an error.
    mode : {"new", "append", "memory"}
        "new": the file appears under its name when the writer is closed without an error.
        "append": go on with a file of a writer, which is made if it is not there; rows are there
        for good after each `flush`, even if the process is killed. "memory": there is no file;
        what was written is gone when the writer is closed.
    overwrite : bool
        Whether a file of that name is replaced by a new one.
    compression : {"auto", "gzip", "zstd", "lz4", None}
        After a byte shuffle. "auto": gzip, which is read everywhere, where the first chunk shrinks
        by a tenth. zstd and lz4 need ``hdf5plugin`` where HDF5 itself reads the file.
    level : int, optional
        How hard to compress; 4 for gzip and 3 for zstd by default.
    checksum : bool
        Whether each chunk has one (fletcher32), so that damage is noticed.
    chunk_bytes : int
        About how large a chunk is, decoded.
    n_rows : int, optional
        How many rows there will be, if that is known: dimensions are then fixed.
    threads : int, optional
        How many threads compress; one for each core by default.
    attributes : mapping, optional
        Of the file: name -> string, number or array.
    column_attributes : mapping of str to mapping, optional
        The same of columns, by their names.
    column_options : mapping of str to mapping, optional
        Name of a column -> its own compression, level, checksum.
    sources : sequence of str, optional
        What the rows were made from; kept in the file with the version of h5stream.

    Raises
    ------
    ConfigError
        If an argument does not fit, or the file is there already.
    LayoutError
        If a file to append to is damaged, open elsewhere, or not made by a writer.
    WriteError
        If it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import h5stream as h5s
    >>> path = Path(tempfile.mkdtemp()) / "train.h5"
    >>> with h5s.Writer(path) as writer:
    ...     for label, text in enumerate(["a cat", "two dogs", "fish"]):
    ...         image = np.full((3, 8, 8), label, np.uint8)
    ...         writer.append({"image": image, "caption": text, "label": label})
    >>> batch = next(iter(h5s.H5Stream(path, batch_size=3)))
    >>> batch["image"].shape, batch["caption"], batch["label"].tolist()
    (torch.Size([3, 3, 8, 8]), ['a cat', 'two dogs', 'fish'], [0, 1, 2])
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        columns: Mapping[str, ColumnSpec] | None = None,
        *,
        mode: Literal["new", "append", "memory"] = "new",
        overwrite: bool = False,
        compression: Compression = "auto",
        level: int | None = None,
        checksum: bool = True,
        chunk_bytes: int = 2**20,
        n_rows: int | None = None,
        threads: int | None = None,
        attributes: Mapping[str, Any] | None = None,
        column_attributes: Mapping[str, Mapping[str, Any]] | None = None,
        column_options: Mapping[str, Mapping[str, Any]] | None = None,
        sources: Sequence[str] = (),
    ) -> None:
        self._n_rows = count_of("n_rows", n_rows, least=0)
        self._attributes = dict(attributes or {})
        self._column_attributes = {k: dict(v) for k, v in (column_attributes or {}).items()}
        self._column_options = {k: dict(v) for k, v in (column_options or {}).items()}
        for name, options in self._column_options.items():
            if not set(options) <= COLUMN_OPTIONS:
                raise ConfigError(f"options of column {name!r} are {sorted(COLUMN_OPTIONS)}")
            filters_for(options.get("compression", compression), options.get("level"), True, 1)
        self._how = {"compression": compression, "level": level, "checksum": checksum}
        self._sources = [str(source) for source in sources]
        self._specs = checked_columns(columns)
        self._inferred: set[str] = set()
        self._columns: dict[str, ColumnWriter] = {}
        self._splits: dict[str, np.ndarray] = {}
        self._waiting: list[dict[str, Any]] = []
        self._expected: dict[str, ColumnSpec] = {}
        self._rows = 0
        self._rows_settled = 0
        if mode == "append" and self._n_rows is not None:
            raise ConfigError('mode="append" goes without n_rows=')
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

    def _go_on(self) -> None:
        """Take over the columns of the file."""
        file = self._output.file
        if ATTRIBUTE not in file.attrs:
            if len(file):
                raise LayoutError(
                    f"{self.path}: was not made by h5stream.Writer, which appends to its own files "
                    "only; repack it first"
                )
            return
        found = {name: spec_of(file, name, kind) for name, kind in read_columns(file).items()}
        if not found:
            return
        if self._specs and {n: form_of(s) for n, s in self._specs.items()} != {
            n: form_of(s) for n, s in found.items()
        }:
            raise ConfigError(
                f"{self.path}: has the columns {found}, but {self._specs} were asked for; leave "
                "them out"
            )
        self._specs = self._specs or found
        self._make_columns({})
        lengths = {name: column.n_rows for name, column in self._columns.items()}
        if len(set(lengths.values())) > 1:
            raise LayoutError(f"{self.path}: its columns differ in length: {lengths}")
        self._rows = self._rows_settled = next(iter(lengths.values()))

    def __len__(self) -> int:
        """Count the rows that were taken so far."""
        return self._rows + len(self._waiting)

    def append(self, sample: Mapping[str, Any]) -> None:
        """Add a row.

        Parameters
        ----------
        sample : mapping
            Name of the column -> array, number, string, or tensor; for sparse columns a pair of
            indices and values, a SciPy row, or a plain row.

        Raises
        ------
        WriteError
            If it does not fit the columns; then nothing of it is written, and the writer goes on.
        """
        self._require_open()
        if not isinstance(sample, Mapping):
            raise WriteError(f"row {len(self)}: expected a mapping, not {type(sample).__name__}")
        if self._specs:
            self._take({str(name): [value] for name, value in sample.items()})
            return
        self._wait([sample])

    def extend(self, batch: Mapping[str, Any]) -> None:
        """Add rows.

        Parameters
        ----------
        batch : mapping
            Name of the column -> its rows: an array or tensor, a list, a ragged or sparse column of
            a stream with ``output="numpy"``, a SciPy matrix.

        Raises
        ------
        WriteError
            If a row does not fit the columns; then nothing of the batch is written, and the writer
            goes on.
        """
        self._require_open()
        self._take_waiting()
        self._take(as_rows(batch, self._rows))

    def append_all(self, samples: Sequence[Mapping[str, Any]]) -> None:
        """Add rows, all of them or none.

        Raises
        ------
        WriteError
            If one does not fit the columns; then none is written, and the writer goes on.
        """
        self._require_open()
        if not samples:
            return
        if not self._specs:
            self._wait(samples)
            return
        names = list(samples[0])
        for number, sample in enumerate(samples):
            _require_names(sample, names, len(self) + number)
        self._take({str(name): [sample[name] for sample in samples] for name in names})

    @property
    def columns(self) -> dict[str, ColumnSpec]:
        """What the columns are, as far as it is known."""
        return dict(self._specs or self._expected)

    def replace(self, row: int, sample: Mapping[str, Any]) -> None:
        """Put a sample in the place of a row; in mode "append".

        Where it is longer or shorter than what was there, the rows behind it move.

        Raises
        ------
        WriteError
            If it does not fit the columns; then nothing is changed, and the writer goes on.
        """
        file = self._settled()
        if not 0 <= row < self._rows:
            raise ConfigError(f"{self.path}: has {self._rows} rows, not one at {row}")
        _require_names(sample, list(self._specs), row)
        fitted = {
            name: fit([sample[name]], spec, At(name, row, rounds=name not in self._inferred))
            for name, spec in self._specs.items()
        }
        with self._explained():
            for name, column in self._columns.items():
                replace_row(file, name, column.kind, row, fitted[name])
            self._make_columns({})

    def _settled(self) -> h5py.File:
        """Bring the file up to all rows so far, and lend it; not for a new file.

        What is written is not committed by that.
        """
        self._require_open()
        if self._is_new:
            raise ConfigError(f'{self.path}: open it with mode="append" to look into it')
        if self._rows_settled != len(self):
            self._prepare()
            with self._explained():
                self._settle()
        return self._output.file

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set attributes of the file, from the next `flush` on; None takes one away."""
        self._attributes |= attributes

    def add_split(self, name: str, rows: Any) -> None:
        """Name some of the rows, as ``splits/name``.

        Parameters
        ----------
        name : str
            Such as "train".
        rows : array of bool or int
            One flag a row, or the numbers of the rows. Rows that are added later do not belong to
            it.

        Raises
        ------
        ConfigError
            If there are no such rows.
        """
        self._require_open()
        _require_name(name)
        found = np.asarray(rows)
        mask = np.zeros(len(self), np.bool_)
        if found.dtype == np.bool_ and found.shape == mask.shape:
            mask = found.copy()
        elif found.dtype.kind in "iu" and found.ndim == 1:
            if len(found) and not 0 <= int(found.min()) <= int(found.max()) < len(mask):
                raise ConfigError(f"split {name!r} has rows beyond the {len(mask)} that there are")
            mask[found] = True
        elif len(found):
            raise ConfigError(
                f"split {name!r} must be numbers of rows, or {len(mask)} flags, not {found.dtype} "
                f"of shape {found.shape}"
            )
        self._splits[name] = mask

    def _prepare(self) -> None:
        self._take_waiting()

    def _end(self) -> None:
        if self._n_rows is not None and self._rows != self._n_rows:
            raise WriteError(
                f"{self.path}: {self._rows} rows came, but n_rows={self._n_rows} was announced"
            )
        if self._is_new:
            for column in self._columns.values():
                column.end()

    def _take_waiting(self) -> None:
        """Write the samples from which columns are inferred."""
        if not self._waiting:
            if not self._columns and self._specs and not any(map(_is_open, self._specs.values())):
                self._make_columns({})
            return
        samples, self._waiting = self._waiting, []
        self._expected = {}
        self._take({name: [sample[name] for sample in samples] for name in samples[0]})

    def _wait(self, samples: Sequence[Mapping[str, Any]]) -> None:
        """Keep samples until it is clear what columns are, if they go with those that wait."""
        first = len(self)
        names = list(self._waiting[0] if self._waiting else samples[0])
        held = []
        for number, sample in enumerate(samples, first):
            _require_names(sample, names, number)
            held.append({str(n): hold(value, At(str(n), number)) for n, value in sample.items()})
        every = [*self._waiting, *held]
        rows = {name: [sample[name] for sample in every] for name in every[0]}
        expected = checked_columns(infer(rows, self._rows))
        for name, spec in expected.items():
            if self._expected.get(name) == spec:
                fit([sample[name] for sample in held], spec, At(name, first, rounds=False))
            else:
                _fit_all(rows[name], spec, At(name, self._rows, rounds=False), first)
        self._waiting, self._expected = every, expected
        if len(self._waiting) >= _FIRST_SAMPLES:
            self._take_waiting()

    def _take(self, rows: Mapping[str, Any]) -> None:
        first = self._rows
        count = max((_len(value) for value in rows.values()), default=0)
        if not self._columns:
            self._begin(rows, first)
        _require_names(rows, list(self._specs), first)
        fitted = {
            name: fit(rows[name], spec, At(name, first, rounds=name not in self._inferred))
            for name, spec in self._specs.items()
        }
        if not self._columns:
            self._make_columns(fitted)
        with self._explained():
            for name, column in self._columns.items():
                column.append(fitted[name])
        self._rows += count

    def _begin(self, rows: Mapping[str, Any], first: int) -> None:
        """Infer what is not known of the columns."""
        if self._specs:
            _require_names(rows, list(self._specs), first)
        open_ = {n: v for n, v in rows.items() if _is_open(self._specs.get(n))}
        found = infer(open_, first)
        checked_columns(found)
        merged = {name: _merged(self._specs.get(name), spec) for name, spec in found.items()}
        self._inferred = set(found)
        self._specs = {**{name: merged.get(name) or self._specs[name] for name in rows}}

    def _make_columns(self, first: Mapping[str, Any]) -> None:
        """Make the columns, whose chunks follow from the heaviest of them."""
        heaviest = max(map(_row_bytes, [*self._specs.values(), *first.values()]), default=0)
        rows = max(1, self._chunk_bytes // max(1, heaviest))

        def chunk_rows(nbytes: int) -> int:
            count = rows
            while count * nbytes < min(_LEAST_CHUNK_BYTES, self._chunk_bytes) and count < 2**31:
                count *= 2
            return count if nbytes else 1

        unknown = set(self._column_options) - set(self._specs)
        if unknown:
            raise ConfigError(f"column_options name {min(unknown)!r}, which is no column")
        self._columns = {
            name: make_column(name, spec, self._output, self._stored(name, chunk_rows), self._queue)
            for name, spec in self._specs.items()
        }

    def _stored(self, name: str, chunk_rows: Callable[[int], int]) -> Storage:
        """Say how a column is stored: as all are, or in its own way."""
        storage = self._storage(chunk_rows, self._n_rows)
        own = self._column_options.get(name)
        if own is None:
            return storage
        compression, level, checksum = (own.get(key, self._how[key]) for key in _HOW)
        if "compression" in own and "level" not in own:
            level = None
        filters = partial(filters_for, compression, level, bool(checksum))
        return replace(storage, filters=filters, may_drop_codec=compression == "auto")

    def _settle(self) -> None:
        """Write chunks that are not full, lengths, splits and attributes."""
        for column in self._columns.values():
            column.finish()
        self._queue.drain()
        file = self._output.file
        for column in self._columns.values():
            column.settle(file, self._rows)
        kinds = {name: column.kind for name, column in self._columns.items()}
        _set(file, ATTRIBUTE, json.dumps({"schema": SCHEMA, "columns": kinds}))
        if PROVENANCE not in file.attrs or self._sources:
            told = {"library": f"h5stream {version('h5stream')}", "sources": self._sources}
            _set(file, PROVENANCE, json.dumps(told))
        for name, value in self._attributes.items():
            if value is not None:
                file.attrs[name] = value
            elif name in file.attrs:
                del file.attrs[name]
        for name, attributes in self._column_attributes.items():
            if name not in self._columns:
                raise ConfigError(f"column_attributes name {name!r}, which is no column")
            for key, value in attributes.items():
                file[name].attrs[key] = value
        self._write_splits(file)
        self._rows_settled = self._rows

    def _write_splits(self, file: h5py.File) -> None:
        before = list(file[SPLITS]) if SPLITS in file else []
        for name in {*before, *self._splits}:
            mask = self._splits.get(name)
            if mask is None:
                mask = file[f"{SPLITS}/{name}"][()]
            mask = np.concatenate([mask, np.zeros(self._rows - len(mask), np.bool_)])
            path = f"{SPLITS}/{name}"
            if path in file:
                file[path].resize(mask.shape)
                file[path][...] = mask
            else:
                chunks = (max(1, min(len(mask), 2**16)),)
                file.create_dataset(path, data=mask, maxshape=(None,), chunks=chunks)


def _set(file: h5py.File, name: str, text: str) -> None:
    """Store text that any reader gets without a look into a heap."""
    file.attrs[name] = np.bytes_(text.encode())


def checked_columns(columns: Mapping[str, ColumnSpec] | None) -> dict[str, ColumnSpec]:
    """Check the names of columns, and that each is one.

    Raises
    ------
    ConfigError
        Naming the first that is not.
    """
    found = dict(columns or {})
    for name, spec in found.items():
        _require_name(name)
        if not isinstance(spec, ColumnSpec):
            raise ConfigError(
                f"column {name!r} must be a DenseColumn, RaggedColumn, SparseColumn or "
                f"TextColumn, not {spec!r}"
            )
        holders = [name[:at] for at, letter in enumerate(name) if letter == "/"]
        if any(holder in found for holder in holders):
            raise ConfigError(f"column {name!r} would lie inside another column")
    return found


def _require_name(name: Any) -> None:
    parts = name.split("/") if isinstance(name, str) else [""]
    if not all(part not in ("", ".", "..") and "\0" not in part for part in parts):
        raise ConfigError(f"{name!r} is no name of a column: write 'image', or 'obs/image'")
    if parts[0] in (SPLITS, STATES):
        raise ConfigError(f"{name!r} is where {parts[0]} lie; give the column another name")


def _require_names(rows: Mapping[str, Any], names: Iterable[Any], first: int) -> None:
    wanted = {str(name) for name in names}
    found = {str(name) for name in rows}
    if wanted - found:
        raise WriteError(f"row {first}: lacks {sorted(wanted - found)}")
    if found - wanted:
        raise WriteError(
            f"row {first}: has {sorted(found - wanted)}, but the file has no such columns; they "
            f"are {sorted(wanted)}"
        )


def _fit_all(rows: Sequence[Any], spec: ColumnSpec, at: At, newest: int) -> None:
    """Try what the newest rows made of the type of a column."""
    try:
        fit(rows, spec, at)
    except WriteError as error:
        raise WriteError(
            f"row {newest}: {at.name!r} cannot be in one column with the rows before: {error}"
        ) from error


def _is_open(spec: ColumnSpec | None) -> bool:
    """Tell whether a column has no type yet."""
    return spec is None or (not isinstance(spec, TextColumn) and getattr(spec, "dtype", 0) is None)


def _merged(asked: ColumnSpec | None, found: ColumnSpec) -> ColumnSpec:
    """Complete what was asked for by the type that was found."""
    if asked is None:
        return found
    dtype = getattr(found, "dtype", None)
    if dtype is None:
        raise ConfigError(f"text came for a column of {asked}; write TextColumn()")
    if isinstance(asked, DenseColumn):
        shape = asked.shape or (found.shape if isinstance(found, DenseColumn) else ())
        return DenseColumn(shape, dtype, asked.casting)
    if isinstance(asked, RaggedColumn):
        return RaggedColumn(dtype, asked.shape, asked.casting)
    assert isinstance(asked, SparseColumn), "text has a type"
    return SparseColumn(asked.n_columns, dtype, asked.casting)


def _len(value: Any) -> int:
    return len(value)


def _row_bytes(column: Any) -> int:
    """Return how many bytes a row of a column or spec has, on average; 0 if that is not known."""
    if isinstance(column, DenseColumn):
        return math.prod(column.shape) * column.dtype.itemsize
    if isinstance(column, ColumnSpec | np.ndarray):
        return 0
    parts = [column.indices, column.data] if hasattr(column, "indices") else [column.values]
    return sum(part.nbytes for part in parts) // max(1, len(column))
