"""A bar on the terminal: how much is done, at what rate, for how long still, and what failed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

__all__ = ["Tell", "progress_bar"]


class Tell(Protocol):
    """Told what is done, how many, of how many, and how many of those failed."""

    def __call__(self, what: str, done: int, of: int, failed: int = 0) -> None:
        """Take note."""


@contextmanager
def progress_bar(unit: str, console: Console | None = None) -> Iterator[Tell]:
    """Show how far something is, on a terminal; elsewhere nothing.

    Parameters
    ----------
    unit : str
        What is counted: "rows".
    console : rich.console.Console, optional
        Where; stderr by default.

    Examples
    --------
    >>> with progress_bar("rows") as tell:
    ...     tell("writing", 5, 10)
    """
    from rich.console import Console  # only here, so that importing h5stream does without
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = console or Console(stderr=True, highlight=False)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("[red]{task.fields[failed]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        tasks: dict[str, tuple[TaskID, float, int]] = {}

        def tell(what: str, done: int, of: int, failed: int = 0) -> None:
            if what not in tasks:
                task = bar.add_task(what, total=of, rate="", failed="")
                tasks[what] = task, time.monotonic(), done
            task, began, first = tasks[what]
            rate = (done - first) / max(1e-9, time.monotonic() - began)
            bar.update(
                task,
                completed=done,
                rate=f"{rate:,.0f} {unit}/s",
                failed=f"{failed} failed" if failed else "",
            )

        yield tell
