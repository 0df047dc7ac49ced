"""Blocks: the columns of some rows, chosen lazily.

A block stores columns and, where rows were permuted or picked, which of the stored rows it
means. Picking again only composes the choice; `gather` copies the chosen rows once, into memory
that the block owns. So a shuffled window of a gigabyte costs one pass over its bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from h5stream.columns import Column, concat, stack, take
from h5stream.errors import ConfigError

__all__ = ["Block", "as_block"]


class Block(Mapping[str, Column]):
    """Some rows of all fields: a mapping from field name to column.

    Parameters
    ----------
    columns : mapping of str to numpy.ndarray
        Columns of equal length.
    rows : numpy.ndarray or slice, optional
        Which of their rows the block means, in which order; all of them by default.

    Examples
    --------
    >>> block = Block({"x": np.arange(6)}, rows=np.array([5, 3, 1]))
    >>> block.n_rows, block["x"]
    (3, array([5, 3, 1]))
    >>> block.part(1, 3)["x"]
    array([3, 1])
    """

    __slots__ = ("_columns", "_rows", "n_rows")

    n_rows: int

    def __init__(
        self, columns: Mapping[str, Column], rows: np.ndarray | slice | None = None
    ) -> None:
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ConfigError(f"the columns of a block differ in length: {lengths}")
        stored = next(iter(lengths.values()), 0)
        self._columns = columns
        self._rows = slice(0, stored) if rows is None else rows
        self.n_rows = (
            len(range(stored)[self._rows]) if isinstance(self._rows, slice) else len(self._rows)
        )

    def __getitem__(self, name: str) -> Column:
        column = self._columns[name]
        return column[self._rows] if isinstance(self._rows, slice) else take(column, self._rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        fields = ", ".join(f"{n}: {c.dtype}{c.shape[1:]}" for n, c in self._columns.items())
        return f"Block({self.n_rows} rows; {fields})"

    @property
    def nbytes(self) -> int:
        """Bytes that the block's rows take when gathered."""
        return sum(self.n_rows * (c.nbytes // max(1, len(c))) for c in self._columns.values())

    def part(self, start: int, stop: int) -> Block:
        """Return rows ``start`` to ``stop`` of this block; nothing is copied."""
        if isinstance(self._rows, slice):
            chosen = range(self._rows.start, self._rows.stop)[start:stop]
            return Block(self._columns, slice(chosen.start, chosen.stop))
        return Block(self._columns, self._rows[start:stop])

    def take(self, rows: np.ndarray) -> Block:
        """Return chosen rows of this block, in the given order; nothing is copied."""
        if isinstance(self._rows, slice):
            return Block(self._columns, rows + self._rows.start)
        return Block(self._columns, self._rows[rows])

    def gather(self) -> Block:
        """Copy the block's rows into memory of their own."""
        return Block({name: take(column, self._rows) for name, column in self._columns.items()})

    @classmethod
    def concat(cls, blocks: Sequence[Block]) -> Block:
        """Join blocks with the same fields into one that owns its memory."""
        if len(blocks) == 1:
            return blocks[0].gather()
        return cls({name: concat([block[name] for block in blocks]) for name in blocks[0]})

    @classmethod
    def stack(cls, samples: Sequence[Mapping[str, object]]) -> Block:
        """Make a block of samples."""
        return cls({name: stack([sample[name] for sample in samples]) for name in samples[0]})

    def samples(self) -> Iterator[dict[str, object]]:
        """Yield the rows one by one, as views of gathered columns."""
        columns = self.gather()
        names = list(columns)
        for values in zip(*(columns[name] for name in names), strict=True):
            yield dict(zip(names, values, strict=True))


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
        return Block({name: np.asarray(column) for name, column in value.items()})
    raise ConfigError(
        f"a function over blocks must return a dict of arrays, not {type(value).__name__}"
    )
