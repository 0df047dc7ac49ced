"""Checks the fields that were asked for against the files, and against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from h5stream.errors import ConfigError
from h5stream.fields.dense import DenseField
from h5stream.layout import DatasetLayout, FileLayout, Fingerprint
from h5stream.layout.names import split_members

__all__ = ["FileFields", "bind_file", "bind_files", "default_names"]


@dataclass(frozen=True, eq=False)
class FileFields:
    """The chosen fields of one file, all with the same number of rows."""

    path: str
    fields: dict[str, DenseField]
    fingerprints: dict[str, Fingerprint]

    @property
    def n_rows(self) -> int:
        """Rows of every field of this file."""
        return next(iter(self.fields.values())).n_rows

    @cached_property
    def heaviest(self) -> DenseField:
        """The field with the most decoded bytes a row: its chunks cut the file."""
        return max(self.fields.values(), key=lambda field: field.layout.row_nbytes)


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


def bind_file(layout: FileLayout, names: Mapping[str, str]) -> FileFields:
    """Make the fields of one file.

    Parameters
    ----------
    layout : FileLayout
        The file, scanned for all dataset names in `names`.
    names : mapping of str to str
        Key of the column -> dataset path, with members of a compound type in brackets.

    Raises
    ------
    ConfigError
        If the fields have unequal numbers of rows.
    """
    fields: dict[str, DenseField] = {}
    for key, name in names.items():
        dataset = layout.datasets[name]
        whole = dataset.path.strip("/") == name.strip("/")
        fields[key] = DenseField(key, dataset, () if whole else split_members(name)[1])
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

    Raises
    ------
    ConfigError
        Naming the file, the field, what was found and what the first file has.
    """
    first = files[0]
    for file in files[1:]:
        for name, field in file.fields.items():
            expected = first.fields[name]
            found = (field.dtype, field.row_shape)
            if found != (expected.dtype, expected.row_shape):
                raise ConfigError(
                    f"{file.path}: field {name!r} has rows of {field.dtype} {field.row_shape}, "
                    f"but {first.path} has {expected.dtype} {expected.row_shape}; all files must "
                    "agree"
                )
    return tuple(files)
