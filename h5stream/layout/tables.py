"""Lists a dataset's chunks, and checks every place and length before anybody may use it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import h5py
import numpy as np

from h5stream.errors import LayoutError
from h5stream.layout.model import ChunkTable, DatasetLayout, Storage
from h5stream.layout.source import LocalSource, Source

__all__ = ["build_table", "check_inside", "with_table"]

_LARGEST_CHUNK_BYTES = 2**32 - 1
"""The file format's own limit (HDF5 specification, data layout message, version 4)."""

_SUPERBLOCK_BYTES = 48
"""The least that every file begins with, and where no elements can lie."""


def with_table(
    dataset: h5py.Dataset,
    layout: DatasetLayout,
    source: Source | None = None,
    size_bytes: int | None = None,
) -> DatasetLayout:
    """Add the chunk table, checked against the size of the file that holds the bytes."""
    if layout.refused:
        return layout
    source = source or LocalSource(layout.file)
    if size_bytes is None:
        size_bytes = source.fingerprint(layout.file).size_bytes
    if layout.storage is Storage.CONTIGUOUS and layout.byte_offset is not None:
        check_inside(layout, np.array([layout.byte_offset]), np.array([layout.nbytes]), size_bytes)
    if layout.storage is not Storage.CHUNKED:
        return layout
    if layout.chunk_nbytes > _LARGEST_CHUNK_BYTES:
        return replace(layout, indirect="its chunks are larger than 4 GiB")
    if math.prod(layout.grid) >= 2**62:
        return replace(layout, indirect="its grid has too many chunks")
    table = build_table(layout, _list_chunks(dataset, layout))
    shift = _user_block_shift(dataset, layout, table, source)
    if shift:
        table = replace(table, byte_offset=table.byte_offset + shift)
    check_inside(layout, table.byte_offset, table.size, size_bytes)
    return replace(layout, table=table)


_MOST_SLOTS = 2**40
"""A chunk that is listed further out belongs to no array; `build_table` says so."""


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
    return _unrotate(dataset, layout, entries)


def _unrotate(dataset: h5py.Dataset, layout: DatasetLayout, entries: list[Any]) -> list[Any]:
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
    offset = _column(layout, entries, "chunk_offset", np.int64)
    listed = offset.reshape(len(entries), len(chunks)) // chunks
    if (listed > _MOST_SLOTS).any() or math.prod(before) == 1 or listed[:, :axis].any():
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
    offsets = _column(layout, entries, "chunk_offset", np.int64).reshape(count, indexed)
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


def _user_block_shift(
    dataset: h5py.Dataset, layout: DatasetLayout, table: ChunkTable, source: Source
) -> int:
    """HDF5 before 2.0 leaves the user block out of chunk addresses; ask the first chunk."""
    block = dataset.file.userblock_size
    if not block or not len(table):
        return 0
    rank = len(dataset.shape)
    _mask, expected = dataset.id.read_direct_chunk(layout.chunk_offset(int(table.index[0]))[:rank])
    found = source.read(layout.file, int(table.byte_offset[0]), len(expected))
    return 0 if found == expected else int(block)


def check_inside(
    layout: DatasetLayout, byte_offset: np.ndarray, size: np.ndarray, size_bytes: int
) -> None:
    """Refuse ranges that do not lie inside a file of `size_bytes` bytes.

    Raises
    ------
    LayoutError
        Naming the dataset, the first such range and the file's size.
    """
    within = (size == 0) | (byte_offset >= _SUPERBLOCK_BYTES)
    outside = ~within | (size < 0) | (size > size_bytes - byte_offset)
    if outside.any():
        at = int(np.flatnonzero(outside)[0])
        raise LayoutError(
            f"{layout.file}: {layout.path!r} says that {int(size[at])} bytes lie at byte "
            f"{int(byte_offset[at])}, but elements lie behind byte {_SUPERBLOCK_BYTES}, and "
            f"the file ends at byte {size_bytes}; it is truncated or damaged, copy it again"
        )
