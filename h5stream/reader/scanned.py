"""Looks at files, several at once where they are remote, and decides how to read each dataset."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from h5stream.conventions import Choice, recognise
from h5stream.errors import LayoutError
from h5stream.fetch import Access
from h5stream.fields import names_of
from h5stream.layout import DatasetLayout, FileLayout, Source, SparseSource, scan_file
from h5stream.reader.routes import Route, choose_route, load_checked

__all__ = [
    "ScannedFile",
    "check_row_size",
    "choose_routes",
    "map_files",
    "names_in",
    "scan_chosen",
    "scan_names",
]

_AT_ONCE = 16
_MOST_CHECKED = 16
"""Of more datasets that are alike, only the first and the last one are read both ways."""


@dataclass(frozen=True, eq=False)
class ScannedFile:
    """What is known of one file.

    Parameters
    ----------
    layout : FileLayout
        Its datasets.
    routes : dict
        Key of a dataset's layout -> how it is read.
    choice : Choice
        Its fields.
    shown : str or None
        Name of the convention that the file shows, whoever has the say; looked at in remote files.
    """

    layout: FileLayout
    routes: dict[tuple[str, str], Route]
    choice: Choice
    shown: str | None = None


def map_files(
    look: Callable[[str], ScannedFile], paths: Sequence[str], access: Access
) -> list[ScannedFile]:
    """Look at each file; at several at once where some are remote."""
    if len(paths) < 2 or not any(map(access.is_remote, paths)):
        return [look(path) for path in paths]
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="h5stream-scan") as threads:
        return list(threads.map(look, paths))


def scan_chosen(source: Source, choose: Callable[[Any], Choice]) -> ScannedFile:
    """Scan a file for the fields that a function of the open `h5py.File` chooses."""
    chosen: list[tuple[Choice, str | None]] = []

    def names(file: Any) -> list[str]:
        chosen.append((choose(file), _shown(file) if source.alone else None))
        return names_in(chosen[-1][0])

    layout = scan_file(source.name, names, source=source)
    check_row_size(layout)
    return ScannedFile(layout, choose_routes(layout, source), *chosen[-1])


def scan_names(source: Source, names: Sequence[str]) -> ScannedFile:
    """Scan a file for datasets; nothing is chosen but the convention that it shows."""
    shown: list[str | None] = []

    def same(file: Any) -> Sequence[str]:
        shown.append(_shown(file))
        return names

    layout = scan_file(source.name, same, source=source)
    check_row_size(layout)
    return ScannedFile(layout, choose_routes(layout, source), Choice({}), shown[-1])


def _shown(file: Any) -> str | None:
    known = recognise(file)
    return None if known is None else known.name


def names_in(choice: Choice) -> list[str]:
    """List the datasets that the fields of a file need."""
    return list(dict.fromkeys(name for spec in choice.specs.values() for name in names_of(spec)))


def choose_routes(layout: FileLayout, source: Source) -> dict[tuple[str, str], Route]:
    """Decide how each dataset is read."""
    routes: dict[tuple[str, str], Route] = {}
    sparse = source if isinstance(source, SparseSource) else None
    readable = [each for each in layout.datasets.values() if not each.refused and each.shape]
    checked = _to_check(readable)
    if sparse is not None:
        load_checked([each for each in readable if each.key in checked], sparse)
    for dataset in readable:
        if dataset.key not in routes:
            mark = layout.fingerprints[dataset.file] if dataset.key in checked else None
            routes[dataset.key] = choose_route(dataset, mark, sparse)
    return routes


def _to_check(layouts: Sequence[DatasetLayout]) -> set[tuple[str, str]]:
    """Choose the datasets that are read both ways."""
    alike: dict[Any, list[tuple[str, str]]] = {}
    for layout in layouts:
        kind = (layout.file, layout.dtype.str, layout.storage, layout.filters, len(layout.shape))
        alike.setdefault(kind, []).append(layout.key)
    return {
        key
        for keys in alike.values()
        for key in (keys if len(keys) <= _MOST_CHECKED else (keys[0], keys[-1]))
    }


def check_row_size(layout: FileLayout) -> None:
    """Refuse rows that cannot fit in memory before anything is allocated for them."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name, dataset in layout.datasets.items():
        if dataset.refused or not dataset.shape:
            continue
        needed = min(dataset.chunk_rows or 1, max(1, dataset.n_rows)) * dataset.row_nbytes
        if needed > memory:
            raise LayoutError(
                f"{layout.path}: one chunk of rows of field {name!r} takes {needed} bytes, more "
                f"than this machine's {memory} bytes of memory; rewrite it in smaller chunks"
            )
