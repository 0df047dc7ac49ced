"""What the commands share: where they print, and how they fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.text import Text

from h5stream.errors import H5StreamError

__all__ = ["errors_in_one_line", "make_console", "read_options"]


def make_console(*, stderr: bool = False) -> Console:
    """Make a console on today's stdout or stderr that colours nothing by itself."""
    return Console(stderr=stderr, highlight=False)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Print an error of ours as one red line on stderr, and exit with code 1."""
    try:
        yield
    except H5StreamError as error:
        line = " ".join(f"error: {error}".split())
        make_console(stderr=True).print(Text(line, style="red"), soft_wrap=True)
        raise typer.Exit(1) from error


def read_options(given: list[str] | None) -> dict[str, str | bool]:
    """Read the storage options that were given as name=value; never repeats a value."""
    options: dict[str, str | bool] = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise typer.BadParameter("an option is not of the form name=value")
        options[name] = {"true": True, "false": False}.get(value.lower(), value)
    return options
