"""Reads the tables that fields are joined to: CSV and Parquet files, data frames, mappings."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from h5stream.errors import ConfigError
from h5stream.fetch import Access, is_url
from h5stream.fetch.local import read_small
from h5stream.fields import Asked, Listed, Table
from h5stream.fields.lookup import Keyed, Keys, keyed, listed_keys
from h5stream.opening.parquet import ParquetColumns

__all__ = ["read_keys", "with_tables"]

_MOST_BYTES = 2**30
_TABS = (".tsv", ".tab")
_PARQUET = b"PAR1"


_Columns = Mapping[str, Any]


def with_tables(fields: Mapping[str, Asked] | None, access: Access) -> Mapping[str, Asked] | None:
    """Read the table of each field that has one.

    Raises
    ------
    ConfigError
        If one is not there, has not the columns that were named, or says too little.
    """
    if fields is None:
        return None
    read: dict[str, tuple[_Columns, bool]] = {}
    return {
        key: replace(spec, source=_load(key, spec, access, read))
        if isinstance(spec, Table) and not isinstance(spec.source, Keyed)
        else spec
        for key, spec in fields.items()
    }


def read_keys(listed: Listed, access: Access) -> Keys:
    """Read the keys of rows that are wanted.

    Raises
    ------
    ConfigError
        If there are none, or not the columns that were named.
    """
    if listed.by is None:
        raise ConfigError(
            'subset: say what the keys are of: a dataset Listed(keys, by="id"), or '
            'by=Origin("stem") for the name of the file'
        )
    source = listed.source
    if isinstance(source, str | os.PathLike) or listed.key is not None:
        if listed.key is None:
            raise ConfigError(
                f"subset: say which column of {os.fspath(source)!r} has the keys: "
                'Listed(source, key="id", by=...)'
            )
        columns, as_read = _columns_of("subset", source, _names(listed.key), access)
        keys = listed_keys(listed, columns, as_read=as_read)
    else:
        source = list(source.tolist() if hasattr(source, "tolist") else source)
        keys = listed_keys(replace(listed, source=source), None, as_read=False)
    if not keys.parts or not len(keys.parts[0]):
        raise ConfigError("subset: the list has no keys")
    return keys


def _load(key: str, table: Table, access: Access, read: dict[str, tuple[_Columns, bool]]) -> Keyed:
    what, source = f"field {key!r}", table.source
    if table.by is None:
        raise ConfigError(
            f'{what}: say what finds the rows of the table: a dataset by="id", or '
            'by=Origin("stem") for the name of the file'
        )
    is_file = isinstance(source, str | os.PathLike)
    if not is_file and table.column is None:
        return keyed(key, replace(table, source=_as_mapping(what, table)), None, as_read=False)
    if table.column is None or table.key is None:
        raise ConfigError(
            f"{what}: say which column rows get, and which they are found by: "
            'Table(source, "label", key="id", by=...)'
        )
    name = os.fspath(source) if is_file else ""
    if name not in read or not is_file:
        wanted = {*_names(table.column), *_names(table.key)}
        read[name] = _columns_of(what, source, wanted, access)
    columns, as_read = read[name]
    return keyed(key, table, columns, as_read=as_read)


def _names(asked: str | tuple[str, ...]) -> tuple[str, ...]:
    return (asked,) if isinstance(asked, str) else tuple(asked)


def _as_mapping(what: str, table: Table) -> Mapping[Any, Any]:
    source = table.source
    if not isinstance(source, Mapping) and hasattr(source, "to_dict"):
        source = source.to_dict()
    if not isinstance(source, Mapping) or not source or table.several:
        raise ConfigError(
            f"{what}: Table() without column= takes a mapping from keys to values, not "
            f"{table.source!r:.80}; or name the column: Table(source, column, key=..., by=...)"
        )
    return source


def _columns_of(
    what: str, source: Any, wanted: Collection[str], access: Access
) -> tuple[_Columns, bool]:
    """Return the columns of a table, and whether they are text as it stood in a file."""
    if not isinstance(source, str | os.PathLike):
        return _columns_of_frame(what, source, wanted), False
    name = os.fspath(source)
    data = _read_file(name, access)
    if data[:4] == _PARQUET:
        return ParquetColumns(name, data), False
    return _read_csv(name, data), True


def _columns_of_frame(what: str, source: Any, wanted: Collection[str]) -> _Columns:
    """Take the columns out of a data frame; those of pandas, polars and pyarrow by their names."""
    names = getattr(source, "column_names", None)  # pyarrow; its `columns` are data
    names = list(source) if isinstance(source, Mapping) else names
    names = getattr(source, "columns", None) if names is None else names
    if names is None:
        raise ConfigError(
            f"{what}: a table is a CSV or parquet file, a data frame, or a mapping of columns, not "
            f"{source!r:.80}"
        )
    return {name: _values_of(source[name]) if name in wanted else None for name in names}


def _values_of(column: Any) -> Any:
    if hasattr(column, "to_pylist"):
        return column.to_pylist()
    return column.to_numpy() if hasattr(column, "to_numpy") else column


def _read_file(name: str, access: Access) -> bytes:
    if is_url(name):
        data: bytes | None = access.read_all(access.name(name), _MOST_BYTES)
    else:
        data = read_small(Path(name), _MOST_BYTES)
    if data is None:
        raise ConfigError(f"{name}: there is no such table")
    return data


def _read_csv(name: str, data: bytes) -> Mapping[str, list[str]]:
    try:
        text = data.decode("utf-8-sig")
        lines = csv.reader(
            io.StringIO(text, newline=""),
            delimiter="\t" if Path(name).suffix in _TABS else ",",
            strict=True,
        )
        rows = [row for row in lines if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{name}: cannot be read as a CSV file: {error}") from error
    if len(rows) < 2:
        raise ConfigError(f"{name}: has no rows below its header")
    header = rows[0]
    wrong = next((at for at, row in enumerate(rows) if len(row) != len(header)), None)
    if wrong is not None:
        raise ConfigError(
            f"{name}: row {wrong} has {len(rows[wrong])} columns, but the header has {len(header)}"
        )
    if len(set(header)) < len(header):
        raise ConfigError(f"{name}: two columns have the same name in {header}")
    return {column: [row[at] for row in rows[1:]] for at, column in enumerate(header)}
