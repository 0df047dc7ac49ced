"""Small files and pipes that the tests of pipes and streams share."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import h5stream as h5s
from h5stream.columns import Ragged
from h5stream.pipes import Pipe


def write_columns(path: Path, columns: Mapping[str, Any], chunk_rows: int | None = 4) -> str:
    """Write one dataset for each column, chunked along axis 0 unless `chunk_rows` is None."""
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            array = np.asarray(values)
            chunks = None if chunk_rows is None else (chunk_rows, *array.shape[1:])
            options: dict[str, Any] = {} if chunks is None else {"compression": "gzip"}
            maxshape = None if chunks is None else (None, *array.shape[1:])
            file.create_dataset(name, data=array, chunks=chunks, maxshape=maxshape, **options)
    return str(path)


def write_rows(path: Path, n_rows: int, *, first: int = 0, chunk_rows: int | None = 4) -> str:
    """Write ``row``, the numbers of the rows, and ``x``, three floats a row made of them."""
    row = np.arange(first, first + n_rows, dtype=np.int64)
    x = row[:, None] + np.array([0.0, 0.25, 0.5], np.float32)
    return write_columns(path, {"row": row, "x": x.astype(np.float32)}, chunk_rows)


def blocks_of(path: str, *, seed: int | None = 0, **options: Any) -> Pipe:
    """Make a pipe of blocks with single chunks as row chunks."""
    pipe = h5s.open_files(path, ["row", "x"]).list_chunks(target_bytes=1)
    if seed is not None:
        pipe = pipe.shuffle_chunks(seed)
    return pipe.shard().read_chunks(**options)


def yielded(columns: dict[str, Any]) -> Any:
    """Make what a generator yields: a block of columns, a dict of single values."""
    return h5s.Block(columns) if np.ndim(columns["row"]) else columns


def as_ragged(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Add ``tokens`` to a block with ``row``: row r has r mod 7 of them, and each is r."""
    row = np.asarray(columns["row"])
    lengths = row % 7
    return {"row": row, "tokens": Ragged(row.repeat(lengths), np.append(0, lengths.cumsum()))}


def rows_of(items: Iterable[Any]) -> list[int]:
    """Collect the row numbers of blocks, batches or samples, in order."""
    return [row for item in items for row in np.atleast_1d(np.asarray(item["row"])).tolist()]


def threads() -> list[str]:
    """Name the threads that streams have started; the loop of remote files outlives them."""
    names = (thread.name for thread in threading.enumerate())
    lasting = ("h5stream-loop", "h5stream-remote")
    return [n for n in names if n.startswith("h5stream") and not n.startswith(lasting)]
