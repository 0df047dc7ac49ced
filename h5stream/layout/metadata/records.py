"""Version 2 B-trees, which index chunks and names. See the HDF5 file format specification."""

from __future__ import annotations

from collections.abc import Iterator

from h5stream.layout.metadata.pointers import Cursor, Kind, Pointer

__all__ = ["record_node_pointers", "record_tree_pointers"]

_CHUNK_TYPES = (10, 11)
_PREFIX_BYTES = 10
_MOST_DEPTH = 16


def record_tree_pointers(data: bytes, detail: tuple[int, ...]) -> Iterator[Pointer]:
    """Find the root of a tree."""
    cursor = Cursor(data, 5)
    kind, nbytes, record_bytes, depth = (cursor.number(size) for size in (1, 4, 2, 2))
    cursor.take(2)
    root, records = cursor.number(8), cursor.number(2)
    if not record_bytes or depth > _MOST_DEPTH:
        return
    detail = (int(kind in _CHUNK_TYPES), nbytes, record_bytes, depth, records)
    yield _node(root, detail)


def _node(place: int, detail: tuple[int, ...]) -> Pointer:
    chunks, nbytes, *_rest = detail
    return Pointer(Kind.NODE if chunks else Kind.LINKS, place, nbytes, detail)


def record_node_pointers(data: bytes, detail: tuple[int, ...]) -> Iterator[Pointer]:
    """List the nodes below an internal node."""
    chunks, nbytes, record_bytes, depth, records = detail
    if not depth:
        return
    count_bytes, total_bytes = _count_sizes(nbytes, record_bytes, depth)
    cursor = Cursor(data, 6 + records * record_bytes)
    for _child in range(records + 1):
        place, below = cursor.number(8), cursor.number(count_bytes)
        cursor.take(total_bytes)
        yield _node(place, (chunks, nbytes, record_bytes, depth - 1, below))


def _count_sizes(nbytes: int, record_bytes: int, depth: int) -> tuple[int, int]:
    """Return how many bytes the number of records of a child takes, and that of all below it."""
    most = (nbytes - _PREFIX_BYTES) // record_bytes
    count_bytes, total_bytes, total = _size_of(most), 0, most
    for _level in range(1, depth):
        pointer_bytes = 8 + count_bytes + total_bytes
        most = (nbytes - _PREFIX_BYTES - pointer_bytes) // (record_bytes + pointer_bytes)
        total = (most + 1) * total + most
        total_bytes = _size_of(total)
    return count_bytes, total_bytes


def _size_of(number: int) -> int:
    return (max(1, number).bit_length() - 1) // 8 + 1
