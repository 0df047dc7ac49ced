"""Finds the rows of a table by their keys. Pure: tables are columns in memory."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from h5stream.columns import Column, Ragged, as_column
from h5stream.columns.ragged import gather
from h5stream.errors import ConfigError
from h5stream.fields.specs import Listed, Table

__all__ = ["Keyed", "Keys", "keyed", "listed_keys", "parsed"]

_SHOWN = 5


@dataclass(frozen=True, eq=False)
class Keys:
    """The keys of a table, or of a list.

    Parameters
    ----------
    parts : tuple of sequence
        One for each part of a key: numbers or `str`, one a row of the table.
    as_read : bool
        Keys are text as it stood in a file, numbers too.
    """

    parts: tuple[Sequence[Any], ...]
    as_read: bool = False

    def like(self, what: str, ids: Sequence[np.ndarray]) -> list[Any]:
        """Return the keys as numbers or text, as those of rows are.

        Parameters
        ----------
        what : str
            For messages.
        ids : sequence of numpy.ndarray
            The parts of each row's key: numbers or `str`.

        Raises
        ------
        ConfigError
            If they have other parts, or are of another kind.
        """
        if len(ids) != len(self.parts):
            raise ConfigError(
                f"{what}: the table's keys have {len(self.parts)} parts, but by= has {len(ids)}"
            )
        pairs = zip(self.parts, ids, strict=True)
        return _joined([self._as_kind_of(what, some, own) for some, own in pairs])

    def _as_kind_of(self, what: str, keys: Sequence[Any], ids: np.ndarray) -> Sequence[Any]:
        is_text = ids.dtype.kind == "U"
        keys = np.asarray(parsed(keys) if self.as_read and not is_text else keys).tolist()
        wrong = next((key for key in keys if isinstance(key, str) != is_text), None)
        if wrong is not None and len(ids):
            raise ConfigError(
                f"{what} finds rows by {ids[0].item()!r} and the like, but the table has keys like "
                f"{wrong!r}: one is text, the other a number; convert the table's keys"
            )
        return keys

    def rows(self, what: str, ids: Sequence[np.ndarray]) -> tuple[np.ndarray, list[str]]:
        """List the rows of each key, in the order of the keys; and the keys that no row has.

        Examples
        --------
        >>> Keys((["b", "c", "a"],)).rows("subset", [np.array(["a", "b", "b"])])
        (array([1, 2, 0]), ['c'])
        """
        keys = self.like(what, ids)
        numbers, of_rows = _numbered(_joined([own.tolist() for own in ids]))
        order = np.argsort(of_rows, kind="stable")
        counts = np.bincount(of_rows, minlength=len(numbers))
        places = [numbers[key] for key in keys if key in numbers]
        at = np.array(places, np.int64)
        rows = gather(order, (np.cumsum(counts) - counts)[at], counts[at])
        return rows, list(dict.fromkeys(_told(key) for key in keys if key not in numbers))

    def described(self, missing: Sequence[str]) -> str:
        """Say which keys are missing, and which ones come close."""
        known = [_told(key) for key in _joined([np.asarray(some).tolist() for some in self.parts])]
        close = difflib.get_close_matches(missing[0], known, n=2, cutoff=0.6) or known[:3]
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        shown = ", ".join(missing[:_SHOWN])
        return f"{shown}{more} (the table has keys like {', '.join(close)})"


@dataclass(frozen=True, eq=False)
class Keyed:
    """A table whose columns are in memory.

    Parameters
    ----------
    keys : Keys
        What its rows are found by.
    values : Column
        What rows get.
    several : bool
        Rows get all values of their key.
    """

    keys: Keys
    values: Column
    several: bool = False

    def look_up(
        self, field: str, ids: Sequence[np.ndarray], path: str
    ) -> tuple[Column, np.ndarray]:
        """Find what the table says of each row of a file.

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
        (Column, numpy.ndarray)
            Values, and which of them each row has; -1 for a key that is not there.

        Raises
        ------
        ConfigError
            If a key stands in the table twice and rows get one value, or keys are of another kind
            than those of the rows.

        Examples
        --------
        >>> Keyed(Keys((["a", "b"],)), np.array([1, 2])).look_up("y", [np.array(["b", "c"])], "a")
        (array([1, 2]), array([ 1, -1]))
        """
        keys = self.keys.like(f"{path}: field {field!r}", ids)
        numbers, of_keys = _numbered(keys)
        wanted = _joined([own.tolist() for own in ids])
        at = np.fromiter((numbers.get(each, -1) for each in wanted), np.int64, len(ids[0]))
        if self.several:
            return _gathered(self.values, of_keys), np.where(at < 0, len(numbers), at)
        if len(numbers) < len(keys):
            raise ConfigError(
                f"field {field!r}: the table has {Counter(keys).most_common(1)[0][0]!r} more than "
                "once; keep one row of each key, or let rows have all values of their key with "
                "several=True"
            )
        return self.values, at


def _joined(parts: Sequence[Sequence[Any]]) -> list[Any]:
    return list(parts[0]) if len(parts) == 1 else list(zip(*parts, strict=True))


def _numbered(keys: Sequence[Any]) -> tuple[dict[Any, int], np.ndarray]:
    """Give different keys numbers, in the order in which they come; also say that of each."""
    numbers: dict[Any, int] = {}
    of_keys = (numbers.setdefault(key, len(numbers)) for key in keys)
    return numbers, np.fromiter(of_keys, np.int64, len(keys))


def _gathered(values: Column, of_keys: np.ndarray) -> Ragged:
    """Put the values of each key together; the last row has none."""
    assert isinstance(values, np.ndarray), "several values of a key are numbers"
    lengths = np.append(np.bincount(of_keys), 0)
    order = np.argsort(of_keys, kind="stable")
    return Ragged.placed(values[order], np.cumsum(lengths) - lengths, lengths)


def _told(key: Any) -> str:
    return ", ".join(map(str, key)) if isinstance(key, tuple) else str(key)


def keyed(field: str, table: Table, columns: Mapping[str, Any] | None, *, as_read: bool) -> Keyed:
    """Take the columns that rows are found by, and what they get.

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
    what = f"field {field!r}"
    if columns is None:
        keys = _keys_of(what, list(table.source), table.pattern)
        return Keyed(keys, _as_values(what, list(table.source.values())))
    keys = _named_keys(what, table, columns, as_read)
    names = (table.column,) if isinstance(table.column, str) else tuple(table.column or ())
    found = [_column_of(what, name, columns) for name in names]
    values = [_as_values(what, parsed(some) if as_read else some) for some in found]
    if table.several or len(values) > 1:
        _require_numbers(what, names, values)
    plain = isinstance(table.column, str)
    return Keyed(keys, values[0] if plain else np.stack(values, 1), table.several)  # type: ignore[arg-type] # numbers


