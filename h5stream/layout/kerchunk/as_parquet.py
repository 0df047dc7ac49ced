"""References in a folder: one JSON document for all arrays, and Parquet files for their chunks.

The row of a chunk is its place in the grid, in C order. So many rows are in each file, in all but
the last one of an array; a chunk that was never written has a row without path and data.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
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
class _Record:
    """The stored chunks of one file: rows, ranges, paths, and whether it holds some itself."""

    rows: np.ndarray
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
        records: list[_Record] = []
        for data in self._records(name, layout):
            if data is None:
                return replace(layout, indirect="some of its references are not there")
            records.append(_read_record(pyarrow, data, self._record_rows))
            if records[-1].inlined:
                return replace(layout, indirect="its chunks are in the references themselves")
            if sum(len(record.rows) for record in records) > _MOST_ROWS_OF_ARRAY:
                raise ValueError(f"{name!r} has more than {_MOST_ROWS_OF_ARRAY} chunks")
        none = np.empty(0, np.int64)
        firsts = (number * self._record_rows for number in range(len(records)))
        index = [first + record.rows for first, record in zip(firsts, records, strict=True)]
        return with_places(
            layout,
            set().union(*(record.files for record in records)),
            np.concatenate([none, *index]),
            np.concatenate([none, *(record.byte_offset for record in records)]),
            np.concatenate([none, *(record.size for record in records)]),
        )

    def _records(self, name: str, layout: DatasetLayout) -> Iterator[bytes | None]:
        """Read the files of an array, many at once."""
        count = -(-math.prod(layout.grid) // self._record_rows)
        if count > _MOST_RECORDS:
            raise ValueError(f"{name!r} has {count} files, expected at most {_MOST_RECORDS}")
        files = [f"{name}/refs.{number}.parq" for number in range(count)]
        for first in range(0, count, _AT_ONCE):
            yield from self._read(files[first : first + _AT_ONCE])


def _read_record(pyarrow: Any, data: bytes, most_rows: int) -> _Record:
    """Read one file; paths stay numbers of a dictionary, however often they are repeated."""
    try:
        source = pyarrow.BufferReader(data)
        said = pyarrow.parquet.read_metadata(source)
        _check_size(said, min(most_rows, _MOST_ROWS))
        known = [said.schema.column(at).path for at in range(said.num_columns)]
        wanted = [name for name in ("path", "offset", "size", "raw") if name in known]
        file = pyarrow.parquet.ParquetFile(
            source,
            metadata=said,
            read_dictionary=[name for name in wanted if name in ("path", "raw")],
            pre_buffer=False,
            page_checksum_verification=True,
        )
        table = file.read(columns=wanted, use_threads=False)
        return _unpack(pyarrow, {name: table[name].combine_chunks() for name in wanted})
    except (pyarrow.ArrowException, MemoryError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _check_size(said: Any, most_rows: int) -> None:
    """Bound what reading may take in memory, before it is read."""
    if not 0 <= said.num_rows <= most_rows:
        raise ValueError(f"there are {said.num_rows} rows, expected at most {most_rows}")
    groups = [said.row_group(number) for number in range(said.num_row_groups)]
    columns = [group.column(at) for group in groups for at in range(group.num_columns)]
    if sum(group.num_rows for group in groups) != said.num_rows:
        raise ValueError("the rows of its parts do not add up")
    sizes = [column.total_uncompressed_size for column in columns]
    if any(size < 0 for size in sizes) or sum(sizes) > _MOST_UNPACKED_BYTES:
        raise ValueError(f"more than {_MOST_UNPACKED_BYTES} bytes are to be unpacked")


def _unpack(pyarrow: Any, columns: dict[str, Any]) -> _Record:
    """Take what is stored out of the columns that are there."""
    raw, path = columns.get("raw"), columns.get("path")
    inlined = raw is not None and not _is_null(pyarrow, raw).all()
    if path is None or pyarrow.types.is_null(path.type):
        none = np.empty(0, np.int64)
        return _Record(none, none, none, frozenset(), inlined)
    if not (pyarrow.types.is_dictionary(path.type) and _is_text(pyarrow, path.type.value_type)):
        raise ValueError(f"paths are {path.type}")
    rows = np.flatnonzero(~_is_null(pyarrow, path))
    offset, size = (_numbers(pyarrow, columns[name])[rows] for name in ("offset", "size"))
    used = path.dictionary.take(path.indices.drop_null().unique())
    return _Record(rows, offset, size, frozenset(map(str, used.to_pylist())), inlined)


def _is_null(pyarrow: Any, column: Any) -> np.ndarray:
    return pyarrow.compute.is_null(column, nan_is_null=True).to_numpy(zero_copy_only=False)


def _is_text(pyarrow: Any, kind: Any) -> bool:
    return pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)


def _numbers(pyarrow: Any, column: Any) -> np.ndarray:
    if not pyarrow.types.is_integer(column.type):
        raise ValueError(f"places are {column.type}")
    return column.cast(pyarrow.int64()).fill_null(0).to_numpy(zero_copy_only=False)
