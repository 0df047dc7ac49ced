"""Tells where links and datasets lead out of the file that they are in.

HDF5 opens other files with the driver of the first one, or by their path on this machine. For a
remote file one is wrong and the other is no business of whoever wrote it.
"""

from __future__ import annotations

from typing import Any

import h5py
from h5py import h5d, h5l

__all__ = ["leads_anywhere", "leads_outside", "refuse_others"]

_MOST_LINKS = 64


def leads_outside(group: h5py.Group, path: str, links: int = 0) -> str | None:
    """Return the file that a path leads to by an external link, None if it stays inside."""
    node: Any = group.file if path.startswith("/") else group
    parts = [part for part in path.split("/") if part not in ("", ".")]
    for at, part in enumerate(parts):
        link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
        if isinstance(link, h5py.ExternalLink):
            return str(link.filename)
        if isinstance(link, h5py.SoftLink) and links < _MOST_LINKS:
            rest = "/".join([link.path, *parts[at + 1 :]])
            return leads_outside(node, rest, links + 1)
        if not isinstance(link, h5py.HardLink):
            return None
        node = node[part]
    return None


def leads_anywhere(file: h5py.File) -> bool:
    """Tell whether any link of a file leads to another file."""

    def visit(_name: bytes, link: Any) -> bool | None:
        return True if link.type == h5l.TYPE_EXTERNAL else None

    return bool(file.id.links.visit(visit, info=True))


def refuse_others(dataset: h5py.Dataset) -> str | None:
    """Say why the bytes of a dataset lie in other files, None if they lie in this one."""
    plist = dataset.id.get_create_plist()
    if plist.get_external_count():
        return "its bytes lie in external files, next to which nothing is known of a remote file"
    if plist.get_layout() == h5d.VIRTUAL:
        others = [source.file_name for source in dataset.virtual_sources()]
        if any(name != "." for name in others):
            return "it is virtual, over other files; stream those"
    return None
