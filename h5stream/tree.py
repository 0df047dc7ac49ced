"""Trees of dicts, tuples and lists: taken apart into named leaves, and put together again.

A flat dict is what samples and batches are as a rule; its leaves keep their keys. In other trees a
leaf is named by its way from the root, ``"image.left"`` or ``"0"``. A list of plain numbers or
strings is a leaf: a row of tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from h5stream.errors import ConfigError

__all__ = ["LEAF", "Tree", "leaves_of", "tree_of"]

_VALUE = "value"
"""Name of a leaf that is the whole tree."""


@dataclass(frozen=True)
class Tree:
    """The shape of a tree without its leaves.

    Parameters
    ----------
    kind : type
        `dict`, `list`, `tuple`, or the type of a named tuple; `object` for a leaf.
    keys : tuple
        Of the branches.
    branches : tuple of Tree
        In their order.
    """

    kind: type = object
    keys: tuple[Any, ...] = ()
    branches: tuple[Tree, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether it is a flat dict."""
        return self.kind is dict and all(branch.kind is object for branch in self.branches)

    def build(self, leaf: Callable[[str], Any], way: str = "") -> Any:
        """Put a tree together.

        Parameters
        ----------
        leaf : callable
            Name of a leaf -> what stands there.
        way : str
            Name of the tree itself, if it is a branch.
        """
        if self.kind is object:
            return leaf(way or _VALUE)
        built = [
            branch.build(leaf, _joined(way, key))
            for key, branch in zip(self.keys, self.branches, strict=True)
        ]
        if self.kind is dict:
            return dict(zip(self.keys, built, strict=True))
        return self.kind(*built) if hasattr(self.kind, "_fields") else self.kind(built)

    def holders(self, way: str = "") -> dict[str, tuple[type, str]]:
        """Tell of each leaf what kind of branch it stands in, and the name of that branch."""
        found: dict[str, tuple[type, str]] = {}
        for key, branch in zip(self.keys, self.branches, strict=True):
            name = _joined(way, key)
            found |= {name: (self.kind, way)} if branch.kind is object else branch.holders(name)
        return found


LEAF = Tree()


def _joined(way: str, key: Any) -> str:
    return f"{way}.{key}" if way else str(key)


def tree_of(value: Any, *, lists: bool = True) -> Tree:
    """Return the shape of a tree.

    Parameters
    ----------
    value : object
        The tree.
    lists : bool
        Whether lists are branches, unless of plain values; if not, they are leaves.

    Examples
    --------
    >>> tree_of({"x": np.zeros(3), "y": 1}).is_plain
    True
    >>> shape = tree_of((np.zeros(3), {"y": 1}))
    >>> shape.build(lambda name: name)
    ('0', {'y': '1.y'})
    """
    if isinstance(value, Mapping):
        branches = (tree_of(branch, lists=lists) for branch in value.values())
        return Tree(dict, tuple(value), tuple(branches))
    if isinstance(value, tuple) or (lists and isinstance(value, list) and not _is_row(value)):
        branches = (tree_of(branch, lists=lists) for branch in value)
        return Tree(type(value), tuple(range(len(value))), tuple(branches))
    return LEAF


def _is_row(values: list[Any]) -> bool:
    return all(isinstance(value, int | float | complex | str | np.generic) for value in values)


def leaves_of(value: Any, shape: Tree, number: int = 0) -> dict[str, Any]:
    """Take a tree apart.

    Parameters
    ----------
    value : object
        The tree.
    shape : Tree
        The shape that it must have.
    number : int
        Of the sample, for messages.

    Raises
    ------
    ConfigError
        If it has another shape; the message says where.
    """
    found: dict[str, Any] = {}
    _collect(value, shape, "", number, found)
    return found


def _collect(value: Any, shape: Tree, way: str, number: int, found: dict[str, Any]) -> None:
    where = f"sample {number}{f', {way!r}' if way else ''}"
    if shape.kind is object:
        if isinstance(value, Mapping | tuple):
            kind = type(value).__name__
            raise ConfigError(f"{where} is a {kind}, but sample 0 has a value there")
        if value is None:
            raise ConfigError(f"{where} is None; give every sample a value, or leave it out")
        found[way or _VALUE] = value
        return
    is_one = isinstance(value, Mapping) if shape.kind is dict else isinstance(value, shape.kind)
    if not is_one:
        raise ConfigError(
            f"{where} is a {type(value).__name__}, but sample 0 has a {shape.kind.__name__} there"
        )
    keys = tuple(value) if shape.kind is dict else tuple(range(len(value)))
    if set(keys) != set(shape.keys):
        raise ConfigError(f"{where} has {list(keys)}, but sample 0 has {list(shape.keys)}")
    for key, branch in zip(shape.keys, shape.branches, strict=True):
        _collect(value[key], branch, _joined(way, key), number, found)
