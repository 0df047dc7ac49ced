"""h5stream repack and h5stream verify: rows written again, and compared."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import typer

from h5stream.cli.screen import errors_in_one_line, make_console, read_options
from h5stream.errors import ConfigError, H5StreamError
from h5stream.fields import Subset
from h5stream.pipes.explain import format_bytes
from h5stream.progress_bar import Tell, progress_bar
from h5stream.repacking import Repacked, verify
from h5stream.repacking import repack as repack_rows
from h5stream.stream import H5Stream

__all__ = ["repack", "verify_files"]

_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_MEASURED_S = 1.0
_SAMPLE_BYTES = 2**26

Sources = Annotated[list[str], typer.Argument(help="Paths, URLs or patterns.", show_default=False)]
Field = Annotated[
    list[str] | None,
    typer.Option("--field", "-f", help="A field; by default those that a stream has."),
]
Option = Annotated[
    list[str] | None,
    typer.Option("--option", help="A storage option of a remote file system: name=value."),
]


def repack(
    sources: Sources,
    output: Annotated[
        str, typer.Argument(help="The file to write: a path or URL.", show_default=False)
    ],
    field: Field = None,
    rows: Annotated[
        str | None, typer.Option("--rows", help="Only these rows: first:last, as in Python.")
    ] = None,
    shuffle: Annotated[
        int | None, typer.Option("--shuffle", help="A seed: write rows in an order drawn by it.")
    ] = None,
    memory: Annotated[
        str, typer.Option("--memory", help="How much memory a shuffle may take: 1G.")
    ] = "1G",
    shard_bytes: Annotated[
        str | None, typer.Option("--shard-bytes", help="Write files of about this size: 2G.")
    ] = None,
    compression: Annotated[
        str, typer.Option("--compression", help="auto, gzip, zstd, lz4 or none.")
    ] = "auto",
    level: Annotated[int | None, typer.Option("--level", help="How hard to compress.")] = None,
    chunk_bytes: Annotated[
        str, typer.Option("--chunk-bytes", help="About how large chunks are.")
    ] = "1M",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file of that name.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Compare all rows at the end.")
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be written, and measure a sample.")
    ] = False,
    option: Option = None,
) -> None:
    """Write the rows of any HDF5 files again, into a file that streams fast.

    A run that was killed goes on where it stopped, when it is started again.
    """
    console = make_console()
    with errors_in_one_line(), _bar() as tell:
        options = read_options(option)
        subset = _parse_rows(rows)
        how: Any = {
            "compression": None if compression == "none" else compression,
            "level": level,
            "chunk_bytes": _parse_size(chunk_bytes),
            "storage_options": options,
        }

        def rewrite(path: str, some: Subset, **more: Any) -> Repacked:
            return repack_rows(sources, path, field or None, subset=some, **how, **more)

        if dry_run:
            stream = H5Stream(sources, field or None, subset=subset, storage_options=options)
            count = stream.catalog.n_rows
            size = format_bytes(count * stream.catalog.row_nbytes)
            console.print(f"would write {count} rows, {size} decoded", soft_wrap=True)
            before = _rate(sources, field, options)
            part = max(64, min(count, _SAMPLE_BYTES // max(1, stream.catalog.row_nbytes)))
            with tempfile.TemporaryDirectory() as folder:
                sample = Path(folder) / "sample.h5"
                rewrite(str(sample), slice(0, part) if subset is None else subset, check=False)
                after = _rate([str(sample)], None, {})
                small = sample.stat().st_size
            size = format_bytes(small * count // part)
            console.print(f"size      about {size} after")
            console.print(f"shuffled  {before} -> {after}, by {part} rows", soft_wrap=True)
            return
        before = _rate(sources, field, options)
        done = rewrite(
            output,
            subset,
            shuffle=shuffle,
            memory_bytes=_parse_size(memory),
            shard_bytes=None if shard_bytes is None else _parse_size(shard_bytes),
            overwrite=overwrite,
            check=check,
            progress=tell,
        )
    for line in _report(done, before, _rate(list(done.paths), field, options)):
        console.print(line, markup=False, soft_wrap=True)


def verify_files(
    sources: Sources,
    output: Annotated[str, typer.Argument(help="What was made of them.", show_default=False)],
    field: Field = None,
    option: Option = None,
) -> None:
    """Compare the rows of files with those of a file that was made of them, bit by bit."""
    with errors_in_one_line(), _bar() as tell:
        options = read_options(option)
        count = verify(sources, output, field or None, storage_options=options, progress=tell)
    make_console().print(f"{count} rows are the same", soft_wrap=True)


def _report(done: Repacked, before: str, after: str) -> Iterator[str]:
    files = "1 file" if len(done.paths) == 1 else f"{len(done.paths)} files"
    yield f"{done.n_rows} rows in {files}: {', '.join(done.paths[:3])}"
    yield f"size      {format_bytes(done.bytes_before)} -> {format_bytes(done.bytes_after)}"
    yield f"shuffled  {before} -> {after}"
    yield from (f"left out  {told}" for told in done.left_out)


def _rate(sources: list[str], fields: list[str] | None, options: dict[str, str | bool]) -> str:
    """Stream for a second; say how fast that was."""
    try:
        stream = H5Stream(
            sources, fields or None, shuffle=True, batch_size=64, storage_options=options
        )
        items = iter(stream)
        first = next(items)
    except (H5StreamError, StopIteration):
        return "cannot be streamed shuffled"
    began, count = time.perf_counter(), 0
    del first
    for _batch in items:
        count += 1
        if time.perf_counter() - began > _MEASURED_S:
            break
    seconds = time.perf_counter() - began
    return f"{64 * count / seconds:,.0f} rows/s" if count else "too few rows to tell"


def _parse_size(text: str) -> int:
    """Read a number of bytes.

    Examples
    --------
    >>> _parse_size("1.5G"), _parse_size("64 KiB")
    (1610612736, 65536)
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ConfigError(f"{text!r} is no size; write 500M or 2G")
    return int(float(found[1]) * _UNITS[found[2].lower()])


def _parse_rows(text: str | None) -> slice | None:
    if text is None:
        return None
    parts = text.split(":")
    try:
        bounds = [int(part) if part else None for part in parts]
    except ValueError:
        bounds = []
    if len(bounds) != 2:
        raise ConfigError(f"{text!r} are no rows; write first:last, 0:1000")
    return slice(*bounds)


def _bar() -> AbstractContextManager[Tell]:
    """Show how far it is, on a terminal."""
    return progress_bar("rows", make_console(stderr=True))
