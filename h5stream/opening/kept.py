"""Keeps what scans of local files found, so that opening the same files again costs little.

1. One piece holds the layouts, the routes and the chosen fields of all files that were opened
   together, under a digest of their paths and of what was wanted.
2. A file is believed only if its size, time of modification and inode are still what they were
   when it was scanned, and so for every other file that holds its data. Others are scanned.
3. Few small files are scanned faster than they are looked up: they are not kept. Nor are files
   that were modified just before the scan, because another change may leave the same time, or
   files with links to others, of which not all is looked at.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from h5stream.conventions import Wanted, published_versions
from h5stream.conventions.plain_text import from_plain, to_plain
from h5stream.errors import H5StreamError
from h5stream.fetch.disk_cache import DiskCache
from h5stream.layout import SavedFile, Storage, pack_layouts, unpack_layouts
from h5stream.layout.opening import fingerprint_of
from h5stream.opening.scanned import ScannedFile
from h5stream.reader.catalog import Route

__all__ = ["KeptScans"]

_LENGTH = struct.Struct("<Q")
_LEAST_WORK = 64
"""So many files and datasets, or bunches of chunks, are worth being kept."""

_CHUNKS_AT_ONCE, _TEXT_AT_ONCE = 512, 2**12
"""Chunks, and characters of chosen fields, that count as much as a dataset."""

_SETTLED_NS = 2 * 10**9


class KeptScans:
    """What is kept of scans of local files.

    Parameters
    ----------
    disk_cache : DiskCache
        Where.
    """

    def __init__(self, disk_cache: DiskCache) -> None:
        self._disk_cache = disk_cache

    def load(self, paths: Sequence[str], wanted: Wanted) -> dict[str, ScannedFile]:
        """Return what is still true of some files; nothing for those that must be scanned."""
        data = self._disk_cache.get(digest) if (digest := self._digest(paths, wanted)) else None
        if data is None:
            return {}
        try:
            found = _unpack(data)
        except (H5StreamError, ValueError, TypeError, KeyError, AttributeError, struct.error):
            return {}
        return {path: scan for path, scan in found.items() if _is_unchanged(scan)}

    def keep(self, scans: Mapping[str, ScannedFile], wanted: Wanted, *, since_ns: int) -> None:
        """Keep what was found of some files, if it is worth it.

        Parameters
        ----------
        scans : mapping
            Path -> what was found, of all files that were opened together.
        wanted : Wanted
            What was asked for.
        since_ns : int
            When the first scan began.
        """
        kept = [scan for scan in scans.values() if _may_be_kept(scan, since_ns)]
        digest = self._digest(list(scans), wanted)
        if digest is None or not kept:
            return
        try:
            choices = json.dumps([to_plain(scan.choice) for scan in kept]).encode()
        except TypeError:
            return
        if sum(map(_work_of, kept)) + len(choices) // _TEXT_AT_ONCE < _LEAST_WORK:
            return
        saved = [SavedFile(s.layout, {k: r.reason for k, r in s.routes.items()}) for s in kept]
        self._disk_cache.put(digest, _LENGTH.pack(len(choices)) + choices + pack_layouts(saved))

    def _digest(self, paths: Sequence[str], wanted: Wanted) -> bytes | None:
        """Name the piece; None if it cannot be said what is wanted."""
        asked = (wanted.fields, wanted.convention, dict(wanted.options), wanted.alone)
        try:
            said = json.dumps(to_plain(asked))
        except (TypeError, ValueError):
            return None
        return self._disk_cache.digest_of(
            "local layouts", said, str(Path.cwd()), tuple(paths), *published_versions()
        )


def _unpack(data: bytes) -> dict[str, ScannedFile]:
    (length,) = _LENGTH.unpack_from(data)
    choices = json.loads(data[_LENGTH.size : _LENGTH.size + length])
    files = unpack_layouts(data[_LENGTH.size + length :], "the layout cache")
    return {
        file.layout.path: ScannedFile(
            file.layout,
            {key: Route(reason) for key, reason in file.reasons.items()},
            from_plain(choice),
        )
        for file, choice in zip(files, choices, strict=True)
    }


def _is_unchanged(scan: ScannedFile) -> bool:
    try:
        return all(fingerprint_of(p) == mark for p, mark in scan.layout.fingerprints.items())
    except H5StreamError:
        return False


def _may_be_kept(scan: ScannedFile, since_ns: int) -> bool:
    layout = scan.layout
    settled = all(mark.mtime_ns < since_ns - _SETTLED_NS for mark in layout.fingerprints.values())
    in_place = all(
        dataset.file == layout.path and dataset.storage not in (Storage.VIRTUAL, Storage.EXTERNAL)
        for dataset in layout.datasets.values()
    )
    return settled and in_place and layout.stands_alone


def _work_of(scan: ScannedFile) -> int:
    tables = (d.table for d in scan.layout.datasets.values() if d.table is not None)
    return 1 + len(scan.layout.datasets) + sum(map(len, tables)) // _CHUNKS_AT_ONCE
