"""Reads values that a file holds once out of it while it is open: small datasets and attributes.

They stay in memory, so each is bounded before it is read.
"""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from h5stream.errors import ConfigError, LayoutError, UnsupportedError
from h5stream.layout.contents import find_node, read_attribute
from h5stream.layout.heaps import check_dataset_heap
from h5stream.layout.links import leads_outside, refuse_others
from h5stream.layout.names import split_members
from h5stream.layout.packing import read_packing
from h5stream.layout.plugins import check_plugin_chunks

__all__ = [
    "find_dataset",
    "read_decoded",
    "read_ids",
    "read_value",
    "refuse_elsewhere",
    "shape_of",
]

_MOST_BYTES = 2**28
"""A larger dataset is no constant of its file: it is data."""


def find_dataset(file: Any, name: str) -> h5py.Dataset:
    """Return a dataset of an open file; a remote file must not lead to another one.

    Raises
    ------
    ConfigError
        If there is none, or it lies elsewhere.
    """
    node = find_node(file, name)
    if not isinstance(node, h5py.Dataset):
        raise ConfigError(f"{file.filename}: {name!r} is a group, not a dataset")
    if file.driver == "fileobj":
        refuse_elsewhere(file, name)
        reason = refuse_others(node)
        if reason:
            raise ConfigError(f"{file.filename}: {name!r} cannot be read: {reason}")
    return node


def refuse_elsewhere(file: Any, name: str) -> None:
    """Refuse names that lead out of a remote file."""
    path = name if name in file else split_members(name)[0]
    if file.driver == "fileobj" and leads_outside(file, path):
        raise ConfigError(
            f"{file.filename}: {name!r} leads to another file; remote files are streamed on their "
            "own: pass the file that holds it"
        )


def read_value(file: Any, path: str, attribute: str | None = None) -> Any:
    """Read a dataset, a member of one, or an attribute.

    Parameters
    ----------
    file : h5py.File
        Open.
    path : str
        Dataset, or, with `attribute`, any object; ``"/"`` for the root.
    attribute : str or None
        Of that object.

    Returns
    -------
    str or numpy.ndarray
        A string, or an array of plain elements.

    Raises
    ------
    ConfigError
        If it is not there, or too large to be kept.
    LayoutError
        If HDF5 cannot read it.
    UnsupportedError
        If its elements are not plain.
    """
    if attribute is not None:
        find_node(file, path or "/")
        refuse_elsewhere(file, path or "/")
        return _plain(file, path, attribute, read_attribute(file, path or "/", attribute))
    return _plain(file, path, None, _read(file, path))


def read_decoded(file: Any, path: str, value: Any) -> Any:
    """Return what the stored numbers of a dataset stand for, as its attributes say.

    Parameters
    ----------
    file : h5py.File
        Open.
    path : str
        The dataset, or a member of it.
    value : numpy.ndarray
        What it holds.

    Raises
    ------
    UnsupportedError
        If the attributes cannot be followed.
    """
    dataset = find_dataset(file, path)
    packing = read_packing(dataset.id, dataset.dtype)
    if packing is None:
        return value
    if packing.trouble:
        raise UnsupportedError(
            f"{file.filename}: {path!r} cannot be decoded: {packing.trouble}; leave decode_cf out, "
            "and decode what is stored with map()"
        )
    return packing.decode(np.asarray(value))


def read_ids(file: Any, path: str) -> Any:
    """Read a dataset that has one number or string a row.

    Returns
    -------
    list of str or numpy.ndarray
        One a row.

    Raises
    ------
    ConfigError
        If it is not there, or holds something else.
    LayoutError
        If HDF5 cannot read it.
    """
    values = _read(file, path)
    if getattr(values, "ndim", 0) == 1 and h5py.check_string_dtype(values.dtype) is not None:
        try:
            return [value.decode() for value in values.tolist()]
        except UnicodeDecodeError as error:
            raise LayoutError(f"{file.filename}: {path!r} has text that is not UTF-8") from error
    if getattr(values, "ndim", 0) != 1 or values.dtype.kind not in "biufS":
        raise ConfigError(
            f"{file.filename}: {path!r} does not have one number or string a row, and cannot be "
            "the key of a table"
        )
    return values


def _read(file: Any, path: str) -> Any:
    dataset = find_dataset(file, path)
    nbytes = dataset.size and dataset.size * dataset.dtype.itemsize
    if nbytes and nbytes > _MOST_BYTES:
        raise ConfigError(
            f"{file.filename}: {path!r} takes {nbytes} bytes, too many to be kept in memory; "
            "stream it as a field with rows of its own"
        )
    check_dataset_heap(dataset)
    check_plugin_chunks(dataset)
    try:
        value = dataset[()]
    except (OSError, RuntimeError, ValueError) as error:
        raise LayoutError(f"{file.filename}: HDF5 cannot read {path!r}: {error}") from error
    for member in () if dataset.name.strip("/") == path.strip("/") else split_members(path)[1]:
        if value.dtype.names is None or member not in value.dtype.names:
            raise ConfigError(f"{file.filename}: {path!r} names no member of its type")
        value = value[member]
    return value


def _plain(file: Any, path: str, attribute: str | None, value: Any) -> Any:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise LayoutError(
                f"{file.filename}: {attribute or path!r} is text that is not UTF-8 ({value[:40]!r})"
            ) from error
    if isinstance(value, str):
        return value
    array = np.asarray(value)
    if isinstance(value, h5py.Empty) or array.dtype.hasobject:
        what = path if attribute is None else f"{path}, {attribute}"
        raise UnsupportedError(
            f"{file.filename}: {what!r} is empty, or holds lists of strings or references; only "
            "one string, or an array of plain elements, can be repeated for rows"
        )
    return array


def shape_of(file: Any, path: str) -> np.ndarray:
    """Return the shape of a dataset as int64."""
    shape = find_dataset(file, path).shape
    if shape is None:
        raise ConfigError(f"{file.filename}: {path!r} has no elements, and no shape")
    return np.array(shape, np.int64)
