"""Where a test's files lie: on disk, or in fsspec's memory, which is read as remote files are."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import fsspec

__all__ = ["PLACES", "Place", "placed", "placed_all"]

PLACES = ("disk", "memory")

Place = Callable[[str | Path], str]
"""Path of a file on disk -> what to stream: the path, or the URL of a copy."""

_NUMBERS = itertools.count()


@contextmanager
def placed(path: str | Path, where: str) -> Iterator[str]:
    """Give a file's path, or the URL of a copy that is there until the block ends."""
    if where == "disk":
        yield str(path)
        return
    filesystem = fsspec.filesystem("memory")
    url = f"memory://placed/{next(_NUMBERS)}/{Path(path).name}"
    filesystem.pipe(url, Path(path).read_bytes())
    try:
        yield url
    finally:
        filesystem.rm(url)


@contextmanager
def placed_all(paths: Sequence[str | Path], where: str) -> Iterator[list[str]]:
    """Do the same with several files."""
    with ExitStack() as stack:
        yield [stack.enter_context(placed(path, where)) for path in paths]
