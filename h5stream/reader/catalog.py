"""Scans files and says how each of their fields will be read: what every later step starts from."""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from h5stream.errors import ConfigError
from h5stream.fetch import Access, is_url
from h5stream.fetch.redact import public_url
from h5stream.fetch.store import PieceStore
from h5stream.fields import FileFields, bind_file, bind_files, default_names
from h5stream.layout.names import natural_key
from h5stream.reader.layouts import LayoutFinder
from h5stream.reader.routes import Route

__all__ = ["Catalog", "Sources", "expand_sources", "open_catalog"]

Sources = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""A path, a glob pattern, or a list of them."""


@dataclass(frozen=True, eq=False)
class Catalog:
    """Files, their fields and the route of each dataset. Holds no handle; can be pickled.

    Parameters
    ----------
    files : tuple of FileFields
        In the order in which their rows count.
    routes : dict
        (file that holds the dataset, its path there) -> how it is read.
    access : Access
        The way to the files.
    """

    files: tuple[FileFields, ...]
    routes: dict[tuple[str, str], Route]
    access: Access = dataclasses.field(default_factory=Access)

    @property
    def n_rows(self) -> int:
        """Rows of all files."""
        return sum(file.n_rows for file in self.files)

    @property
    def row_nbytes(self) -> int:
        """Bytes of one decoded sample, over all fields."""
        return sum(field.row_nbytes for field in self.files[0].fields.values())

    @property
    def columns(self) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
        """Field name -> element type and row shape."""
        return {
            name: (field.dtype, field.row_shape) for name, field in self.files[0].fields.items()
        }


def expand_sources(sources: Sources, access: Access | None = None) -> list[str]:
    """Turn paths, URLs and glob patterns into a list of names of files.

    The matches of a pattern come in natural order, a list keeps its own.

    Parameters
    ----------
    sources : path or list of paths
        Files and patterns.
    access : Access, optional
        The way to remote files; it names them.

    Raises
    ------
    ConfigError
        If nothing is named, or a pattern matches nothing.
    """
    given = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
    paths: list[str] = []
    for source in [os.fspath(path) for path in given]:
        if is_url(source):
            paths.extend(_expand_url(source, access or Access()))
            continue
        if not glob.has_magic(source) or Path(source).exists():
            paths.append(source)
            continue
        found = sorted(glob.glob(source, recursive=True), key=natural_key)  # noqa: PTH207 (absolute patterns)
        if not found:
            raise ConfigError(f"no file matches {source!r}; check the pattern and the directory")
        paths.extend(found)
    if not paths:
        raise ConfigError("no files were given; pass a path, a glob pattern or a list of them")
    return paths


def _expand_url(url: str, access: Access) -> list[str]:
    """Name a remote file, or those that match; in a URL of the web `?` begins the query."""
    if not any(mark in url.partition("?")[0] for mark in "*["):
        return [access.name(url)]
    found = sorted(access.expand(url), key=natural_key)
    if not found:
        raise ConfigError(f"no file matches {public_url(url)!r}; check the pattern and the bucket")
    return [access.name(each) for each in found]


def open_catalog(
    sources: Sources,
    fields: Mapping[str, str] | None,
    access: Access | None = None,
    *,
    sidecar: str | None = None,
    cache: PieceStore | None = None,
) -> Catalog:
    """Scan files and decide how each dataset is read.

    Parameters
    ----------
    sources : path or list of paths
        Files; patterns are expanded.
    fields : mapping of str to str, optional
        Key of the column -> dataset path; None for every dataset of the first file that shares
        the leading length of its largest one.
    access : Access, optional
        The way to the files.
    sidecar : str, optional
        Path or URL of layouts that were written down.
    cache : PieceStore, optional
        Where the layouts of remote files are kept.

    Raises
    ------
    ConfigError, LayoutError, UnsupportedError
        As `scan_file`, `bind_files` and `choose_route` do.
    """
    access = access or Access()
    paths = expand_sources(sources, access)
    finder = LayoutFinder(access, sidecar, cache)
    if fields is None:
        listed = finder.list_datasets(paths[0]).datasets
        fields = {name: name for name in default_names(listed)}
    files: list[FileFields] = []
    routes: dict[tuple[str, str], Route] = {}
    for scanned in finder.find(paths, list(fields.values())):
        file = bind_file(scanned.layout, fields)
        files.append(file)
        routes |= scanned.routes
    return Catalog(bind_files(files), routes, access)
