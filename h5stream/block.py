"""Blocks: the columns of some rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from h5stream.columns import Column, as_column, concat, stack, take
from h5stream.errors import ConfigError

__all__ = ["Block", "as_block"]


class Block(Mapping[str, Column]):
    """Some rows of all fields: a mapping from field name to column.

    Parameters
    ----------
    columns : mapping of str to Column
        Columns of equal length.

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

    __slots__ = ("columns", "n_rows")

    columns: dict[str, Column]
    n_rows: int

    def __init__(self, columns: Mapping[str, Column]) -> None:
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ConfigError(f"the columns of a block differ in length: {lengths}")
        self.columns = dict(columns)
        self.n_rows = next(iter(lengths.values()), 0)

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
        return part

    def take(self, rows: np.ndarray) -> Block:
        """Copy chosen rows of this block, in the given order."""
        return Block({name: take(column, rows) for name, column in self.columns.items()})

    @classmethod
    def concat(cls, blocks: Sequence[Block]) -> Block:
        """Join blocks with the same fields into one that owns its memory."""
        return cls({name: concat([block[name] for block in blocks]) for name in blocks[0]})

    @classmethod
    def stack(cls, samples: Sequence[Mapping[str, object]]) -> Block:
        """Make a block of samples."""
        return cls({name: stack([sample[name] for sample in samples]) for name in samples[0]})

    def samples(self) -> Iterator[dict[str, object]]:
        """Yield the rows one by one, as views."""
        for values in zip(*self.columns.values(), strict=True):
            yield dict(zip(self.columns, values, strict=True))


def _shown(column: Column) -> str:
    return f"{column.dtype}{column.shape[1:]}" if isinstance(column, np.ndarray) else repr(column)


def as_block(value: object) -> Block:
    """Accept what a user's function returns for a block: a block, or a mapping of columns.

    Raises
    ------
    ConfigError
        If it is neither.
    """
    if isinstance(value, Block):
        return value
    if isinstance(value, Mapping):
        return Block({name: as_column(column) for name, column in value.items()})
    raise ConfigError(
        f"a function over blocks must return a dict of columns, not {type(value).__name__}"
    )
