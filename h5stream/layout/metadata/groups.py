"""Names of groups: symbol tables of the old format, links in heaps of the new one.

See "Group Symbol Table Nodes", "Local Heaps", "Fractal Heap" and "Link Message" in the HDF5 file
format specification.
"""

from __future__ import annotations

from collections.abc import Iterator

from h5stream.layout.metadata.pointers import UNDEFINED, Cursor, Kind, Pointer

__all__ = [
    "HEAP_BYTES",
    "SYMBOLS_BYTES",
    "direct_block_pointers",
    "fractal_heap_pointers",
    "hard_link",
    "indirect_block_pointers",
    "local_heap_pointers",
    "symbol_pointers",
    "symbol_tree_pointers",
]

HEAP_BYTES = 32
SYMBOLS_BYTES = 544
"""A node of a group's B-tree; a list of symbols has less."""

_HEADER_BYTES = 1024
_FREE_SPACE_BYTES = 128
_MOST_ROWS = 64
_HARD = 0


def symbol_tree_pointers(data: bytes, detail: tuple[int, ...]) -> Iterator[Pointer]:
    """List the nodes, or lists of symbols, below a node of a group's B-tree."""
    entries = Cursor(data, 6).number(2)
    cursor = Cursor(data, 24)
    for _entry in range(entries):
        _key, place = cursor.number(8), cursor.number(8)
        yield Pointer(Kind.SYMBOLS, place, SYMBOLS_BYTES)


def symbol_pointers(data: bytes, detail: tuple[int, ...]) -> Iterator[Pointer]:
    """List the objects that a list of symbols names."""
    entries = Cursor(data, 6).number(2)
    for entry in range(entries):
        cursor = Cursor(data, 8 + 40 * entry)
        _name, place = cursor.number(8), cursor.number(8)
        yield Pointer(Kind.HEADER, place, _HEADER_BYTES)


def local_heap_pointers(data: bytes, detail: tuple[int, ...]) -> Iterator[Pointer]:
    """Find the texts of a local heap."""
    cursor = Cursor(data, 8)
    nbytes, _free, place = cursor.number(8), cursor.number(8), cursor.number(8)
    yield Pointer(Kind.PART, place, nbytes)


def fractal_heap_pointers(data: bytes, detail: tuple[int, ...]) -> Iterator[Pointer]:
    """Find the first block of a fractal heap, of links if the detail is 1, and its free space."""
    cursor = Cursor(data, 7)
    filters, flags = cursor.number(2), cursor.number(1)
    yield Pointer(Kind.PART, Cursor(data, 38).number(8), _FREE_SPACE_BYTES)
    cursor.at = 110
    width, first, largest = cursor.number(2), cursor.number(8), cursor.number(8)
    bits, _rows, place, rows = (cursor.number(size) for size in (2, 2, 8, 2))
    if filters or not first or first > largest or rows > _MOST_ROWS or width > 2**12:
        return
    links = detail[0] if detail else 0
    offset_bytes = -(-bits // 8)
    shape = (links, offset_bytes, flags & 2, width, first, largest)
    if rows:
        yield _indirect_block(place, rows, shape)
    else:
        yield Pointer(Kind.LINKS, place, first, shape[:3])


def _indirect_block(place: int, rows: int, shape: tuple[int, ...]) -> Pointer:
    _links, offset_bytes, _checked, width, _first, _largest = shape
    return Pointer(Kind.LINKS, place, 17 + offset_bytes + 8 * rows * width, (*shape, rows))


def indirect_block_pointers(data: bytes, detail: tuple[int, ...]) -> Iterator[Pointer]:
    """List the blocks below an indirect block: each row but the first doubles their size."""
    *shape, rows = detail
    links, offset_bytes, checked, width, first, largest = shape
    cursor = Cursor(data, 13 + offset_bytes)
    for row in range(rows):
        nbytes = first << max(0, row - 1)
        for place in cursor.numbers(width):
            if nbytes <= largest:
                yield Pointer(Kind.LINKS, place, nbytes, (links, offset_bytes, checked))
            else:
                below = nbytes.bit_length() - (first * width).bit_length() + 1
                yield _indirect_block(place, max(0, min(below, row)), tuple(shape))


def direct_block_pointers(data: bytes, detail: tuple[int, ...]) -> Iterator[Pointer]:
    """List the objects that the links of a heap lead to; they lie one after the other."""
    links, offset_bytes, checked = detail
    cursor = Cursor(data, 13 + offset_bytes + (4 if checked else 0))
    while links and cursor.left:
        place = hard_link(cursor)
        if place is not None:
            yield Pointer(Kind.HEADER, place, _HEADER_BYTES)


def hard_link(cursor: Cursor) -> int | None:
    """Read a link; return where it leads to, None for soft and external ones."""
    version, flags = cursor.number(1), cursor.number(1)
    if version != 1:
        raise ValueError("not a link")
    kind = cursor.number(1) if flags & 8 else _HARD
    cursor.take((8 if flags & 4 else 0) + (1 if flags & 16 else 0))
    cursor.take(cursor.number(1 << (flags & 3)))
    if kind == _HARD:
        place = cursor.number(8)
        return None if place == UNDEFINED else place
    cursor.take(cursor.number(2))
    return None
