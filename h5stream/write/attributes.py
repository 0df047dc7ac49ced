"""Attributes that a file and its datasets have, as far as a file of a writer can have them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import h5py
import numpy as np
from h5py import h5t

from h5stream.conventions.nodes import attribute
from h5stream.conventions.schema import ATTRIBUTE, PROVENANCE
from h5stream.reader.catalog import Catalog

__all__ = ["read_attributes"]

_OF_CONVENTIONS = {ATTRIBUTE, PROVENANCE, "encoding-type", "encoding-version"}
"""They say how a file is laid out, which is no longer so in another."""

_PLAIN = (h5t.INTEGER, h5t.FLOAT, h5t.STRING, h5t.ENUM)
_MOST_BYTES = 2**16

Attributes = dict[str, Any]


def read_attributes(
    catalog: Catalog, paths: Mapping[str, str]
) -> tuple[Attributes, dict[str, Attributes], list[str]]:
    """Read the attributes of the first file of a catalog, and of some of its datasets.

    Parameters
    ----------
    catalog : Catalog
        The files.
    paths : mapping of str to str
        Name of a column -> the dataset that it is.

    Returns
    -------
    dict, dict of dict, list of str
        Attributes of the file, those of columns, and what is left out, a sentence each.
    """
    source = catalog.access.source(catalog.files[0].path)
    found: tuple[Attributes, dict[str, Attributes], list[str]]
    found = source.run(partial(_read, paths))
    return found


def _read(
    paths: Mapping[str, str], file: h5py.File
) -> tuple[Attributes, dict[str, Attributes], list[str]]:
    left_out: list[str] = []
    own = _plain(file, left_out)
    columns = {}
    for name, path in paths.items():
        node = file.get(path)
        if isinstance(node, h5py.Dataset):
            columns[name] = _plain(node, left_out)
    return own, {name: found for name, found in columns.items() if found}, left_out


def _plain(node: Any, left_out: list[str]) -> Attributes:
    found: Attributes = {}
    for name in node.attrs:
        if not isinstance(name, str) or name in _OF_CONVENTIONS:
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
