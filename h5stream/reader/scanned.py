"""Looks at files, several at once where they are remote, and decides how to read each dataset."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from h5stream.errors import LayoutError
from h5stream.fetch import Access
from h5stream.layout import FileLayout, Source, SparseSource, scan_file
from h5stream.reader.routes import Route, choose_route

__all__ = ["ScannedFile", "choose_routes", "map_files", "scan_source"]

_AT_ONCE = 16


@dataclass(frozen=True, eq=False)
class ScannedFile:
    """What is known of one file.

    Parameters
    ----------
    layout : FileLayout
        Its datasets.
    routes : dict
        (file that holds a dataset, its path there) -> how it is read.
    """

    layout: FileLayout
    routes: dict[tuple[str, str], Route]


def map_files(
    look: Callable[[str], ScannedFile], paths: Sequence[str], access: Access
) -> list[ScannedFile]:
    """Look at each file; at several at once where some are remote."""
    if len(paths) < 2 or not any(map(access.is_remote, paths)):
        return [look(path) for path in paths]
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="h5stream-scan") as threads:
        return list(threads.map(look, paths))


def scan_source(source: Source, names: Sequence[str]) -> ScannedFile:
    """Scan a file for datasets, and decide how each is read."""
    layout = scan_file(source.name, names, source=source)
    _check_row_size(layout)
    return ScannedFile(layout, choose_routes(layout, source))


def choose_routes(layout: FileLayout, source: Source) -> dict[tuple[str, str], Route]:
    """Decide how each dataset is read."""
    routes: dict[tuple[str, str], Route] = {}
    sparse = source if isinstance(source, SparseSource) else None
    for dataset in layout.datasets.values():
        key = (dataset.file, dataset.path)
        if key not in routes and not dataset.refused:
            routes[key] = choose_route(dataset, layout.fingerprints[dataset.file], sparse)
    return routes


def _check_row_size(layout: FileLayout) -> None:
    """Refuse rows that cannot fit in memory before anything is allocated for them."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name, dataset in layout.datasets.items():
        rows = 0 if dataset.refused else min(dataset.chunk_rows or 1, max(1, dataset.n_rows))
        needed = rows * dataset.row_nbytes
        if needed > memory:
            raise LayoutError(
                f"{layout.path}: one chunk of rows of field {name!r} takes {needed} bytes, more "
                f"than this machine's {memory} bytes of memory; rewrite it in smaller chunks"
            )
