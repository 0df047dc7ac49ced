"""Scans files and says how each of their fields will be read: what every later step starts from."""

from __future__ import annotations

import dataclasses
import glob
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from h5stream.conventions import Wanted
from h5stream.errors import ConfigError
from h5stream.fetch import Access, is_url
from h5stream.fetch.disk_cache import DiskCache
from h5stream.fetch.redact import public_url
from h5stream.fields import (
    Asked,
    ColumnType,
    Field,
    FileFields,
    Missing,
    Rows,
    Unbound,
    bind,
    locate_rows,
)
from h5stream.layout.names import natural_key
from h5stream.plan import Pieces, RowChunks, expand_spans, join_bounds
from h5stream.reader.aligned import check_aligned, choose_default, fields_by_source
from h5stream.reader.kinds import SoundKinds
from h5stream.reader.layouts import LayoutFinder
from h5stream.reader.routes import Route, choose_route
from h5stream.reader.scanned import ScannedFile
from h5stream.reader.tables import with_tables
from h5stream.reader.whole import read_whole

__all__ = ["ORDERED", "Catalog", "Paths", "Sources", "expand_sources", "open_catalog"]

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""A path, a glob pattern, or a list of them."""

ORDERED = -1
"""In place of the number of a file: an order of rows over several files."""

Sources = Paths | Mapping[str, Paths]
"""Those of all fields, or by field, where fields of the same rows lie in files of their own."""


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
    numbered : bool
        Rows are read with their numbers over all files beside them, as `ROW_NUMBERS`.
    order : numpy.ndarray or None
        int64: the row that comes first, second and so on, counted over the rows of all files one
        after another; None: in that order.
    weights : numpy.ndarray or None
        float64: how often each row is wanted, in proportion; None: all rows are streamed.
    """

    files: tuple[FileFields, ...]
    routes: dict[tuple[str, str], Route]
    access: Access = dataclasses.field(default_factory=Access)
    numbered: bool = False
    order: np.ndarray | None = None
    weights: np.ndarray | None = None

    def row_chunks(self, target_bytes: int) -> RowChunks:
        """Cut the rows into row chunks of about so many bytes; see `FileFields.cut`.

        Those of an order over several files are of "file" -1, and count its rows.
        """
        if self.order is None:
            return join_bounds([file.cut(target_bytes) for file in self.files])
        bounds = (np.diff(file.heaviest.cut(target_bytes)) for file in self.files)
        step = max(int(sizes.max(initial=1)) for sizes in bounds)
        chunks = join_bounds([np.append(np.arange(0, self.n_rows, step), self.n_rows)])
        return replace(chunks, file=np.full(len(chunks), ORDERED))

    def locate(self, pieces: Pieces) -> tuple[Pieces, np.ndarray]:
        """Find where the rows of pieces lie.

        Returns
        -------
        (Pieces, numpy.ndarray)
            Pieces of files, and int64: how many rows come before each.
        """
        sizes = pieces.sizes
        if self.order is None or not (pieces.file == ORDERED).any():
            return pieces, np.cumsum(sizes) - sizes
        places = self.order[expand_spans(pieces.start, pieces.stop)]
        file, within = locate_rows(places, [file.n_rows for file in self.files])
        apart = (np.diff(file) != 0) | (np.diff(within) != 1)
        first = np.flatnonzero(np.concatenate([[True], apart])[: len(places)])
        start = within[first]
        stop = start + np.diff(np.append(first, len(places)))
        return Pieces(file[first], start, stop), first

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
        fixed = self.files[0].fields[name].fixed_row_nbytes
        if fixed is not None:
            return fixed
        return -(-sum(file.fields[name].nbytes for file in self.files) // rows)

    @property
    def columns(self) -> dict[str, ColumnType]:
        """Field name -> what its rows are."""
        return {name: field.column for name, field in self.files[0].fields.items()}

    @property
    def categories(self) -> dict[str, list[Any]]:
        """Field name -> what its codes stand for, in the order of the codes."""
        return {name: list(known) for name, known in self.files[0].categories.items()}

    def rows(self) -> Rows:
        """Say where each row comes from, in the order of their numbers."""
        n_rows = [file.n_rows for file in self.files]
        within = [file.numbers for file in self.files]
        has_names = all(file.names is not None for file in self.files)
        order = np.arange(self.n_rows) if self.order is None else self.order
        names = [name for file in self.files for name in file.group_names()] if has_names else None
        return Rows(
            [file.path for file in self.files],
            np.repeat(np.arange(len(n_rows)), n_rows)[order],
            names and [names[row] for row in order.tolist()],
            np.concatenate(within)[order],
        )


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
    for source in _listed(sources):
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


def _listed(paths: Paths) -> list[str]:
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


def open_catalog(
    sources: Sources,
    fields: Mapping[str, Asked] | None,
    access: Access | None = None,
    *,
    convention: str | None = "auto",
    options: Mapping[str, Any] | None = None,
    sidecar: str | None = None,
    cache: DiskCache | None = None,
    missing: Missing = "error",
) -> Catalog:
    """Scan files and decide how each dataset is read.

    Parameters
    ----------
    sources : path, list of paths, or mapping of them
        Files; patterns are expanded.
    fields : mapping, optional
        Key of the column -> dataset path, name of a field in the files' convention, or field
        spec; None for what the convention suggests, or else every dataset of the first file that
        shares the leading length of its largest one.
    access : Access, optional
        The way to the files.
    convention : str or None
        Name of the convention in which the files were written; "auto": as each file shows; None:
        plain datasets.
    options : mapping, optional
        Options of the convention.
    sidecar : str, optional
        Path or URL of layouts that were written down.
    cache : DiskCache, optional
        Where layouts are kept.
    missing : {"error", "drop"}
        What to do with a group that lacks a field.

    Raises
    ------
    ConfigError, LayoutError, UnsupportedError
        As `scan_file`, `bind` and `choose_route` do.
    """
    access = access or Access()
    finder = LayoutFinder(access, sidecar, cache)
    wanted = Wanted(with_tables(fields, access), convention, options or {})
    if isinstance(sources, Mapping):
        found_by_key = _find_aligned(sources, wanted, finder, access)
    else:
        found_by_key = {"": _find_all(expand_sources(sources, access), wanted, finder)}
    files = bind(_unbound_files(found_by_key, access, finder.sound), missing)
    routes = {
        key: route
        for scanned in found_by_key.values()
        for found in scanned
        for key, route in found.routes.items()
    }
    for file in files:
        for field in file.fields.values():
            _add_routes(routes, field, file, access)
    return Catalog(files, routes, access)


def _find_all(paths: Sequence[str], wanted: Wanted, finder: LayoutFinder) -> list[ScannedFile]:
    """Scan the files of some fields; the default fields are those of the first file."""
    wanted = replace(wanted, alone=len(paths) == 1)
    scanned = finder.find(paths[:1] if wanted.fields is None else paths, wanted)
    if wanted.fields is None and scanned[0].choice.convention is None:
        wanted = replace(wanted, fields={name: name for name in scanned[0].choice.specs})
    return scanned + finder.find(paths[len(scanned) :], wanted)


def _find_aligned(
    sources: Mapping[str, Paths], wanted: Wanted, finder: LayoutFinder, access: Access
) -> dict[str, list[ScannedFile]]:
    """Scan the files of each field."""
    paths = {key: expand_sources(some, access) for key, some in sources.items()}
    check_aligned({key: _listed(some) for key, some in sources.items()}, paths)
    asked = fields_by_source(wanted.fields, list(sources))
    anywhere = {key: asked[key] for key in asked if key not in sources} if asked else {}
    found: dict[str, list[ScannedFile]] = {}
    for key, some in paths.items():
        field = None if asked is None else asked[key]
        if field is None:
            (first,) = finder.find(some[:1], replace(wanted, fields=None, alone=len(some) == 1))
            field = choose_default(key, list(first.choice.specs), some[0])
        more = {} if found else anywhere
        found[key] = _find_all(some, replace(wanted, fields={key: field, **more}), finder)
    return found


def _unbound_files(
    found_by_key: Mapping[str, Sequence[ScannedFile]], access: Access, sound: SoundKinds
) -> list[Unbound]:
    """Put together what was found of the files of the same rows."""
    if len(found_by_key) == 1:
        return [_unbound(found, access, sound) for found in next(iter(found_by_key.values()))]
    together: list[Unbound] = []
    for of_rows in zip(*found_by_key.values(), strict=True):
        parts = {
            key: _unbound(found, access, sound)
            for key, found in zip(found_by_key, of_rows, strict=True)
        }
        together.append(Unbound.together(parts))
    return together


def _unbound(found: ScannedFile, access: Access, sound: SoundKinds) -> Unbound:
    marks = found.layout.fingerprints
    read = partial(
        read_whole,
        marks=marks,
        routes=found.routes,
        access=access,
        made=found.layout.made,
        sound=sound,
    )
    choice = found.choice
    return Unbound(
        found.layout,
        choice.specs,
        read,
        choice.convention,
        choice.left_out,
        choice.meanings,
    )


def _add_routes(
    routes: dict[tuple[str, str], Route], field: Field, file: FileFields, access: Access
) -> None:
    """Choose the routes of datasets that are seen in another way than as they are stored."""
    for layout in field.layouts:
        if layout.key in routes:
            continue
        if layout.stacking is not None:  # what pads sequences is not for comparison
            known = routes.get((layout.file, layout.path), Route())
            routes[layout.key] = choose_route(layout) if known.direct else known
            continue
        remote = access.is_remote(layout.file)
        routes[layout.key] = choose_route(
            layout, None if remote else file.fingerprints[layout.file]
        )
