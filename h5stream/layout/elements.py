"""Describes a dataset: its storage, its filters, and whether its elements can be used as stored."""

from __future__ import annotations

import os
from typing import Any

import h5py
import ml_dtypes
import numpy as np
from h5py import h5d, h5t

from h5stream.layout.model import DatasetLayout, FilterSpec, Storage, VlenType
from h5stream.layout.packing import read_packing

__all__ = ["SCALAR", "describe", "read_element_type", "read_vlen_type"]

SCALAR = "it is a scalar: there is no sample axis"
"""Why a dataset of plain elements is refused that has no axes."""

_DESCRIPTOR = np.dtype("V16")
"""Of an element of variable length: its length, and where in a heap it lies."""

_BFLOAT16_FIELDS = (15, 7, 8, 0, 7)
"""Sign position, exponent position and size, mantissa position and size, in bits."""


def describe(dataset: h5py.Dataset, *, sizes: bool = True) -> DatasetLayout:
    """Read everything about a dataset but its chunk table.

    How much is stored in chunks is left out without `sizes`: HDF5 walks through their index for it.
    """
    identifier, file = dataset.id, dataset.file
    plist = identifier.get_create_plist()
    dtype, element_shape, indirect, refused = read_element_type(identifier)
    vlen = read_vlen_type(identifier.get_type())
    if vlen is not None:
        dtype, refused = _DESCRIPTOR, None
    shape = dataset.shape
    if shape is None:
        shape, refused = (), "it has a null dataspace: no elements"
    elif not shape:
        refused = refused or SCALAR
    storage = _storage_of(plist)
    chunks = (*dataset.chunks, *element_shape) if storage is Storage.CHUNKED else None
    if vlen is not None:
        fill = _no_fill(plist)
    else:
        fill = None if refused or indirect else _fill_of(plist, dtype, element_shape)
    if fill is None and not refused:
        indirect = indirect or "its fill value cannot be read directly"
    counted = sizes or storage is not Storage.CHUNKED
    stored_bytes = identifier.get_storage_size() if counted else 0
    # Without this, HDF5 gives "nowhere" plus the size of the user block.
    written = storage is Storage.CONTIGUOUS and stored_bytes > 0
    enum = h5py.check_enum_dtype(dataset.dtype) if dtype.kind in "iu" else None
    return DatasetLayout(
        file=os.fspath(file.filename),
        path=dataset.name,
        shape=(*shape, *element_shape),
        dtype=dtype,
        storage=storage,
        chunks=chunks,
        filters=_filters_of(plist),
        fill=fill,
        byte_offset=identifier.get_offset() if written else None,
        stored_bytes=stored_bytes,
        indirect=indirect,
        refused=refused,
        enum=enum,
        vlen=vlen,
        user_block_bytes=int(file.userblock_size) if vlen else 0,
        is_scale=len(shape) == 1 and _is_scale(identifier),
        packing=None if refused and shape else read_packing(identifier, dtype),
    )


def _is_scale(identifier: Any) -> bool:
    """Look for HDF5's mark; without an attribute of its name nothing more is read."""
    if not h5py.h5a.exists(identifier, b"CLASS"):
        return False
    return bool(h5py.h5ds.is_scale(identifier))


def read_vlen_type(stored: Any) -> VlenType | None:
    """Tell what elements of variable length are made of, None if they are not plain."""
    kind = stored.get_class()
    if kind == h5t.STRING and stored.is_variable_str():
        return VlenType(np.dtype(np.uint8), text=True)
    if kind != h5t.VLEN:
        return None
    inner = stored.get_super()
    if _refused_class(inner) or _is_bfloat16(inner):
        return None
    try:
        described = inner.dtype
    except (TypeError, ValueError):
        return None
    same = h5t.py_create(described, logical=True).equal(inner)
    return VlenType(described) if same and described.subdtype is None else None


def _no_fill(plist: Any) -> np.ndarray | None:
    """Descriptors of empty elements, unless the dataset says what unwritten ones hold."""
    defined = plist.fill_value_defined() == h5d.FILL_VALUE_USER_DEFINED
    return None if defined else np.zeros((), _DESCRIPTOR)


def _storage_of(plist: Any) -> Storage:
    if plist.get_external_count():
        return Storage.EXTERNAL
    return {
        h5d.CHUNKED: Storage.CHUNKED,
        h5d.CONTIGUOUS: Storage.CONTIGUOUS,
        h5d.COMPACT: Storage.COMPACT,
        h5d.VIRTUAL: Storage.VIRTUAL,
    }[plist.get_layout()]


def _filters_of(plist: Any) -> tuple[FilterSpec, ...]:
    found = (plist.get_filter(i) for i in range(plist.get_nfilters()))
    return tuple(
        FilterSpec(number, name.decode("utf-8", "replace"), tuple(values))
        for number, _flags, values, name in found
    )


def _fill_of(plist: Any, dtype: np.dtype[Any], element_shape: tuple[int, ...]) -> np.ndarray | None:
    """Read the fill value, None if it cannot be read (array types with one of their own)."""
    if plist.fill_value_defined() != h5d.FILL_VALUE_USER_DEFINED:
        return np.zeros((), dtype)
    if element_shape:
        return None
    fill = np.zeros((), np.float32 if dtype == ml_dtypes.bfloat16 else dtype)
    plist.get_fill_value(fill)
    return fill.astype(dtype)


def read_element_type(
    identifier: Any,
) -> tuple[np.dtype[Any], tuple[int, ...], str | None, str | None]:
    """Gate an element type.

    Returns
    -------
    dtype : numpy.dtype
        Of one element, as stored (or as h5py converts it, if `indirect`).
    element_shape : tuple of int
        Trailing axes that an array type adds.
    indirect : str or None
        Why stored bytes cannot be used as they are.
    refused : str or None
        Why the elements cannot be streamed.
    """
    stored = identifier.get_type()
    if refused := _refused_class(stored):
        return np.dtype(object), (), None, refused
    if _is_bfloat16(stored):
        order = "<" if stored.get_order() == h5t.ORDER_LE else ">"
        if order == "<":
            return np.dtype(ml_dtypes.bfloat16), (), None, None
        return np.dtype(ml_dtypes.bfloat16), (), "big-endian bfloat16 needs conversion", None
    try:
        described = identifier.dtype
    except (TypeError, ValueError) as error:
        return np.dtype(object), (), None, f"its element type has no NumPy equivalent ({error})"
    element, element_shape = described.subdtype or (described, ())
    same = h5t.py_create(described, logical=True).equal(stored)
    indirect = None if same else "its element type needs conversion"
    if element.names is None:
        element = np.dtype(element.str)
    return element, element_shape, indirect, None


def _refused_class(stored: Any) -> str | None:
    """Variable-length data and references, at any depth, are no flat elements."""
    kind = stored.get_class()
    if kind == h5t.VLEN or (kind == h5t.STRING and stored.is_variable_str()):
        return "its elements have variable length"
    if kind == h5t.REFERENCE:
        return "its elements are references"
    if kind == h5t.COMPOUND:
        members = (stored.get_member_type(i) for i in range(stored.get_nmembers()))
        return next(filter(None, map(_refused_class, members)), None)
    return _refused_class(stored.get_super()) if kind == h5t.ARRAY else None


def _is_bfloat16(stored: Any) -> bool:
    return (
        stored.get_class() == h5t.FLOAT
        and stored.get_size() == 2
        and stored.get_fields() == _BFLOAT16_FIELDS
        and stored.get_ebias() == 127
    )
