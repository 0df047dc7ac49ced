"""Which part of each row is wanted: an index of its axes, as NumPy takes them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from h5stream.errors import ConfigError
from h5stream.layout import DatasetLayout
from h5stream.layout.cropped import cropped

__all__ = ["Axis", "Inner", "crop", "parse_inner"]

Axis = range | tuple[int, ...] | int
"""Positions along one axis; one number drops the axis."""


@dataclass(frozen=True)
class Inner:
    """Which part of each row of a layout makes a row of the column.

    Parameters
    ----------
    axes : tuple of Axis
        One for each axis of a row.
    """

    axes: tuple[Axis, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what is wanted."""
        return tuple(len(axis) for axis in self.axes if not isinstance(axis, int))

    def choose(
        self, elements: np.ndarray, inside: Sequence[slice] = ()
    ) -> tuple[np.ndarray, tuple[Any, ...]]:
        """Take what is wanted out of rows, or out of a part of each.

        Parameters
        ----------
        elements : numpy.ndarray
            Shape (rows, ...).
        inside : sequence of slice
            Which part of each row they are; empty: all of it.

        Returns
        -------
        (numpy.ndarray, tuple)
            The elements, and where in a row of the column they belong; empty: they are all of it.

        Examples
        --------
        >>> Inner((range(0, 4, 2), 1)).choose(np.arange(12).reshape(1, 4, 3))
        (array([[1, 7]]), ())
        """
        where: list[slice | np.ndarray] = []
        for number in reversed(range(len(self.axes))):
            axis = self.axes[number]
            part = inside[number] if inside else slice(0, elements.shape[1 + number])
            own, place = _within(axis, part)
            before = (slice(None),) * (1 + number)
            elements = elements[(*before, own)]
            if place is not None:
                where.insert(0, place)
        return elements, _outer(where) if inside else ()


def _within(axis: Axis, part: slice) -> tuple[Any, slice | np.ndarray | None]:
    """Say which elements of a part are wanted, and where they belong."""
    if isinstance(axis, int):
        return axis - part.start, None
    if isinstance(axis, range):
        first = max(0, -((axis.start - part.start) // axis.step))
        last = min(len(axis), max(first, -((axis.start - part.stop) // axis.step)))
        begin = axis.start + first * axis.step - part.start
        stop = begin + (last - first) * axis.step
        return slice(begin, stop, axis.step), slice(first, last)
    positions = np.array(axis, np.int64)
    place = np.flatnonzero((positions >= part.start) & (positions < part.stop))
    return positions[place] - part.start, place


def _outer(where: Sequence[slice | np.ndarray]) -> tuple[Any, ...]:
    """Index each axis by itself, also where several have lists."""
    if sum(isinstance(place, np.ndarray) for place in where) < 2:
        return tuple(where)
    every = [
        np.arange(place.start, place.stop) if isinstance(place, slice) else place for place in where
    ]
    return np.ix_(*every)


def crop(layout: DatasetLayout, asked: Any) -> tuple[DatasetLayout, Inner | None]:
    """Narrow a layout to what is wanted of each row.

    Parameters
    ----------
    layout : DatasetLayout
        Of whole rows.
    asked : index, or tuple of them
        See `parse_inner`.

    Returns
    -------
    (DatasetLayout, Inner or None)
        The layout, and what of its rows is wanted; None: all.

    Raises
    ------
    ConfigError
        If it does not fit the rows.
    """
    axes = parse_inner(asked, layout.row_shape, f"{layout.file}: {layout.path!r}")
    needed = [np.unique(np.atleast_1d(np.array(axis, np.int64))) for axis in axes]
    smaller = cropped(layout, needed)
    runs = smaller.inner or (((0, size),) for size in smaller.row_shape)
    inner = Inner(tuple(_shifted(axis, own) for axis, own in zip(axes, runs, strict=True)))
    every = tuple(range(size) for size in smaller.row_shape)
    return smaller, None if inner.axes == every else inner


def _shifted(axis: Axis, runs: Sequence[tuple[int, int]]) -> Axis:
    """Count positions in what is left of an axis."""
    starts = np.array([start for start, _stop in runs])
    sizes = np.array([stop - start for start, stop in runs])
    if len(runs) == 1 and isinstance(axis, range):
        return range(axis.start - int(starts[0]), axis.stop - int(starts[0]), axis.step)
    positions = np.atleast_1d(np.array(axis, np.int64))
    run = np.searchsorted(starts, positions, side="right") - 1
    found = positions - starts[run] + (np.cumsum(sizes) - sizes)[run]
    return int(found[0]) if isinstance(axis, int) else tuple(found.tolist())


def parse_inner(asked: Any, row_shape: Sequence[int], what: str) -> tuple[Axis, ...]:
    """Make an index of rows explicit.

    Parameters
    ----------
    asked : int, slice, Ellipsis, list of int, mask, or tuple of them
        Axes that are left out are whole.
    row_shape : sequence of int
        Shape of a row.
    what : str
        For messages.

    Raises
    ------
    ConfigError
        If it does not fit the shape, or chooses nothing.

    Examples
    --------
    >>> parse_inner(np.s_[..., ::2], (3, 8), "x")
    (range(0, 3), range(0, 8, 2))
    >>> parse_inner(([2, 0], -1), (3, 8), "x")
    ((2, 0), 7)
    """
    parts = asked if isinstance(asked, tuple) else (asked,)
    ellipses = [at for at, part in enumerate(parts) if part is Ellipsis]
    if len(ellipses) > 1 or len(parts) - len(ellipses) > len(row_shape):
        raise ConfigError(
            f"{what}: rows of shape {tuple(row_shape)} have no part inner={asked!r}; the sample "
            "axis is not part of it"
        )
    at = ellipses[0] if ellipses else len(parts)
    missing = len(row_shape) - (len(parts) - len(ellipses))
    filled = (*parts[:at], *(slice(None),) * missing, *parts[at + 1 :])
    return tuple(
        _parse_axis(part, size, what) for part, size in zip(filled, row_shape, strict=True)
    )


def _parse_axis(part: Any, size: int, what: str) -> Axis:
    if isinstance(part, slice):
        try:
            chosen = range(*part.indices(size))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{what}: inner={part!r} is no slice of integers") from error
        if not len(chosen):
            raise ConfigError(f"{what}: {part!r} chooses nothing of an axis of {size}")
        return chosen if chosen.step > 0 else tuple(chosen)
    array = np.asarray(part)
    if array.dtype == np.bool_ and array.shape == (size,):
        array = np.flatnonzero(array)
    if array.dtype.kind not in "iu" or array.ndim > 1 or not array.size:
        raise ConfigError(
            f"{what}: a part of rows is an integer, a slice or a list of integers, not {part!r:.80}"
        )
    if int(array.min()) < -size or int(array.max()) >= size:
        raise ConfigError(f"{what}: {part!r:.80} goes beyond an axis of {size}")
    array = np.where(array < 0, array + size, array)
    return int(array) if not array.ndim else tuple(array.tolist())
