"""Makes the columns that rows have by what they are: constants, origins, what tables say of them.

They are made last, when it is known how many rows a file has. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, get_args, get_type_hints

import numpy as np

from h5stream.columns import stack, take
from h5stream.errors import ConfigError
from h5stream.fields.field import Field
from h5stream.fields.given import CountedField, GivenField, MemoryField, RepeatedField
from h5stream.fields.lookup import Keyed
from h5stream.fields.make import converted
from h5stream.fields.names import RowNames
from h5stream.fields.regions import Steps
from h5stream.fields.resolve import PerFile
from h5stream.fields.sliced import StartField
from h5stream.fields.specs import Origin, Table
from h5stream.fields.subset import labels_of

__all__ = ["Begins", "Computed", "FileRows", "compute_fields", "is_computed", "with_ids"]


Begins = np.ndarray | Steps | None
"""Where slices begin: one number a row, or as regular steps say; None: rows are no slices."""


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
    begins : Begins
        Where slices begin, or when windows do.
    """

    path: str
    number: int
    first: int
    n_rows: int
    names: RowNames | None = None
    begins: Begins = None


def is_computed(spec: Any) -> bool:
    """Tell specs of columns that follow from what rows are."""
    return isinstance(spec, PerFile | Origin | Table)


def with_ids(specs: Mapping[str, Any]) -> dict[str, Any]:
    """Add the fields that the keys of tables are, under names of their own."""
    ids = {
        _id_name(key, number): by
        for key, spec in specs.items()
        if isinstance(spec, Table)
        for number, by in enumerate(spec.by)
    }
    return {**specs, **ids}


def _id_name(key: str, number: int) -> str:
    return f"{key} by {number}"


@dataclass(frozen=True, eq=False)
class Computed:
    """What was computed for one file.

    Parameters
    ----------
    fields : dict
        Key of the column -> field; those that were there, and those that were computed, without
        the keys of tables.
    kept : numpy.ndarray or None
        int64: rows that all tables know; None: all.
    told : tuple of str
        Why others are left out.
    """

    fields: dict[str, Field]
    kept: np.ndarray | None = None
    told: tuple[str, ...] = ()


def compute_fields(
    specs: Mapping[str, Any], fields: Mapping[str, Field], rows: FileRows
) -> Computed:
    """Make all columns of a file that follow from others.

    Parameters
    ----------
    specs : mapping
        Key of the column -> spec; see `with_ids`.
    fields : mapping
        Those that were made.
    rows : FileRows
        Of the file.

    Raises
    ------
    ConfigError
        If rows come from no groups, a constant does not fit its type, or a key not its table.
    """
    made = dict(fields)
    for key, spec in specs.items():
        if isinstance(spec, PerFile | Origin):
            made[key] = _compute(key, spec, rows)
    lacking, told = np.zeros(rows.n_rows, np.bool_), []
    for key, spec in specs.items():
        if isinstance(spec, Table):
            ids = [made.pop(_id_name(key, number)) for number in range(len(spec.by))]
            made[key], without, why = _look_up(key, spec, ids, rows.path)
            lacking |= without
            told += [why] if why else []
    kept = np.flatnonzero(~lacking) if lacking.any() else None
    return Computed({key: made[key] for key in specs if key in made}, kept, tuple(told))


def _compute(key: str, spec: PerFile | Origin, rows: FileRows) -> MemoryField:
    if isinstance(spec, PerFile):
        return _repeated(key, _converted(key, spec, rows.path), rows.n_rows)
    known = get_args(get_type_hints(Origin)["what"])
    if spec.what not in known:
        raise ConfigError(f"field {key!r}: Origin() takes one of {known}, not {spec.what!r}")
    return _MAKERS[spec.what](key, rows)


def _look_up(
    key: str, table: Table, ids: Sequence[Field], path: str
) -> tuple[RepeatedField, np.ndarray, str]:
    """Make the column of a table; also say which rows it does not know, and why not."""
    source = table.source
    assert isinstance(source, Keyed), "tables are read before they are bound"
    labels = [_labels(key, part, path) for part in ids]
    values, at = source.look_up(key, labels, path)
    lacking = at < 0
    used, within = np.unique(at[~lacking], return_inverse=True)
    places = np.zeros(len(at), np.int64)
    places[~lacking] = within
    kept = take(values, used if len(used) else np.zeros(1, np.int64))
    field = RepeatedField(key, kept, places, from_table=True)
    return field, lacking, _told(key, source, labels, lacking, path)


def _labels(key: str, part: Field, path: str) -> np.ndarray:
    if not isinstance(part, MemoryField):
        raise ConfigError(
            f"{path}: field {key!r}: rows of a table are found by the path of a dataset, or by a "
            "field in memory: Origin, Constant, an attribute of Grouped"
        )
    return labels_of(part.of(np.arange(part.n_rows)), f"the key of {key!r}", part.n_rows)


def _told(
    key: str, source: Keyed, labels: Sequence[np.ndarray], lacking: np.ndarray, path: str
) -> str:
    if not lacking.any():
        return ""
    parts = [some[lacking].tolist() for some in labels]
    missing = list(dict.fromkeys(", ".join(map(str, row)) for row in zip(*parts, strict=True)))
    return (
        f"{path}: {int(lacking.sum())} of {len(lacking)} rows are not in the table of {key!r}: "
        f"{source.keys.described(missing)}"
    )


def _converted(key: str, spec: PerFile, path: str) -> Any:
    if spec.dtype is None:
        return spec.column
    if not isinstance(spec.column, np.ndarray):
        raise ConfigError(f"{path}: field {key!r} is text, and cannot become {spec.dtype}")
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


def _within(key: str, rows: FileRows) -> MemoryField:
    if rows.names is None:
        return CountedField(key, 0, rows.n_rows)
    return GivenField(key, rows.names.within(rows.n_rows))


def _start(key: str, rows: FileRows) -> MemoryField:
    begins = rows.begins
    if begins is None:
        raise ConfigError(
            f"{rows.path}: field {key!r} asks where each slice begins, but rows are no slices; ask "
            'for Slices or TimeSlices, or for Origin("row")'
        )
    return StartField(key, begins) if isinstance(begins, Steps) else GivenField(key, begins)


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
    "within": _within,
    "start": _start,
    "row": lambda key, rows: CountedField(key, 0, rows.n_rows),
    "index": lambda key, rows: CountedField(key, rows.first, rows.n_rows),
}
