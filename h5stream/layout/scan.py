"""Finds the layout of a local file with h5py, and closes the file again.

1. The file must exist, must not be locked by a writer, and must open as HDF5.
2. Each wanted dataset is followed through soft and external links to the file that holds it.
3. Its element type passes the gate (`read_element_type`): can stored bytes be used as they are?
4. Its chunks are listed with one ``chunk_iter`` and sorted; every offset and length is checked
   against the file's size before anybody may use it.

What cannot be read directly is marked with the reason; deciding what to do about it is the
reader's business.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import fcntl
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
from h5py import h5d, h5t

from h5stream.errors import ConfigError, H5StreamError, LayoutError
from h5stream.layout.model import (
    ChunkTable,
    DatasetLayout,
    FileLayout,
    FilterSpec,
    Fingerprint,
    Storage,
)
from h5stream.layout.names import natural_key, split_members

__all__ = [
    "build_table",
    "check_inside",
    "describe",
    "fingerprint_of",
    "open_h5",
    "read_element_type",
    "scan_file",
    "with_table",
]

_LARGEST_CHUNK_BYTES = 2**32 - 1
"""The file format's own limit (HDF5 specification, data layout message, version 4)."""

_BFLOAT16_FIELDS = (15, 7, 8, 0, 7)
"""Sign position, exponent position and size, mantissa position and size, in bits."""


def fingerprint_of(path: str) -> Fingerprint:
    """Read the fingerprint of the file at `path`.

    Raises
    ------
    LayoutError
        If there is no such file.
    """
    try:
        status = Path(path).stat()
    except OSError as error:
        raise LayoutError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    return Fingerprint(status.st_size, status.st_mtime_ns, status.st_ino)


def scan_file(path: str, names: Sequence[str] | None = None, *, tables: bool = True) -> FileLayout:
    """Scan datasets of one file.

    Parameters
    ----------
    path : str
        A local file.
    names : sequence of str, optional
        Dataset paths; None for every dataset of the file.
    tables : bool
        Also list the chunks. Without, `stored_bytes` is known but `table` is None.

    Raises
    ------
    LayoutError
        If the file is missing, not HDF5, truncated, open for writing, or points outside itself.
    ConfigError
        If a name is not a dataset of the file.
    """
    fingerprints = {path: fingerprint_of(path)}
    with _open(path) as file, _refuse_damage(path):
        found = {n: _find(file, n) for n in names} if names is not None else dict(_walk(file))
        scanned: dict[h5py.Dataset, DatasetLayout] = {}
        for dataset in found.values():
            if dataset not in scanned:
                layout = describe(dataset)
                fingerprints.setdefault(layout.file, fingerprint_of(layout.file))
                scanned[dataset] = with_table(dataset, layout) if tables else layout
        datasets = {name: scanned[dataset] for name, dataset in found.items()}
    for holder, before in fingerprints.items():
        if fingerprint_of(holder) != before:
            raise LayoutError(
                f"{holder}: changed while it was scanned; wait until its writer is done"
            )
    return FileLayout(path, datasets, fingerprints)


@contextlib.contextmanager
def _open(path: str) -> Iterator[h5py.File]:
    fingerprint_of(path)
    _refuse_locked(path)
    try:
        file = open_h5(path)
    except OSError as error:
        raise LayoutError(_explain_open_failure(path, str(error))) from error
    with file:
        yield file


@contextlib.contextmanager
def _refuse_damage(path: str) -> Iterator[None]:
    try:
        yield
    except H5StreamError:
        raise
    except (RuntimeError, OSError) as error:
        raise LayoutError(
            f"{path}: HDF5 cannot read how the file is laid out ({error}); it is damaged, copy it "
            "again"
        ) from error


def open_h5(path: str) -> h5py.File:
    """Open for reading without file locks.

    HDF5 refuses to open a file twice in one process with different lock settings, so a file that
    the user already holds open is opened with the user's setting.
    """
    for locking in (False, None, True):
        try:
            return h5py.File(path, "r", locking=locking)
        except OSError as error:
            if "locking" not in str(error):
                raise
    return h5py.File(path, "r", locking="best-effort")


