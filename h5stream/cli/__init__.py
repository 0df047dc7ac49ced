"""The command line: one file for each command, and the only room that knows typer and rich.

`screen` holds the two consoles and turns our errors into one line; a command says what it does
in its docstring, which is its help as well.
"""

from __future__ import annotations

from typing import Annotated

import typer

from h5stream import __version__
from h5stream.cli.bench import bench
from h5stream.cli.demo import demo
from h5stream.cli.index import index
from h5stream.cli.inspect import inspect
from h5stream.cli.repack import repack, verify_files
from h5stream.native import choose_executor

__all__ = ["app"]

app = typer.Typer(
    name="h5stream",
    help="Stream training data out of HDF5 files into PyTorch.",
    no_args_is_help=True,
    add_completion=False,
)
app.command()(inspect)
app.command()(index)
app.command()(repack)
app.command("verify")(verify_files)
app.command()(bench)
app.command()(demo)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"h5stream {__version__}")
        typer.echo(f"executor {choose_executor()}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version and the executor.",
        ),
    ] = False,
) -> None:
    pass
