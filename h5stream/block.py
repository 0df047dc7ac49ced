"""Blocks: the columns of some rows, chosen lazily.

A block stores columns and, where rows were permuted or picked, which of the stored rows it
means. Picking again only composes the choice; `gather` copies the chosen rows once, into memory
that the block owns. So a shuffled window of a gigabyte costs one pass over its bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from h5stream.columns import Column, stack, take
from h5stream.errors import ConfigError

__all__ = ["Block", "as_block", "gather"]

Allocate = Callable[[tuple[int, ...], np.dtype[Any]], np.ndarray]


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

    __slots__ = ("_rows", "_stored", "n_rows")

    _stored: Mapping[str, Column]
    _rows: np.ndarray | slice
    n_rows: int

    def __init__(
        self, columns: Mapping[str, Column], rows: np.ndarray | slice | None = None
    ) -> None:
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ConfigError(f"the columns of a block differ in length: {lengths}")
        stored = next(iter(lengths.values()), 0)
        if rows is None:
            rows = slice(0, stored)
        elif isinstance(rows, slice):
            start, stop, step = rows.indices(stored)
            rows = slice(start, max(start, stop)) if step == 1 else np.arange(start, stop, step)
        self._choose(columns, rows)

    def _choose(self, stored: Mapping[str, Column], rows: np.ndarray | slice) -> None:
        self._stored = stored
        self._rows = rows
        self.n_rows = rows.stop - rows.start if isinstance(rows, slice) else len(rows)

    def _with_rows(self, rows: np.ndarray | slice) -> Block:
        block = Block.__new__(Block)
        block._choose(self._stored, rows)
        return block

    def __getitem__(self, name: str) -> Column:
        column = self._stored[name]
        return column[self._rows] if isinstance(self._rows, slice) else take(column, self._rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)

    def __repr__(self) -> str:
        fields = ", ".join(f"{n}: {c.dtype}{c.shape[1:]}" for n, c in self._stored.items())
        return f"Block({self.n_rows} rows; {fields})"

    @property
    def nbytes(self) -> int:
        """Bytes that the block's rows take when gathered."""
        return sum(self.n_rows * (c.nbytes // max(1, len(c))) for c in self._stored.values())

    def columns(self) -> dict[str, Column]:
        """Return the chosen rows of every column; views where they lie next to each other."""
        rows = self._rows
        if isinstance(rows, slice):
            return {name: column[rows] for name, column in self._stored.items()}
        return {name: take(column, rows) for name, column in self._stored.items()}

    def part(self, start: int, stop: int) -> Block:
        """Return rows ``start`` to ``stop`` of this block; nothing is copied."""
        stop = min(stop, self.n_rows)
        if isinstance(self._rows, slice):
            first = self._rows.start
            return self._with_rows(slice(first + start, first + stop))
        return self._with_rows(self._rows[start:stop])

    def take(self, rows: np.ndarray) -> Block:
        """Return chosen rows of this block, in the given order; nothing is copied."""
        if isinstance(self._rows, slice):
            return self._with_rows(rows + self._rows.start)
        return self._with_rows(self._rows[rows])

    def gather(self, allocate: Allocate = np.empty) -> Block:
        """Copy the block's rows into memory of their own."""
        return gather([self], allocate)

    @classmethod
    def stack(cls, samples: Sequence[Mapping[str, object]]) -> Block:
        """Make a block of samples."""
        return cls({name: stack([sample[name] for sample in samples]) for name in samples[0]})

    def samples(self) -> Iterator[dict[str, object]]:
        """Yield the rows one by one, as views of gathered columns."""
        columns = self.gather().columns()
        for values in zip(*columns.values(), strict=True):
            yield dict(zip(columns, values, strict=True))


def gather(blocks: Sequence[Block], allocate: Allocate = np.empty) -> Block:
    """Join blocks with the same fields into one that owns its memory, in one copy.

    Parameters
    ----------
    blocks : sequence of Block
        At least one.
    allocate : callable
        ``(shape, dtype) -> array``: where the memory comes from.
    """
    ends = list(accumulate(block.n_rows for block in blocks))
    joined: dict[str, Column] = {}
    for name, first in blocks[0]._stored.items():
        column = allocate((ends[-1], *first.shape[1:]), first.dtype)
        for block, end in zip(blocks, ends, strict=True):
            take(block._stored[name], block._rows, out=column[end - block.n_rows : end])
        joined[name] = column
    return Block(joined)


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