def _refuse_locked(path: str) -> None:
    """HDF5 writers hold an exclusive flock; file systems without locks cannot tell."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN):
            raise LayoutError(
                f"{path}: is open for writing elsewhere; close it there first, because its "
                "contents may change while they are read"
            ) from error
    finally:
        os.close(descriptor)


def _explain_open_failure(path: str, reason: str) -> str:
    if "already open for write" in reason or "already open for SWMR" in reason:
        advice = "close the writer, or run `h5clear -s` on the file if the writer crashed"
    elif "truncated" in reason:
        advice = "the file is truncated: copy it again, or close the program that writes it"
    elif not h5py.is_hdf5(path):
        advice = "the file is not HDF5 (no HDF5 signature was found)"
    else:
        advice = "the file is damaged, or written by a newer HDF5"
    return f"{path}: cannot be opened as HDF5: {advice}. HDF5 says: {reason}"


def _walk(file: h5py.File) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yield each dataset once, hard links before soft and external ones; dangling links end."""
    seen: set[tuple[str, int]] = set()
    datasets: dict[str, h5py.Dataset] = {}
    pending: list[tuple[str, h5py.Group]] = [("", file)]
    linked: list[tuple[str, h5py.Group, str]] = []

    def visit(name: str, node: Any) -> None:
        key = (node.file.filename, h5py.h5o.get_info(node.id).addr)
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
            with contextlib.suppress(KeyError, OSError):
                visit(name, group[key])
            continue
        prefix, group = pending.pop()
        for key in group:
            if isinstance(group.get(key, getlink=True), h5py.HardLink):
                visit(prefix + key, group[key])
            else:
                linked.append((prefix + key, group, key))
    yield from sorted(datasets.items(), key=lambda item: natural_key(item[0]))


def _find(file: h5py.File, name: str) -> h5py.Dataset:
    path = name if name in file else split_members(name)[0]
    try:
        node = file[path]
    except (KeyError, ValueError) as error:
        known = [known for known, _ in _walk(file)]
        close = difflib.get_close_matches(name.strip("/"), known, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(close)}?" if close else f"it has {_some(known)}"
        raise ConfigError(f"{file.filename}: there is no dataset {name!r}; {hint}") from error
    if not isinstance(node, h5py.Dataset):
        inside = [f"{path}/{known}" for known in node]
        raise ConfigError(
            f"{file.filename}: {name!r} is a group, not a dataset; it has {_some(inside)}"
        )
    return node


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:8]) or "no datasets"
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"


def describe(dataset: h5py.Dataset) -> DatasetLayout:
    """Read everything about a dataset but its chunk table."""
    identifier = dataset.id
    plist = identifier.get_create_plist()
    dtype, element_shape, indirect, refused = read_element_type(identifier)
    shape = dataset.shape
    if shape is None:
        shape, refused = (), "it has a null dataspace: no elements"
    elif not shape:
        refused = refused or "it is a scalar: there is no sample axis"
    storage = _storage_of(plist)
    chunks = (*dataset.chunks, *element_shape) if storage is Storage.CHUNKED else None
    fill = None if refused or indirect else _fill_of(plist, dtype, element_shape)
    if fill is None and not refused:
        indirect = indirect or "its fill value cannot be read directly"
    stored_bytes = identifier.get_storage_size()
    # Without this, HDF5 gives "nowhere" plus the size of the user block.
    written = storage is Storage.CONTIGUOUS and stored_bytes > 0
    enum = h5py.check_enum_dtype(dataset.dtype) if dtype.kind in "iu" else None
    return DatasetLayout(
        file=os.fspath(dataset.file.filename),
        path=dataset.name,
        shape=(*shape, *element_shape),
        dtype=dtype,
        storage=storage,
        chunks=chunks,
        filters=_filters_of(plist),
        fill=fill,
        byte_offset=identifier.get_offset() if written else None,
        stored_bytes=stored_bytes,
        indirect=indirect,
        refused=refused,
        enum=enum,
    )


def _storage_of(plist: Any) -> Storage:
    if plist.get_external_count():
        return Storage.EXTERNAL
    return {
        h5d.CHUNKED: Storage.CHUNKED,
        h5d.CONTIGUOUS: Storage.CONTIGUOUS,
        h5d.COMPACT: Storage.COMPACT,
        h5d.VIRTUAL: Storage.VIRTUAL,
    }[plist.get_layout()]


def _filters_of(plist: Any) -> tuple[FilterSpec, ...]:
    found = (plist.get_filter(i) for i in range(plist.get_nfilters()))
    return tuple(
        FilterSpec(number, name.decode("utf-8", "replace"), tuple(values))
        for number, _flags, values, name in found
    )


def _fill_of(plist: Any, dtype: np.dtype[Any], element_shape: tuple[int, ...]) -> np.ndarray | None:
    """Read the fill value, None if it cannot be read (array types with one of their own)."""
    if plist.fill_value_defined() != h5d.FILL_VALUE_USER_DEFINED:
        return np.zeros((), dtype)
    if element_shape:
        return None
    fill = np.zeros((), np.float32 if dtype == ml_dtypes.bfloat16 else dtype)
    plist.get_fill_value(fill)
    return fill.astype(dtype)