def listed_keys(listed: Listed, columns: Mapping[str, Any] | None, *, as_read: bool) -> Keys:
    """Take the keys of a list, or the columns of a table that are keys.

    Raises
    ------
    ConfigError
        If there is no such column, or no key.
    """
    if columns is None:
        return _keys_of("subset", list(listed.source), listed.pattern)
    return _named_keys("subset", listed, columns, as_read)


def _named_keys(
    what: str, table: Table | Listed, columns: Mapping[str, Any], as_read: bool
) -> Keys:
    names = (table.key,) if isinstance(table.key, str) else tuple(table.key or ())
    parts = tuple(_column_of(what, name, columns) for name in names)
    if table.pattern is None:
        return Keys(parts, as_read)
    if len(parts) != 1:
        raise ConfigError(f"{what}: pattern= is for the text of one column, not of {names!r}")
    return _keys_of(what, parts[0], table.pattern)


def _column_of(what: str, name: Any, columns: Mapping[str, Any]) -> Any:
    if name in columns:
        return columns[name]
    has = ", ".join(map(str, list(columns)[:_SHOWN]))
    raise ConfigError(f"{what}: the table has no column {name!r}; it has {has}")


def _keys_of(what: str, keys: Sequence[Any], pattern: str | None) -> Keys:
    """Take keys apart: tuples, or what the groups of a pattern match."""
    if pattern is not None:
        return Keys(tuple(zip(*_matches(what, keys, pattern), strict=True)), as_read=True)
    if len(keys) and isinstance(keys[0], tuple):
        return Keys(tuple(zip(*keys, strict=True)))
    return Keys((keys,))


def _matches(what: str, keys: Sequence[Any], pattern: str) -> list[tuple[str, ...]]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"{what}: {pattern!r} is no regular expression: {error}") from error
    if not compiled.groups:
        raise ConfigError(
            f"{what}: the groups of a pattern are the parts of the key, and {pattern!r} has none; "
            r'put parts in parentheses: r"(bucket\d+)\$(\d+)"'
        )
    found = [compiled.match(key) if isinstance(key, str) else None for key in keys]
    wrong = next((key for key, match in zip(keys, found, strict=True) if match is None), None)
    if wrong is not None:
        raise ConfigError(f"{what}: the key {wrong!r} does not begin with {pattern!r}")
    return [match.groups("") for match in found if match is not None]


def _require_numbers(what: str, names: Sequence[str], values: Sequence[Column]) -> None:
    for name, column in zip(names, values, strict=True):
        if not isinstance(column, np.ndarray) or column.dtype.kind not in "biuf" or column.ndim > 1:
            raise ConfigError(
                f"{what}: several values make a list of numbers, but column {name!r} holds others; "
                "number them before, as codes"
            )


def _as_values(what: str, values: Any) -> Column:
    """Accept numbers, strings, and lists of numbers."""
    if not len(values):
        raise ConfigError(f"{what}: the table has no rows")
    array = np.asarray(values) if not isinstance(values, list) else None
    if array is not None and array.dtype.kind in "biufc":
        return array
    rows = list(values) if array is None else array.tolist()
    if len({isinstance(row, str) for row in rows}) > 1 or any(row is None for row in rows):
        raise ConfigError(
            f"{what}: the table has text beside numbers or missing values; fill them, "
            'with fillna("") for one'
        )
    column = as_column(rows)
    if isinstance(column, np.ndarray) and column.dtype.kind not in "biufcSU":
        raise ConfigError(f"{what}: values of type {column.dtype} cannot be streamed")
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
