"""Makes the columns that a file's rows have by what they are: constants, and where they come from.

They are made last, when it is known how many rows a file has. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, get_args, get_type_hints

import numpy as np

from h5stream.columns import stack
from h5stream.errors import ConfigError
from h5stream.fields.given import CountedField, MemoryField, RepeatedField
from h5stream.fields.make import converted
from h5stream.fields.names import RowNames
from h5stream.fields.resolve import PerFile
from h5stream.fields.specs import Origin

__all__ = ["FileRows", "compute_field", "is_computed"]


@dataclass(frozen=True, eq=False)
class FileRows:
    """The rows of one file, among those of all.

    Parameters
    ----------
    path : str
        The file.
    number : int
        How many files come before.
    first : int
        How many rows come before.
    n_rows : int
        Rows of the file.
    names : RowNames or None
        Which group each row comes from.
    """

    path: str
    number: int
    first: int
    n_rows: int
    names: RowNames | None = None


def is_computed(spec: Any) -> bool:
    """Tell specs of columns that follow from what rows are."""
    return isinstance(spec, PerFile | Origin)


def compute_field(key: str, spec: PerFile | Origin, rows: FileRows) -> MemoryField:
    """Make one column.

    Raises
    ------
    ConfigError
        If rows come from no groups, or a constant does not fit its type.
    """
    if isinstance(spec, PerFile):
        return _repeated(key, _converted(key, spec, rows.path), rows.n_rows)
    known = get_args(get_type_hints(Origin)["what"])
    if spec.what not in known:
        raise ConfigError(f"field {key!r}: Origin() takes one of {known}, not {spec.what!r}")
    return _MAKERS[spec.what](key, rows)


def _converted(key: str, spec: PerFile, path: str) -> Any:
    if spec.dtype is None or not isinstance(spec.column, np.ndarray):
        return spec.column
    return converted(key, spec.column, spec, path)


def _repeated(key: str, column: Any, n_rows: int) -> RepeatedField:
    return RepeatedField(key, column, np.broadcast_to(np.int64(0), n_rows))


def _group(key: str, rows: FileRows) -> MemoryField:
    if rows.names is None:
        raise ConfigError(
            f"{rows.path}: field {key!r} asks for the group of each row, but rows come from no "
            'groups; ask for a field with Grouped, or for Origin("row")'
        )
    return RepeatedField(key, stack(rows.names.groups), rows.names.parents(np.arange(rows.n_rows)))


def _text(of: Callable[[PurePosixPath], str]) -> Callable[[str, FileRows], MemoryField]:
    def make(key: str, rows: FileRows) -> MemoryField:
        return _repeated(key, stack([of(PurePosixPath(rows.path))]), rows.n_rows)

    return make


_MAKERS: Mapping[str, Callable[[str, FileRows], MemoryField]] = {
    "path": lambda key, rows: _repeated(key, stack([rows.path]), rows.n_rows),
    "name": _text(lambda path: path.name),
    "stem": _text(lambda path: path.stem),
    "file": lambda key, rows: _repeated(key, np.array([rows.number]), rows.n_rows),
    "group": _group,
    "row": lambda key, rows: CountedField(key, 0, rows.n_rows),
    "index": lambda key, rows: CountedField(key, rows.first, rows.n_rows),
}
