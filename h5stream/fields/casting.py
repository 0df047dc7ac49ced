"""Tells conversions that keep values from those that change them. Pure.

Floats may be rounded to a narrower float; that is what is meant by asking for one. All else must
come out as it went in.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from h5stream.errors import ConfigError
from h5stream.fields.specs import Casting

__all__ = ["find_loss", "fit_for"]


def fit_for(
    values: np.ndarray, to: np.dtype[Any] | None, casting: Casting, *, file: str, name: str
) -> np.ndarray:
    """Return values that may be written to a column of a type, after a look at what it does.

    Parameters
    ----------
    values : numpy.ndarray
        As they are stored.
    to : numpy.dtype or None
        The type of the column, if another.
    casting : {"exact", "unsafe"}
        What may happen to them.
    file, name : str
        Where they are from, for the error: file and field.

    Raises
    ------
    ConfigError
        If the type cannot hold one of them, and ``casting`` is "exact".
    """
    if to is None:
        return values
    if casting == "exact":
        lost = find_loss(values, to)
        if lost is not None:
            raise ConfigError(
                f"{file}: field {name!r} has the value {lost}, which {to} cannot hold; choose "
                'another dtype, or let it be changed with casting="unsafe"'
            )
    return values.real if values.dtype.kind == "c" and to.kind != "c" else values


def find_loss(values: np.ndarray, to: np.dtype[Any]) -> Any:
    """Find a value that a type cannot hold.

    Parameters
    ----------
    values : numpy.ndarray
        Of any shape.
    to : numpy.dtype
        The type.

    Returns
    -------
    scalar or None
        The first that would change; None if none would.

    Examples
    --------
    >>> find_loss(np.array([1, 128]), np.dtype("i1")), find_loss(np.array([0.5]), np.dtype("f4"))
    (np.int64(128), None)
    """
    if not values.size or _always_fits(values.dtype, to):
        return None
    if values.dtype.kind in "biu" and to.kind in "iu":
        low, high = values.min(), values.max()
        limits = np.iinfo(to)
        if int(low) < limits.min:
            return low
        return high if int(high) > limits.max else None
    changed = np.zeros(values.shape, np.bool_)
    part = values
    if values.dtype.kind == "c" and to.kind != "c":
        changed = values.imag != 0
        part = values.real
    with np.errstate(all="ignore"):
        changed = changed | _changed(part, part.astype(to))
    return values[changed].reshape(-1)[0] if changed.any() else None


def _always_fits(stored: np.dtype[Any], to: np.dtype[Any]) -> bool:
    """NumPy calls eight-byte integers safe in eight-byte floats, which round them."""
    rounds = stored.kind in "iu" and stored.itemsize == 8 and to.kind in "fc"
    return not rounds and np.can_cast(stored, to, "safe")


def _changed(values: np.ndarray, found: np.ndarray) -> np.ndarray:
    kinds = values.dtype.kind + found.dtype.kind
    if kinds in ("ff", "cc", "fc"):
        return np.isinf(found) & ~np.isinf(values)
    if kinds in ("if", "uf", "ic", "uc"):
        back = found.real.astype(np.float64)
        return _exact_floats(values, back)
    return np.asarray(found != values)


def _exact_floats(values: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Compare integers with the floats that they became, as integers: floats would round both."""
    beyond = found >= 2.0 ** (8 * values.dtype.itemsize - (values.dtype.kind == "i"))
    back = np.where(beyond, 0, found).astype(values.dtype)
    return beyond | (back != values)
