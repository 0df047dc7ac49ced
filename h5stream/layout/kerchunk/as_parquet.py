"""References in a folder: one JSON document for all arrays, and Parquet files for their chunks.

The row of a chunk is its place in the grid, in C order. So many rows are in each file, in all but
the last one of an array; a chunk that was never written has a row without path and data.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from h5stream.errors import ConfigError, LayoutError, UnsupportedError
from h5stream.layout.kerchunk.arrays import (
    describe_arrays,
    make_arrays,
    places_of,
    refuse_damage,
    require_fitting,
    with_places,
)
from h5stream.layout.model import DatasetLayout, FileLayout

__all__ = ["FOLDER_INDEX", "ParquetReferences", "pack_parquet"]

FOLDER_INDEX = ".zmetadata"
"""The document about all arrays."""

_RECORD_ROWS = 100_000
_MOST_RECORDS = 10_000
_MOST_ROWS = 2**24
"""Of one file."""

_MOST_ROWS_OF_ARRAY = 2**28
_MOST_PARTS = 1000
_MOST_UNPACKED_BYTES = 2**30
_AT_ONCE = 64

ReadInside = Callable[[Sequence[str]], list[bytes | None]]
"""Reads files of the folder, several at once; None for one that is not there."""


def _load_pyarrow() -> Any:
    try:
        import pyarrow.compute
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError(
            "kerchunk references in parquet need pyarrow: pip install 'h5stream[kerchunk]'"
        ) from error
    return pyarrow


def pack_parquet(layout: FileLayout) -> Iterator[tuple[str, bytes]]:
    """Write the datasets of a file as references.

    Yields
    ------
    name : str
        Of a file in the folder, with slashes.
    data : bytes
        What it holds.

    Raises
    ------
    UnsupportedError
        Naming the dataset that does not fit the format, and why.
    ConfigError
        If pyarrow is not installed.
    """
    require_fitting(layout)
    pyarrow = _load_pyarrow()
    for name, dataset in layout.datasets.items():
        chunks = math.prod(places_of(dataset)[0])
        if chunks > _RECORD_ROWS * _MOST_RECORDS:
            raise UnsupportedError(
                f"{layout.path}: {name!r} cannot be written as parquet, which has a row for each "
                f"place of the grid: there are {chunks}; use .json or .npz"
            )
    said = {"metadata": describe_arrays(layout), "record_size": _RECORD_ROWS}
    yield FOLDER_INDEX, json.dumps(said).encode()
    for dataset in layout.datasets.values():
        yield from _pack_array(pyarrow, dataset)


def _pack_array(pyarrow: Any, layout: DatasetLayout) -> Iterator[tuple[str, bytes]]:
    grid, index, byte_offset, size = places_of(layout)
    chunks = math.prod(grid)
    for record, first in enumerate(range(0, chunks, _RECORD_ROWS)):
        last = min(chunks, first + _RECORD_ROWS)
        part = slice(*np.searchsorted(index, (first, last)))
        columns = np.zeros((2, last - first), np.int64)
        at = index[part] - first
        columns[0, at], columns[1, at] = byte_offset[part], size[part]
        missing = np.ones(last - first, bool)
        missing[at] = False
        data = _pack_record(pyarrow, layout.file, columns, missing)
        yield f"{layout.path.strip('/')}/refs.{record}.parq", data


def _pack_record(pyarrow: Any, file: str, columns: np.ndarray, missing: np.ndarray) -> bytes:
    """Write one file, with the types that readers expect even where all is missing."""
    zeros = pyarrow.array(np.zeros(len(missing), np.int32), mask=missing)
    path = pyarrow.DictionaryArray.from_arrays(zeros, pyarrow.array([file])).cast(pyarrow.string())
    table = pyarrow.table(
        [path, columns[0], columns[1], pyarrow.nulls(len(missing), pyarrow.binary())],
        schema=pyarrow.schema(
            [
                pyarrow.field("path", pyarrow.string()),
                pyarrow.field("offset", pyarrow.int64(), nullable=False),
                pyarrow.field("size", pyarrow.int64(), nullable=False),
                pyarrow.field("raw", pyarrow.binary()),
            ]
        ),
    )
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(
        table,
        sink,
        compression="zstd",
        use_dictionary=["path"],
        write_statistics=["offset", "size"],  # fastparquet takes integers without for floats
        write_page_checksum=True,
        store_schema=False,
    )
    return sink.getvalue().to_pybytes()


@dataclass(frozen=True, eq=False)
class _Rows:
    """Stored chunks: rows, ranges, paths, and whether some are in the references themselves."""

    index: np.ndarray
    byte_offset: np.ndarray
    size: np.ndarray
    files: frozenset[str]
    inlined: bool


class ParquetReferences:
    """References of which only what is wanted is read.

    Parameters
    ----------
    read : callable
        Reads files of the folder.
    what : str
        What messages call it.

    Raises
    ------
    LayoutError
        If the folder holds no references, or damaged ones.
    """

    def __init__(self, read: ReadInside, what: str) -> None:
        self._read, self._what = read, what
        (data,) = read([FOLDER_INDEX])
        if data is None:
            raise LayoutError(
                f"{what}: there is no {FOLDER_INDEX} in it, so these are no references in "
                "parquet; write them with `h5stream index`"
            )
        with refuse_damage(what):
            said = json.loads(data)
            self._record_rows = said["record_size"]
            if not isinstance(self._record_rows, int) or self._record_rows < 1:
                raise ValueError(f"a file is to have {self._record_rows!r} rows")
            self.arrays = make_arrays(said["metadata"])

    def locate(self, names: Sequence[str]) -> dict[str, DatasetLayout]:
        """Add the chunk tables of some arrays, and the file that holds them.

        Raises
        ------
        LayoutError
            If they are damaged, or lead to several files.
        ConfigError
            If pyarrow is not installed.
        """
        pyarrow = _load_pyarrow()
        with refuse_damage(self._what):
            return {name: self._locate(pyarrow, name) for name in names}

    def _locate(self, pyarrow: Any, name: str) -> DatasetLayout:
        layout = self.arrays[name]
        if layout.indirect or layout.refused:
            return layout
        found: list[_Rows] = []
        chunks, stored = math.prod(layout.grid), 0
        for number, data in enumerate(self._records(name, chunks)):
            if data is None:
                return replace(layout, indirect="some of its references are not there")
            first = number * self._record_rows
            least = min(self._record_rows, chunks - first)
            for rows in _read_record(pyarrow, data, first, (least, self._record_rows)):
                if rows.inlined:
                    return replace(layout, indirect="its chunks are in the references themselves")
                found.append(rows)
                stored += len(rows.index)
            if stored > _MOST_ROWS_OF_ARRAY:
                raise ValueError(f"{name!r} has more than {_MOST_ROWS_OF_ARRAY} chunks")
        files = {file for rows in found for file in rows.files}
        return with_places(
            layout,
            files,
            _join(rows.index for rows in found),
            _join(rows.byte_offset for rows in found),
            _join(rows.size for rows in found),
        )

    def _records(self, name: str, chunks: int) -> Iterator[bytes | None]:
        """Read the files of an array, many at once."""
        count = -(-chunks // self._record_rows)
        if count > _MOST_RECORDS:
            raise ValueError(f"{name!r} has {count} files, expected at most {_MOST_RECORDS}")
        files = [f"{name}/refs.{number}.parq" for number in range(count)]
        for first in range(0, count, _AT_ONCE):
            yield from self._read(files[first : first + _AT_ONCE])


def _join(columns: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.empty(0, np.int64), *columns])


def _read_record(pyarrow: Any, data: bytes, first: int, rows: tuple[int, int]) -> list[_Rows]:
    """Read one file; paths stay numbers of a dictionary, however often they are repeated.

    Parameters
    ----------
    pyarrow : module
        The library.
    data : bytes
        The file.
    first : int
        Place in the grid of its first row.
    rows : (int, int)
        How many it has at least, and at most: fewer would leave chunks out.
    """
    try:
        source = pyarrow.BufferReader(data)
        said = pyarrow.parquet.read_metadata(source)
        firsts = _check_size(said, *rows)
        known = [said.schema.column(at).path for at in range(said.num_columns)]
        wanted = [name for name in ("path", "offset", "size", "raw") if name in known]
        file = pyarrow.parquet.ParquetFile(
            source,
            metadata=said,
            read_dictionary=[name for name in wanted if name in ("path", "raw")],
            pre_buffer=False,
            page_checksum_verification=True,
        )
        found = []
        for number, before in enumerate(firsts):  # one at a time: each may unpack much
            table = file.read_row_group(number, columns=wanted, use_threads=False)
            columns = {name: table[name].combine_chunks() for name in wanted}
            found.append(_unpack(pyarrow, columns, first + before))
        return found
    except (pyarrow.ArrowException, MemoryError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _check_size(said: Any, least_rows: int, most_rows: int) -> list[int]:
    """Bound what reading may take in memory; return how many rows lie before each part.

    What is said of single columns is not looked at: where it is damaged, pyarrow ends the process.
    """
    if not least_rows <= said.num_rows <= min(most_rows, _MOST_ROWS):
        raise ValueError(f"there are {said.num_rows} rows, expected {least_rows} to {most_rows}")
    if said.num_row_groups > _MOST_PARTS:
        raise ValueError(f"there are {said.num_row_groups} parts, expected at most {_MOST_PARTS}")
    parts = [said.row_group(number) for number in range(said.num_row_groups)]
    if any(not 0 <= part.total_byte_size <= _MOST_UNPACKED_BYTES for part in parts):
        raise ValueError(f"more than {_MOST_UNPACKED_BYTES} bytes are to be unpacked at once")
    rows = [part.num_rows for part in parts]
    if min(rows, default=0) < 0 or sum(rows) != said.num_rows:
        raise ValueError("the rows of its parts do not add up")
    return list(itertools.accumulate(rows[:-1], initial=0)) if rows else []


def _unpack(pyarrow: Any, columns: dict[str, Any], first: int) -> _Rows:
    """Take what is stored out of the columns that are there; row numbers begin at `first`."""
    raw, path = columns.get("raw"), columns.get("path")
    inlined = raw is not None and not _is_null(pyarrow, raw).all()
    if path is None and not inlined:
        raise ValueError("there are neither paths nor data")
    if path is None or pyarrow.types.is_null(path.type):
        none = np.empty(0, np.int64)
        return _Rows(none, none, none, frozenset(), inlined)
    if not (pyarrow.types.is_dictionary(path.type) and _is_text(pyarrow, path.type.value_type)):
        raise ValueError(f"paths are {path.type}")
    rows = np.flatnonzero(~_is_null(pyarrow, path))
    offset, size = (_numbers(pyarrow, columns[name])[rows] for name in ("offset", "size"))
    used = path.dictionary.take(path.indices.drop_null().unique())
    return _Rows(rows + first, offset, size, frozenset(map(str, used.to_pylist())), inlined)


def _is_null(pyarrow: Any, column: Any) -> np.ndarray:
    return pyarrow.compute.is_null(column, nan_is_null=True).to_numpy(zero_copy_only=False)


def _is_text(pyarrow: Any, kind: Any) -> bool:
    return pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)


def _numbers(pyarrow: Any, column: Any) -> np.ndarray:
    if not pyarrow.types.is_integer(column.type):
        raise ValueError(f"places are {column.type}")
    return column.cast(pyarrow.int64()).fill_null(0).to_numpy(zero_copy_only=False)
