"""Cuts files into row chunks: the unit of order, fetch and resume.

Row chunks are consecutive rows of one file, cut on chunk boundaries of the file's heaviest
field. Neighbouring chunks are joined until a row chunk reaches a byte target, so that tiny
chunks do not cost a call each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

__all__ = ["RowChunk", "RowChunks", "join_bounds", "rows_per_row_chunk"]


@dataclass(frozen=True, slots=True)
class RowChunk:
    """Rows ``start`` to ``stop`` (exclusive) of file number ``file``.

    Of an order of rows over several files, as a subset may have, `file` is -1.
    """

    file: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, eq=False)
class RowChunks:
    """A table of row chunks: int64 arrays `file`, `start`, `stop` of equal length."""

    file: np.ndarray
    start: np.ndarray
    stop: np.ndarray

    def __len__(self) -> int:
        return len(self.file)

    def __iter__(self) -> Iterator[RowChunk]:
        columns = (self.file.tolist(), self.start.tolist(), self.stop.tolist())
        return map(RowChunk, *columns)

    @property
    def sizes(self) -> np.ndarray:
        """Rows of each row chunk."""
        return self.stop - self.start

    @cached_property
    def ends(self) -> np.ndarray:
        """Rows up to the end of each row chunk."""
        return np.cumsum(self.sizes)

    @property
    def n_rows(self) -> int:
        """Rows of all row chunks."""
        return int(self.ends[-1]) if len(self) else 0

    def take(self, order: np.ndarray) -> RowChunks:
        """Return the row chunks in another order."""
        return RowChunks(self.file[order], self.start[order], self.stop[order])


def rows_per_row_chunk(*, chunk_rows: int | None, row_nbytes: int, target_bytes: int) -> int:
    """Decide how many rows a row chunk has: a whole number of chunks, about `target_bytes`.

    Parameters
    ----------
    chunk_rows : int or None
        Rows of one chunk of the heaviest field; None if it is not chunked.
    row_nbytes : int
        Decoded bytes of one row of it.
    target_bytes : int
        Join neighbours up to this size; a single larger chunk stays whole.

    Examples
    --------
    >>> rows_per_row_chunk(chunk_rows=64, row_nbytes=1024, target_bytes=2**20)
    1024
    >>> rows_per_row_chunk(chunk_rows=4096, row_nbytes=1024, target_bytes=2**20)
    4096
    """
    step = chunk_rows or 1
    return step * max(1, target_bytes // max(1, step * row_nbytes))


def join_bounds(bounds: Sequence[np.ndarray]) -> RowChunks:
    """Make the row chunks of files out of where each file is cut.

    Parameters
    ----------
    bounds : sequence of numpy.ndarray
        int64, for each file: 0, the ends of its row chunks, the last of which is its rows.

    Examples
    --------
    >>> list(join_bounds([np.array([0, 2, 4, 5]), np.array([0]), np.array([0, 3])]))
    ... # doctest: +NORMALIZE_WHITESPACE
    [RowChunk(file=0, start=0, stop=2), RowChunk(file=0, start=2, stop=4),
     RowChunk(file=0, start=4, stop=5), RowChunk(file=2, start=0, stop=3)]
    """
    nothing = np.empty(0, np.int64)
    kept = [part[np.append(True, np.diff(part) > 0)] for part in bounds]
    file = np.repeat(np.arange(len(kept), dtype=np.int64), [len(part) - 1 for part in kept])
    start = np.concatenate([nothing, *(part[:-1] for part in kept)])
    return RowChunks(file, start, np.concatenate([nothing, *(part[1:] for part in kept)]))
