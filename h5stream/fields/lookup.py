"""Finds the rows of a table by their keys. Pure: tables are columns in memory."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from h5stream.columns import Column, as_column
from h5stream.errors import ConfigError
from h5stream.fields.specs import Table

__all__ = ["Keyed", "keyed", "parsed"]

_SHOWN = 5


@dataclass(frozen=True, eq=False)
class Keyed:
    """A table whose columns are in memory.

    Parameters
    ----------
    keys : tuple of sequence
        One for each part of a key: numbers or `str`, one a row of the table.
    values : Column
        What rows get.
    as_read : bool
        Keys are text as it stood in a file, numbers too.
    """

    keys: tuple[Sequence[Any], ...]
    values: Column
    as_read: bool = False

    def find(self, field: str, ids: Sequence[np.ndarray], path: str) -> np.ndarray:
        """Find the row of the table for each row of a file.

        Parameters
        ----------
        field : str
            For messages.
        ids : sequence of numpy.ndarray
            The parts of each row's key: numbers or `str`.
        path : str
            The file, for messages.

        Returns
        -------
        numpy.ndarray
            int64; -1 for a key that is not there.

        Raises
        ------
        ConfigError
            If a key stands in the table twice, or keys are of another kind than those of the rows.

        Examples
        --------
        >>> Keyed((["a", "b"],), np.array([1, 2])).find("y", [np.array(["b", "c"])], "a.h5")
        array([ 1, -1])
        """
        parts = [
            self._as_kind_of(field, some, own, path)
            for some, own in zip(self.keys, ids, strict=True)
        ]
        table = dict(zip(_joined(parts), range(len(parts[0])), strict=True))
        if len(table) < len(parts[0]):
            raise ConfigError(
                f"field {field!r}: the table has {_twice(_joined(parts))!r} more than once; keep "
                "one row of each key, or gather those of a key: Table({key: [values]}, by=...)"
            )
        wanted = _joined([own.tolist() for own in ids])
        return np.fromiter((table.get(each, -1) for each in wanted), np.int64, len(ids[0]))

    def _as_kind_of(
        self, field: str, keys: Sequence[Any], ids: np.ndarray, path: str
    ) -> Sequence[Any]:
        """Return keys as numbers or text, as those of the rows are."""
        is_text = ids.dtype.kind == "U"
        keys = np.asarray(parsed(keys) if self.as_read and not is_text else keys).tolist()
        wrong = next((key for key in keys if isinstance(key, str) != is_text), None)
        if wrong is not None and len(ids):
            raise ConfigError(
                f"{path}: field {field!r} finds rows by {ids[0].item()!r} and the like, but the "
                f"table has keys like {wrong!r}: one is text, the other a number; convert the "
                "table's keys"
            )
        return keys

    def described(self, missing: Sequence[str]) -> str:
        """Say which keys are missing, and which ones come close."""
        known = [str(key) for key in _joined([np.asarray(some).tolist() for some in self.keys])]
        close = difflib.get_close_matches(missing[0], known, n=2, cutoff=0.6) or known[:3]
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        shown = ", ".join(missing[:_SHOWN])
        return f"{shown}{more} (the table has keys like {', '.join(close)})"


def _joined(parts: Sequence[Sequence[Any]]) -> list[Any]:
    return list(parts[0]) if len(parts) == 1 else list(zip(*parts, strict=True))


def _twice(keys: Sequence[Any]) -> Any:
    return Counter(keys).most_common(1)[0][0]


def keyed(field: str, table: Table, columns: Mapping[str, Any] | None, *, as_read: bool) -> Keyed:
    """Take the columns that rows are found by, and the one that they get.

    Parameters
    ----------
    field : str
        For messages.
    table : Table
        What was asked for.
    columns : mapping or None
        Name -> column; None: `source` is a mapping from keys to values.
    as_read : bool
        Columns are text as it stood in a file.

    Raises
    ------
    ConfigError
        If there is no such column, or it cannot be one of batches.
    """
    if columns is None:
        keys = list(table.source)
        parts: tuple[Sequence[Any], ...] = (keys,)
        if keys and isinstance(keys[0], tuple):
            parts = tuple(zip(*keys, strict=True))
        return Keyed(parts, _as_values(field, list(table.source.values())))
    names = (table.key,) if isinstance(table.key, str) else tuple(table.key or ())
    for name in (*names, table.column):
        if name not in columns:
            has = ", ".join(map(str, list(columns)[:_SHOWN]))
            raise ConfigError(f"field {field!r}: the table has no column {name!r}; it has {has}")
    found = columns[str(table.column)]
    values = _as_values(field, parsed(found) if as_read else found)
    parts = tuple(columns[name] for name in names)
    return Keyed(parts, values, as_read)


def _as_values(field: str, values: Any) -> Column:
    """Accept numbers, strings, and lists of numbers."""
    if not len(values):
        raise ConfigError(f"field {field!r}: the table has no rows")
    array = np.asarray(values) if not isinstance(values, list) else None
    if array is not None and array.dtype.kind in "biufc":
        return array
    rows = list(values) if array is None else array.tolist()
    if len({isinstance(row, str) for row in rows}) > 1 or any(row is None for row in rows):
        raise ConfigError(
            f"field {field!r}: the table has text beside numbers or missing values; fill them, "
            'with fillna("") for one'
        )
    column = as_column(rows)
    if isinstance(column, np.ndarray) and column.dtype.kind not in "biufcSU":
        raise ConfigError(f"field {field!r}: values of type {column.dtype} cannot be streamed")
    return column


def parsed(texts: Sequence[str]) -> np.ndarray | list[str]:
    """Read text as integers, else as floats, where nothing is NaN; else leave it.

    Examples
    --------
    >>> parsed(["1", "2"]), parsed(["1", ""]), parsed(["1", "b"])
    (array([1, 2]), array([ 1., nan]), ['1', 'b'])
    """
    try:
        return np.array([int(text) for text in texts], np.int64)
    except (ValueError, OverflowError):
        pass
    try:
        return np.array([float(text) if text.strip() else np.nan for text in texts])
    except ValueError:
        return list(texts)
