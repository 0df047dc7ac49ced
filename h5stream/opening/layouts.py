"""Finds layouts: in a sidecar that was written for these files, in the cache, or by a scan.

1. With a sidecar nothing is asked of the files, unless it is of kerchunk (`references`). What is
   read from remote ones later must be of the versions that were indexed; local ones are looked at
   here.
2. Without one, the first request to a remote file tells its version. What is known of that
   version from earlier is taken from the cache; what is missing is scanned, and kept there.
3. Local files that were opened together before, and did not change since, are not opened (`kept`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import time_ns
from typing import Literal

import platformdirs

from h5stream.conventions import Choice, Wanted, published_versions
from h5stream.errors import ConfigError, FetchError, LayoutError
from h5stream.fetch import Access
from h5stream.fetch.disk_cache import DiskCache
from h5stream.fetch.local import read_small
from h5stream.layout import (
    PartialFile,
    SavedFile,
    Source,
    pack_layouts,
    unpack_layouts,
)
from h5stream.layout.kerchunk import JsonReferences, ParquetReferences, References
from h5stream.layout.names import find_named
from h5stream.opening.kept import KeptScans
from h5stream.opening.kinds import SoundKinds
from h5stream.opening.references import scan_referenced
from h5stream.opening.scanned import (
    ScannedFile,
    map_files,
    names_in,
    scan_chosen,
    scan_names,
)
from h5stream.reader.catalog import Route

__all__ = ["LayoutFinder", "LayoutOption", "Sidecar", "layout_cache", "save_scanned"]

LayoutOption = str | os.PathLike[str] | Literal[False] | None
"""A sidecar's path or URL; None: the cache; False: neither."""

_CACHE_BYTES = 2**28
"""What layouts may take on disk."""

_MOST_SIDECAR_BYTES = 2**31
_MOST_RECORD_BYTES = 2**28
"""Of one file of references in parquet."""

_OF_FOLDERS = (".parq", ".parquet", "/")


class Sidecar:
    """Layouts that were written down beforehand.

    Parameters
    ----------
    source : str
        Path or URL of the sidecar.
    access : Access
        The way to it, and to the files.
    """

    def __init__(self, source: str, access: Access) -> None:
        self.name = access.name(source)
        self._files: dict[str, SavedFile] = {}
        self._references: References | None = None
        if _is_folder(source, self.name, access):
            inside = partial(access.read_inside, self.name, most_bytes=_MOST_RECORD_BYTES)
            self._references = ParquetReferences(inside, self.name)
            return
        data = self._read(access)
        if data[:1] in (b"{", b" ", b"\n"):
            self._references = JsonReferences(data, self.name)
        else:
            self._files = {file.layout.path: file for file in unpack_layouts(data, self.name)}

    def _read(self, access: Access) -> bytes:
        if access.is_remote(self.name):
            return access.read_all(self.name, _MOST_SIDECAR_BYTES)
        try:
            data = read_small(Path(self.name), _MOST_SIDECAR_BYTES)
        except FetchError as error:
            raise LayoutError(f"{error}; write the layout with `h5stream index`") from error
        if data is None:
            raise LayoutError(
                f"{self.name}: the layout cannot be read (no such regular file); write it with "
                "`h5stream index`"
            )
        return data

    def scanned(self, name: str, wanted: Wanted, access: Access) -> ScannedFile:
        """Return what was written down of the datasets of some fields.

        Raises
        ------
        ConfigError
            If the file, or a dataset of it, was not indexed.
        LayoutError
            If it is a local file that has changed since, or references do not fit it.
        """
        if self._references is not None:
            return scan_referenced(self._references, self.name, name, wanted, access)
        saved = self._find(name, access)
        known = saved.layout.datasets
        choice = wanted.choose_saved(known, saved.convention, complete=True)
        if choice is None:
            choice = access.source(name).run(wanted.choose)
        missing = [each for each in names_in(choice) if find_named(known, each) is None]
        if missing:
            raise ConfigError(
                f"{self.name}: dataset {missing[0]!r} of {name} was not indexed; it has "
                f"{', '.join(list(saved.layout.datasets)[:8])}: run `h5stream index` again"
            )
        return _as_scanned(saved, choice)

    def _find(self, name: str, access: Access) -> SavedFile:
        saved = self._files.get(name)
        if saved is None:
            raise ConfigError(
                f"{self.name}: there is no layout of {name}; it has "
                f"{', '.join(list(self._files)[:3])}: run `h5stream index` for all files"
            )
        if access.is_remote(name) and saved.layout.fingerprints.keys() != {name}:
            raise LayoutError(
                f"{self.name}: the layout of {name} leads to other files, which remote ones never "
                "do; do not use it, and run `h5stream index` again"
            )
        for holder, mark in saved.layout.fingerprints.items():
            if not access.is_remote(holder) and not access.unchanged(holder, mark):
                raise LayoutError(
                    f"{holder}: changed since its layout was saved in {self.name}; run "
                    "`h5stream index` again"
                )
        return saved


