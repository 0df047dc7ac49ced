"""Shares out among files what is given for all of them: explicit bounds of slices, and columns.

One rule: what is given counts over all files, in their order, as `subset` does. Only a mapping
from files, or a list that says so, is for each of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from h5stream.columns import Column, as_column
from h5stream.errors import ConfigError, LayoutError
from h5stream.fields.resolve import FileSlices
from h5stream.fields.specs import Given, Slices, TimeSlices

__all__ = ["integers", "share_bounds", "share_column", "share_times"]


def share_bounds(
    key: str, spec: Slices, paths: Sequence[str], totals: Sequence[int]
) -> list[FileSlices]:
    """Say which explicit slices lie in each file, and where.

    Parameters
    ----------
    key : str
        The field, for messages.
    spec : Slices
        With explicit starts.
    paths : sequence of str
        The files.
    totals : sequence of int
        Elements of the sliced field in each.

    Raises
    ------
    ConfigError
        If slices are not in the order of the files.
    LayoutError
        If one lies outside all elements.
    """
    if isinstance(spec.starts, Mapping):
        starts = _by_file(key, spec.starts, paths)
        stops = None if spec.stops is None else _by_file(key, spec.stops, paths)
        return [
            _file_slices(spec, starts.get(path, ()), None if stops is None else stops.get(path, ()))
            for path in paths
        ]
    begins = integers(key, spec.starts)
    ends = None if spec.stops is None else integers(key, spec.stops)
    if ends is not None and begins.shape != ends.shape:
        raise ConfigError(f"field {key!r}: {len(begins)} starts but {len(ends)} stops of slices")
    edges = np.cumsum([0, *totals])
    places = begins - spec.counts_from
    outside = np.flatnonzero((places < 0) | (places > edges[-1]))
    if len(outside):
        row = int(outside[0])
        raise LayoutError(
            f"field {key!r}: slice {row} goes from {begins[row]} to "
            f"{'its length' if ends is None else ends[row]}, but all files together have "
            f"{edges[-1]} elements"
        )
    numbers = np.minimum(np.searchsorted(edges[1:], places, side="right"), len(paths) - 1)
    if (np.diff(numbers) < 0).any():
        row = int(np.flatnonzero(np.diff(numbers) < 0)[0]) + 1
        raise ConfigError(
            f"field {key!r}: slice {row} lies in {paths[numbers[row]]}, after slices of later "
            "files; sort slices by file, or give a mapping from files to their own"
        )
    cuts = np.searchsorted(numbers, np.arange(len(paths) + 1))
    return [
        _file_slices(spec, begins[a:b] - edge, None if ends is None else ends[a:b] - edge)
        for a, b, edge in zip(cuts[:-1], cuts[1:], edges[:-1], strict=True)
    ]


def share_times(key: str, specs: Sequence[TimeSlices], paths: Sequence[str]) -> list[TimeSlices]:
    """Say when the windows of each file start and stop.

    Parameters
    ----------
    key : str
        The field, for messages.
    specs : sequence of TimeSlices
        Of each file.
    paths : sequence of str
        The files.

    Raises
    ------
    ConfigError
        If it is not known which file times are of.
    """
    found = list(specs)
    for name in ("starts", "stops"):
        given = getattr(specs[0], name)
        if isinstance(given, Mapping):
            by_file = _by_file(key, given, paths)
            found = [
                replace(spec, **{name: by_file.get(path, np.empty(0))})
                for spec, path in zip(found, paths, strict=True)
            ]
        elif len(paths) > 1 and given is not None and getattr(specs[1], name) is given:
            raise ConfigError(
                f"field {key!r}: {name} of windows in time are given once for {len(paths)} files; "
                "give a mapping from files to their own, or the path of a dataset"
            )
    return found


def _file_slices(spec: Slices, starts: Any, stops: Any) -> FileSlices:
    return FileSlices(**{**vars(spec), "starts": starts, "stops": stops})


def integers(key: str, values: Any) -> np.ndarray:
    """Return starts or stops as int64.

    Raises
    ------
    ConfigError
        If they are not.
    """
    array = np.asarray(values)
    if array.ndim != 1 or (len(array) and array.dtype.kind not in "iu"):
        raise ConfigError(f"field {key!r}: starts and stops of slices must be lists of integers")
    return array.astype(np.int64)


def share_column(
    key: str, given: Given, paths: Sequence[str], n_rows: Sequence[int]
) -> list[Column]:
    """Say what the rows of each file are given.

    Parameters
    ----------
    key : str
        The field, for messages.
    given : Given
        By row or by file.
    paths : sequence of str
        The files.
    n_rows : sequence of int
        Rows of each.

    Raises
    ------
    ConfigError
        If there are not as many values as rows.
    """
    if given.by == "row":
        column, ends = as_column(given.values), np.cumsum([0, *n_rows])
        if isinstance(column, np.ndarray) and not column.ndim:
            raise ConfigError(f"field {key!r}: one value is given, not one for each row")
        if len(column) != ends[-1]:
            each = set(n_rows) == {len(column)} and len(paths) > 1
            hint = '; for each file its own, pass a list of columns with by="file"' if each else ""
            raise ConfigError(
                f"field {key!r} is given {len(column)} values, but all files together have "
                f"{ends[-1]} rows{hint}"
            )
        return [column[a:b] for a, b in pairwise(ends)]
    columns = _columns_by_file(key, given.values, paths)
    for path, column, rows in zip(paths, columns, n_rows, strict=True):
        if len(column) != rows:
            raise ConfigError(
                f"{path}: field {key!r} is given {len(column)} values, but the file has {rows} rows"
            )
    return columns


def _columns_by_file(key: str, values: Any, paths: Sequence[str]) -> list[Column]:
    if isinstance(values, Mapping):
        by_file = _by_file(key, values, paths)
        lacking = [path for path in paths if path not in by_file]
        if lacking:
            raise ConfigError(f"field {key!r} is given no values for {lacking[0]}")
        return [as_column(by_file[path]) for path in paths]
    if len(values) != len(paths):
        raise ConfigError(
            f"field {key!r} is given {len(values)} columns, but there are {len(paths)} files"
        )
    return [as_column(column) for column in values]


def _by_file(key: str, values: Any, paths: Sequence[str]) -> dict[str, Any]:
    """Find what each file is given, by its path or its name."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"field {key!r}: starts and stops must both be mappings from files")
    names: dict[str, list[str]] = {}
    for path in paths:
        names.setdefault(PurePosixPath(path).name, []).append(path)
    found: dict[str, Any] = {}
    for name, value in values.items():
        fitting = [str(name)] if str(name) in paths else names.get(str(name), [])
        if len(fitting) != 1:
            many = "several files have that name" if fitting else "there is no such file"
            raise ConfigError(f"field {key!r} is given values for {name!r}, but {many}")
        found[fitting[0]] = value
    return found
