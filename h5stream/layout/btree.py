"""Finds the children of version 1 B-tree nodes that index chunks, to fetch whole levels at once.

Only a hint: what HDF5 makes of the nodes is what counts, so a node that is not understood, or a
damaged one, has no children here. See "Version 1 B-trees" in the HDF5 file format specification.
"""

from __future__ import annotations

import struct

__all__ = ["TREE_SIGNATURE", "TreeLevels", "chunk_node_children"]

TREE_SIGNATURE = b"TREE"
_HEAD = struct.Struct("<4sBBH")
_HEAD_BYTES = 24
"""Signature, type, level, number of entries, and the addresses of both siblings."""

_MOST_AXES = 32


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
    if len(node) < _HEAD_BYTES:
        return []
    signature, kind, level, entries = _HEAD.unpack_from(node)
    if signature != TREE_SIGNATURE or kind != 1 or level == 0 or not entries:
        return []
    for axes in range(1, _MOST_AXES + 1):
        key_bytes = 8 + 8 * (axes + 1)
        most, rest = divmod(len(node) - _HEAD_BYTES - key_bytes, key_bytes + 8)
        if rest or most % 2 or entries > most:
            continue
        places = [_HEAD_BYTES + i * (key_bytes + 8) + key_bytes for i in range(entries)]
        children = [struct.unpack_from("<Q", node, place)[0] for place in places]
        # The last number of a key is an offset inside an element: always 0.
        keyed = all(struct.unpack_from("<Q", node, place - 8)[0] == 0 for place in places)
        if keyed and all(0 < child <= size_bytes - len(node) for child in children):
            return children
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
