"""Columns of patches: boxes cut out of volumes that several rows share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from h5stream.columns.slices import Slices

__all__ = ["Patches"]


class Patches(Slices):
    """Rows that are boxes of volumes; they may overlap.

    Parameters
    ----------
    volumes : sequence of numpy.ndarray
        Each of shape (n, ...); alike in type and number of axes.
    which, starts : numpy.ndarray
        int64: row i lies in ``volumes[which[i]]``, from ``starts[i]`` on along axis 0.
    corners : numpy.ndarray
        int64, shape (rows, axes): where it begins along each further axis.
    extent : tuple of int
        Its size along all axes.
    axis : int
        Where axis 0 of the volumes stands in a row.

    Examples
    --------
    >>> volume = np.arange(12).reshape(3, 4)
    >>> at = np.array([0, 0]), np.array([1, 0]), np.array([[2], [0]])
    >>> np.asarray(Patches([volume], *at, (2, 2)))
    array([[[ 6,  7],
            [10, 11]],
    <BLANKLINE>
           [[ 0,  1],
            [ 4,  5]]])
    """

    __slots__ = ("_axis", "_corners", "_extent", "_volumes", "_which")

    def __init__(
        self,
        volumes: Sequence[np.ndarray],
        which: np.ndarray,
        starts: np.ndarray,
        corners: np.ndarray,
        extent: tuple[int, ...],
        axis: int = 0,
    ) -> None:
        super().__init__(volumes[0], starts, extent[0])
        self._volumes, self._which, self._corners = volumes, which, corners
        self._extent, self._axis = extent, axis

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array that this stands for."""
        first, *others = self._extent
        return (len(self), *others[: self._axis], first, *others[self._axis :])

    def _gathered(self) -> np.ndarray:
        array = np.empty((len(self), *self._extent), self.dtype)
        places = zip(
            self._which.tolist(), self._starts.tolist(), self._corners.tolist(), strict=True
        )
        for row, (which, start, corner) in enumerate(places):
            at = [start, *corner]
            box = tuple(slice(low, low + size) for low, size in zip(at, self._extent, strict=True))
            array[row] = self._volumes[which][box]
        return np.ascontiguousarray(np.moveaxis(array, 1, 1 + self._axis))

    def owned(self) -> tuple[np.ndarray, int]:
        """Copy what the patches show; see `own`."""
        array = self._gathered()
        return array, array.nbytes

    def __getitem__(self, rows: Any) -> Any:
        if not isinstance(rows, slice | np.ndarray):
            return self[int(rows) : int(rows) + 1]._gathered()[0]
        return Patches(
            self._volumes,
            self._which[rows],
            self._starts[rows],
            self._corners[rows],
            self._extent,
            self._axis,
        )

    def __repr__(self) -> str:
        return f"Patches({len(self)} rows of {self.dtype}{self.shape[1:]})"
