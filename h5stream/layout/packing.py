"""Packed numbers, as the CF conventions of netCDF files describe them by attributes.

Stored numbers stand for others: ``stored * scale_factor + add_offset``, and some of them, named by
``_FillValue`` and ``missing_value``, for none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from h5py import h5a, h5t

__all__ = ["Packing", "read_packing"]

_MOST_MARKS = 16
_NAMES = ("scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned")


@dataclass(frozen=True, slots=True)
class Packing:
    """How stored numbers stand for others.

    Parameters
    ----------
    scale, offset : float
        What a number is multiplied by, and what is then added.
    missing : tuple of int or float
        Stored numbers that stand for none.
    dtype : str
        Type of decoded numbers: that of the factor and the offset; wide enough for stored
        integers.
    unsigned : bool
        Stored integers are meant without a sign, though their type has one.
    trouble : str
        Why the attributes cannot be followed; empty if they can.
    """

    scale: float = 1.0
    offset: float = 0.0
    missing: tuple[int | float, ...] = ()
    dtype: str = "float64"
    unsigned: bool = False
    trouble: str = ""

    @property
    def matters(self) -> bool:
        """Whether any number stands for another."""
        plain = (self.scale, self.offset, self.missing, self.unsigned) == (1.0, 0.0, (), False)
        return not plain or bool(self.trouble)

    def __str__(self) -> str:
        """Say it in a few words."""
        if self.trouble:
            return self.trouble
        told = []
        if (self.scale, self.offset) != (1.0, 0.0):
            told.append(f"scale_factor {self.scale:.6g} and add_offset {self.offset:.6g}")
        if self.unsigned:
            told.append("numbers without a sign")
        if self.missing:
            told.append(f"missing values {', '.join(f'{mark:.6g}' for mark in self.missing)}")
        return ", ".join(told)

    def decode(self, stored: np.ndarray) -> np.ndarray:
        """Return what stored numbers stand for, NaN for none.

        Parameters
        ----------
        stored : numpy.ndarray
            Integers or floats, of any shape.

        Returns
        -------
        numpy.ndarray
            Of the same shape, and of type `dtype`.

        Examples
        --------
        >>> Packing(0.5, 20.0, (-1,)).decode(np.array([4, -1], np.int16))
        array([22., nan])
        """
        if self.unsigned:
            stored = stored.view(stored.dtype.str.replace("i", "u"))
        with np.errstate(all="ignore"):
            decoded = stored.astype(self.dtype)
            if self.scale != 1.0:
                decoded *= decoded.dtype.type(self.scale)
            if self.offset != 0.0:
                decoded += decoded.dtype.type(self.offset)
        for mark in self.missing:
            decoded[stored == mark] = np.nan
        return decoded


def read_packing(identifier: Any, stored: np.dtype[Any]) -> Packing | None:
    """Read the attributes that say how numbers of a dataset are packed.

    Attributes of variable length are not read: they lie in a heap, which a damaged file can lead
    astray.

    Parameters
    ----------
    identifier : h5py.h5d.DatasetID
        The dataset.
    stored : numpy.dtype
        Of its elements.

    Returns
    -------
    Packing or None
        None if numbers stand for themselves.
    """
    if stored.names is not None or stored.kind not in "iuf" or not h5a.get_num_attrs(identifier):
        return None
    present = [name for name in _NAMES if h5a.exists(identifier, name.encode())]
    if not present:
        return None
    values: dict[str, np.ndarray] = {}
    for name in present:
        value = _read_numbers(identifier, name)
        if value is None or (name in _NAMES[:2] and value.size != 1):
            return Packing(trouble=f"attribute {name!r} is not the number that it should be")
        values[name] = value
    return _packing_of(values, stored)


def _read_numbers(identifier: Any, name: str) -> np.ndarray | None:
    """Read an attribute of a few numbers or of text of fixed length; None if it is another."""
    attribute = h5a.open(identifier, name.encode())
    kind = attribute.get_type()
    text = kind.get_class() == h5t.STRING and not kind.is_variable_str()
    number = kind.get_class() in (h5t.INTEGER, h5t.FLOAT)
    if text != (name == "_Unsigned") or not (text or number):
        return None
    if not 0 < attribute.get_space().get_select_npoints() <= _MOST_MARKS or kind.get_size() > 64:
        return None
    value = np.empty(attribute.shape, attribute.dtype)
    attribute.read(value)
    return value.reshape(-1)


def _packing_of(values: dict[str, np.ndarray], stored: np.dtype[Any]) -> Packing | None:
    factors = [values[name] for name in ("scale_factor", "add_offset") if name in values]
    scale, offset = (
        float(values[name][0]) if name in values else default
        for name, default in (("scale_factor", 1.0), ("add_offset", 0.0))
    )
    said = b"".join(values.get("_Unsigned", np.empty(0, "S1")).tolist()).lower()
    unsigned = said == b"true" and stored.kind == "i"
    marks = _marks(values, stored)
    packing = Packing(scale, offset, marks, str(_decoded_type(factors, stored)), unsigned)
    if not np.isfinite([scale, offset]).all():
        return Packing(trouble=f"scale_factor {scale} and add_offset {offset} are not finite")
    return packing if factors or packing.matters else None


def _marks(values: dict[str, np.ndarray], stored: np.dtype[Any]) -> tuple[int | float, ...]:
    """Return marks of missing values as elements hold them; NaN needs none."""
    named = [values[name] for name in ("_FillValue", "missing_value") if name in values]
    marks: dict[int | float, None] = {}
    with np.errstate(all="ignore"):
        for mark in np.concatenate([*map(np.atleast_1d, named), np.empty(0, stored)]):
            held = np.asarray(mark).astype(stored.newbyteorder("="))
            if held == held and (stored.kind == "f" or held == mark):
                marks[held.item()] = None
    return tuple(marks)


def _decoded_type(factors: list[np.ndarray], stored: np.dtype[Any]) -> np.dtype[Any]:
    """Choose as the conventions say: the type of the factors, or the least that can hold NaN."""
    wide = stored.itemsize > (2 if stored.kind in "iu" else 4)
    kinds = [np.dtype(np.float32), *(factor.dtype for factor in factors)]
    if wide or any(kind.kind != "f" for kind in kinds):
        return np.dtype(np.float64)
    return np.result_type(*kinds).newbyteorder("=")
