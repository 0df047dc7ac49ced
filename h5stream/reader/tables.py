"""Reads the tables that fields are joined to: CSV files, data frames, mappings."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from h5stream.errors import ConfigError
from h5stream.fetch import Access, is_url
from h5stream.fetch.local import read_small
from h5stream.fields import Asked, Table
from h5stream.fields.lookup import Keyed, keyed

__all__ = ["with_tables"]

_MOST_BYTES = 2**30
_TABS = (".tsv", ".tab")


def with_tables(fields: Mapping[str, Asked] | None, access: Access) -> Mapping[str, Asked] | None:
    """Read the table of each field that has one.

    Raises
    ------
    ConfigError
        If one is not there, has not the columns that were named, or says too little.
    """
    if fields is None:
        return None
    read: dict[str, Mapping[str, Any]] = {}
    return {
        key: replace(spec, source=_load(key, spec, access, read))
        if isinstance(spec, Table) and not isinstance(spec.source, Keyed)
        else spec
        for key, spec in fields.items()
    }


def _load(key: str, table: Table, access: Access, read: dict[str, Mapping[str, Any]]) -> Keyed:
    if table.by is None:
        raise ConfigError(
            f'field {key!r}: say what finds the rows of the table: a dataset by="id", or '
            'by=Origin("stem") for the name of the file'
        )
    if isinstance(table.source, str | os.PathLike):
        _require_columns(key, table)
        name = os.fspath(table.source)
        if name not in read:
            read[name] = _read_csv(name, access)
        return keyed(key, table, read[name], as_read=True)
    if table.column is None:
        source = table.source
        if not isinstance(source, Mapping) and hasattr(source, "to_dict"):
            source = source.to_dict()
        if not isinstance(source, Mapping) or not source:
            raise ConfigError(
                f"field {key!r}: Table() without column= takes a mapping from keys to values, not "
                f"{table.source!r:.80}; or name the column: Table(source, column, key=..., by=...)"
            )
        return keyed(key, replace(table, source=source), None, as_read=False)
    _require_columns(key, table)
    return keyed(key, table, _columns_of(key, table), as_read=False)


def _require_columns(key: str, table: Table) -> None:
    if table.column is None or table.key is None:
        raise ConfigError(
            f"field {key!r}: say which column rows get, and which they are found by: "
            'Table(source, "label", key="id", by=...)'
        )


def _columns_of(key: str, table: Table) -> Mapping[str, Any]:
    """Take the columns out of a data frame; those of pandas, polars and pyarrow by their names."""
    source = table.source
    names = getattr(source, "column_names", None)  # pyarrow; its `columns` are data
    names = list(source) if isinstance(source, Mapping) else names
    names = getattr(source, "columns", None) if names is None else names
    if names is None:
        raise ConfigError(
            f"field {key!r}: a table is a CSV file, a data frame, or a mapping of columns, not "
            f"{source!r:.80}"
        )
    wanted = {table.column, *([table.key] if isinstance(table.key, str) else table.key or ())}
    return {name: _values_of(source[name]) if name in wanted else None for name in names}


def _values_of(column: Any) -> Any:
    if hasattr(column, "to_pylist"):
        return column.to_pylist()
    return column.to_numpy() if hasattr(column, "to_numpy") else column


def _read_csv(name: str, access: Access) -> Mapping[str, list[str]]:
    if is_url(name):
        data: bytes | None = access.read_all(access.name(name), _MOST_BYTES)
    else:
        data = read_small(Path(name), _MOST_BYTES)
    if data is None:
        raise ConfigError(f"{name}: there is no such table")
    if data[:4] == b"PAR1":
        raise ConfigError(
            f"{name}: is parquet; pass what reads it: Table(pandas.read_parquet(...))"
        )
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
