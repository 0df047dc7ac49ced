"""Checks the fields that were asked for against the files, and against each other."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeGuard

import numpy as np

from h5stream.errors import ConfigError
from h5stream.fields.field import Field
from h5stream.fields.given import GivenField
from h5stream.fields.make import Read, make_field
from h5stream.fields.region import RaggedForm, RegionField, SliceForm
from h5stream.fields.regions import Offsets
from h5stream.fields.resolve import Asked, Members
from h5stream.fields.sliced import check_counts, common_reach, make_slices, repeat_for_slices
from h5stream.fields.specs import Slices
from h5stream.fields.vlen import VlenField
from h5stream.layout import DatasetLayout, FileLayout, Fingerprint

__all__ = ["FileFields", "bind_file", "bind_files", "default_names"]


@dataclass(frozen=True, eq=False)
class FileFields:
    """The chosen fields of one file, all with the same number of rows.

    Parameters
    ----------
    path : str
        The file.
    fields : dict
        Key of the column -> field.
    fingerprints : dict
        Path -> fingerprint of every file that holds data of them.
    rows : numpy.ndarray or None
        int64: the chosen rows, in the order in which they count; None: all.
    convention : str or None
        Name of the convention that chose the fields.
    """

    path: str
    fields: Mapping[str, Field]
    fingerprints: dict[str, Fingerprint]
    rows: np.ndarray | None = None
    convention: str | None = None

    @property
    def n_rows(self) -> int:
        """Rows that are streamed."""
        return self.n_stored_rows if self.rows is None else len(self.rows)

    @property
    def n_stored_rows(self) -> int:
        """Rows of every field of this file."""
        return next(iter(self.fields.values())).n_rows

    @cached_property
    def chosen(self) -> int | str:
        """How many rows, and which unless all are chosen: a digest."""
        if self.rows is None:
            return self.n_rows
        return f"{self.n_rows} {hashlib.blake2b(self.rows.tobytes(), digest_size=8).hexdigest()}"

    @cached_property
    def heaviest(self) -> Field:
        """The field with the most bytes a row: its chunks cut the file."""
        return max(self.fields.values(), key=lambda field: field.row_nbytes)

    def cut(self, target_bytes: int) -> np.ndarray:
        """Cut the rows that are streamed into row chunks; see `Field.cut`."""
        bounds = self.heaviest.cut(target_bytes)
        if self.rows is None:
            return bounds
        if not self._in_order:
            step = int(np.diff(bounds).max(initial=1))
            return np.append(np.arange(0, self.n_rows, step), self.n_rows)
        return np.unique(np.searchsorted(self.rows, bounds))

    @cached_property
    def _in_order(self) -> bool:
        return self.rows is None or bool((np.diff(self.rows) >= 0).all())


def default_names(layouts: Mapping[str, DatasetLayout]) -> list[str]:
    """Choose the datasets that share the leading length of the largest one.

    Datasets that cannot be streamed are left out.

    Raises
    ------
    ConfigError
        If no dataset can be streamed.
    """
    streamable = {name: layout for name, layout in layouts.items() if not layout.refused}
    if not streamable:
        raise ConfigError("no dataset has one row of plain elements per sample; name the fields")
    largest = max(streamable.values(), key=lambda layout: layout.nbytes)
    return [name for name, layout in streamable.items() if layout.n_rows == largest.n_rows]


def bind_file(
    layout: FileLayout, specs: Mapping[str, Asked | Members], read: Read | None = None
) -> FileFields:
    """Make the fields of one file.

    Parameters
    ----------
    layout : FileLayout
        The file, scanned for all datasets that the specs name.
    specs : mapping
        Key of the column -> concrete spec, or the path of a dataset of plain elements.
    read : callable, optional
        Reads a whole dataset; for fields that need offsets, lengths or descriptors.

    Raises
    ------
    ConfigError
        If the fields have unequal numbers of rows.
    """
    fields: dict[str, Field] = {}
    for key, spec in specs.items():
        base = spec.base if isinstance(spec, Slices) else spec
        fields[key] = make_field(key, base, layout, read)
    sliced = {key: spec for key, spec in specs.items() if isinstance(spec, Slices)}
    if sliced:
        reach = common_reach(sliced.values())
        cut = {key: make_slices(fields[key], spec, reach) for key, spec in sliced.items()}
        check_counts(cut)
        leader = next(iter(cut.values()))
        fields = {
            key: cut[key] if key in cut else repeat_for_slices(field, leader)
            for key, field in fields.items()
        }
    lengths = {key: field.n_rows for key, field in fields.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{key!r} has {rows} rows" for key, rows in lengths.items())
        raise ConfigError(
            f"{layout.path}: the fields have unequal numbers of rows: {found}; choose fields that "
            "share the sample axis"
        )
    return FileFields(layout.path, fields, layout.fingerprints)


def bind_files(files: Sequence[FileFields]) -> tuple[FileFields, ...]:
    """Check that all files agree on the type and row shape of every field.

    Datasets that are rows, alike in shape within each file but not across files, become ragged.

    Raises
    ------
    ConfigError
        Naming the file, the field, what was found and what the first file has.
    """
    files = _agree_on_lengths(files)
    first = files[0]
    for file in files[1:]:
        for name in first.fields:
            if name not in file.fields:
                raise ConfigError(
                    f"{file.path}: there is no field {name!r}, which {first.path} has; all files "
                    "must agree"
                )
            found, expected = file.fields[name].column, first.fields[name].column
            if found != expected:
                raise ConfigError(
                    f"{file.path}: field {name!r} has rows of {found.described}, but "
                    f"{first.path} has {expected.described}; all files must agree"
                )
            _check_kind(name, file, first)
    return tuple(files)


def _check_kind(name: str, file: FileFields, first: FileFields) -> None:
    """Refuse one field that is read in two ways; in-memory columns stand for vlen datasets."""
    kinds = {type(some.fields[name]) for some in (file, first)}
    if len(kinds) > 1 and kinds != {VlenField, GivenField}:
        found, expected = (type(some.fields[name]).__name__ for some in (file, first))
        raise ConfigError(
            f"{file.path}: field {name!r} is laid out as a {found}, but in {first.path} as a "
            f"{expected}; all files must agree"
        )


def _agree_on_lengths(files: Sequence[FileFields]) -> list[FileFields]:
    agreed = list(files)
    for name in files[0].fields:
        fields = [file.fields.get(name) for file in agreed]
        forms = {field.form for field in fields if _has_rows_of_datasets(field)}
        if len(forms) < 2:
            continue
        for number, field in enumerate(fields):
            if _has_rows_of_datasets(field):
                ragged = replace(field, form=RaggedForm())
                fixed = {**agreed[number].fields, name: ragged}
                agreed[number] = replace(agreed[number], fields=fixed)
    return agreed


def _has_rows_of_datasets(field: Field | None) -> TypeGuard[RegionField]:
    return (
        isinstance(field, RegionField)
        and isinstance(field.regions, Offsets)
        and type(field.form) in (SliceForm, RaggedForm)
    )