def read_element_type(
    identifier: Any,
) -> tuple[np.dtype[Any], tuple[int, ...], str | None, str | None]:
    """Gate an element type.

    Returns
    -------
    dtype : numpy.dtype
        Of one element, as stored (or as h5py converts it, if `indirect`).
    element_shape : tuple of int
        Trailing axes that an array type adds.
    indirect : str or None
        Why stored bytes cannot be used as they are.
    refused : str or None
        Why the elements cannot be streamed.
    """
    stored = identifier.get_type()
    if refused := _refused_class(stored):
        return np.dtype(object), (), None, refused
    if _is_bfloat16(stored):
        order = "<" if stored.get_order() == h5t.ORDER_LE else ">"
        if order == "<":
            return np.dtype(ml_dtypes.bfloat16), (), None, None
        return np.dtype(ml_dtypes.bfloat16), (), "big-endian bfloat16 needs conversion", None
    try:
        described = identifier.dtype
    except (TypeError, ValueError) as error:
        return np.dtype(object), (), None, f"its element type has no NumPy equivalent ({error})"
    element, element_shape = described.subdtype or (described, ())
    same = h5t.py_create(described, logical=True).equal(stored)
    indirect = None if same else "its element type needs conversion"
    if element.names is None:
        element = np.dtype(element.str)
    return element, element_shape, indirect, None


def _refused_class(stored: Any) -> str | None:
    """Variable-length data and references, at any depth, are no flat elements."""
    kind = stored.get_class()
    if kind == h5t.VLEN or (kind == h5t.STRING and stored.is_variable_str()):
        return "its elements have variable length"
    if kind == h5t.REFERENCE:
        return "its elements are references"
    if kind == h5t.COMPOUND:
        members = (stored.get_member_type(i) for i in range(stored.get_nmembers()))
        return next(filter(None, map(_refused_class, members)), None)
    return _refused_class(stored.get_super()) if kind == h5t.ARRAY else None


def _is_bfloat16(stored: Any) -> bool:
    return (
        stored.get_class() == h5t.FLOAT
        and stored.get_size() == 2
        and stored.get_fields() == _BFLOAT16_FIELDS
        and stored.get_ebias() == 127
    )


def with_table(dataset: h5py.Dataset, layout: DatasetLayout) -> DatasetLayout:
    """Add the chunk table, checked against the size of the file that holds the bytes."""
    if layout.refused:
        return layout
    size_bytes = fingerprint_of(layout.file).size_bytes
    if layout.storage is Storage.CONTIGUOUS and layout.byte_offset is not None:
        check_inside(layout, np.array([layout.byte_offset]), np.array([layout.nbytes]), size_bytes)
    if layout.storage is not Storage.CHUNKED:
        return layout
    if layout.chunk_nbytes > _LARGEST_CHUNK_BYTES:
        return replace(layout, indirect="its chunks are larger than 4 GiB")
    if math.prod(layout.grid) >= 2**62:
        return replace(layout, indirect="its grid has too many chunks")
    table = build_table(layout, _list_chunks(dataset, layout))
    shift = _user_block_shift(dataset, layout, table)
    if shift:
        table = replace(table, byte_offset=table.byte_offset + shift)
    check_inside(layout, table.byte_offset, table.size, size_bytes)
    return replace(layout, table=table)


def _list_chunks(dataset: h5py.Dataset, layout: DatasetLayout) -> list[Any]:
    entries: list[Any] = []
    most = math.prod(layout.grid)

    def collect(entry: Any) -> bool | None:
        entries.append(entry)
        return True if len(entries) > most else None

    try:
        dataset.id.chunk_iter(collect)
    except (RuntimeError, OSError, ValueError) as error:
        raise LayoutError(
            f"{layout.file}: the chunk index of {layout.path!r} is damaged ({error}); "
            "copy the file again or rewrite the dataset"
        ) from error
    return _unrotate(dataset, entries)


