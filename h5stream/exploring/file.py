"""A file as one works with it by hand: rows by number and id, notes, states of models."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np

from h5stream.columns import Sparse
from h5stream.conventions.h5mapper import IDS
from h5stream.conventions.schema import SOURCE_IDS, STATES
from h5stream.dataset import Dataset
from h5stream.errors import ConfigError, WriteError
from h5stream.exploring.states import pack_state, unpack_state
from h5stream.layout.opening import open_checked
from h5stream.pipes import open_files
from h5stream.write.columns import ColumnSpec, TextColumn
from h5stream.write.open_writer import OpenWriter
from h5stream.write.values import as_array

__all__ = ["Cells", "File"]


class File:
    """A file to look into, and to note things in.

    Rows are there by number and, if they have one, by id: ``file["image"][3]``,
    ``file["image"]["planes/01.jpeg"]``. `add` notes a row under an id, or replaces it; `flush`
    makes that last, as for `Writer` in mode "append". States of models are stored as tensors,
    without pickle.

    Parameters
    ----------
    path : path, URL, or None
        None: a temporary file, which is gone when it is closed.
    columns : mapping of str to ColumnSpec, optional
        As for `Writer`; by default they follow from the first rows.
    mode : {"append", "read"}
        "append": a file of h5stream, which is made if it is not there. "read": any file that
        `H5Stream` reads.
    memory : bool
        Keep the file in memory, without a path; `save` writes it.
    storage_options : mapping, optional
        For a URL; mode "read".
    **options
        Of `Writer`: compression, chunk_bytes and so on.

    Raises
    ------
    ConfigError
        If the arguments do not fit.
    LayoutError
        If the file is damaged, open elsewhere, or, to append, not of h5stream.

    Examples
    --------
    >>> import torch
    >>> import h5stream as h5s
    >>> model = torch.nn.Linear(2, 1)
    >>> with h5s.File() as file:
    ...     file.add("epoch 0", {"loss": 0.5, "seen": [3, 1]})
    ...     file.add("epoch 1", {"loss": 0.2, "seen": [2]})
    ...     file.add("epoch 0", {"loss": 0.4, "seen": [3, 1, 2]})
    ...     file.save_state("best", model.state_dict())
    ...     print(file["loss"]["epoch 0"], file["seen"][0], file.ids)
    ...     _ = model.load_state_dict(file.load_state("best"))
    0.4 [3 1 2] ['epoch 0', 'epoch 1']
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        columns: Mapping[str, ColumnSpec] | None = None,
        *,
        mode: Literal["append", "read"] = "append",
        memory: bool = False,
        storage_options: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        if mode not in ("append", "read"):
            raise ConfigError(f'mode must be "append" or "read", not {mode!r}')
        if "overwrite" in options or "n_rows" in options:
            raise ConfigError("File() goes without overwrite= and n_rows=")
        if memory and path is not None:
            raise ConfigError("a file in memory has no path; save(path) writes it")
        if mode == "read" and (path is None or columns is not None or options):
            raise ConfigError('mode="read" takes a path, and nothing about how it is written')
        if mode == "append" and storage_options is not None:
            raise ConfigError('storage_options go with mode="read"')
        self._folder: str | None = None
        self._storage_options = storage_options
        if path is None and not memory:
            self._folder = tempfile.mkdtemp(prefix="h5stream-")
            path = Path(self._folder) / "file.h5"
        self.path = None if path is None else str(path)
        self._writer: OpenWriter | None = None
        self._fields: dict[str, Dataset] = {}
        self._rows_of: dict[str, list[int]] | None = None
        if mode == "append":
            columns = None if columns is None else dict(columns)
            self._columns = columns
            self._begin(memory, options)

    def _begin(self, memory: bool, options: Mapping[str, Any]) -> None:
        try:
            where = "memory" if self.path is None else self.path
            self._writer = OpenWriter(where, mode="memory" if memory else "append", **options)
        except BaseException:
            self._remove_folder()
            raise

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        if self._writer is not None:
            return [name for name in self._writer.columns if name != SOURCE_IDS]
        return list(self._opened(None).columns)

    @property
    def ids(self) -> list[str]:
        """Ids of the rows, in their order; none if rows have no ids."""
        found = sorted((row, source) for source, rows in self._ids().items() for row in rows)
        return [source for _row, source in found]

    def index(self, source: str) -> int:
        """Return the number of the row with an id, the first if there are several.

        Raises
        ------
        ConfigError
            If there is none.
        """
        return self.rows_of(source)[0]

    def rows_of(self, source: str) -> list[int]:
        """Return the numbers of all rows with an id.

        Raises
        ------
        ConfigError
            If there is none.
        """
        rows = self._ids().get(source)
        if not rows:
            raise ConfigError(f"{self}: no row has the id {source!r:.200}")
        return list(rows)

    def __contains__(self, source: object) -> bool:
        """Tell whether a row has an id."""
        return source in self._ids()

    def __len__(self) -> int:
        """Count the rows."""
        if self._writer is not None:
            return len(self._writer)
        return self._opened(None).n_rows

    def __getitem__(self, name: str) -> Cells:
        """Return a column."""
        if self._writer is not None:
            if name not in self._writer.columns:
                raise ConfigError(f"{self}: there is no column {name!r}; there are {self.names}")
            return Cells(self, name)
        self._field(name)
        return Cells(self, name)

    def __repr__(self) -> str:
        return f"File({self.path or 'in memory'})"

    def add(self, source: str, sample: Mapping[str, Any]) -> None:
        """Note a row under an id, or put it in the place of the one that is there.

        A row of another length than before moves the ones behind it.

        Parameters
        ----------
        source : str
            Its id.
        sample : mapping
            As for `Writer.append`.

        Raises
        ------
        WriteError
            If it does not fit the columns; then the file is as it was. Or if several rows have this
            id.
        """
        writer = self._require_writer()
        if not _is_name(source):
            raise WriteError(f"{source!r:.80} is no id: write some text")
        known = self._ids()
        if len(writer) and not known:
            raise WriteError(f"{self}: its rows have no ids; append() goes on with it")
        row = {**sample, SOURCE_IDS: source}
        there = known.get(source)
        if there is None:
            self._declare(TextColumn())
            writer.append(row)
            known[source] = [len(writer) - 1]
        elif len(there) > 1:
            raise WriteError(f"{self}: {len(there)} rows have the id {source!r:.200}")
        else:
            writer.replace(there[0], row)

    def append(self, sample: Mapping[str, Any]) -> None:
        """Note a row without an id, in a file whose rows have none.

        Raises
        ------
        WriteError
            If it does not fit the columns, or rows of this file have ids.
        """
        writer = self._require_writer()
        if self._ids():
            raise WriteError(f"{self}: its rows have ids; write add(id, sample)")
        self._declare(None)
        writer.append(sample)

    def _declare(self, ids: TextColumn | None) -> None:
        """Tell the writer of the columns, before the first row."""
        if self._columns is not None and self._writer is not None and not len(self._writer):
            self._writer.declare({**self._columns, **({SOURCE_IDS: ids} if ids else {})})
        self._columns = None

    def flush(self) -> None:
        """Make all that was noted last, even after kill -9."""
        self._require_writer().flush()

    @property
    def states(self) -> list[str]:
        """Names of the states that are stored."""
        with self._raw() as file:
            return sorted(file[STATES]) if STATES in file else []

    def save_state(self, name: str, state: Any) -> None:
        """Store the state of a model, optimizer or loader, and flush.

        Parameters
        ----------
        name : str
            Under which it is found again; what has that name is replaced.
        state : dict
            Of tensors, numbers, strings, None, and dicts, lists and tuples of those.

        Raises
        ------
        WriteError
            If it holds anything else, naming where; or the disk is full.
        """
        writer = self._require_writer()
        if not _is_name(name) or name in (".", "..") or "/" in name:
            raise ConfigError(f"{name!r:.80} is no name of a state")
        tree, arrays = pack_state(state)
        writer.put_tree(f"{STATES}/{name}", tree, arrays)
        writer.flush()

    def load_state(self, name: str) -> Any:
        """Return a state, with tensors on the CPU.

        Raises
        ------
        ConfigError
            If there is none of that name.
        LayoutError
            If it is damaged.
        """
        with self._raw() as file:
            if STATES not in file or name not in file[STATES]:
                raise ConfigError(f"{self}: there is no state {name!r:.80}")
            return unpack_state(file[STATES][name])

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write a file in memory, or a temporary one, to a path.

        Raises
        ------
        ConfigError
            If there is a file of that name.
        """
        output = Path(path)
        if output.exists() and not overwrite:
            raise ConfigError(f"{output} exists; write overwrite=True to replace it")
        part = output.with_name(f".{output.name}.part")
        part.write_bytes(self._require_writer().image())
        part.replace(output)

    def close(self) -> None:
        """Write what is left, and let go of the file."""
        if self._writer is not None:
            try:
                self._writer.close()
            finally:
                self._remove_folder()

    def _remove_folder(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    def _require_writer(self) -> OpenWriter:
        if self._writer is None:
            raise ConfigError(f'{self} is open to read; write mode="append"')
        return self._writer

    @contextlib.contextmanager
    def _raw(self) -> Iterator[Any]:
        """Lend the file as HDF5 has it."""
        if self._writer is not None:
            yield self._writer.file()
            return
        with open_checked(str(self.path)) as file:
            yield file

    def _opened(self, fields: Any) -> Any:
        files = open_files(self.path or "", fields, storage_options=self._storage_options)
        return files.catalog

    def _field(self, name: str) -> Dataset:
        if name not in self._fields:
            made = Dataset(self.path or "", [name], storage_options=self._storage_options)
            len(made)
            self._fields[name] = made
        return self._fields[name]

    def _ids(self) -> dict[str, list[int]]:
        """Read which rows have which id."""
        if self._rows_of is None:
            self._rows_of = {}
            for row, source in enumerate(self._read_ids()):
                self._rows_of.setdefault(source, []).append(row)
        return self._rows_of

    def _read_ids(self) -> Sequence[str]:
        if self._writer is not None:
            return self._writer.texts(SOURCE_IDS)
        for name in (SOURCE_IDS, IDS):
            with contextlib.suppress(ConfigError):
                field = self._field(name)
                return [str(each) for each in field.batch(range(len(field)))[name]]
        return []

    def read_row(self, name: str, row: int) -> Any:
        """Return a row of a column."""
        if self._writer is not None:
            return self._writer.read_row(name, row)
        return _as_row(self._field(name)[row][name])


def _as_row(value: Any) -> Any:
    """Make of a tensor what a row is in mode "append" as well."""
    found = as_array(value)
    if isinstance(found, Sparse):
        return found.indices, found.data
    return found[()] if isinstance(found, np.ndarray) else found


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and "\0" not in value


class Cells:
    """A column of a `File`: rows by number, slice or id.

    Parameters
    ----------
    file : File
        That it is of.
    name : str
        Of the column.
    """

    def __init__(self, file: File, name: str) -> None:
        self._file = file
        self._name = name

    def __len__(self) -> int:
        """Count the rows."""
        return len(self._file)

    def __repr__(self) -> str:
        return f"Cells({self._name!r}, {len(self)} rows)"

    def __getitem__(self, key: int | slice | str) -> Any:
        """Return a row by its number or id; a list of rows of a slice, or of an id of several."""
        if isinstance(key, str):
            rows = self._file.rows_of(key)
            found = [self._file.read_row(self._name, row) for row in rows]
            return found[0] if len(found) == 1 else found
        if isinstance(key, slice):
            rows = list(range(*key.indices(len(self))))
            return [self._file.read_row(self._name, row) for row in rows]
        row = int(key)
        if not -len(self) <= row < len(self):
            raise IndexError(f"{self._name!r} has {len(self)} rows, not one at {row}")
        return self._file.read_row(self._name, row % len(self))
