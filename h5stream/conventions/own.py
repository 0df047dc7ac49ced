"""Files that `h5stream.Writer` wrote; see `schema` for what they hold.

By default all columns are fields, but for those of ``source``; these and ``splits/name`` are there
by name.
"""

from __future__ import annotations

from collections.abc import Sequence

import h5py

from h5stream.conventions.nodes import choose, find
from h5stream.conventions.schema import ATTRIBUTE, SPLITS, read_columns
from h5stream.fields import Dense, FileSpec, Ragged, Sparse, Vlen
from h5stream.layout.contents import names_in

__all__ = ["default_fields", "field_names", "recognise"]

_OF_SOURCES = "source/"


def recognise(file: h5py.File) -> bool:
    """Tell whether Writer wrote the file."""
    return ATTRIBUTE in file.attrs


def field_names(file: h5py.File) -> list[str]:
    """List the columns and the splits."""
    splits = find(file, SPLITS)
    named = names_in(splits) if isinstance(splits, h5py.Group) else []
    return [*read_columns(file), *(f"{SPLITS}/{name}" for name in named)]


def default_fields(file: h5py.File, fields: Sequence[str] | None = None) -> dict[str, FileSpec]:
    """Say how the fields are laid out.

    Parameters
    ----------
    file : h5py.File
        Of the writer.
    fields : sequence of str or None
        Names of columns and splits; None: all columns.
    """
    columns = read_columns(file)
    if fields is None:
        fields = [name for name in columns if not name.startswith(_OF_SOURCES)]
    choose(file, "h5stream", fields, field_names(file))
    return {name: _spec(name, columns.get(name, "dense")) for name in fields}


def _spec(name: str, kind: str) -> FileSpec:
    if kind == "sparse":
        return Sparse(name)
    if kind in ("ragged", "text"):
        return Ragged(f"{name}/values", offsets=f"{name}/offsets", text=kind == "text")
    return Vlen(name) if kind == "strings" else Dense(name)
