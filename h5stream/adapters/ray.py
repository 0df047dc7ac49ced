"""Ray Data over HDF5 files: datasets that its tasks read, and repacking on many machines.

The driver scans the files and cuts their row chunks into runs; the layout travels with each task,
so no task scans anything, and no chunk is read by two tasks.
"""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from ray.data import Datasource, ReadTask, read_datasource
from ray.data.block import BlockAccessor, BlockMetadata

from h5stream import repacking
from h5stream.arguments import a_count
from h5stream.columns import Ragged, Sparse, arrays
from h5stream.errors import ConfigError, UnsupportedError
from h5stream.fields import Asked, Subset
from h5stream.opening import Sources
from h5stream.pipes import open_files
from h5stream.plan import Pieces, RowChunks
from h5stream.reader import Catalog, Reader, Stats
from h5stream.repacking import Repacked

__all__ = ["HDF5Datasource", "as_table", "read_blocks", "read_hdf5", "repack", "runs_of"]

_CHUNK_BYTES = 8 * 2**20
_CHUNKS_OF_PART = 8
_THREADS = 2


def read_hdf5(
    sources: Sources,
    fields: Mapping[str, Asked] | Sequence[str] | None = None,
    *,
    subset: Subset = None,
    storage_options: Mapping[str, Any] | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    ray_remote_args: Mapping[str, Any] | None = None,
    **options: Any,
) -> Any:
    """Read HDF5 files into a `ray.data.Dataset`.

    Only the chunks of the fields and rows that are asked for are read. Dense columns are tensors of
    Arrow, ragged ones lists, text is text, and a sparse row is a struct of `indices` and `values`.

    Parameters
    ----------
    sources, fields, subset, storage_options
        See `H5Stream`; files must be reachable from all nodes by the same names.
    concurrency, override_num_blocks, ray_remote_args
        See `ray.data.read_datasource`.
    **options
        Of `open_files`: `convention`, `missing`, `layout`, `cache_dir` and so on.

    Returns
    -------
    ray.data.Dataset

    Examples
    --------
    .. code-block:: python

        dataset = h5s.adapters.ray.read_hdf5("s3://bucket/*.h5", {"x": "images", "y": "labels"})
        for batch in dataset.random_shuffle().iter_torch_batches(batch_size=128):
            ...
    """
    files = open_files(sources, fields, subset=subset, storage_options=storage_options, **options)
    return read_datasource(
        HDF5Datasource(files.catalog),
        concurrency=concurrency,
        override_num_blocks=override_num_blocks,
        ray_remote_args=dict(ray_remote_args or {}),
    )


class HDF5Datasource(Datasource):
    """What `read_hdf5` reads.

    Parameters
    ----------
    catalog : Catalog
        Files and fields.
    """

    def __init__(self, catalog: Catalog) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._catalog = catalog

    def get_name(self) -> str:
        """Name the read tasks."""
        return "HDF5"

    def estimate_inmemory_data_size(self) -> int:
        """Return the decoded bytes of all rows."""
        return self._catalog.n_rows * self._catalog.row_nbytes

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """Cut the row chunks into runs of about equally many rows, one a task."""
        chunks = _row_chunks(self._catalog, max(1, parallelism))
        return [
            self._task(chunks.take(np.arange(first, last)), per_task_row_limit)
            for first, last in runs_of(chunks, max(1, parallelism))
        ]

    def _task(self, chunks: RowChunks, row_limit: int | None) -> ReadTask:
        rows = chunks.n_rows
        paths = tuple(self._catalog.files[number].path for number in np.unique(chunks.file))
        metadata = BlockMetadata(
            num_rows=rows if row_limit is None else min(rows, row_limit),
            size_bytes=rows * self._catalog.row_nbytes,
            exec_stats=None,
            input_files=paths,
        )
        read = partial(read_blocks, self._catalog, chunks)
        return ReadTask(read, metadata, per_task_row_limit=row_limit)


