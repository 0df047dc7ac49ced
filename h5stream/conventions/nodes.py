"""Reads small things out of files that others wrote, and believes none of them.

What a file names may be missing, of another kind, or of any size: every function here says which
object is wrong, and none reads more than a part of this machine's memory.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator, Sequence
from typing import Any

import h5py
import numpy as np

from h5stream.columns import Ragged
from h5stream.errors import ConfigError, H5StreamError, LayoutError
from h5stream.layout.heaps import check_attribute_heap, check_dataset_heap
from h5stream.layout.plugins import check_plugin_chunks
from h5stream.system import memory_bytes

__all__ = [
    "attribute",
    "attribute_text",
    "choose",
    "find",
    "find_dataset",
    "is_text",
    "read_bounded",
    "read_text_column",
    "read_texts",
    "refuse",
    "refuse_damage",
]

_SHARE_OF_MEMORY = 4
"""One object may take a quarter of the machine's memory."""


def refuse(node: Any, reason: str) -> LayoutError:
    """Make the error that says what is wrong with an object of a file."""
    return LayoutError(f"{node.file.filename}: {node.name!r} {reason}")


@contextlib.contextmanager
def refuse_damage(file: h5py.File) -> Iterator[None]:
    """Turn what h5py raises on damaged files into our own error."""
    try:
        yield
    except H5StreamError:
        raise
    except (RuntimeError, OSError, KeyError, ValueError, TypeError) as error:
        raise LayoutError(
            f"{file.filename}: HDF5 cannot read its objects ({error}); the file is damaged, copy "
            "it again"
        ) from error


def find(parent: h5py.Group, path: str) -> h5py.Group | h5py.Dataset | None:
    """Return the object at a path, None if there is none or its link leads nowhere."""
    with contextlib.suppress(KeyError, OSError, RuntimeError, ValueError):
        node = parent[path]
        return node if isinstance(node, h5py.Group | h5py.Dataset) else None
    return None


def find_dataset(parent: h5py.Group, path: str, n_axes: int | None = None) -> h5py.Dataset:
    """Return a dataset that must be there.

    Raises
    ------
    LayoutError
        If it is not, or has another number of axes.
    """
    node = find(parent, path)
    if not isinstance(node, h5py.Dataset):
        raise refuse(parent, f"has no dataset {path!r}, which files of its kind have")
    if node.shape is None or (n_axes is not None and len(node.shape) != n_axes):
        raise refuse(node, f"has the shape {node.shape}, but should have {n_axes} axes")
    return node


def attribute(node: Any, name: str, default: Any = None) -> Any:
    """Return an attribute, once the heap that it may lie in has been looked at.

    Raises
    ------
    LayoutError
        If that heap is damaged.
    """
    if name not in node.attrs:
        return default
    check_attribute_heap(node, name)
    return node.attrs[name]


def attribute_text(node: Any, name: str) -> str | None:
    """Return an attribute that is a string, None if it is missing or something else."""
    with contextlib.suppress(KeyError, OSError, TypeError, ValueError, RuntimeError):
        value = attribute(node, name)
        if isinstance(value, np.ndarray) and value.size == 1:
            value = value.reshape(-1)[0]
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        return str(value) if isinstance(value, str) else None
    return None


def is_text(dataset: h5py.Dataset, *, of_any_length: bool = False) -> bool:
    """Tell whether a dataset holds strings, or strings of variable length."""
    found = h5py.check_string_dtype(dataset.dtype)
    return found is not None and not (of_any_length and found.length is not None)


def read_bounded(dataset: h5py.Dataset, *, member: str | None = None) -> np.ndarray:
    """Read a dataset, or a member of a compound one, that is small beside this machine's memory.

    Raises
    ------
    LayoutError
        If it claims to be larger than that.
    """
    dtype = dataset.dtype if member is None else dataset.dtype[member]
    if dataset.size * max(dtype.itemsize, 8) > memory_bytes() // _SHARE_OF_MEMORY:
        raise refuse(
            dataset,
            f"has {dataset.size} elements of {dtype}, too many to keep in memory; name the "
            "fields one by one",
        )
    check_dataset_heap(dataset)
    check_plugin_chunks(dataset)
    return dataset[()] if member is None else dataset.fields(member)[()]


def read_texts(dataset: h5py.Dataset) -> list[str]:
    """Read the strings of a one-dimensional dataset.

    Raises
    ------
    LayoutError
        If it holds something else, or text that is not UTF-8.
    """
    if dataset.shape is None or len(dataset.shape) != 1 or not is_text(dataset):
        raise refuse(dataset, "should be a list of strings")
    try:
        return [value.decode() for value in read_bounded(dataset).tolist()]
    except UnicodeDecodeError as error:
        raise refuse(dataset, f"holds text that is not UTF-8 ({error})") from error


def read_text_column(texts: Sequence[str]) -> Ragged:
    """Make a column of strings."""
    if not texts:
        return Ragged(np.zeros(0, np.uint8), np.zeros(1, np.int64), text=True)
    return Ragged.from_rows(texts)


def choose(file: h5py.File, kind: str, fields: Sequence[str], known: Sequence[str]) -> list[str]:
    """Check names of fields against those that a file has.

    Raises
    ------
    ConfigError
        Naming the first that it has not.
    """
    for name in fields:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
            shown = ", ".join(close or known[:8])
            more = "" if close or len(known) <= 8 else f" and {len(known) - 8} more"
            raise ConfigError(
                f"{file.filename}: this {kind} file has no field {name!r}; "
                f"{'did you mean ' + shown + '?' if close else 'it has ' + shown + more}"
            )
    return list(fields)
