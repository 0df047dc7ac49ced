"""h5stream index: writes down where the chunks of files lie."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from h5stream.cli.screen import errors_in_one_line, make_console, read_options
from h5stream.index import index_files
from h5stream.pipes.explain import format_bytes

__all__ = ["index"]


def index(
    sources: Annotated[
        list[str], typer.Argument(help="Paths, URLs or patterns.", show_default=False)
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            help="The file to write. One in .json, or a folder in .parq, gets kerchunk references.",
        ),
    ],
    field: Annotated[
        list[str] | None,
        typer.Option("--field", "-f", help="A dataset; by default all that can be streamed."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", help="A storage option of a remote file system: name=value."),
    ] = None,
) -> None:
    """Write the layouts of files to one file, which streams then start from."""
    with errors_in_one_line():
        options = read_options(option)
        count = index_files(sources, output, fields=field or None, storage_options=options)
    size = format_bytes(_size_of(Path(output)))
    files = "1 file" if count == 1 else f"{count} files"
    make_console().print(f"{files} in {output} ({size})", markup=False, soft_wrap=True)


def _size_of(output: Path) -> int:
    files = [output] if output.is_file() else output.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())
