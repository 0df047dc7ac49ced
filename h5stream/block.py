"""Blocks: the columns of some rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from h5stream.columns import Column, arrays, as_column, concat, stack, take
from h5stream.errors import ConfigError
from h5stream.tree import LEAF, Tree, leaves_of, tree_of

__all__ = ["Block", "as_block"]


class Block(Mapping[str, Column]):
    """Some rows of all fields: a mapping from field name to column.

    Parameters
    ----------
    columns : mapping of str to Column
        Columns of equal length.
    tree : Tree or None
        How samples are made of the columns; None: a sample is a dict of their names.

    Raises
    ------
    ConfigError
        If the lengths differ.

    Examples
    --------
    >>> block = Block({"x": np.arange(6)})
    >>> block.n_rows, block.part(1, 3)["x"]
    (6, array([1, 2]))
    """

    __slots__ = ("columns", "n_rows", "tree")

    columns: dict[str, Column]
    n_rows: int
    tree: Tree | None

    def __init__(self, columns: Mapping[str, Column], tree: Tree | None = None) -> None:
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ConfigError(f"the columns of a block differ in length: {lengths}")
        self.columns = dict(columns)
        self.n_rows = next(iter(lengths.values()), 0)
        self.tree = tree

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}: {_shown(c)}" for name, c in self.columns.items())
        return f"Block({self.n_rows} rows; {fields})"

    def part(self, start: int, stop: int) -> Block:
        """Return rows ``start`` to ``stop`` of this block, as views."""
        part = Block.__new__(Block)
        part.columns = {name: column[start:stop] for name, column in self.columns.items()}
        part.n_rows = max(0, min(stop, self.n_rows) - start)
        part.tree = self.tree
        return part

    def take(self, rows: np.ndarray) -> Block:
        """Copy chosen rows of this block, in the given order."""
        chosen = {name: take(column, rows) for name, column in self.columns.items()}
        return Block(chosen, self.tree)

    @classmethod
    def concat(cls, blocks: Sequence[Block]) -> Block:
        """Join blocks with the same fields into one that owns its memory."""
        first = blocks[0]
        joined = {name: concat([block[name] for block in blocks]) for name in first}
        return cls(joined, first.tree)

    @classmethod
    def stack(cls, samples: Sequence[Any]) -> Block:
        """Make a block of samples: trees of one shape, flat dicts as a rule.

        Raises
        ------
        ConfigError
            If they differ in shape, naming the sample and where.
        """
        tree = tree_of(samples[0])
        rows: Sequence[Any] = samples
        if not (tree.is_plain and _are_flat(samples)):
            rows = [leaves_of(sample, tree, number) for number, sample in enumerate(samples)]
        columns = {name: stack([row[name] for row in rows]) for name in rows[0]}
        return cls(columns, None if tree.is_plain else tree)

    def samples(self) -> Iterator[Any]:
        """Yield the rows one by one, as views."""
        for values in zip(*self.columns.values(), strict=True):
            leaves = dict(zip(self.columns, values, strict=True))
            yield leaves if self.tree is None else self.tree.build(leaves.__getitem__)

    def plain(self) -> Any:
        """Return the columns as the dict, or other tree, that a user's function gets."""
        columns = arrays(self.columns)
        return columns if self.tree is None else self.tree.build(columns.__getitem__)


def _are_flat(samples: Sequence[Any]) -> bool:
    """Tell dicts of the same keys, with values alone, from everything else, quickly."""
    keys = samples[0].keys()
    return all(
        isinstance(sample, dict)
        and sample.keys() == keys
        and not any(value is None or type(value) in (dict, tuple) for value in sample.values())
        for sample in samples
    )


def _shown(column: Column) -> str:
    return f"{column.dtype}{column.shape[1:]}" if isinstance(column, np.ndarray) else repr(column)


def as_block(value: object) -> Block:
    """Accept what a user's function returns for a block: a block, or a tree of columns.

    Raises
    ------
    ConfigError
        If it is neither.
    """
    if isinstance(value, Block):
        return value
    tree = tree_of(value, lists=False)
    if tree is LEAF:
        raise ConfigError(
            f"a function over blocks must return a dict of columns, not {type(value).__name__}"
        )
    columns = {name: as_column(leaf) for name, leaf in leaves_of(value, tree).items()}
    return Block(columns, None if tree.is_plain else tree)