def _unrotate(dataset: h5py.Dataset, entries: list[Any]) -> list[Any]:
    """Put chunks of an extensible array where they belong.

    The array numbers its slots with the one unlimited axis in front, but HDF5 up to 2.0 lists
    them as if the axes were in order, so that slots run on along the unlimited axis. The listed
    place of the last slot is then never a place that holds a chunk.
    """
    unlimited = [axis for axis, limit in enumerate(dataset.maxshape) if limit is None]
    if len(unlimited) != 1 or not entries:
        return entries
    axis, chunks = unlimited[0], np.array(dataset.chunks, np.int64)
    limits = [-(-(n or 0) // c) for n, c in zip(dataset.maxshape, dataset.chunks, strict=True)]
    before, after = limits[:axis], limits[axis + 1 :]
    listed = np.array([entry.chunk_offset for entry in entries], np.int64) // chunks
    if math.prod(before) == 1 or listed[:, :axis].any():
        return entries
    slot = listed[:, axis]
    for place, limit in zip(listed[:, axis + 1 :].T, after, strict=True):
        slot = slot * limit + place
    last = listed[slot.argmax()]
    if not last[axis] or _has_chunk(dataset, last * chunks):
        return entries
    places = list(np.unravel_index(slot % math.prod(before + after), (*before, *after)))
    places.insert(axis, slot // math.prod(before + after))
    offsets = (np.stack(places, axis=1) * chunks).tolist()
    return [
        entry._replace(chunk_offset=tuple(offset))
        for entry, offset in zip(entries, offsets, strict=True)
    ]


def _has_chunk(dataset: h5py.Dataset, offset: np.ndarray) -> bool:
    if (offset >= dataset.shape).any():
        return False
    try:
        dataset.id.read_direct_chunk(tuple(offset.tolist()))
    except (RuntimeError, OSError, ValueError, MemoryError):
        return False
    return True


def build_table(layout: DatasetLayout, entries: Sequence[Any]) -> ChunkTable:
    """Sort ``chunk_iter`` entries by their place in the grid.

    Raises
    ------
    LayoutError
        If a chunk lies outside the dataset, off the grid, or is listed twice.
    """
    grid, chunks = layout.grid, layout.chunks or ()
    count, indexed = len(entries), len(entries[0].chunk_offset) if entries else 0
    offsets = np.array([e.chunk_offset for e in entries], np.int64).reshape(count, indexed)
    steps = np.array(chunks[:indexed], np.int64)
    coordinates = offsets // steps if count else offsets
    extent = np.array(grid[:indexed], np.int64)
    fits = (coordinates * steps == offsets) & (coordinates >= 0) & (coordinates < extent)
    if count and not fits.all():
        bad = offsets[~fits.all(axis=1)][0].tolist()
        raise LayoutError(
            f"{layout.file}: {layout.path!r} of shape {layout.shape} lists a chunk at {bad}, "
            f"which is not a place in its grid of {chunks} chunks; the file is damaged"
        )
    index = (
        np.ravel_multi_index(tuple(coordinates.T), grid[:indexed])
        if count
        else np.empty(0, np.int64)
    )
    order = np.argsort(index, kind="stable")
    if count and (np.diff(index[order]) == 0).any():
        raise LayoutError(
            f"{layout.file}: {layout.path!r} lists a chunk twice; the file is damaged"
        )
    return ChunkTable(
        index=index[order].astype(np.int64),
        byte_offset=_column(layout, entries, "byte_offset", np.int64)[order],
        size=_column(layout, entries, "size", np.int64)[order],
        filter_mask=_column(layout, entries, "filter_mask", np.uint32)[order],
    )


def _column(layout: DatasetLayout, entries: Sequence[Any], name: str, dtype: Any) -> np.ndarray:
    try:
        return np.array([getattr(e, name) for e in entries], dtype)
    except OverflowError as error:
        raise LayoutError(
            f"{layout.file}: the {name} of a chunk of {layout.path!r} does not fit the file "
            "format; the file is damaged, copy it again"
        ) from error


def _user_block_shift(dataset: h5py.Dataset, layout: DatasetLayout, table: ChunkTable) -> int:
    """HDF5 before 2.0 leaves the user block out of chunk addresses; ask the first chunk."""
    block = dataset.file.userblock_size
    if not block or not len(table):
        return 0
    rank = len(dataset.shape)
    _mask, expected = dataset.id.read_direct_chunk(layout.chunk_offset(int(table.index[0]))[:rank])
    with Path(layout.file).open("rb") as raw:
        raw.seek(int(table.byte_offset[0]))
        return 0 if raw.read(len(expected)) == expected else int(block)


def check_inside(
    layout: DatasetLayout, byte_offset: np.ndarray, size: np.ndarray, size_bytes: int
) -> None:
    """Refuse ranges that do not lie inside a file of `size_bytes` bytes.

    Raises
    ------
    LayoutError
        Naming the dataset, the first such range and the file's size.
    """
    outside = (byte_offset < 0) | (size < 0) | (size > size_bytes - byte_offset)
    if outside.any():
        at = int(np.flatnonzero(outside)[0])
        raise LayoutError(
            f"{layout.file}: {layout.path!r} says that {int(size[at])} bytes lie at byte "
            f"{int(byte_offset[at])}, but the file ends at byte {size_bytes}; it is truncated or "
            "damaged, copy it again"
        )
