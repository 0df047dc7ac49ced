"""Scans files and says how each of their fields will be read: what every later step starts from."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from h5stream.conventions import Choice, choose_fields
from h5stream.errors import ConfigError, LayoutError
from h5stream.fields import (
    Asked,
    ColumnType,
    DenseField,
    Field,
    FileFields,
    bind_file,
    bind_files,
    names_of,
    resolve,
)
from h5stream.layout import scan_file
from h5stream.layout.names import natural_key
from h5stream.reader.routes import Route, choose_route
from h5stream.reader.whole import read_whole

__all__ = ["Catalog", "Sources", "expand_sources", "open_catalog"]

_MOST_CHECKED = 16
"""A field of more datasets than this has only its first and last one read both ways."""

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
        """Mean bytes of one decoded sample, over all fields."""
        rows = max(1, sum(file.n_stored_rows for file in self.files))
        return sum(self._field_nbytes(name, rows) for name in self.files[0].fields)

    def _field_nbytes(self, name: str, rows: int) -> int:
        first = self.files[0].fields[name]
        if isinstance(first, DenseField):
            return first.row_nbytes
        return -(-sum(file.fields[name].nbytes for file in self.files) // rows)

    @property
    def columns(self) -> dict[str, ColumnType]:
        """Field name -> what its rows are."""
        return {name: field.column for name, field in self.files[0].fields.items()}


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


def open_catalog(
    sources: Sources,
    fields: Mapping[str, Asked] | None,
    *,
    convention: str | None = "auto",
    options: Mapping[str, Any] | None = None,
) -> Catalog:
    """Scan files and decide how each dataset is read.

    Parameters
    ----------
    sources : path or list of paths
        Local files; patterns are expanded.
    fields : mapping, optional
        Key of the column -> dataset path, name of a field in the files' convention, or field
        spec; None for what the convention suggests, or else every dataset of the first file that
        shares the leading length of its largest one.
    convention : str or None
        Name of the convention in which the files were written; "auto": as each file shows; None:
        plain datasets.
    options : mapping, optional
        Options of the convention.

    Raises
    ------
    ConfigError, LayoutError, UnsupportedError
        As `scan_file`, `bind_files` and `choose_route` do.
    """
    choose = partial(choose_fields, fields=fields, convention=convention, options=options or {})
    files: list[FileFields] = []
    routes: dict[tuple[str, str], Route] = {}
    for path in expand_sources(sources):
        file = _open_file(path, choose)
        _check_row_size(file)
        files.append(file)
        for field in file.fields.values():
            _add_routes(routes, field, file)
        if fields is None and file.convention is None:
            choose.keywords["fields"] = {name: name for name in file.fields}
    return Catalog(bind_files(files), routes)


def _open_file(path: str, choose: Callable[[Any], Choice]) -> FileFields:
    chosen: list[Choice] = []
    specs: dict[str, Any] = {}

    def names(opened: Any) -> list[str]:
        chosen.append(choose(opened))
        specs.update(resolve(opened, chosen[0].fields))
        return list(dict.fromkeys(name for spec in specs.values() for name in names_of(spec)))

    layout = scan_file(path, names)
    file = bind_file(layout, specs, partial(read_whole, marks=layout.fingerprints))
    return replace(file, convention=chosen[0].convention)


def _add_routes(routes: dict[tuple[str, str], Route], field: Field, file: FileFields) -> None:
    """Choose the routes of a field's datasets; of many that are alike, some are checked."""
    layouts = field.layouts
    checked = {0, len(layouts) - 1} if len(layouts) > _MOST_CHECKED else set(range(len(layouts)))
    for number, layout in enumerate(layouts):
        if layout.key in routes:
            continue
        mark = file.fingerprints[layout.file] if number in checked else None
        routes[layout.key] = choose_route(layout, mark)


def _check_row_size(file: FileFields) -> None:
    """Refuse rows that cannot fit in memory before anything is allocated for them."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name, field in file.fields.items():
        for layout in field.layouts:
            rows = min(layout.chunk_rows or 1, max(1, layout.n_rows))
            needed = rows * layout.row_nbytes
            if needed > memory:
                raise LayoutError(
                    f"{file.path}: one chunk of rows of field {name!r} takes {needed} bytes, more "
                    f"than this machine's {memory} bytes of memory; rewrite it in smaller chunks"
                )
