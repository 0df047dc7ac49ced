"""Which part of a dataset is wanted, axis by axis: an index as NumPy and h5py take it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from h5stream.errors import ConfigError

__all__ = ["AxisPart", "parse_selection", "shape_of_parts"]

AxisPart = range | np.ndarray | int
"""Positions along one axis; one number drops the axis."""


def parse_selection(selection: Any, shape: Sequence[int], what: str) -> tuple[AxisPart, ...]:
    """Make an index of a dataset explicit.

    Parameters
    ----------
    selection : int, slice, Ellipsis, list of int, mask, or tuple of them; or None
        Axes that are left out are whole; None: all are. Each axis is indexed by itself.
    shape : sequence of int
        Of the dataset.
    what : str
        For messages.

    Raises
    ------
    ConfigError
        If it does not fit the shape.

    Examples
    --------
    >>> parse_selection(np.s_[..., ::2], (3, 8), "x")
    (range(0, 3), range(0, 8, 2))
    >>> parse_selection(([2, 0], -1), (3, 8), "x")
    (array([2, 0]), 7)
    """
    if selection is None:
        selection = ()
    parts = selection if isinstance(selection, tuple) else (selection,)
    ellipses = [at for at, part in enumerate(parts) if part is Ellipsis]
    if len(ellipses) > 1 or len(parts) - len(ellipses) > len(shape):
        raise ConfigError(f"{what} of shape {tuple(shape)} has no part {selection!r:.80}")
    at = ellipses[0] if ellipses else len(parts)
    missing = len(shape) - (len(parts) - len(ellipses))
    filled = (*parts[:at], *(slice(None),) * missing, *parts[at + 1 :])
    return tuple(
        _parse_axis(part, axis, size, what)
        for axis, (part, size) in enumerate(zip(filled, shape, strict=True))
    )


def shape_of_parts(parts: Sequence[AxisPart]) -> tuple[int, ...]:
    """Return the shape of what is selected."""
    return tuple(len(part) for part in parts if not isinstance(part, int))


def _parse_axis(part: Any, axis: int, size: int, what: str) -> AxisPart:
    if isinstance(part, slice):
        try:
            return range(*part.indices(size))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{what}: {part!r} is no slice of integers") from error
    array = _as_array(part)
    if array.dtype == np.bool_ and array.ndim == 1:
        if len(array) != size:
            raise ConfigError(
                f"{what}: a mask of axis {axis} has {len(array)} elements, but the axis {size}"
            )
        return np.flatnonzero(array)
    if array.dtype.kind not in "iu" or array.ndim > 1:
        raise ConfigError(
            f"{what}: axis {axis} is selected by an integer, a slice, a list of integers or a "
            f"mask, not {part!r:.80}"
        )
    outside = (array < -size) | (array >= size)
    if outside.any():
        raise ConfigError(
            f"{what}: there is no position {array[outside].flat[0]} along axis {axis} of {size}"
        )
    array = np.where(array < 0, array.astype(np.int64) + size, array.astype(np.int64))
    return array if array.ndim else int(array)


def _as_array(part: Any) -> np.ndarray:
    try:
        array = np.asarray(part)
    except ValueError:  # rows of unequal length
        return np.empty(0, object)
    return array.astype(np.int64) if array.shape == (0,) else array
