"""How files of `h5stream.Writer` describe themselves.

The root has an attribute ``h5stream``: text in JSON, ``{"schema": 1, "columns": {name: kind}}``.
A column is, by its kind,

- ``dense``: a dataset of its name, one row a sample;
- ``ragged``: a group of its name with ``values`` of all rows, and ``offsets``, one more than rows;
- ``text``: the same, where values are the bytes of UTF-8;
- ``sparse``: a group with ``data``, ``indices`` and ``indptr``, and an attribute ``shape``;
- ``strings``: a dataset of HDF5 strings of variable length.

Columns of ``source`` are no fields by default: ``source/rows`` says where each row stood before
rows were shuffled, ``source/ids`` what it was made from.
``splits/name`` are booleans, one a row. ``state_dicts/name`` is a group for each state of a model
that `h5stream.File` stored: its tensors, and how they make up a tree. No column is called so. An
attribute ``h5stream_provenance`` says in JSON what wrote the file, from what.
"""

from __future__ import annotations

import json
from typing import Any

import h5py

from h5stream.conventions.nodes import attribute, refuse

__all__ = [
    "ATTRIBUTE",
    "KINDS",
    "PROVENANCE",
    "ROWS",
    "SCHEMA",
    "SOURCE_IDS",
    "SPLITS",
    "STATES",
    "read_columns",
]

ATTRIBUTE = "h5stream"
PROVENANCE = "h5stream_provenance"
ROWS = "source/rows"
SOURCE_IDS = "source/ids"
SCHEMA = 1
SPLITS = "splits"
STATES = "state_dicts"
KINDS = ("dense", "ragged", "text", "sparse", "strings")

_MOST_COLUMNS = 100_000


def read_columns(file: h5py.File) -> dict[str, str]:
    """Return the kind of each column.

    Parameters
    ----------
    file : h5py.File
        With the attribute.

    Raises
    ------
    LayoutError
        If it is damaged, or of a schema that is not known here.
    """
    text = attribute(file, ATTRIBUTE)
    try:
        found: Any = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise refuse(file, f"has an attribute {ATTRIBUTE!r} that is no JSON ({error})") from error
    columns = found.get("columns") if isinstance(found, dict) else None
    if isinstance(found, dict) and found.get("schema") != SCHEMA:
        raise refuse(
            file,
            f"has the schema {found.get('schema')!r} of h5stream, and this version knows {SCHEMA}; "
            "update h5stream",
        )
    if (
        not isinstance(columns, dict)
        or len(columns) > _MOST_COLUMNS
        or not all(kind in KINDS for kind in columns.values())
    ):
        raise refuse(file, f"has an attribute {ATTRIBUTE!r} that names no columns")
    return columns
