"""Checks that files which hold the fields of the same rows belong together. Pure.

File i of every field holds the same rows. Lists say so themselves. What patterns match is put in
natural order, so the parts that their wildcards stand for must be the same in all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from h5stream.errors import ConfigError
from h5stream.fields import Given, Origin, Table

__all__ = ["check_aligned", "choose_default", "fields_by_source"]

_WILDCARD = re.compile(r"\*\*/?|\*|\?|\[[^\]]*\]")


def fields_by_source(
    fields: Mapping[str, Any] | None, keys: Sequence[str]
) -> Mapping[str, Any] | None:
    """Check that each field has a source, and each source a field.

    Fields that lie in no file need none.

    Raises
    ------
    ConfigError
        If not.
    """
    if fields is None:
        return None
    anywhere = {key for key, spec in fields.items() if isinstance(spec, Given | Origin | Table)}
    if set(fields) != set(keys) | anywhere:
        alone = next(iter(set(fields) ^ (set(keys) | anywhere)))
        what = "a field, but no files" if alone in fields else "files, but is no field"
        raise ConfigError(
            f"{alone!r} names {what}; where fields lie in files of their own, sources and fields "
            f"have the same keys: sources has {', '.join(keys)}, fields has {', '.join(fields)} (a "
            "file may stand in sources several times)"
        )
    return fields


def choose_default(key: str, names: Sequence[str], path: str) -> str:
    """Choose the dataset of a field that was not named: the one of its name, or the only one.

    Raises
    ------
    ConfigError
        If there are several others.
    """
    if key in names or len(names) == 1:
        return key if key in names else names[0]
    raise ConfigError(
        f"{path}: which dataset is {key!r}? It has {', '.join(names[:8])}; say "
        f"fields={{{key!r}: {names[0]!r}, ...}}"
    )


def check_aligned(asked: Mapping[str, Sequence[str]], found: Mapping[str, Sequence[str]]) -> None:
    """Check that there are as many files of each field, and that names that matched agree.

    Parameters
    ----------
    asked : mapping
        Field -> paths and patterns, as they were given.
    found : mapping
        Field -> files.

    Raises
    ------
    ConfigError
        Naming two fields that do not fit each other.

    Examples
    --------
    >>> check_aligned({"x": ["x-*.h5"], "y": ["y.h5"]}, {"x": ["x-1.h5"], "y": ["y.h5"]})
    """
    (first, expected), *others = found.items()
    for key, paths in others:
        if len(paths) != len(expected):
            raise ConfigError(
                f"there are {len(expected)} files of {first!r}, but {len(paths)} of {key!r}; file "
                "i of each must hold the same rows: give lists of equal length"
            )
    stars = {
        key: [_stands_for(asked[key][0], path) for path in found[key]]
        for key in found
        if len(asked[key]) == 1 and len(found[key]) > 1
    }
    names = list(stars)
    for key in names[1:]:
        for one, other in zip_longest(stars[names[0]], stars[key]):
            if one != other or one is None:
                raise ConfigError(
                    f"the files of {names[0]!r} and {key!r} do not fit each other: {one!r} of "
                    f"{asked[names[0]][0]!r} meets {other!r} of {asked[key][0]!r}; give lists of "
                    "files whose rows belong together"
                )


def _stands_for(pattern: str, path: str) -> tuple[str, ...] | None:
    """Tell what the wildcards of a pattern stand for in a path, None if it does not fit."""
    parts = _WILDCARD.split(pattern)
    fitting = re.fullmatch("(.*)".join(map(re.escape, parts)), path, re.DOTALL)
    return fitting and fitting.groups()
