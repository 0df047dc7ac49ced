"""Attributes that a file and its datasets have, as far as a file of a writer can have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import h5py
import numpy as np
from h5py import h5t

from h5stream.conventions.nodes import attribute
from h5stream.conventions.schema import ATTRIBUTE, PROVENANCE, SPLITS, STATES
from h5stream.reader.catalog import Catalog

__all__ = ["Told", "read_attributes"]

_OF_CONVENTIONS = {ATTRIBUTE, PROVENANCE, "encoding-type", "encoding-version"}
"""They say how a file is laid out, which is no longer so in another."""

_OF_GROUPS = {"shape"}
_OF_H5TORCH = {"mode", "dtypes", "shape", "filled_to", "load_sparse"}

_PLAIN = (h5t.INTEGER, h5t.FLOAT, h5t.STRING, h5t.ENUM)
_MOST_BYTES = 2**16

Attributes = dict[str, Any]


@dataclass(frozen=True)
class Told:
    """Which objects of a file tell about a column.

    Parameters
    ----------
    paths : tuple of str
        The dataset that it is, or those that hold its elements.
    in_group : bool
        Whether these lie in a group of their own, which tells too.
    lacks : str or None
        Why attributes cannot be taken along, if they cannot.
    """

    paths: tuple[str, ...]
    in_group: bool = False
    lacks: str | None = None


def read_attributes(
    catalog: Catalog, columns: Mapping[str, Told]
) -> tuple[Attributes, dict[str, Attributes], list[str]]:
    """Read the attributes of the first file of a catalog, and of some of its datasets.

    Parameters
    ----------
    catalog : Catalog
        The files.
    columns : mapping of str to Told
        Name of a column -> what tells about it.

    Returns
    -------
    dict, dict of dict, list of str
        Attributes of the file, those of columns, and what is left out, a sentence each.
    """
    source = catalog.access.source(catalog.files[0].path)
    found: tuple[Attributes, dict[str, Attributes], list[str]]
    found = source.run(partial(_read, columns))
    return found


def _read(
    columns: Mapping[str, Told], file: h5py.File
) -> tuple[Attributes, dict[str, Attributes], list[str]]:
    left_out: list[str] = []
    own = _plain(file, left_out)
    left_out += _beside_rows(file)
    found = {name: _of_column(file, told, left_out) for name, told in columns.items()}
    return own, {name: each for name, each in found.items() if each}, left_out


def _beside_rows(file: h5py.File) -> list[str]:
    """Name what a file of a writer holds beside its columns."""
    if ATTRIBUTE not in file.attrs:
        return []
    beside = {SPLITS: "splits, which count the rows as they were", STATES: "states of models"}
    return [
        f"{file.filename}: {name}/{each} is left out, as all {what}"
        for name, what in beside.items()
        for each in file.get(name, ())
    ]


def _of_column(file: h5py.File, told: Told, left_out: list[str]) -> Attributes:
    """Gather the attributes of all that tells about a column; the first of a name holds."""
    found: Attributes = {}
    for node in _nodes(file, told):
        for name, value in _plain(node, left_out).items():
            if told.lacks is not None or name in found:
                why = told.lacks or "has the name of another of its column"
                left_out.append(
                    f"{node.file.filename}: attribute {name!r} of {node.name!r} {why}, and is left "
                    "out"
                )
            else:
                found[name] = value
    return found


def _nodes(file: h5py.File, told: Told) -> list[Any]:
    nodes = [node for path in told.paths if isinstance(node := file.get(path), h5py.Dataset)]
    if told.in_group and nodes:
        group = nodes[0].parent
        is_own = group.name != "/" and len(group) <= len(nodes) + 1  # and where rows begin
        if is_own and all(node.parent == group for node in nodes):
            return [group, *nodes]
    return nodes


def _passed_over(node: Any) -> set[str]:
    """Name the attributes that say how an object is laid out."""
    if "mode" in node.attrs and "dtypes" in node.attrs:
        return _OF_CONVENTIONS | _OF_H5TORCH
    is_column = isinstance(node, h5py.Group) and node.name != "/"
    return _OF_CONVENTIONS | (_OF_GROUPS if is_column else set())


def _plain(node: Any, left_out: list[str]) -> Attributes:
    found: Attributes = {}
    passed_over = _passed_over(node)
    for name in node.attrs:
        if not isinstance(name, str) or name in passed_over:
            continue
        about = h5py.h5a.open(node.id, name.encode())
        is_plain = about.get_type().get_class() in _PLAIN
        if not is_plain or about.get_storage_size() > _MOST_BYTES:
            left_out.append(
                f"{node.file.filename}: attribute {name!r} of {node.name!r} is no number or text, "
                "or is too large, and is left out"
            )
            continue
        value = attribute(node, name)
        if not isinstance(value, h5py.Empty):
            found[name] = np.asarray(value) if isinstance(value, np.ndarray) else value
    return found
