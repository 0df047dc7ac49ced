"""What a column of a new file is: one small frozen class for each way to lay rows down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from h5stream.errors import ConfigError
from h5stream.fields.specs import Casting

__all__ = ["ColumnSpec", "DenseColumn", "RaggedColumn", "SparseColumn", "TextColumn", "form_of"]

_MOST_COLUMNS = 2**62


class ColumnSpec:
    """Any of them."""


@dataclass(frozen=True)
class DenseColumn(ColumnSpec):
    """Each row is an array of one shape.

    Parameters
    ----------
    shape : tuple of int
        Of a row; ``()`` for numbers.
    dtype : dtype or str
        Of its elements: booleans, numbers, or bytes of a fixed length such as ``"S12"``.
    casting : {"exact", "unsafe"}
        What may happen to values of another type: floats may be rounded to a narrower float, but
        nothing may wrap, overflow, lose a fraction or NaN, or be cut off; or whatever NumPy does.

    Examples
    --------
    >>> DenseColumn((3, 64, 64), "uint8").dtype
    dtype('uint8')
    """

    shape: tuple[int, ...] = ()
    dtype: Any = None
    casting: Casting = "exact"

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _shape(self.shape))
        object.__setattr__(self, "dtype", _plain_type(self.dtype, "biufcS"))


@dataclass(frozen=True)
class RaggedColumn(ColumnSpec):
    """Rows of unequal length, stored as the values of all rows and where each begins.

    Parameters
    ----------
    dtype : dtype or str
        Of the elements: booleans or numbers.
    shape : tuple of int
        Of one element: ``(3,)`` for lists of points in space.
    casting : {"exact", "unsafe"}
        What may happen to values of another type; see `DenseColumn`.
    """

    dtype: Any = None
    shape: tuple[int, ...] = ()
    casting: Casting = "exact"

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _shape(self.shape))
        object.__setattr__(self, "dtype", _plain_type(self.dtype, "biufc"))


@dataclass(frozen=True)
class SparseColumn(ColumnSpec):
    """Rows of a sparse matrix, stored in compressed sparse row form.

    Parameters
    ----------
    n_columns : int
        Width of the matrix.
    dtype : dtype or str
        Of the elements: booleans or numbers.
    casting : {"exact", "unsafe"}
        What may happen to values of another type; see `DenseColumn`.
    """

    n_columns: int
    dtype: Any = None
    casting: Casting = "exact"

    def __post_init__(self) -> None:
        (width,) = _shape((self.n_columns,))
        if not 1 <= width < _MOST_COLUMNS:
            raise ConfigError(f"a sparse column needs its width, not {self.n_columns!r}")
        object.__setattr__(self, "n_columns", width)
        object.__setattr__(self, "dtype", _plain_type(self.dtype, "biufc"))


@dataclass(frozen=True)
class TextColumn(ColumnSpec):
    """Strings.

    Parameters
    ----------
    vlen : bool
        Store them as HDF5 strings of variable length, which other programs list as such; by
        default they are stored as UTF-8 bytes of all rows and where each begins, which is read
        many times faster.
    """

    vlen: bool = False


def form_of(spec: ColumnSpec) -> tuple[Any, ...]:
    """Return what must agree if rows of two columns are to follow each other."""
    names = ("shape", "dtype", "n_columns", "vlen")
    return type(spec), *(getattr(spec, name, None) for name in names)


def _shape(given: Any) -> tuple[int, ...]:
    """Return a shape, also of a single length."""
    shape = tuple(given) if isinstance(given, tuple | list) else (given,)
    if not all(isinstance(size, int | np.integer) and size >= 0 for size in shape):
        raise ConfigError(f"the shape of a row must be integers of 0 or more, not {given!r}")
    return tuple(map(int, shape))


def _plain_type(dtype: Any, kinds: str) -> np.dtype[Any] | None:
    """Return a type that HDF5 stores as it is, little-endian."""
    if dtype is None:
        return None
    try:
        found = np.dtype(dtype)
    except TypeError as error:
        raise ConfigError(f"{dtype!r} is no type of NumPy") from error
    if found == ml_dtypes.bfloat16:
        return found
    if found.kind not in kinds or (found.kind == "S" and not found.itemsize):
        raise ConfigError(
            f"a column cannot have the type {found}; there are booleans, numbers, bytes of fixed "
            'length ("S12") in dense columns, and TextColumn() for strings'
        )
    return found.newbyteorder("<")
