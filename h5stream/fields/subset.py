"""WHICH rows are wanted: from what a user says to row numbers. Pure: columns are asked for.

Rows are numbered over all files together, in the order of the files; `locate_rows` finds the file
of each. Row numbers stay in the order in which they were given, and as often.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np

from h5stream.columns import Column, Ragged, take
from h5stream.errors import ConfigError
from h5stream.fields.specs import Listed
from h5stream.fields.split import Part, Split

__all__ = [
    "Columns",
    "Subset",
    "WindowRows",
    "is_chain",
    "labels_of",
    "locate_rows",
    "resolve_subset",
    "window_rows",
]

Subset = (
    Sequence[int]
    | np.ndarray
    | slice
    | Part
    | Listed
    | Mapping[str, Any]
    | Callable[[Mapping[str, Column]], Any]
    | Sequence["Subset"]
    | None
)
"""What `resolve_subset` understands, and `Listed`, whose table is read before."""

_SHOWN = 8


def resolve_subset(subset: Subset, n_rows: int, read: Callable[[str], Column]) -> np.ndarray | None:
    """Turn what was asked for into row numbers.

    Parameters
    ----------
    subset : Subset
        One of

        - row numbers: a sequence, array or range; their order counts, and how often they stand
          there;
        - a boolean mask of all rows;
        - a slice, in which negative numbers count from the end;
        - a part of a `Split`;
        - a mapping from names of small columns to what they must be, all of them: a value
          (``{"split": "train"}``), a list of values, a compiled pattern that must match from the
          beginning (``{"name": re.compile("planes/")}``; numbers are matched as text), or a
          function that takes the column and returns a mask;
        - a function that takes all columns, read when they are asked for by name, and returns a
          mask or row numbers: ``lambda columns: columns["n_genes"] > 200``. It gets text as an
          array of `str`;
        - several of these in a list, one after the other: each chooses among the rows that those
          before it left, ``[{"label": 3}, split["train"], slice(1000)]``;
        - None for all rows.
    n_rows : int
        Rows of all files together.
    read : callable
        Name -> that column of all rows.

    Returns
    -------
    numpy.ndarray or None
        int64 row numbers; None for all rows in their order.

    Raises
    ------
    ConfigError
        If a mask has another length, rows lie outside, or conditions are met by no row.

    Examples
    --------
    >>> columns = {"split": np.array(["train", "test", "train"])}
    >>> resolve_subset({"split": "train"}, 3, columns.__getitem__)
    array([0, 2])
    >>> resolve_subset([2, 0, 0], 3, columns.__getitem__)
    array([2, 0, 0])
    >>> resolve_subset([{"split": "train"}, slice(1)], 3, columns.__getitem__)
    array([0])
    """
    if subset is None:
        return None
    if isinstance(subset, Split):
        raise ConfigError('a subset is one part of a split: pass split["train"], for one')
    if isinstance(subset, Part):
        return _of_part(subset, n_rows, read)
    if isinstance(subset, slice):
        return _of_slice(subset, n_rows)
    if isinstance(subset, Mapping):
        return _of_conditions(subset, n_rows, read)
    if is_chain(subset):
        return _of_chain(subset, n_rows, read)
    if callable(subset):
        answer = subset(Columns(read, n_rows))
        return _of_array(_as_array(answer, "the function given as subset returned"), n_rows)
    return _of_array(_as_array(subset, "subset is"), n_rows)


def is_chain(subset: Any) -> TypeGuard[Sequence[Subset]]:
    """Tell whether these are several subsets, one after the other.

    Examples
    --------
    >>> is_chain([slice(9), [1, 2]]), is_chain([1, 2])
    (True, False)
    """
    several = isinstance(subset, list | tuple)
    return several and any(
        isinstance(each, slice | Part | Listed | Mapping) or callable(each) for each in subset
    )


def _of_chain(subsets: Sequence[Subset], n_rows: int, read: Callable[[str], Column]) -> np.ndarray:
    rows = np.arange(n_rows, dtype=np.int64)
    for subset in subsets:
        left = rows

        def of_left(name: str, left: np.ndarray = left) -> Column:
            return take(read(name), left)

        chosen = resolve_subset(subset, len(rows), of_left)
        rows = rows if chosen is None else rows[chosen]
    return rows


def _as_array(value: Any, said: str) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.zeros(())
    if array.ndim != 1:
        raise ConfigError(
            f"{said} {value!r:.80}; expected row numbers, a mask, a slice, a mapping of columns to "
            "values, a function, or a part of a split"
        )
    return array.astype(np.int64) if not len(array) else array


def _of_array(array: np.ndarray, n_rows: int) -> np.ndarray:
    if array.dtype == np.bool_:
        if len(array) != n_rows:
            raise ConfigError(f"the mask has {len(array)} elements, but there are {n_rows} rows")
        return np.flatnonzero(array)
    if array.dtype.kind not in "iu":
        raise ConfigError(f"row numbers are integers, not {array.dtype}: {array[:_SHOWN].tolist()}")
    outside = np.flatnonzero((array < 0) | (array >= n_rows))
    if len(outside):
        raise ConfigError(
            f"row {array[outside[0]]} of the subset does not exist: there are {n_rows} rows, from "
            f"0 to {n_rows - 1}"
        )
    return array.astype(np.int64)


def _of_slice(subset: slice, n_rows: int) -> np.ndarray:
    for bound in (subset.start, subset.stop):
        if bound is not None and not -n_rows <= bound <= n_rows:
            raise ConfigError(f"{subset} goes beyond the {n_rows} rows that there are")
    return np.arange(n_rows, dtype=np.int64)[subset].copy()


def _of_part(part: Part, n_rows: int, read: Callable[[str], Column]) -> np.ndarray:
    by = part.split.group if part.split.group is not None else part.split.stratify
    labels = None if by is None else labels_of(read(by), by, n_rows)
    rows = part.split.rows(n_rows, labels)[part.name]
    if not len(rows):
        raise ConfigError(f"the part {part.name!r} of {part.split} has none of the {n_rows} rows")
    return rows


def _of_conditions(
    conditions: Mapping[str, Any], n_rows: int, read: Callable[[str], Column]
) -> np.ndarray:
    mask = np.ones(n_rows, bool)
    for name, wanted in conditions.items():
        labels = labels_of(read(name), name, n_rows)
        found = _meets(labels, wanted, name, n_rows)
        if not found.any():
            shown = ", ".join(map(repr, np.unique(labels)[:_SHOWN].tolist()))
            raise ConfigError(f"no row has {name!r} = {wanted!r}; its values are {shown}, …")
        mask &= found
    if not mask.any():
        raise ConfigError(f"no row meets all conditions of the subset: {dict(conditions)!r}")
    return np.flatnonzero(mask)


def _meets(labels: np.ndarray, wanted: Any, name: str, n_rows: int) -> np.ndarray:
    if isinstance(wanted, re.Pattern):
        return _match(labels, wanted)
    if callable(wanted):
        mask = np.asarray(wanted(labels))
        if mask.dtype != np.bool_ or mask.shape != (n_rows,):
            raise ConfigError(
                f"the condition on {name!r} returned {mask.dtype} of shape {mask.shape}; expected "
                f"a mask of {n_rows} rows"
            )
        return mask
    many = isinstance(wanted, list | tuple | set | frozenset | range | np.ndarray)
    values = [_as_text(value) for value in (wanted if many else [wanted])]
    for value in values:
        if isinstance(value, str) != (labels.dtype.kind == "U"):
            held = "text" if labels.dtype.kind == "U" else str(labels.dtype)
            raise ConfigError(f"{name!r} holds {held}, and is never equal to {value!r}")
    return np.isin(labels, values)


def _as_text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _match(labels: np.ndarray, pattern: re.Pattern[Any]) -> np.ndarray:
    """Match each different value once."""
    if isinstance(pattern.pattern, bytes):
        raise ConfigError(f"{pattern} matches bytes; columns are matched as text")
    values, which = np.unique(labels, return_inverse=True)
    hits = [pattern.match(str(value)) is not None for value in values.tolist()]
    return np.array(hits, bool)[which]


def labels_of(column: Column, name: str, n_rows: int) -> np.ndarray:
    """Turn a small column into one plain value a row: a number, or `str`.

    Raises
    ------
    ConfigError
        If its rows are not single values, or are not as many.

    Examples
    --------
    >>> labels_of(np.array([b"a", b"bc"]), "split", 2)
    array(['a', 'bc'], dtype='<U2')
    """
    if len(column) != n_rows:
        raise ConfigError(f"column {name!r} has {len(column)} rows, but there are {n_rows}")
    if isinstance(column, Ragged) and column.text:
        return np.array(list(column), np.str_)
    array = np.asarray(column) if not isinstance(column, Ragged) else None
    if array is not None and array.ndim > 1 and set(array.shape[1:]) == {1}:
        array = array.reshape(-1)
    if array is None or array.ndim != 1 or array.dtype.kind not in "biufSU":
        raise ConfigError(
            f"column {name!r} does not hold one number or string a row ({column!r:.80}), and "
            "cannot choose rows"
        )
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8", "replace")
    return array


class Columns(Mapping[str, Column]):
    """Columns that are read when they are asked for."""

    def __init__(self, read: Callable[[str], Column], n_rows: int) -> None:
        self._read, self._n_rows = read, n_rows
        self._known: dict[str, Column] = {}

    def __getitem__(self, name: str) -> Column:
        if name not in self._known:
            column = self._read(name)
            is_text = isinstance(column, Ragged) and column.text
            self._known[name] = labels_of(column, name, self._n_rows) if is_text else column
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def locate_rows(rows: np.ndarray, n_rows_of_files: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Find the file of each row, and its number there.

    Parameters
    ----------
    rows : numpy.ndarray
        int64 row numbers over all files.
    n_rows_of_files : sequence of int
        Rows of each file.

    Returns
    -------
    (numpy.ndarray, numpy.ndarray)
        int64: number of the file, row within it.

    Examples
    --------
    >>> locate_rows(np.array([4, 0, 3]), [3, 0, 2])
    (array([2, 0, 2]), array([1, 0, 0]))
    """
    ends = np.cumsum(np.asarray(n_rows_of_files, np.int64))
    file = np.searchsorted(ends, rows, side="right")
    starts = np.concatenate([np.zeros(1, np.int64), ends])
    return file, rows - starts[file]


class WindowRows(np.ndarray):
    """Rows of windows, one window after the other, which a shuffle would take apart."""


def window_rows(n_rows: int, length: int, stride: int = 1) -> WindowRows:
    """List the rows of all windows, one window after the other.

    As a subset of a stream in order with ``batch_size=length``, each batch is a window, whatever
    the rows are: ragged, sparse, or text. A stream that shuffles refuses them, because it shuffles
    rows one by one.

    Parameters
    ----------
    n_rows : int
        Rows that there are; the last, incomplete window is left out.
    length, stride : int
        Rows of a window, and from one window to the next.

    Examples
    --------
    >>> window_rows(6, 4, 2)
    WindowRows([0, 1, 2, 3, 2, 3, 4, 5])
    """
    if length < 1 or stride < 1:
        raise ConfigError(f"length={length} and stride={stride} of windows must be positive")
    if length > n_rows:
        raise ConfigError(f"windows of {length} rows do not fit in {n_rows} rows")
    starts = np.arange(0, n_rows - length + 1, stride, dtype=np.int64)
    return (starts[:, None] + np.arange(length)).reshape(-1).view(WindowRows)
