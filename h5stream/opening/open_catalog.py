"""Scans files and says how each of their fields will be read: what every later step starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from h5stream.conventions import Wanted
from h5stream.fetch import Access
from h5stream.fetch.disk_cache import DiskCache
from h5stream.fields import Asked, Field, FileFields, Missing, Unbound, bind
from h5stream.opening.aligned import check_aligned, choose_default, fields_by_source
from h5stream.opening.kinds import SoundKinds
from h5stream.opening.layouts import LayoutFinder
from h5stream.opening.routes import choose_route
from h5stream.opening.scanned import ScannedFile
from h5stream.opening.sources import Paths, Sources, expand_sources, list_paths
from h5stream.opening.tables import with_tables
from h5stream.opening.whole import read_whole
from h5stream.reader.catalog import Catalog, Route

__all__ = ["open_catalog"]


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
    check_aligned({key: list_paths(some) for key, some in sources.items()}, paths)
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
