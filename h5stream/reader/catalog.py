"""Scans files and says how each of their fields will be read: what every later step starts from."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from h5stream.errors import ConfigError, LayoutError
from h5stream.fields import FileFields, bind_file, bind_files, default_names
from h5stream.layout import scan_file
from h5stream.layout.names import natural_key
from h5stream.reader.routes import Route, choose_route

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
    """

    files: tuple[FileFields, ...]
    routes: dict[tuple[str, str], Route]

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


def expand_sources(sources: Sources) -> list[str]:
    """Turn paths and glob patterns into a list of paths.

    The matches of a pattern come in natural order, a list keeps its own.

    Raises
    ------
    ConfigError
        If nothing is named, or a pattern matches nothing.
    """
    given = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
    paths: list[str] = []
    for source in [os.fspath(path) for path in given]:
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


def open_catalog(sources: Sources, fields: Mapping[str, str] | None) -> Catalog:
    """Scan files and decide how each dataset is read.

    Parameters
    ----------
    sources : path or list of paths
        Local files; patterns are expanded.
    fields : mapping of str to str, optional
        Key of the column -> dataset path; None for every dataset of the first file that shares
        the leading length of its largest one.

    Raises
    ------
    ConfigError, LayoutError, UnsupportedError
        As `scan_file`, `bind_files` and `choose_route` do.
    """
    paths = expand_sources(sources)
    if fields is None:
        fields = {name: name for name in default_names(scan_file(paths[0], tables=False).datasets)}
    files: list[FileFields] = []
    routes: dict[tuple[str, str], Route] = {}
    for path in paths:
        file = bind_file(scan_file(path, list(fields.values())), fields)
        _check_row_size(file)
        files.append(file)
        for field in file.fields.values():
            key = (field.layout.file, field.layout.path)
            if key not in routes:
                routes[key] = choose_route(field.layout, file.fingerprints[field.layout.file])
    return Catalog(bind_files(files), routes)


def _check_row_size(file: FileFields) -> None:
    """Refuse rows that cannot fit in memory before anything is allocated for them."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name, field in file.fields.items():
        rows = field.layout.chunk_rows or 1
        needed = min(rows, max(1, field.n_rows)) * field.layout.row_nbytes
        if needed > memory:
            raise LayoutError(
                f"{file.path}: one chunk of rows of field {name!r} takes {needed} bytes, more "
                f"than this machine's {memory} bytes of memory; rewrite it in smaller chunks"
            )
