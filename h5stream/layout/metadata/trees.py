"""Version 1 B-trees that index chunks. See there in the HDF5 file format specification."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from h5stream.layout.metadata.pointers import Kind, Pointer

__all__ = [
    "TREE_SIGNATURE",
    "TreeLevels",
    "chunk_node_children",
    "chunk_tree_pointers",
    "is_leaf",
    "node_bytes",
]

TREE_SIGNATURE = b"TREE"
_HEAD = struct.Struct("<4sBBH")
_HEAD_BYTES = 24
"""Signature, type, level, number of entries, and the addresses of both siblings."""

_MOST_AXES = 32
_ENTRIES = 64
"""A node has room for so many, unless who made the file chose otherwise."""


def node_bytes(axes: int) -> int:
    """Return how long a node is, where chunks have so many axes and that of an element's bytes."""
    key_bytes = 8 + 8 * axes
    return _HEAD_BYTES + _ENTRIES * (key_bytes + 8) + key_bytes


def is_leaf(node: bytes) -> bool:
    """Tell whether these are the bytes of a node that lists chunks."""
    return node[:6] == TREE_SIGNATURE + b"\x01\x00"


def chunk_tree_pointers(data: bytes, detail: tuple[int, ...]) -> Iterator[Pointer]:
    """List the nodes below a node, or the chunks that a leaf lists."""
    kind = Kind.DATA if is_leaf(data) else Kind.NODE
    for place, stored_bytes in _entries(data):
        yield Pointer(kind, place, stored_bytes if kind is Kind.DATA else len(data))


def chunk_node_children(node: bytes, size_bytes: int) -> list[int]:
    """Return the addresses of the nodes below a node of a chunk index.

    Parameters
    ----------
    node : bytes
        As long as HDF5 reads it: nodes of one tree are of one size.
    size_bytes : int
        Length of the file.

    Returns
    -------
    list of int
        Empty for leaves, and for anything else.
    """
    if len(node) < _HEAD_BYTES or node[5] == 0:
        return []
    children = [place for place, _stored_bytes in _entries(node)]
    inside = all(0 < child <= size_bytes - len(node) for child in children)
    return children if inside else []


def _entries(node: bytes) -> list[tuple[int, int]]:
    """List the address of each child, and how many bytes a chunk takes, if it is one."""
    signature, kind, _level, entries = _HEAD.unpack_from(node)
    if signature != TREE_SIGNATURE or kind != 1 or not entries:
        return []
    for axes in range(1, _MOST_AXES + 1):
        key_bytes = 8 + 8 * (axes + 1)
        most, rest = divmod(len(node) - _HEAD_BYTES - key_bytes, key_bytes + 8)
        if rest or most % 2 or entries > most:
            continue
        # The last number of a key is an offset inside an element: always 0.
        entry = struct.Struct(f"<I{key_bytes - 12}xQQ")
        found = [entry.unpack_from(node, _HEAD_BYTES + i * (key_bytes + 8)) for i in range(entries)]
        if not any(zero for _nbytes, zero, _place in found):
            return [(place, nbytes) for nbytes, _zero, place in found]
    return []


class TreeLevels:
    """Remembers on which level each node is, to find indexes that lead back into themselves.

    HDF5 follows such an index until the process dies. Every cycle has a node on two levels.
    """

    def __init__(self) -> None:
        self._levels: dict[int, int] = {}

    def fits(self, place: int, node: bytes, size_bytes: int) -> bool:
        r"""Take note of a node at `place`; tell whether it is where its parent says.

        Examples
        --------
        >>> levels = TreeLevels()
        >>> levels.fits(100, b"TREE\x01\x00" + bytes(18), 4096)
        True
        >>> levels.fits(100, b"TREE\x01\x01" + bytes(18), 4096)
        False
        """
        if len(node) < _HEAD_BYTES or node[4] != 1:
            return True
        level = node[5]
        if self._levels.setdefault(place, level) != level:
            return False
        children = chunk_node_children(node, size_bytes)
        return all(self._levels.setdefault(child, level - 1) == level - 1 for child in children)
