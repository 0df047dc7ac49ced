"""Looks into files that a writer wrote."""

from __future__ import annotations

import os
from typing import Any

import h5py

from h5stream.conventions.nodes import attribute
from h5stream.conventions.schema import ATTRIBUTE, read_columns
from h5stream.layout.opening import open_checked
from h5stream.write.column_writers import spec_of
from h5stream.write.columns import ColumnSpec

__all__ = ["attribute_of", "columns_of", "rows_of"]


def columns_of(path: str | os.PathLike[str]) -> dict[str, ColumnSpec]:
    """Return what columns a file has, also those that are no fields by default.

    Raises
    ------
    LayoutError
        If no writer wrote it.
    """
    with open_checked(os.fspath(path)) as file:
        return {name: spec_of(file, name, kind) for name, kind in read_columns(file).items()}


def rows_of(path: str | os.PathLike[str]) -> int:
    """Count the rows of a file.

    Raises
    ------
    LayoutError
        If no writer wrote it.
    """
    with open_checked(os.fspath(path)) as file:
        if ATTRIBUTE not in file.attrs and not len(file):
            return 0  # begun, and nothing committed yet
        columns = read_columns(file)
        return min((_length(file, name) for name in columns), default=0)


def attribute_of(path: str | os.PathLike[str], name: str) -> Any:
    """Return an attribute of a file, None if it has none of that name.

    Raises
    ------
    LayoutError
        If it cannot be opened.
    """
    with open_checked(os.fspath(path)) as file:
        return attribute(file, name)


def _length(file: h5py.File, name: str) -> int:
    node = file[name]
    if isinstance(node, h5py.Dataset):
        return len(node)
    return len(node["indptr" if "indptr" in node else "offsets"]) - 1