class LayoutFinder:
    """Finds what is known of files, or finds it out.

    Parameters
    ----------
    access : Access
        The way to the files.
    sidecar : str, optional
        Path or URL of layouts that were written down.
    cache : DiskCache, optional
        Where layouts are kept.
    sound : SoundKinds, optional
        The kinds of dataset that were read both ways so far; others are added.
    """

    def __init__(
        self,
        access: Access,
        sidecar: str | None = None,
        cache: DiskCache | None = None,
        sound: SoundKinds | None = None,
    ) -> None:
        self._access = access
        self._cache = cache
        self.sound = SoundKinds() if sound is None else sound
        self._sidecar = None if sidecar is None else Sidecar(sidecar, access)

    def find(self, paths: Sequence[str], wanted: Wanted) -> list[ScannedFile]:
        """Describe the datasets of some fields of files, and how each is read."""
        if self._sidecar is not None:
            return [self._sidecar.scanned(path, wanted, self._access) for path in paths]
        find = partial(self._find_one, wanted=wanted)
        if self._cache is None or not paths or any(map(self._access.is_remote, paths)):
            return map_files(find, paths, self._access)
        kept, began_ns = KeptScans(self._cache), time_ns()
        known = kept.load(paths, wanted)
        found = {path: known.get(path) or find(path) for path in dict.fromkeys(paths)}
        if known.keys() != found.keys():
            kept.keep(found, wanted, since_ns=began_ns)
        return [found[path] for path in paths]

    def _find_one(self, path: str, wanted: Wanted) -> ScannedFile:
        source = self._access.source(path)
        if self._cache is None or not self._access.is_remote(path) or not _has_version(source):
            return scan_chosen(source, wanted.choose, self.sound)
        digest = self._cache.digest_of(
            "layout",
            self._access.selection(path),
            source.fingerprint(path),
            *published_versions(),
        )
        kept = self._kept(digest, path)
        if kept is None:
            scanned = scan_chosen(source, wanted.choose, self.sound)
            self._cache.put(digest, pack_layouts([_as_saved(scanned)]))
            return scanned
        known = kept.layout.datasets
        choice = wanted.choose_saved(known, kept.convention, complete=False)
        if choice is None:
            choice = source.run(wanted.choose)
        missing = [name for name in names_in(choice) if find_named(known, name) is None]
        if missing:
            added = scan_names(source, missing, self.sound)
            datasets = {**known, **added.layout.datasets}
            reasons = {**kept.reasons, **_as_saved(added).reasons}
            layout = replace(added.layout, datasets=datasets)
            kept = SavedFile(layout, reasons, added.shown)
            self._cache.put(digest, pack_layouts([kept]))
        return _as_scanned(kept, choice)

    def _kept(self, digest: bytes, path: str) -> SavedFile | None:
        data = None if self._cache is None else self._cache.get(digest)
        if data is None:
            return None
        try:
            (saved,) = unpack_layouts(data, "the layout cache")
        except (LayoutError, ValueError):
            return None
        return saved if saved.layout.path == path else None


def layout_cache(
    paths: Sequence[str], folder: str | os.PathLike[str] | None = None
) -> DiskCache | None:
    """Say where the layouts of files are kept; nowhere, if they lie in this process's memory.

    Parameters
    ----------
    paths : sequence of str
        Files and patterns.
    folder : path, optional
        By default the user's cache directory.
    """
    if all(path.startswith("memory://") for path in paths):
        return None
    folder = folder or platformdirs.user_cache_dir("h5stream", appauthor=False)
    return DiskCache(Path(folder) / "layouts", _CACHE_BYTES)


def _is_folder(source: str, name: str, access: Access) -> bool:
    """Tell a folder of references; of remote ones by the name, as fsspec does."""
    if access.is_remote(name):
        return name.partition("::")[0].endswith(_OF_FOLDERS)
    return Path(source).is_dir()


def _has_version(source: Source) -> bool:
    return isinstance(source, PartialFile) and bool(source.fingerprint(source.name).version)


def _as_saved(scanned: ScannedFile) -> SavedFile:
    reasons = {key: route.reason for key, route in scanned.routes.items()}
    return SavedFile(scanned.layout, reasons, scanned.shown)


def _as_scanned(saved: SavedFile, choice: Choice) -> ScannedFile:
    found = {name: find_named(saved.layout.datasets, name) for name in names_in(choice)}
    datasets = {name: dataset for name, dataset in found.items() if dataset is not None}
    wanted = {dataset.key for dataset in datasets.values()}
    routes = {key: Route(reason) for key, reason in saved.reasons.items() if key in wanted}
    return ScannedFile(replace(saved.layout, datasets=datasets), routes, choice)


def save_scanned(files: Sequence[ScannedFile]) -> bytes:
    """Write down what was found of files."""
    return pack_layouts([_as_saved(file) for file in files])
