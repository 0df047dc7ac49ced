"""Draws files: groups, datasets and attributes as a tree, with siblings that are alike as one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from h5stream.layout.names import natural_key

__all__ = ["draw_files"]

_SUFFIXES = {".h5", ".hdf5", ".h5ad"}


@dataclass(frozen=True)
class Node:
    """A file, group or dataset; or several that are alike."""

    names: tuple[str, ...]
    shape: tuple[int | str, ...] | None
    kind: str
    attributes: tuple[str, ...]
    inside: tuple[Node, ...]

    @property
    def signature(self) -> Any:
        """What nodes that are drawn as one have in common."""
        inside = tuple((node.stem, node.signature) for node in self.inside)
        return self.shape and len(self.shape), self.kind, self.attributes, inside

    @property
    def stem(self) -> str:
        """Its name without numbers, or none for one of several groups."""
        return "" if len(self.names) > 1 and self.shape is None else _stem(self.names[0])

    @property
    def label(self) -> str:
        """Its name, or the first and the last."""
        first, *between, last = (*self.names, *self.names[len(self.names) - 1 :])
        return first if not between else f"{first}{', ' if len(between) == 1 else ' … '}{last}"

    @property
    def told(self) -> str:
        """Shape, type and attributes."""
        sizes = "" if self.shape is None else ", ".join(map(str, self.shape))
        comma = "," if self.shape is not None and len(self.shape) == 1 else ""
        shape = "" if self.shape is None else f"({sizes}{comma})"
        attributes = " ".join(f"@{name}" for name in self.attributes)
        return " ".join(filter(None, [shape if self.shape else "", self.kind, attributes]))


def _stem(name: str) -> str:
    return re.sub(r"\d+", "#", name)


def draw_files(folder: Path) -> str:
    """Draw all files of a folder, those that are alike as one.

    Parameters
    ----------
    folder : Path
        With HDF5 files, and tables as text, of which the first line is drawn.
    """
    paths = sorted(
        (path for path in folder.rglob("*") if path.is_file()),
        key=lambda path: natural_key(str(path)),
    )
    names = {path: str(path.relative_to(folder)) for path in paths}
    nodes = [_of_file(path, names[path]) for path in paths if path.suffix in _SUFFIXES]
    drawn = [_drawn(node) for node in _joined(nodes, any_name=True)]
    tables = [
        [(names[path], path.read_text().split("\n")[0])]
        for path in paths
        if path.suffix not in _SUFFIXES
    ]
    lines = [line for tree in [*drawn, *tables] for line in tree]
    width = max(len(name) for name, _ in lines) + 2
    return "\n".join(f"{name:<{width}}{told}".rstrip() for name, told in lines)


def _of_file(path: Path, name: str) -> Node:
    with h5py.File(path) as file:
        return _of_object(name, file)


def _of_object(name: str, found: Any) -> Node:
    attributes = tuple(sorted(found.attrs))
    if isinstance(found, h5py.Dataset):
        return Node((name,), found.shape, _kind_of(found), attributes, ())
    inside = [_of_object(key, found[key]) for key in sorted(found, key=natural_key)]
    return Node((name,), None, "", attributes, tuple(_joined(inside)))


def _kind_of(dataset: Any) -> str:
    kind = "text" if h5py.check_string_dtype(dataset.dtype) else _type_name(dataset.dtype)
    return f"{kind}, virtual" if dataset.is_virtual else kind


def _type_name(dtype: Any) -> str:
    if dtype.names:
        members = ", ".join(f"{name}: {_type_name(dtype[name])}" for name in dtype.names)
        return f"{{{members}}}"
    vlen = h5py.check_vlen_dtype(dtype)
    return f"{_type_name(vlen)} of variable length" if vlen else str(dtype.name)


def _joined(nodes: Sequence[Node], *, any_name: bool = False) -> list[Node]:
    """Join groups that are alike, and datasets that are alike in their names as well."""
    alike: dict[Any, list[Node]] = {}
    for node in nodes:
        is_group = node.shape is None and bool(node.inside or node.attributes)
        stem = "" if is_group or any_name else _stem(node.names[0])
        alike.setdefault((is_group, stem, node.signature), []).append(node)
    return [_as_one(some) for some in alike.values()]


def _as_one(nodes: Sequence[Node]) -> Node:
    """Draw nodes as one; sizes that differ are ``n``."""
    first = nodes[0]
    shape: Any = first.shape
    if shape is not None:
        sizes = zip(*(node.shape or () for node in nodes), strict=True)
        shape = tuple(size[0] if len(set(size)) == 1 else "n" for size in sizes)
    inside = tuple(map(_as_one, zip(*(node.inside for node in nodes), strict=True)))
    names = sorted({name for node in nodes for name in node.names}, key=natural_key)
    return Node(tuple(names), shape, first.kind, first.attributes, inside)


def _drawn(node: Node) -> list[tuple[str, str]]:
    """List the lines of a tree: name and what is told of it."""
    lines = [(node.label, node.told)]
    for number, each in enumerate(node.inside):
        last = number == len(node.inside) - 1
        (name, told), *more = _drawn(each)
        lines.append((f"{'└─' if last else '├─'} {name}", told))
        lines += [(f"{'   ' if last else '│  '}{below}", text) for below, text in more]
    return lines
