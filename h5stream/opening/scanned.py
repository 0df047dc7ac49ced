"""Looks at files, several at once where they are remote, and decides how to read each dataset."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from h5stream.conventions import Choice, recognise
from h5stream.errors import LayoutError
from h5stream.fetch import Access
from h5stream.fields import names_of
from h5stream.layout import DatasetLayout, FileLayout, PartialFile, Source, scan_file
from h5stream.opening.kinds import SoundKinds, kind_of
from h5stream.opening.routes import choose_route, is_checked, load_checked
from h5stream.reader.catalog import Route
from h5stream.system import memory_bytes

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
"""Of more datasets that seem alike, only the first and the last one are read both ways."""


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


def scan_chosen(
    source: Source, choose: Callable[[Any], Choice], sound: SoundKinds | None = None
) -> ScannedFile:
    """Scan a file for the fields that a function of the open `h5py.File` chooses."""
    chosen: list[tuple[Choice, str | None]] = []

    def names(file: Any) -> list[str]:
        chosen.append((choose(file), _shown(file) if source.alone else None))
        return names_in(chosen[-1][0])

    layout = scan_file(source.name, names, source=source)
    check_row_size(layout)
    return ScannedFile(layout, choose_routes(layout, source, sound), *chosen[-1])


def scan_names(
    source: Source, names: Sequence[str], sound: SoundKinds | None = None
) -> ScannedFile:
    """Scan a file for datasets; nothing is chosen but the convention that it shows."""
    shown: list[str | None] = []

    def same(file: Any) -> Sequence[str]:
        shown.append(_shown(file))
        return names

    layout = scan_file(source.name, same, source=source)
    check_row_size(layout)
    return ScannedFile(layout, choose_routes(layout, source, sound), Choice({}), shown[-1])


def _shown(file: Any) -> str | None:
    known = recognise(file)
    return None if known is None else known.name


def names_in(choice: Choice) -> list[str]:
    """List the datasets that the fields of a file need."""
    return list(dict.fromkeys(name for spec in choice.specs.values() for name in names_of(spec)))


def choose_routes(
    layout: FileLayout, source: Source, sound: SoundKinds | None = None
) -> dict[tuple[str, str], Route]:
    """Decide how each dataset is read.

    Parameters
    ----------
    layout : FileLayout
        The datasets.
    source : Source
        How to look at the file.
    sound : SoundKinds, optional
        The kinds of dataset that need no more checks; those that were checked are added.
    """
    sound = SoundKinds() if sound is None else sound
    routes: dict[tuple[str, str], Route] = {}
    partial_file = source if isinstance(source, PartialFile) else None
    named = [each for each in layout.datasets.values() if not each.refused and each.shape]
    readable = {each.key: each for each in named}
    kinds = {
        key: kind_of(each, layout.made[key])
        for key, each in readable.items()
        if key in layout.made and is_checked(each)
    }
    others = _to_check([each for key, each in readable.items() if key not in kinds])
    if partial_file is not None:
        first = set(_first_of_each(kinds, sound)) | others
        load_checked([each for key, each in readable.items() if key in first], partial_file)
    for key, dataset in readable.items():
        kind = kinds.get(key)
        check = key in others if kind is None else kind not in sound
        mark = layout.fingerprints[dataset.file] if check else None
        routes[key] = choose_route(dataset, mark, partial_file)
        if kind is not None and routes[key].direct:
            sound.add(kind)
    return routes


def _first_of_each(
    kinds: Mapping[tuple[str, str], Hashable], sound: SoundKinds
) -> list[tuple[str, str]]:
    """List the first dataset of each kind that was not checked yet."""
    first: dict[Hashable, tuple[str, str]] = {}
    for key, kind in kinds.items():
        if kind not in sound:
            first.setdefault(kind, key)
    return list(first.values())


def _to_check(layouts: Sequence[DatasetLayout]) -> set[tuple[str, str]]:
    """Choose those to read both ways of datasets of which it is not known how they were made."""
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
    memory = memory_bytes()
    for name, dataset in layout.datasets.items():
        if dataset.refused or not dataset.shape:
            continue
        needed = min(dataset.chunk_rows or 1, max(1, dataset.n_rows)) * dataset.row_nbytes
        if needed > memory:
            raise LayoutError(
                f"{layout.path}: one chunk of rows of field {name!r} takes {needed} bytes, more "
                f"than this machine's {memory} bytes of memory; rewrite it in smaller chunks"
            )
