"""Gives numbers one meaning in all files: codes of categories, and columns of matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from h5stream.errors import ConfigError, LayoutError
from h5stream.fields.resolve import Meaning

__all__ = ["check_columns", "join_categories", "recoded"]


def check_columns(paths: Sequence[str], meanings: Sequence[Mapping[str, Meaning]]) -> None:
    """Check that the columns of matrices have the same names in all files, in the same order.

    Raises
    ------
    ConfigError
        Naming a field and the files that differ.
    """
    for key, first in meanings[0].items():
        for path, found in zip(paths, meanings, strict=True):
            columns = found.get(key, first).columns
            if columns != first.columns:
                raise ConfigError(
                    f"{path}: the columns of {key!r} have other names, or another order, than in "
                    f"{paths[0]} (var_names differ): name those that are wanted, "
                    'convention_options={"genes": [...]}; or pass convention=None for columns by '
                    "their numbers"
                )


def join_categories(meanings: Sequence[Mapping[str, Meaning]]) -> dict[str, tuple[Any, ...]]:
    """Collect the categories of each field over all files, in the order in which they appear.

    Examples
    --------
    >>> join_categories([{"t": Meaning(("B", "T"))}, {"t": Meaning(("T", "NK"))}])
    {'t': ('B', 'T', 'NK')}
    """
    joined: dict[str, dict[Any, None]] = {}
    for found in meanings:
        for key, meaning in found.items():
            if meaning.categories is not None:
                joined.setdefault(key, {}).update(dict.fromkeys(meaning.categories))
    return {key: tuple(categories) for key, categories in joined.items()}


def recoded(
    key: str, codes: np.ndarray, own: Sequence[Any], joined: Sequence[Any], path: str
) -> np.ndarray:
    """Turn the codes of one file into those of all.

    Raises
    ------
    LayoutError
        If a code stands for nothing.
    """
    wrong = np.flatnonzero((codes < -1) | (codes >= len(own)))
    if len(wrong):
        raise LayoutError(
            f"{path}: row {wrong[0]} of {key!r} has the code {codes[wrong[0]]}, but there are "
            f"{len(own)} categories"
        )
    place = {category: number for number, category in enumerate(joined)}
    table = np.array([*(place[category] for category in own), -1], np.int64)
    return table[codes.astype(np.int64)]
