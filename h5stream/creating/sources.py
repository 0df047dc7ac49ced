"""Finds what a file is to be made from."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from h5stream.errors import ConfigError
from h5stream.layout.names import natural_key

__all__ = ["find_sources"]


def find_sources(sources: Any, pattern: str | None = None) -> list[Any]:
    """List sources.

    Parameters
    ----------
    sources : path, glob pattern, folder, or iterable
        A folder is walked with all that lies in it; any other items stay as they are.
    pattern : str, optional
        Which files of a folder: ``"*.jpg"``. Several patterns are separated by ``|``.

    Returns
    -------
    list
        Paths in natural order (2 before 10), or the items that were given.

    Raises
    ------
    ConfigError
        If there are none.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("b2.txt", "b10.txt", "a.csv"):
    ...     (folder / name).touch()
    >>> [path.name for path in find_sources(folder, "*.txt")]
    ['b2.txt', 'b10.txt']
    """
    if not isinstance(sources, str | os.PathLike):
        if not isinstance(sources, Iterable):
            raise ConfigError(f"sources must be a path, a pattern or a list, not {sources!r:.80}")
        found = list(sources)
    else:
        found = _find(os.fspath(sources), pattern)
    if not found:
        wanted = "" if pattern is None else f" that fit {pattern!r}"
        raise ConfigError(f"{sources!s:.80}: there are no sources{wanted}")
    return found


def _find(text: str, pattern: str | None) -> list[Any]:
    path = Path(text)
    if path.is_dir():
        patterns = (pattern or "*").split("|")
        below = {each for one in patterns for each in path.rglob(one) if each.is_file()}
        return sorted(below, key=lambda each: natural_key(str(each)))
    if path.is_file():
        return [path]
    if "://" in text:
        return [text]
    matches = (Path(each) for each in glob.glob(text, recursive=True))  # noqa: PTH207 - also of absolute paths
    return sorted((each for each in matches if each.is_file()), key=lambda p: natural_key(str(p)))
