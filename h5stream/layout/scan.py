"""Finds the layout of a file with h5py, and closes the file again.

1. The file must exist, must not be locked by a writer, and must open as HDF5.
2. Each wanted dataset is followed through soft and external links to the file that holds it; a
   remote file must not lead to others.
3. Its element type passes the gate (`read_element_type`): can stored bytes be used as they are?
4. Its chunks are listed with one ``chunk_iter`` and sorted; every offset and length is checked
   against the file's size before anybody may use it.

What cannot be read directly is marked with the reason; deciding what to do about it is the
reader's business.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import h5py

from h5stream.errors import ConfigError, H5StreamError, LayoutError
from h5stream.layout.contents import find_node, identity, names_in, some
from h5stream.layout.elements import describe
from h5stream.layout.links import leads_anywhere, leads_outside, refuse_others
from h5stream.layout.model import DatasetLayout, FileLayout, Fingerprint
from h5stream.layout.names import natural_key, split_members
from h5stream.layout.source import LocalSource, Source
from h5stream.layout.tables import with_table

__all__ = ["describe_all", "scan_file"]


Names = Sequence[str] | Callable[[Any], Sequence[str]] | None
"""Dataset paths; or what chooses them, given the open file; None for every dataset."""


def scan_file(
    path: str,
    names: Names = None,
    *,
    tables: bool = True,
    sizes: bool = True,
    source: Source | None = None,
) -> FileLayout:
    """Scan datasets of one file.

    Parameters
    ----------
    path : str
        The file.
    names : sequence of str or callable, optional
        Dataset paths, or what chooses them, given the open `h5py.File`, perhaps several times;
        None for every dataset of the file.
    tables : bool
        Also list the chunks. Without, `stored_bytes` is known but `table` is None.
    sizes : bool
        Without tables and sizes, `stored_bytes` of chunked datasets is 0, and HDF5 does not walk
        through the index of their chunks.
    source : Source, optional
        How to look at the file; by default it is a local one.

    Raises
    ------
    LayoutError
        If the file is missing, not HDF5, truncated, open for writing, or points outside itself.
    ConfigError
        If a name is not a dataset of the file.
    """
    source = source or LocalSource(path)
    before = source.fingerprint(path)
    layout = source.run(partial(_scan, source, names, tables=tables, sizes=sizes))
    for holder, found in {path: before, **layout.fingerprints}.items():
        if source.fingerprint(holder) != found:
            raise LayoutError(
                f"{holder}: changed while it was scanned; wait until its writer is done"
            )
    return replace(layout, fingerprints={**layout.fingerprints, path: before})


def _scan(
    source: Source, names: Names, file: h5py.File, *, tables: bool, sizes: bool
) -> FileLayout:
    fingerprints: dict[str, Fingerprint] = {}
    made: dict[tuple[str, str], tuple[Any, ...]] = {}
    with _refuse_damage(source.name):
        chooses = callable(names)
        if callable(names):
            names = names(file)
        if names is None:
            found = dict(_walk(file, alone=source.alone))
        else:
            found = {name: _find(file, name, alone=source.alone) for name in names}
        scanned: dict[h5py.Dataset, DatasetLayout] = {}
        for dataset in found.values():
            if dataset not in scanned:
                layout = _describe(dataset, source, sizes=sizes)
                if layout.file not in fingerprints:
                    fingerprints[layout.file] = source.fingerprint(layout.file)
                size_bytes = fingerprints[layout.file].size_bytes
                made[layout.key] = _how_made(dataset)
                scanned[dataset] = (
                    with_table(dataset, layout, source, size_bytes) if tables else layout
                )
        datasets = {name: scanned[dataset] for name, dataset in found.items()}
        stands_alone = chooses and not source.alone and not leads_anywhere(file)
    return FileLayout(source.name, datasets, fingerprints, made, stands_alone)


def _how_made(dataset: h5py.Dataset) -> tuple[Any, ...]:
    """Tell what decides which structures HDF5 uses for a dataset, beside its layout."""
    identifier = dataset.id
    of_file = h5py.h5i.get_file_id(identifier).get_create_plist()
    of_dataset = identifier.get_create_plist()
    limits = tuple(limit is None for limit in dataset.maxshape or ())
    return (of_file.get_version(), of_file.get_userblock(), of_dataset.get_alloc_time(), limits)


def _describe(dataset: h5py.Dataset, source: Source, *, sizes: bool) -> DatasetLayout:
    layout = describe(dataset, sizes=sizes)
    if not source.alone:
        return layout
    return replace(layout, file=source.name, refused=layout.refused or refuse_others(dataset))


def describe_all(file: h5py.File) -> dict[str, DatasetLayout]:
    """Describe every dataset of an open file, without chunk tables.

    A file that is not opened by its path is a remote one, and stands alone.
    """
    alone = file.driver == "fileobj"
    found: dict[str, DatasetLayout] = {}
    for name, dataset in _walk(file, alone=alone):
        layout = describe(dataset)
        refused = layout.refused or (refuse_others(dataset) if alone else None)
        found[name] = replace(layout, refused=refused)
    return found


@contextlib.contextmanager
def _refuse_damage(path: str) -> Iterator[None]:
    try:
        yield
    except H5StreamError:
        raise
    except (RuntimeError, OSError, KeyError, ValueError) as error:
        raise LayoutError(
            f"{path}: HDF5 cannot read how the file is laid out ({error}); it is damaged, copy it "
            "again"
        ) from error


def _walk(file: h5py.File, *, alone: bool = False) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yield each dataset once, hard links before soft and external ones; dangling links end."""
    seen: set[tuple[Any, ...]] = set()
    datasets: dict[str, h5py.Dataset] = {}
    pending: list[tuple[str, h5py.Group]] = [("", file)]
    linked: list[tuple[str, h5py.Group, str]] = []

    def visit(name: str, node: Any) -> None:
        key = identity(node)
        if key in seen:
            return
        seen.add(key)
        if isinstance(node, h5py.Group):
            pending.append((f"{name}/", node))
        elif isinstance(node, h5py.Dataset):
            datasets[name] = node

    while pending or linked:
        if not pending:
            name, group, key = linked.pop()
            if alone and leads_outside(group, key):
                continue
            with contextlib.suppress(KeyError, OSError):
                visit(name, group[key])
            continue
        prefix, group = pending.pop()
        for key in names_in(group):
            if isinstance(group.get(key, getlink=True), h5py.HardLink):
                visit(prefix + key, group[key])
            else:
                linked.append((prefix + key, group, key))
    yield from sorted(datasets.items(), key=lambda item: natural_key(item[0]))


def _find(file: h5py.File, name: str, *, alone: bool = False) -> h5py.Dataset:
    if alone and (target := _target_of(file, name)):
        raise ConfigError(
            f"{file.filename}: {name!r} leads to another file, {target!r}; remote files are "
            "streamed on their own: pass the file that holds the dataset"
        )
    node = find_node(file, name)
    if not isinstance(node, h5py.Dataset):
        if not isinstance(node, h5py.Group):
            raise ConfigError(f"{file.filename}: {name!r} is a type, not a dataset")
        inside = [f"{name}/{known}" for known in names_in(node)]
        raise ConfigError(
            f"{file.filename}: {name!r} is a group, not a dataset; it has {some(inside)}"
        )
    return node


def _target_of(file: h5py.File, name: str) -> str | None:
    """Return the file that a name leads to, None if it stays inside."""
    return leads_outside(file, name if name in file else split_members(name)[0])
