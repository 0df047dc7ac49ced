"""Fixed and extensible arrays, which index chunks. See the HDF5 file format specification."""

from __future__ import annotations

from collections.abc import Iterator

from h5stream.layout.metadata.pointers import Cursor, Kind, Pointer

__all__ = [
    "extensible_array_pointers",
    "fixed_array_pointers",
    "index_block_pointers",
    "super_block_pointers",
]

_PREFIX_BYTES = 14
_CHECKSUM_BYTES = 4
_MOST_BITS = 64


def fixed_array_pointers(data: bytes, detail: tuple[int, ...]) -> Iterator[Pointer]:
    """Find the elements of a fixed array."""
    cursor = Cursor(data, 6)
    element_bytes, page_bits, elements, place = (cursor.number(size) for size in (1, 1, 8, 8))
    pages = _pages(elements, page_bits)
    bitmap_bytes = -(-pages // 8) if pages > 1 else 0
    nbytes = _PREFIX_BYTES + bitmap_bytes + elements * element_bytes
    yield Pointer(Kind.NODE, place, nbytes + _CHECKSUM_BYTES * (pages + 1))


def extensible_array_pointers(data: bytes, detail: tuple[int, ...]) -> Iterator[Pointer]:
    """Find the index block of an extensible array."""
    element_bytes, bits, first, least, pointers, page_bits = Cursor(data, 6).numbers(6, 1)
    place = Cursor(data, 60).number(8)
    if not (least and pointers) or bits > _MOST_BITS:
        return
    shape = (element_bytes, bits, first, least, pointers, page_bits)
    blocks = 2 * (pointers - 1) + _super_blocks(shape)
    nbytes = _PREFIX_BYTES + first * element_bytes + 8 * blocks + _CHECKSUM_BYTES
    yield Pointer(Kind.NODE, place, nbytes, shape)


def index_block_pointers(data: bytes, detail: tuple[int, ...]) -> Iterator[Pointer]:
    """List the data blocks and super blocks of an extensible array."""
    element_bytes, bits, first, _least, pointers, _page_bits = detail
    cursor = Cursor(data, _PREFIX_BYTES + first * element_bytes)
    before = _first_super_block(pointers)
    for number in range(before):
        for place in cursor.numbers(1 << number // 2):
            yield _data_block(place, number, detail)
    for number, place in enumerate(cursor.numbers(_super_blocks(detail)), before):
        blocks = 1 << number // 2
        bitmap_bytes = blocks * _bitmap_bytes(number, detail)
        nbytes = _PREFIX_BYTES + -(-bits // 8) + bitmap_bytes + 8 * blocks + _CHECKSUM_BYTES
        yield Pointer(Kind.NODE, place, nbytes, (*detail, number))


def super_block_pointers(data: bytes, detail: tuple[int, ...]) -> Iterator[Pointer]:
    """List the data blocks of a super block."""
    *shape, number = detail
    blocks, bits = 1 << number // 2, shape[1]
    bitmap_bytes = blocks * _bitmap_bytes(number, tuple(shape))
    for place in Cursor(data, _PREFIX_BYTES + -(-bits // 8) + bitmap_bytes).numbers(blocks):
        yield _data_block(place, number, tuple(shape))


def _first_super_block(pointers: int) -> int:
    """Return how many super blocks have their data blocks in the index block."""
    return 2 * (pointers.bit_length() - 1)


def _super_blocks(shape: tuple[int, ...]) -> int:
    """Return how many super blocks the index block names."""
    _element_bytes, bits, _first, least, pointers, _page_bits = shape
    return max(0, 1 + bits - (least.bit_length() - 1) - _first_super_block(pointers))


def _elements(number: int, shape: tuple[int, ...]) -> int:
    return int(shape[3] << (number + 1) // 2)


def _bitmap_bytes(number: int, shape: tuple[int, ...]) -> int:
    pages = _pages(_elements(number, shape), shape[5])
    return -(-pages // 8) if pages > 1 else 0


def _data_block(place: int, number: int, shape: tuple[int, ...]) -> Pointer:
    element_bytes, bits, *_rest, page_bits = shape
    elements = _elements(number, shape)
    nbytes = _PREFIX_BYTES + -(-bits // 8) + elements * element_bytes
    return Pointer(Kind.NODE, place, nbytes + _CHECKSUM_BYTES * (_pages(elements, page_bits) + 1))


def _pages(elements: int, page_bits: int) -> int:
    """Return the number of pages; an array that fits in one has none of its own."""
    return -(-elements // (1 << page_bits)) if page_bits < _MOST_BITS else 1
