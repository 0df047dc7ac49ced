"""Superblocks and object headers. See sections II and IV of the HDF5 file format specification."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from h5stream.layout.metadata.groups import HEAP_BYTES, SYMBOLS_BYTES, hard_link
from h5stream.layout.metadata.pointers import UNDEFINED, Cursor, Kind, Pointer
from h5stream.layout.metadata.trees import node_bytes

__all__ = [
    "SIGNATURE",
    "Attribute",
    "attribute_bodies",
    "message_pointers",
    "page_bytes",
    "read_superblock",
]

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_HEADER_BYTES = 1024
_LINKS_BYTES = 512
_INDEX_BYTES = 128
_CONTIGUOUS = 1
_CHUNKED = 2
_PAGED = 1


def _header_at(place: int) -> Pointer:
    """Point to an object header."""
    return Pointer(Kind.HEADER, place, _HEADER_BYTES)


def read_superblock(data: bytes) -> tuple[Pointer, int]:
    """Find the root group, and where the superblock goes on: 0 for nowhere.

    Raises
    ------
    IndexError, ValueError
        If it is not understood.
    """
    cursor = Cursor(data, 8)
    version = cursor.number(1)
    cursor.at = 13 if version < 2 else 9
    if cursor.numbers(2, 1) != [8, 8] or version > 3:
        raise ValueError("addresses are not of 8 bytes")
    if version < 2:
        cursor.at = 56 + 4 * version + 8
        return _header_at(cursor.number(8)), 0
    cursor.at = 20
    extension, _end, root = cursor.numbers(3)
    return _header_at(root), 0 if extension == UNDEFINED else extension


def message_pointers(data: bytes, detail: tuple[int, ...]) -> Iterator[Pointer]:
    """List what the messages of an object header, or of a part of one, point to."""
    for kind, body in _messages(data, detail):
        if kind == _CONTINUATION:
            place, nbytes = Cursor(body).numbers(2)
            yield Pointer(Kind.PART, place, nbytes, _layout_of(data, detail))
        elif kind in _MESSAGES:
            yield from _MESSAGES[kind](Cursor(body))


class Attribute(NamedTuple):
    """An attribute as it stands in an object header.

    Parameters
    ----------
    name : str
        Its name.
    data : bytes
        Its elements, of text their descriptors.
    """

    name: str
    data: bytes


def attribute_bodies(data: bytes, detail: tuple[int, ...]) -> Iterator[Attribute]:
    """List the attributes in an object header, or in a part of one; shared ones are left out.

    Raises
    ------
    IndexError, ValueError
        If it is not understood.
    """
    for kind, body in _messages(data, detail):
        if kind == _ATTRIBUTE and len(body) > _LEAST_ATTRIBUTE_BYTES:
            yield _attribute(Cursor(body))


def _attribute(cursor: Cursor) -> Attribute:
    version, _flags = cursor.numbers(2, 1)
    sizes = cursor.numbers(3, 2)
    cursor.take(1 if version == 3 else 0)
    name, _type, _space = (
        cursor.take(-(-size // 8) * 8 if version == 1 else size) for size in sizes
    )
    return Attribute(name.split(b"\0")[0].decode("utf-8", "replace"), cursor.take(cursor.left))


def page_bytes(data: bytes) -> int:
    """Read how large pages are from what extends a superblock; 0 if the file is not paged."""
    for kind, body in _messages(data, ()):
        if kind == _FILE_SPACE:
            cursor = Cursor(body)
            _version, strategy, _persist = cursor.numbers(3, 1)
            _threshold, nbytes = cursor.numbers(2)
            return nbytes if strategy == _PAGED else 0
    return 0


def _layout_of(data: bytes, detail: tuple[int, ...]) -> tuple[int, ...]:
    """Say of which format the messages are: version, and flags of the header."""
    if detail:
        return detail
    return (2, data[5]) if data[:4] == b"OHDR" else (1, 0)


def _messages(data: bytes, detail: tuple[int, ...]) -> Iterator[tuple[int, bytes]]:
    version, flags = _layout_of(data, detail)
    start, stop = _span(data, detail)
    cursor = Cursor(data[:stop], start)
    size_bytes, rest_bytes = (2, 4) if version == 1 else (1, 3 if flags & 4 else 1)
    while cursor.left >= size_bytes + 2 + rest_bytes:
        kind, size = cursor.number(size_bytes), cursor.number(2)
        cursor.take(rest_bytes)
        yield kind, cursor.take(min(size, cursor.left))


def _span(data: bytes, detail: tuple[int, ...]) -> tuple[int, int]:
    """Return where the messages begin and end."""
    if data[:4] == b"OCHK":
        return 4, len(data) - 4
    if data[:4] == b"OHDR":
        flags = data[5]
        start = 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        return start + width, start + width + Cursor(data, start).number(width)
    if detail:
        return 0, len(data)
    if data[:2] != b"\x01\x00":
        raise ValueError("not an object header")
    return 16, 16 + Cursor(data, 8).number(4)


def _link_info(cursor: Cursor) -> Iterator[Pointer]:
    flags = _flags(cursor)
    cursor.take(8 if flags & 1 else 0)
    heap, *trees = cursor.numbers(3 if flags & 2 else 2)
    yield Pointer(Kind.LINKS, heap, _LINKS_BYTES, (1,))
    yield from (Pointer(Kind.LINKS, tree, _LINKS_BYTES) for tree in trees)


def _attribute_info(cursor: Cursor) -> Iterator[Pointer]:
    flags = _flags(cursor)
    cursor.take(2 if flags & 1 else 0)
    heap, *trees = cursor.numbers(3 if flags & 2 else 2)
    yield Pointer(Kind.LINKS, heap, _LINKS_BYTES, (0,))
    yield from (Pointer(Kind.LINKS, tree, _LINKS_BYTES) for tree in trees)


def _flags(cursor: Cursor) -> int:
    _version, flags = cursor.numbers(2, 1)
    return flags


def _link(cursor: Cursor) -> Iterator[Pointer]:
    place = hard_link(cursor)
    if place is not None:
        yield _header_at(place)


def _symbol_table(cursor: Cursor) -> Iterator[Pointer]:
    tree, heap = cursor.numbers(2)
    yield Pointer(Kind.SYMBOLS, tree, SYMBOLS_BYTES)
    yield Pointer(Kind.HEAP, heap, HEAP_BYTES)


def _layout(cursor: Cursor) -> Iterator[Pointer]:
    version = cursor.number(1)
    if version < 3:
        axes, storage = cursor.numbers(2, 1)
        cursor.take(5)
    elif version == 3:
        storage, axes = cursor.numbers(2, 1)
    else:
        yield from _new_layout(cursor)
        return
    if storage == _CHUNKED:
        yield Pointer(Kind.INDEX, cursor.number(8), node_bytes(axes))
    elif storage == _CONTIGUOUS and version == 3:
        yield _contiguous(Cursor(cursor.data, 2))


def _contiguous(cursor: Cursor) -> Pointer:
    place, nbytes = cursor.number(8), cursor.number(8)
    return Pointer(Kind.DATA, place, nbytes)


def _new_layout(cursor: Cursor) -> Iterator[Pointer]:
    storage = cursor.number(1)
    if storage == _CONTIGUOUS:
        yield _contiguous(cursor)
    if storage != _CHUNKED:
        return
    _flags, axes, width = cursor.numbers(3, 1)
    cursor.take(axes * width)
    # Of single chunks (1) and implicit indexes (2) there is nothing to read.
    parameters = {3: 1, 4: 5, 5: 6}.get(cursor.number(1))
    if parameters is not None:
        cursor.take(parameters)
        yield Pointer(Kind.INDEX, cursor.number(8), _INDEX_BYTES)


_ATTRIBUTE = 0x0C
_LEAST_ATTRIBUTE_BYTES = 9
_CONTINUATION = 0x10
_FILE_SPACE = 0x17
_MESSAGES: Mapping[int, Callable[[Cursor], Iterator[Pointer]]] = {
    0x02: _link_info,
    0x06: _link,
    0x08: _layout,
    0x11: _symbol_table,
    0x15: _attribute_info,
}