def _row_chunks(catalog: Catalog, parts: int) -> RowChunks:
    """Cut the rows into row chunks, of which each of so many parts has a few."""
    part_bytes = catalog.n_rows * catalog.row_nbytes // parts
    return catalog.row_chunks(max(1, min(_CHUNK_BYTES, part_bytes // _CHUNKS_OF_PART)))


def runs_of(chunks: RowChunks, count: int) -> list[tuple[int, int]]:
    """Cut row chunks into at most `count` runs of about equally many rows.

    Examples
    --------
    >>> from h5stream.plan import RowChunks
    >>> ends = np.array([4, 8, 12, 14])
    >>> runs_of(RowChunks(np.zeros(4, int), ends - [4, 4, 4, 2], ends), 2)
    [(0, 2), (2, 4)]
    """
    marks = np.arange(1, count) * chunks.n_rows / count
    cuts = np.searchsorted(chunks.ends, marks, side="left") + 1
    bounds = np.unique([0, *cuts[cuts < len(chunks)], len(chunks)]).tolist()
    return list(pairwise(bounds))


def read_blocks(catalog: Catalog, chunks: RowChunks) -> Iterator[pa.Table]:
    """Read row chunks as tables, the next one while one is taken."""
    reader = Reader(catalog, Stats())
    with ThreadPoolExecutor(_THREADS) as executor:

        def start(number: int) -> Any:
            one = chunks.take(np.array([number]))
            reads = reader.window(Pieces(one.file, one.start, one.stop))
            return reads, reader.start(executor, reads)

        following = start(0)
        for number in range(len(chunks)):
            reads, tasks = following
            if number + 1 < len(chunks):
                following = start(number + 1)
            for task in tasks:
                task.result()
            reads.check_unchanged()
            reads.check_values()
            yield as_table(arrays(reads.columns))
    reader.release_files()


def as_table(columns: Mapping[str, Any]) -> pa.Table:
    """Make a table of Arrow of the columns of some rows.

    Examples
    --------
    >>> tokens = Ragged(np.arange(3), np.array([0, 1, 3]))
    >>> table = as_table({"tokens": tokens})
    >>> table.num_rows, table.column("tokens").to_pylist()
    (2, [[0], [1, 2]])
    """
    made = {name: _as_arrow(name, column) for name, column in columns.items()}
    return pa.table(made)


def _as_arrow(name: str, column: Any) -> Any:
    if isinstance(column, Sparse):
        indices = pa.ListArray.from_arrays(_offsets(column.indptr), pa.array(column.indices))
        values = pa.ListArray.from_arrays(_offsets(column.indptr), pa.array(column.data))
        return pa.StructArray.from_arrays([indices, values], ["indices", "values"])
    if isinstance(column, Ragged):
        if column.text:
            return pa.array(list(column), pa.string())
        if column.values.ndim == 1:
            return pa.ListArray.from_arrays(_offsets(column.offsets), pa.array(column.values))
        return _tensors(name, np.array([*column, None], object)[:-1])
    return _tensors(name, np.array(column))  # windows are used again, tables are not


def _offsets(offsets: np.ndarray) -> pa.Array:
    if len(offsets) and offsets[-1] >= 2**31:
        raise UnsupportedError("a run of rows has more than 2**31 elements; ask for more blocks")
    return pa.array(offsets.astype(np.int32))


def _tensors(name: str, column: np.ndarray) -> Any:
    if column.dtype.names is not None or column.dtype.kind == "V":
        raise UnsupportedError(
            f"{name!r} is {column.dtype}, which Arrow has no column for; ask for its members: "
            f'"{name}[member]"'
        )
    if column.dtype.kind == "S":
        column = np.strings.decode(column, "utf-8")
    return BlockAccessor.batch_to_arrow_block({name: column}).column(name)


def repack(
    sources: Sources,
    folder: str | Path,
    fields: Mapping[str, Asked] | Sequence[str] | None = None,
    *,
    shard_bytes: int = 2**31,
    storage_options: Mapping[str, Any] | None = None,
    ray_remote_args: Mapping[str, Any] | None = None,
    **options: Any,
) -> Repacked:
    """Write the rows of files again, as tasks of Ray: each writes one file.

    Every row is written exactly once, also where tasks or nodes die and are tried again: a task
    writes under a name of its own, and its file gets the shard's name at the end, in one step. A
    job that is started again with the same arguments goes on with the shards that are missing.

    Parameters
    ----------
    sources, fields, storage_options
        See `h5stream.repack`; their order is kept.
    folder : path
        Where shards are written: a folder that all nodes share, which is not there yet. They are
        called ``00000.h5`` and so on.
    shard_bytes : int
        About how large a shard is, decoded.
    ray_remote_args : mapping, optional
        Of ``ray.remote``: ``{"num_cpus": 2, "max_retries": 5}``.
    **options
        Of `h5stream.repack`: `compression`, `level`, `chunk_bytes`, `check` and so on.

    Raises
    ------
    ConfigError
        If the folder is there, or an option is for one machine only.
    """
    a_count("shard_bytes", shard_bytes)
    if refused := options.keys() & {"subset", "shuffle", "overwrite", "memory_bytes", "progress"}:
        raise ConfigError(
            f"{sorted(refused)[0]} is for h5stream.repack on one machine; for other rows or "
            "another order write read_hdf5(...) and its methods"
        )
    final = Path(folder).absolute()
    if final.exists():
        raise ConfigError(f"{final} exists; name another folder, or remove it")
    catalog = open_files(sources, fields, storage_options=storage_options).catalog
    shards = -(-catalog.n_rows * catalog.row_nbytes // shard_bytes)
    chunks = _row_chunks(catalog, max(1, shards))
    runs = runs_of(chunks, max(1, shards))
    ends = np.append(0, chunks.ends)
    working = final.with_name(f".{final.name}.{_digest(catalog, runs, options)}")
    working.mkdir(exist_ok=True)
    write = ray.remote(_write_shard)
    if ray_remote_args:
        write = write.options(**ray_remote_args)
    how = {"storage_options": storage_options, **options}
    rows = [slice(int(ends[first]), int(ends[last])) for first, last in runs]
    tasks = [
        write.remote(sources, working / f"{number:05}.h5", fields, each, how)
        for number, each in enumerate(rows)
    ]
    left_out = dict.fromkeys(told for each in ray.get(tasks) for told in each)
    paths = [working / f"{number:05}.h5" for number in range(len(rows))]
    for other in set(working.iterdir()) - set(paths):  # of tasks that died
        shutil.rmtree(other) if other.is_dir() else other.unlink()
    working.rename(final)
    named = [final / path.name for path in paths]
    marks = {mark for file in catalog.files for mark in file.fingerprints.items()}
    before = sum(fingerprint.size_bytes for _name, fingerprint in marks)
    after = sum(path.stat().st_size for path in named)
    return Repacked(tuple(map(str, named)), catalog.n_rows, before, after, tuple(left_out))


def _write_shard(
    sources: Sources, path: Path, fields: Any, rows: slice, options: Mapping[str, Any]
) -> tuple[str, ...]:
    """Write one shard, unless an earlier try has."""
    if path.exists():
        return ()
    own = path.with_name(f"{path.stem}.{uuid.uuid4().hex}.h5")
    done = repacking.repack(sources, own, fields, subset=rows, **options)
    own.replace(path)
    return done.left_out


def _digest(catalog: Catalog, *told: Any) -> str:
    """Tell jobs apart that would write something else."""
    files = [(f.path, sorted(f.fingerprints.items()), f.n_rows) for f in catalog.files]
    return hashlib.sha256(repr((files, catalog.columns, told)).encode()).hexdigest()[:16]
