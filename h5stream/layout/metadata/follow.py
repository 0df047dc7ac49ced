"""Reads any block of metadata: a table from what a block begins with to who reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from h5stream.layout.metadata.arrays import (
    extensible_array_pointers,
    fixed_array_pointers,
    index_block_pointers,
    super_block_pointers,
)
from h5stream.layout.metadata.groups import (
    direct_block_pointers,
    fractal_heap_pointers,
    indirect_block_pointers,
    local_heap_pointers,
    symbol_pointers,
    symbol_tree_pointers,
)
from h5stream.layout.metadata.headers import message_pointers
from h5stream.layout.metadata.pointers import Kind, Pointer
from h5stream.layout.metadata.records import record_node_pointers, record_tree_pointers
from h5stream.layout.metadata.trees import TREE_SIGNATURE, chunk_tree_pointers

__all__ = ["Bounds", "kind_of", "pointers_in"]

_MOST_POINTERS = 2**17
_MOST_BLOCK_BYTES = 2**26

Parser = Callable[[bytes, tuple[int, ...]], Iterator[Pointer]]


class Bounds(NamedTuple):
    """Where addresses may point to.

    Parameters
    ----------
    base_bytes : int
        Where they count from.
    size_bytes : int
        Length of the file.
    """

    base_bytes: int
    size_bytes: int


def pointers_in(data: bytes, pointer: Pointer, bounds: Bounds) -> list[Pointer]:
    """List the blocks that a block points to, those before the place where it is damaged.

    Parameters
    ----------
    data : bytes
        The block.
    pointer : Pointer
        What led to it.
    bounds : Bounds
        Pointers that do not lie inside the file are left out.
    """
    found: list[Pointer] = []
    parser = _parser_of(data, pointer)
    if parser is None:
        return found
    try:
        for each in islice(parser(data, pointer.detail), _MOST_POINTERS):
            place = bounds.base_bytes + each.place
            nbytes = min(each.nbytes, bounds.size_bytes - place)
            if each.place > 0 and 0 < nbytes <= _MOST_BLOCK_BYTES:
                found.append(each._replace(place=place, nbytes=nbytes))
    except (ArithmeticError, IndexError, ValueError, MemoryError):
        pass  # only a hint: what HDF5 makes of the block is what counts
    return found


def kind_of(data: bytes) -> Kind | None:
    """Tell what a block is whose beginning says so, and that is read without knowing more."""
    if data[:4] == TREE_SIGNATURE:
        return Kind.INDEX if data[4:5] == b"\x01" else Kind.SYMBOLS
    return _KINDS.get(data[:4])


def _parser_of(data: bytes, pointer: Pointer) -> Parser | None:
    signature = data[:4]
    if signature == TREE_SIGNATURE:
        return chunk_tree_pointers if data[4:5] == b"\x01" else symbol_tree_pointers
    if signature in _NEEDS_DETAIL and not pointer.detail:
        return None
    if signature in _PARSERS:
        return _PARSERS[signature]
    if pointer.kind is Kind.HEADER or (pointer.kind is Kind.PART and pointer.detail):
        return message_pointers
    return None


_KINDS = {
    b"SNOD": Kind.SYMBOLS,
    b"HEAP": Kind.HEAP,
    b"OHDR": Kind.HEADER,
    b"BTHD": Kind.INDEX,
    b"FAHD": Kind.INDEX,
    b"EAHD": Kind.INDEX,
}
_PARSERS: Mapping[bytes, Parser] = {
    b"SNOD": symbol_pointers,
    b"HEAP": local_heap_pointers,
    b"FRHP": fractal_heap_pointers,
    b"FHIB": indirect_block_pointers,
    b"FHDB": direct_block_pointers,
    b"BTHD": record_tree_pointers,
    b"BTIN": record_node_pointers,
    b"FAHD": fixed_array_pointers,
    b"EAHD": extensible_array_pointers,
    b"EAIB": index_block_pointers,
    b"EASB": super_block_pointers,
    b"OHDR": message_pointers,
    b"OCHK": message_pointers,
}
_NEEDS_DETAIL = frozenset({b"FHIB", b"FHDB", b"BTIN", b"EAIB", b"EASB", b"OCHK"})
