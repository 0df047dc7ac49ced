"""repack: rows of any files, written again.

They are written into files in a folder beside the output, which get their names at the end. These
grow in whole steps, so a run that was killed goes on where the last step ended.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from h5stream.errors import ConfigError
from h5stream.fields import Asked, DenseField, Subset
from h5stream.fields.region import RegionField
from h5stream.fields.vlen import VlenField
from h5stream.opening import Sources
from h5stream.pipes import Pipe
from h5stream.progress_bar import progress_bar
from h5stream.repacking.compare import compare
from h5stream.repacking.rows import (
    Plan,
    Progress,
    Stored,
    infer_columns,
    length,
    open_in_order,
    part,
    tell_nobody,
)
from h5stream.repacking.shuffled import Shuffled
from h5stream.repacking.target import Target, target_of
from h5stream.write import Writer
from h5stream.write.attributes import Told, read_attributes
from h5stream.write.filters import Compression
from h5stream.write.written import rows_of

__all__ = ["Repacked", "repack"]

_FLUSH_BYTES = 256 * 2**20
_LEAST_MEMORY = 64 * 2**20

_MARK, _WHOLE = "plan", "whole"
"""In the folder: which plan it belongs to, and that all rows are written and only names missing."""


@dataclass(frozen=True)
class Repacked:
    """What came of it.

    Parameters
    ----------
    paths : tuple of str
        The files that were written: paths, or URLs.
    n_rows : int
        Rows in all of them.
    bytes_before, bytes_after : int
        Sizes of the files that were read, and of those that were written.
    left_out : tuple of str
        What could not be taken along, a sentence each.
    """

    paths: tuple[str, ...]
    n_rows: int
    bytes_before: int
    bytes_after: int
    left_out: tuple[str, ...] = ()


def repack(
    sources: Sources,
    output: str | os.PathLike[str],
    fields: Mapping[str, Asked] | Sequence[str] | None = None,
    *,
    subset: Subset = None,
    shuffle: int | None = None,
    memory_bytes: int = 2**30,
    shard_bytes: int | None = None,
    compression: Compression = "auto",
    level: int | None = None,
    checksum: bool = True,
    chunk_bytes: int = 2**20,
    overwrite: bool = False,
    check: bool = True,
    storage_options: Mapping[str, Any] | None = None,
    output_options: Mapping[str, Any] | None = None,
    progress: Progress | bool | None = None,
) -> Repacked:
    """Write rows of any files again, into a file that streams fast.

    What `H5Stream` reads, this writes as `Writer` does: strings and other elements of variable
    length as values and offsets, one dataset a sample as rows, members of compounds as columns,
    all in chunks of about a megabyte. A run that was killed goes on where it stopped, if it is
    started again with the same arguments.

    Parameters
    ----------
    sources, fields, subset, storage_options
        Which rows; as for `H5Stream`. Their order is kept.
    output : path or URL
        The file; with `shard_bytes` the files are called ``name-00000.h5`` and so on. For a URL
        of fsspec they are written in the folder for temporary files, and uploaded when they are
        whole and compared.
    shuffle : int, optional
        A seed: rows are written in an order drawn by it, so that reading in order is shuffled
        already. The column ``source/rows`` says where each row stood.
    memory_bytes : int
        About how much memory may be taken; a shuffle takes as much room on disk as the rows.
    shard_bytes : int, optional
        Write several files of about this size, decoded.
    compression, level, checksum, chunk_bytes
        As for `Writer`.
    overwrite : bool
        Whether a file of that name is replaced.
    output_options : mapping, optional
        Of the file system that is written to; by default `storage_options`.
    check : bool
        Read both again and compare all rows, at the end.
    progress : callable or bool, optional
        Told what is done, how many rows of how many. True: a bar on the terminal.

    Returns
    -------
    Repacked
        What was written.

    Raises
    ------
    ConfigError
        If the arguments do not fit, the output is there, or is one of the sources.
    WriteError
        If rows cannot be written, or differ when they are compared.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import h5stream as h5s
    >>> path = Path(tempfile.mkdtemp()) / "cells.h5"
    >>> done = h5s.repack(h5s.example_file(), path, {"x": "X", "y": "obs/louvain/codes"}, shuffle=0)
    >>> done.n_rows, next(iter(h5s.H5Stream(path, batch_size=700)))["x"].shape
    (700, torch.Size([700, 765]))
    """
    target = target_of(os.fspath(output), output_options or storage_options)
    options: dict[str, Any] = {
        "compression": compression,
        "level": level,
        "checksum": checksum,
        "chunk_bytes": chunk_bytes,
    }
    if memory_bytes < _LEAST_MEMORY:
        raise ConfigError(f"memory_bytes must be {_LEAST_MEMORY} or more, not {memory_bytes}")
    stream = open_in_order(sources, fields, subset, storage_options, numbered=shuffle is not None)
    if not stream.catalog.n_rows:
        raise ConfigError("there are no rows to write")
    digest = _digest(stream, options, shuffle, shard_bytes, memory_bytes)
    attributes, of_columns, lost = read_attributes(stream.catalog, _told_of(stream))
    options |= {"attributes": attributes, "column_attributes": of_columns}
    folder, sharded = target.folder, shard_bytes is not None
    _refuse(os.fspath(output), stream, target, digest, overwrite=overwrite, sharded=sharded)
    with _telling(progress) as tell, _working_folder(folder, digest):
        plan = Plan(stream, options, folder, tell, shard_bytes)
        parts = plan.parts
        names = [target.name(number if sharded else None) for number in range(len(parts))]
        if not (folder / _WHOLE).exists():
            order = Stored(plan) if shuffle is None else Shuffled(plan, shuffle, memory_bytes)
            _write(order, plan)
            if check:
                compare(stream, [str(each) for each in parts], tell)
            _refuse_existing(target, names, overwrite=overwrite)
            (folder / _WHOLE).touch()
        for each, name in zip(parts, names, strict=True):
            if each.exists():
                target.publish(each, name)
    after = sum(target.size(name) or 0 for name in names)
    told = [each for file in stream.catalog.files for each in file.left_out]
    left_out = tuple(dict.fromkeys([*told, *lost]))
    shown = tuple(target.shown(name) for name in names)
    return Repacked(shown, plan.n_rows, _bytes_of(stream), after, left_out)


@contextlib.contextmanager
def _telling(progress: Progress | bool | None) -> Iterator[Progress]:
    if progress is True:
        with progress_bar("rows") as tell:
            yield tell
    else:
        yield progress or tell_nobody


def _refuse(
    output: str, stream: Pipe, target: Target, digest: str, *, overwrite: bool, sharded: bool
) -> None:
    names = {str(Path(file.path).resolve()) for file in stream.catalog.files}
    access = stream.catalog.access
    if access.name(output) in {file.path for file in stream.catalog.files} or (
        str(Path(output).resolve()) in names
    ):
        raise ConfigError(f"{target.shown(output)} is one of the sources; write to another name")
    is_whole = _is_of(target.folder, digest) and (target.folder / _WHOLE).exists()
    if not is_whole:  # else these are what an earlier run of the same plan has named already
        _refuse_existing(target, [target.name(0 if sharded else None)], overwrite=overwrite)


def _refuse_existing(target: Target, names: Sequence[str], *, overwrite: bool) -> None:
    if overwrite:
        return
    for name in names:
        if target.size(name) is not None:
            raise ConfigError(f"{target.shown(name)} exists; write overwrite=True to replace it")


def _digest(stream: Pipe, *options: Any) -> str:
    """Tell runs apart that would write something else."""
    files = [
        (file.path, sorted(file.fingerprints.items()), file.n_rows) for file in stream.catalog.files
    ]
    told = repr((files, stream.catalog.columns, stream.row_chunks_of(0)[:64], options))
    return hashlib.sha256(told.encode()).hexdigest()


def _bytes_of(stream: Pipe) -> int:
    files = {mark for file in stream.catalog.files for mark in file.fingerprints.items()}
    return sum(fingerprint.size_bytes for _name, fingerprint in files)


@contextlib.contextmanager
def _working_folder(folder: Path, digest: str) -> Iterator[None]:
    """Keep what is half done beside the output, for the next run of the same plan."""
    if folder.exists() and not _is_of(folder, digest):
        shutil.rmtree(folder)
    folder.mkdir(exist_ok=True)
    (folder / _MARK).write_text(digest)
    yield
    shutil.rmtree(folder)


def _is_of(folder: Path, digest: str) -> bool:
    """Tell whether a folder holds what is half done of a plan."""
    mark = folder / _MARK
    return mark.exists() and mark.read_text() == digest


def _write(order: Stored, plan: Plan) -> None:
    """Write all rows, going on with what an earlier run of the plan has written."""
    parts, shard_rows = plan.parts, plan.shard_rows
    done = sum(rows_of(each) for each in parts if each.exists())
    specs = infer_columns(plan.stream)
    writer: Writer | None = None
    try:
        for batch in order.begin(done) if done < plan.n_rows else ():
            at = 0
            while at < length(batch):
                if writer is None:
                    writer = Writer(parts[done // shard_rows], specs, mode="append", **plan.options)
                    unflushed = 0
                count = min(length(batch) - at, shard_rows - done % shard_rows)
                writer.extend(part(batch, at, at + count))
                at, done, unflushed = at + count, done + count, unflushed + count
                if done % shard_rows == 0 or done == plan.n_rows:
                    writer.close()
                    writer = None
                elif unflushed * plan.row_nbytes >= _FLUSH_BYTES:
                    writer.flush()
                    unflushed = 0
            plan.tell("writing", done, plan.n_rows)
    except BaseException:
        if writer is not None:
            writer.discard()
        raise


def _told_of(stream: Pipe) -> dict[str, Told]:
    """Say which objects tell about each column."""
    fields, written = stream.catalog.files[0].fields, infer_columns(stream)
    found = {}
    for name, field in fields.items():
        lacks = None if name in written else "is of a compound, whose members are columns now"
        if isinstance(field, DenseField | VlenField):
            found[name] = Told((field.layouts[0].path,), lacks=lacks)
        elif isinstance(field, RegionField):
            if any(len(part.datasets) > 1 for part in field.parts):
                lacks = "is of one dataset a sample (or of several in one column)"
            paths = tuple(dict.fromkeys(part.first.layout.path for part in field.parts))
            found[name] = Told(paths, in_group=True, lacks=lacks)
    return found
