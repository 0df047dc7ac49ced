"""Looks into the groups of an open file: what a path is, which names a pattern has, attributes."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import h5py
import numpy as np

from h5stream.errors import ConfigError
from h5stream.layout.elements import read_vlen_type
from h5stream.layout.heaps import check_attribute_heap
from h5stream.layout.names import split_members

__all__ = [
    "Kind",
    "Match",
    "expand_pattern",
    "find_node",
    "identity",
    "kind_of",
    "list_paths",
    "matrix_width",
    "names_in",
    "read_attribute",
    "some",
]

_MOST_NAMES = 10_000
"""So many names are looked through for one that was misspelt."""

_CSR = frozenset({"data", "indices", "indptr"})


class Kind(StrEnum):
    """What a path names."""

    DENSE = "a dataset of plain elements"
    VLEN = "a dataset of elements of variable length"
    SPARSE = "a matrix in compressed sparse row form"
    GROUP = "a group"


def find_node(file: Any, name: str) -> Any:
    """Return the dataset or group with this name; members in brackets are left out.

    Raises
    ------
    ConfigError
        If there is none; the message names those that come close.
    """
    try:
        return file[name]
    except (KeyError, ValueError):
        path = split_members(name)[0]
    try:
        return file[path]
    except (KeyError, ValueError) as error:
        known = _known_names(file)
        close = difflib.get_close_matches(name.strip("/"), known, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(close)}?" if close else f"it has {some(known)}"
        raise ConfigError(f"{file.filename}: there is no dataset {name!r}; {hint}") from error


def _known_names(file: Any) -> list[str]:
    """List names for a hint; none if h5py cannot, for names that are not UTF-8."""
    try:
        return list_paths(file, _MOST_NAMES)
    except (SystemError, UnicodeError, RuntimeError, KeyError, ValueError):
        return []


def list_paths(group: Any, most: int | None = None) -> list[str]:
    """List the paths below a group that hard links make, in order of their names.

    HDF5's own visit of objects also measures their indexes; a read that fails in there kills the
    process, and of a remote file reads do fail.
    """
    paths: list[str] = []

    def visit(path: str, link: Any) -> bool | None:
        if isinstance(link, h5py.HardLink):
            paths.append(path)
        return True if most is not None and len(paths) >= most else None

    group.visititems_links(visit)
    return paths


def identity(node: Any) -> tuple[Any, ...]:
    """Return what tells an object from all others, by whatever path it is found."""
    info = h5py.h5g.get_objinfo(node.id)  # `h5o.get_info` measures indexes, too
    return (info.fileno, info.objno)


def some(names: list[str]) -> str:
    """List a few names."""
    shown = ", ".join(names[:8]) or "no datasets"
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"


def kind_of(file: Any, name: str) -> Kind:
    """Tell what a path names.

    Raises
    ------
    ConfigError
        If there is nothing.
    """
    node = find_node(file, name)
    if isinstance(node, h5py.Dataset):
        return Kind.VLEN if read_vlen_type(node.id.get_type()) else Kind.DENSE
    if not isinstance(node, h5py.Group):
        raise ConfigError(f"{file.filename}: {name!r} is a type, not a dataset")
    if set(node) >= _CSR and not _is_by_column(node):
        return Kind.SPARSE
    return Kind.GROUP


def _is_by_column(group: Any) -> bool:
    """AnnData writes both forms with the same names; columns cannot be streamed by row."""
    name = "encoding-type" if "encoding-type" in group.attrs else "h5sparse_format"
    if name not in group.attrs:
        return False
    check_attribute_heap(group, name)
    encoding = group.attrs[name]
    return "csc" in (encoding.decode() if isinstance(encoding, bytes) else str(encoding))


def matrix_width(file: Any, path: str) -> int:
    """Read how many columns a sparse matrix has.

    Raises
    ------
    ConfigError
        If its group does not say.
    """
    group = find_node(file, path)
    for name in ("shape", "h5sparse_shape"):
        if name in group.attrs:
            shape = np.atleast_1d(group.attrs[name])
            if shape.shape == (2,) and shape.dtype.kind in "iu" and shape[1] >= 0:
                return int(shape[1])
    raise ConfigError(
        f"{file.filename}: the group {path!r} has no attribute 'shape' of two integers; say how "
        "wide the matrix is with Sparse(path, n_columns=...)"
    )


@dataclass(frozen=True, slots=True)
class Match:
    """An object that a pattern names.

    Parameters
    ----------
    path : str
        Where it is.
    names : tuple of str
        Names of the objects on the way that fit a part with a ``*``.
    texts : tuple of str
        What each ``*`` stands for.
    places : tuple of int
        Where h5py lists each of the names in its group.
    """

    path: str
    names: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    places: tuple[int, ...] = ()


def expand_pattern(file: Any, pattern: str) -> list[Match]:
    """List the datasets and groups that a pattern names, in the order in which h5py lists them.

    Raises
    ------
    ConfigError
        If there is none.
    """
    found = [Match("")]
    for part in pattern.strip("/").split("/"):
        if "*" not in part:
            below = (replace(match, path=f"{match.path}/{part}") for match in found)
            found = [match for match in below if match.path in file]
            continue
        fits = re.compile("(.*)".join(map(re.escape, part.split("*"))))
        found = [
            Match(
                f"{match.path}/{name}",
                (*match.names, name),
                (*match.texts, *fitting.groups()),
                (*match.places, place),
            )
            for match in found
            for place, name in enumerate(_names_in(file, match.path))
            if isinstance(name, str) and (fitting := fits.fullmatch(name))
        ]
    if not found:
        raise ConfigError(
            f"{file.filename}: nothing fits {pattern!r}; it has {some(names_in(file))}"
        )
    return [replace(match, path=match.path.strip("/")) for match in found]


def _names_in(file: Any, path: str) -> list[str | bytes]:
    group = file[path or "/"]
    return list(group) if isinstance(group, h5py.Group) else []


def names_in(group: Any) -> list[str]:
    """List the names in a group that are text; others, which h5py gives as bytes, name no field."""
    return [name for name in group if isinstance(name, str)]


def read_attribute(file: Any, path: str, name: str) -> Any:
    """Read an attribute of a dataset or group.

    Raises
    ------
    ConfigError
        If it is not there.
    """
    attributes = file[path].attrs
    if name not in attributes:
        has = some(list(attributes)) if len(attributes) else "none"
        raise ConfigError(f"{file.filename}: {path!r} has no attribute {name!r}; it has {has}")
    check_attribute_heap(file[path], name)
    value = attributes[name]
    return value.decode() if isinstance(value, bytes) else value
