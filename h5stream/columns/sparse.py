"""Sparse columns: rows of a matrix in compressed sparse row form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from h5stream.columns.ragged import Ragged, gather
from h5stream.errors import ConfigError

__all__ = ["DenseRows", "Sparse"]


class Sparse:
    """Rows of a matrix in compressed sparse row form.

    Parameters
    ----------
    data, indices : numpy.ndarray
        Shape (nnz,): stored elements and their columns.
    indptr : numpy.ndarray
        int64, shape (rows + 1,): row i has elements ``indptr[i]`` to ``indptr[i + 1]``.
    shape : (int, int)
        Rows and columns.

    Raises
    ------
    ConfigError
        If the parts do not fit each other.

    Examples
    --------
    >>> matrix = Sparse(np.array([5.0, 7.0]), np.array([2, 0]), np.array([0, 1, 2]), (2, 3))
    >>> matrix[np.array([1, 0])].dense()
    array([[7., 0., 0.],
           [0., 0., 5.]])
    """

    __slots__ = ("_data", "_indices", "_starts", "lengths", "n_columns")

    lengths: np.ndarray
    """int64: stored elements of each row."""

    def __init__(
        self, data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, shape: tuple[int, int]
    ) -> None:
        data, indices = np.asarray(data), np.asarray(indices)
        rows = Ragged(data, indptr)
        if len(rows) != shape[0] or indices.shape != data.shape or data.ndim != 1:
            raise ConfigError(
                f"a sparse column of shape {shape} needs data and indices of equal length and "
                f"{shape[0] + 1} offsets, not {data.shape}, {indices.shape} and {len(rows) + 1}"
            )
        if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < shape[1]:
            raise ConfigError(f"the indices of a sparse column lie outside its {shape[1]} columns")
        self._data, self._indices = data, indices
        self._starts, self.lengths, self.n_columns = rows._starts, rows.lengths, shape[1]

    @classmethod
    def placed(
        cls,
        data: np.ndarray,
        indices: np.ndarray,
        starts: np.ndarray,
        lengths: np.ndarray,
        n_columns: int,
    ) -> Self:
        """Make a column whose row i has elements ``starts[i]`` to ``starts[i] + lengths[i]``."""
        column = cls.__new__(cls)
        column._data, column._indices = data, indices
        column._starts, column.lengths, column.n_columns = starts, lengths, n_columns
        return column

    @property
    def data(self) -> np.ndarray:
        """The stored elements, row by row."""
        return gather(self._data, self._starts, self.lengths)

    @property
    def indices(self) -> np.ndarray:
        """The column of each stored element."""
        return gather(self._indices, self._starts, self.lengths)

    @property
    def indptr(self) -> np.ndarray:
        """int64, shape (rows + 1,): row i has elements ``indptr[i]`` to ``indptr[i + 1]``."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.lengths)])

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self), self.n_columns

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        return self._data.dtype

    def dense(self) -> np.ndarray:
        """Return all elements; those that a row stores twice are added, as SciPy does."""
        out = np.zeros(self.shape, self.dtype)
        indices, flat = self.indices, out.reshape(-1)
        places = self._places(indices)
        if self._increase(indices):
            flat[places] = self.data
        else:
            np.add.at(flat, places, self.data)
        return out

    def in_order(self) -> Sparse:
        """Put the rows together, with indices that increase; elements stored twice are added."""
        indices, lengths, data = self.indices, self.lengths, self.data
        if not self._increase(indices):
            places, inverse = np.unique(self._places(indices), return_inverse=True)
            data = np.zeros(len(places), self.dtype)
            np.add.at(data, inverse, self.data)
            rows, columns = np.divmod(places, self.n_columns)
            lengths, indices = np.bincount(rows, minlength=len(self)), columns.astype(indices.dtype)
        return Sparse.placed(data, indices, np.cumsum(lengths) - lengths, lengths, self.n_columns)

    def _increase(self, indices: np.ndarray) -> bool:
        """Say whether indices increase within each row, so that none is there twice."""
        rising = indices[1:] > indices[:-1]
        firsts = np.cumsum(self.lengths)[:-1]
        rising[firsts[(firsts > 0) & (firsts < len(indices))] - 1] = True
        return bool(rising.all())

    def _places(self, indices: np.ndarray) -> np.ndarray:
        """Return where each stored element lies in the flattened matrix."""
        places = np.repeat(np.arange(len(self)) * self.n_columns, self.lengths)
        places += indices.astype(np.int64, copy=False)
        return places

    def drop_negative(self) -> None:
        """Take out elements whose index is below zero, in the arrays that the column lies in.

        Columns that were made of this one before are no longer valid.
        """
        kept = self._indices >= 0
        before = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])
        stops = before[self._starts + self.lengths]
        self._starts = before[self._starts]
        self.lengths = stops - self._starts
        self._data[: before[-1]] = self._data[kept]
        self._indices[: before[-1]] = self._indices[kept]

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, rows: Any) -> Any:
        if not isinstance(rows, slice | np.ndarray):
            rows = slice(int(rows), int(rows) + 1)
        return self.placed(
            self._data, self._indices, self._starts[rows], self.lengths[rows], self.n_columns
        )

    def __iter__(self) -> Iterator[Any]:
        return map(self.__getitem__, range(len(self)))

    def __repr__(self) -> str:
        return f"Sparse({len(self)} rows, {self.n_columns} columns, {self.dtype})"


class DenseRows(Sparse):
    """Rows of a sparse matrix that count as plain arrays: `numpy.asarray` puts them together.

    Examples
    --------
    >>> rows = DenseRows(np.array([5.0, 7.0]), np.array([2, 0]), np.array([0, 1, 2]), (2, 3))
    >>> rows[0]
    array([0., 0., 5.])
    """

    __slots__ = ()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.dense()
        return array if dtype is None else array.astype(dtype)

    def __getitem__(self, rows: Any) -> Any:
        if isinstance(rows, slice | np.ndarray):
            return super().__getitem__(rows)
        return super().__getitem__(rows).dense()[0]
