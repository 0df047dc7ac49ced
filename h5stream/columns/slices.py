"""Columns of slices: rows that are slices of one array, and may overlap."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from h5stream.errors import ConfigError

__all__ = ["Padding", "Slices"]

_BYTES = 2**20
"""Rows are put together in parts of this size for a caller who takes them one by one."""

Padding = Literal["constant", "edge", "reflect"]
"""What stands in a slice beyond its limits: zeros, the nearest element, or a mirror image."""


class Slices:
    """Rows that are slices of one array; they may overlap.

    Parameters
    ----------
    values : numpy.ndarray
        Shape (n, ...).
    starts : numpy.ndarray
        int64: row i is ``values[starts[i] : starts[i] + length * step : step]``.
    length : int or None
        None: row i is the element ``values[starts[i]]``.
    step : int
        From one element of a slice to the next.
    limits : (numpy.ndarray, numpy.ndarray), optional
        int64: what row i may show, ``low[i]`` to ``high[i]`` (exclusive); the rest is padded.
    padding : {"constant", "edge", "reflect"}
        By zeros, the nearest element, or mirrored.

    Examples
    --------
    >>> np.asarray(Slices(np.arange(10), np.array([3, 4]), 3))
    array([[3, 4, 5],
           [4, 5, 6]])
    """

    __slots__ = ("_limits", "_padding", "_starts", "_stored", "length", "step")

    def __init__(
        self,
        values: np.ndarray,
        starts: np.ndarray,
        length: int | None,
        *,
        step: int = 1,
        limits: tuple[np.ndarray, np.ndarray] | None = None,
        padding: Padding = "constant",
    ) -> None:
        self._stored, self._starts, self.length = values, starts, length
        self.step, self._limits, self._padding = step, limits, padding

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        return self._stored.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array that this stands for."""
        within = () if self.length is None else (self.length,)
        return (len(self), *within, *self._stored.shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self._gathered()
        return array if dtype is None else array.astype(dtype)

    def _gathered(self) -> np.ndarray:
        if self.length is None:
            return self._stored.take(self._starts, axis=0)
        if not len(self) or not self.length:
            return np.empty(self.shape, self.dtype)
        if self._limits is None and self.step == 1:
            return _cut(self._stored, self.length, self._starts)
        index = self._starts[:, None] + np.arange(0, self.length * self.step, self.step)
        if self._limits is None:
            return self._stored.take(index, axis=0)
        low, high = (limit[:, None] for limit in self._limits)
        if (high <= low).any():
            return self._without_empty(high[:, 0] > low[:, 0])
        if self._padding == "reflect":
            period = np.maximum(2 * (high - low - 1), 1)
            turned = (index - low) % period
            index = low + np.minimum(turned, period - turned)
        inside = np.clip(index, low, high - 1)
        array = self._stored.take(inside, axis=0)
        if self._padding == "constant":
            array[index != inside] = np.zeros((), self.dtype)
        return array

    def _without_empty(self, full: np.ndarray) -> np.ndarray:
        """Put together rows of which some may show nothing."""
        if self._padding != "constant":
            raise ConfigError(f'an empty row cannot be padded by "{self._padding}"')
        array = np.zeros(self.shape, self.dtype)
        array[full] = self[full]._gathered()
        return array

    def owned(self) -> tuple[Slices | np.ndarray, int]:
        """Copy what the slices show, put together where that is less; see `own`."""
        span = ((self.length or 1) - 1) * self.step + 1
        if self._limits is None and len(self) and self.length:
            begin, end = int(self._starts.min()), int(self._starts.max()) + span
            if end - begin < len(self) * self.length:
                values, starts = self._stored[begin:end].copy(), self._starts - begin
                copy = Slices(values, starts, self.length, step=self.step)
                return copy, values.nbytes + starts.nbytes
        array = self._gathered()
        return array, array.nbytes

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, rows: Any) -> Any:
        if not isinstance(rows, slice | np.ndarray):
            return self[int(rows) : int(rows) + 1]._gathered()[0]
        limits = self._limits and (self._limits[0][rows], self._limits[1][rows])
        return Slices(
            self._stored,
            self._starts[rows],
            self.length,
            step=self.step,
            limits=limits,
            padding=self._padding,
        )

    def __iter__(self) -> Iterator[np.ndarray]:
        rows = max(1, _BYTES // max(1, self.dtype.itemsize * math.prod(self.shape[1:])))
        for start in range(0, len(self), rows):
            yield from self[start : start + rows]._gathered()

    def __repr__(self) -> str:
        return f"Slices({len(self)} rows of {self.dtype}{self.shape[1:]})"


def _cut(values: np.ndarray, length: int, starts: np.ndarray) -> np.ndarray:
    """Copy slices of an array; each is one run of bytes."""
    if length > len(values):
        raise ConfigError(f"slices of {length} elements cannot be cut from {len(values)}")
    values = np.ascontiguousarray(values)
    shape = (len(starts), length, *values.shape[1:])
    step = math.prod(values.shape[1:]) * values.dtype.itemsize
    if not step:
        return np.empty(shape, values.dtype)
    run = np.dtype((np.void, length * step))
    memory = values.reshape(-1).view(np.uint8)  # not every type of element is a buffer
    runs = np.ndarray((len(values) - length + 1,), run, memory.data, strides=(step,))
    return runs[starts].view(values.dtype).reshape(shape)
