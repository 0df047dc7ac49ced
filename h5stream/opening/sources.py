"""Paths, URLs and patterns, and the files that they name."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from h5stream.errors import ConfigError
from h5stream.fetch import Access, is_url
from h5stream.fetch.redact import public_url
from h5stream.layout.names import natural_key

__all__ = ["Paths", "Sources", "expand_sources", "list_paths"]

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""A path, a glob pattern, or a list of them."""

Sources = Paths | Mapping[str, Paths]
"""Those of all fields, or by field, where fields of the same rows lie in files of their own."""

_ADDRESS = re.compile(r"(?<=[/@])\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\]")
"""An IPv6 address, which is no pattern."""


def expand_sources(sources: Sources, access: Access | None = None) -> list[str]:
    """Turn paths, URLs and glob patterns into a list of names of files.

    The matches of a pattern come in natural order, a list keeps its own.

    Parameters
    ----------
    sources : path, list of paths, or mapping of them
        Files and patterns.
    access : Access, optional
        The way to remote files; it names them.

    Raises
    ------
    ConfigError
        If nothing is named, or a pattern matches nothing.
    """
    if isinstance(sources, Mapping):
        each = [expand_sources(some, access) for some in sources.values()]
        return list(dict.fromkeys(path for some in each for path in some))
    paths: list[str] = []
    for source in list_paths(sources):
        if is_url(source):
            paths.extend(_expand_url(source, access or Access()))
            continue
        if not glob.has_magic(source) or _is_there(source):
            paths.append(source)
            continue
        found = sorted(glob.glob(source, recursive=True), key=natural_key)  # noqa: PTH207 (absolute patterns)
        if not found:
            raise ConfigError(f"no file matches {source!r}; check the pattern and the directory")
        paths.extend(found)
    if not paths:
        raise ConfigError("no files were given; pass a path, a glob pattern or a list of them")
    return paths


def list_paths(paths: Paths) -> list[str]:
    """Return paths and patterns as they were given, in a list."""
    given = [paths] if isinstance(paths, str | os.PathLike) else paths
    return [os.fspath(path) for path in given]


def _is_there(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # too long, or with a NUL: no pattern fits it either
        return False


def _expand_url(url: str, access: Access) -> list[str]:
    """Name a remote file, or those that match; in a URL of the web `?` begins the query."""
    if not any(mark in _ADDRESS.sub("", url.partition("?")[0]) for mark in "*["):
        return [access.name(url)]
    found = sorted(access.expand(url), key=natural_key)
    if not found:
        raise ConfigError(f"no file matches {public_url(url)!r}; check the pattern and the bucket")
    return [access.name(each) for each in found]
