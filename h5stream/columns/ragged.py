"""Ragged columns: rows of unequal length, as values and where each row starts in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from h5stream.errors import ConfigError, DecodeError

__all__ = ["Ragged", "Text", "decode_text", "gather"]

Text = bool | Literal["replace"]
"""Whether rows are text, and whether what is not UTF-8 is replaced."""

_LONG_ROW = 256
"""From this many elements a row on, copying row by row beats an index of every element."""


def gather(values: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Copy slices of an array, one after the other.

    Parameters
    ----------
    values : numpy.ndarray
        Shape (n, ...).
    starts, lengths : numpy.ndarray
        int64: slice i is ``values[starts[i] : starts[i] + lengths[i]]``.

    Returns
    -------
    numpy.ndarray
        Shape (sum of lengths, ...); a view where the slices follow each other.

    Examples
    --------
    >>> gather(np.arange(10), np.array([7, 0]), np.array([2, 3]))
    array([7, 8, 0, 1, 2])
    """
    if not len(starts):
        return values[:0]
    ends = np.cumsum(lengths)
    total = int(ends[-1])
    if (starts[1:] == (starts + lengths)[:-1]).all():
        return values[int(starts[0]) : int(starts[0]) + total]
    if total >= _LONG_ROW * len(starts):
        pairs = zip(starts.tolist(), lengths.tolist(), strict=True)
        return np.concatenate([values[start : start + length] for start, length in pairs])
    index = np.repeat(starts - (ends - lengths), lengths)
    index += np.arange(total)
    return values.take(index, axis=0)


class Ragged:
    """Rows of unequal length.

    Parameters
    ----------
    values : numpy.ndarray
        Shape (total, ...): the elements of all rows.
    offsets : numpy.ndarray
        int64, shape (rows + 1,): row i is ``values[offsets[i] : offsets[i + 1]]``.
    text : bool or "replace"
        The elements are bytes (uint8) of UTF-8, and a row is a `str`; "replace": what is not
        UTF-8 becomes U+FFFD, in place of an error.

    Raises
    ------
    ConfigError
        If the offsets decrease or do not lie inside the values.

    Examples
    --------
    >>> rows = Ragged(np.array([1, 2, 3, 4]), np.array([0, 3, 3, 4]))
    >>> len(rows), rows[0], rows[1]
    (3, array([1, 2, 3]), array([], dtype=int64))
    >>> rows[np.array([2, 0])].values
    array([4, 1, 2, 3])
    """

    __slots__ = ("_starts", "_stored", "lengths", "text")

    lengths: np.ndarray
    """int64: elements of each row."""

    def __init__(self, values: np.ndarray, offsets: np.ndarray, *, text: Text = False) -> None:
        values, offsets = np.asarray(values), np.asarray(offsets, np.int64)
        lengths = np.diff(offsets)
        if offsets.ndim != 1 or not len(offsets) or values.ndim < 1 or (lengths < 0).any():
            raise ConfigError("a ragged column needs values and offsets that do not decrease")
        if offsets[0] < 0 or offsets[-1] > len(values):
            raise ConfigError(
                f"the offsets of a ragged column go from {offsets[0]} to {offsets[-1]}, but there "
                f"are {len(values)} values"
            )
        self._stored, self._starts, self.lengths, self.text = values, offsets[:-1], lengths, text

    @classmethod
    def placed(
        cls, values: np.ndarray, starts: np.ndarray, lengths: np.ndarray, *, text: Text = False
    ) -> Ragged:
        """Make a column whose row i is ``values[starts[i] : starts[i] + lengths[i]]``."""
        column = cls.__new__(cls)
        column._stored, column._starts, column.lengths, column.text = values, starts, lengths, text
        return column

    @classmethod
    def from_rows(cls, rows: Sequence[Any]) -> Ragged:
        """Make a column of arrays, or of `str`, that are alike but in length.

        Raises
        ------
        ConfigError
            If they differ in more.
        """
        text = all(isinstance(row, str) for row in rows)
        arrays = [
            np.frombuffer(row.encode(), np.uint8) if isinstance(row, str) else np.asarray(row)
            for row in rows
        ]
        if len({array.shape[1:] for array in arrays}) > 1 or any(a.ndim < 1 for a in arrays):
            shapes = sorted({array.shape for array in arrays})
            raise ConfigError(f"rows of shapes {shapes} are no ragged column: only axis 0 may vary")
        lengths = np.array([len(array) for array in arrays], np.int64)
        return cls(np.concatenate(arrays), np.concatenate([[0], np.cumsum(lengths)]), text=text)

    @classmethod
    def from_array(cls, array: np.ndarray) -> Ragged:
        """Make a column of rows that happen to be equally long.

        Parameters
        ----------
        array : numpy.ndarray
            Shape (rows, length, ...).
        """
        n_rows, length = array.shape[:2]
        values = array.reshape(n_rows * length, *array.shape[2:])
        return cls.placed(values, np.arange(n_rows) * length, np.full(n_rows, length))

    @property
    def starts(self) -> np.ndarray:
        """int64: where each row starts in `stored`."""
        return self._starts

    @property
    def stored(self) -> np.ndarray:
        """The elements that this column shares with those it was cut from, in any order."""
        return self._stored

    @property
    def values(self) -> np.ndarray:
        """The elements of all rows, one row after the other."""
        return gather(self._stored, self._starts, self.lengths)

    @property
    def offsets(self) -> np.ndarray:
        """int64, shape (rows + 1,): row i is ``values[offsets[i] : offsets[i + 1]]``."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.lengths)])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        return self._stored.dtype

    @property
    def element_shape(self) -> tuple[int, ...]:
        """Shape of one element."""
        return self._stored.shape[1:]

    def strings(self) -> list[str]:
        """Return the rows of a text column.

        Raises
        ------
        DecodeError
            If one is not UTF-8.
        """
        data, offsets = self.values.tobytes(), self.offsets.tolist()
        if data.isascii():
            text = data.decode("ascii")
            return [text[start:stop] for start, stop in pairwise(offsets)]
        return [
            decode_text(data[a:b], row, self.text) for row, (a, b) in enumerate(pairwise(offsets))
        ]

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, rows: Any) -> Any:
        if isinstance(rows, slice | np.ndarray):
            return Ragged.placed(
                self._stored, self._starts[rows], self.lengths[rows], text=self.text
            )
        start = int(self._starts[rows])
        row = self._stored[start : start + int(self.lengths[rows])]
        return decode_text(row.tobytes(), int(rows), self.text) if self.text else row

    def __iter__(self) -> Iterator[Any]:
        if self.text:
            return iter(self.strings())
        bounds = zip(self._starts.tolist(), self.lengths.tolist(), strict=True)
        return (self._stored[start : start + length] for start, length in bounds)

    def __repr__(self) -> str:
        kind = "text" if self.text else f"{self.dtype}{self.element_shape}"
        return f"Ragged({len(self)} rows of {kind})"


def decode_text(data: bytes, row: int, text: Text = True) -> str:
    """Decode one row of text.

    Raises
    ------
    DecodeError
        If it is not UTF-8.
    """
    try:
        return data.decode(errors="replace" if text == "replace" else "strict")
    except UnicodeDecodeError as error:
        raise DecodeError(
            f"row {row} of a text column holds bytes that are not UTF-8 ({data[:40]!r}); read the "
            'field as bytes, or with errors="replace"'
        ) from error
