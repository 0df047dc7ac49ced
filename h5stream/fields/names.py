"""Which group each row comes from, and what tells a row from all others. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from h5stream.fields.regions import Bounds, Regions, Steps

__all__ = ["RowNames", "Rows"]


class Rows(NamedTuple):
    """Where rows come from, in the order of their numbers.

    Examples
    --------
    >>> rows = Rows(
    ...     ["a.h5", "b.h5"], np.array([0, 0, 1]), ["mol_0", "mol_1", "mol_0"], np.array([0, 1, 0])
    ... )
    >>> [(rows.files[file], group) for file, group in zip(rows.file, rows.group)]
    [('a.h5', 'mol_0'), ('a.h5', 'mol_1'), ('b.h5', 'mol_0')]
    """

    files: list[str]
    """Names of the files."""

    file: np.ndarray
    """int64, shape (rows,): number of the file that each row lies in."""

    group: list[str] | None
    """Name of the group that each row comes from, of the part of its path that has the ``*``; None
    if rows do not come from groups."""

    row: np.ndarray
    """int64, shape (rows,): number of each row in its file; slices are numbered one by one."""


@dataclass(frozen=True, eq=False)
class RowNames:
    """Names of the groups of one file, and which of them each row comes from.

    Parameters
    ----------
    groups : tuple of str
        In the order in which they count.
    slices : Regions or None
        Where rows lie, if they are slices of what groups hold; None: row i is group i.
    """

    groups: tuple[str, ...]
    slices: Regions | None = None

    def parents(self, rows: np.ndarray) -> np.ndarray:
        """Return the numbers of the groups of rows."""
        return self.slices.parents(rows) if isinstance(self.slices, Steps | Bounds) else rows

    def within(self, n_rows: int) -> np.ndarray:
        """Count the rows of each group, in their order."""
        parents = self.parents(np.arange(n_rows))
        order = np.argsort(parents, kind="stable")
        ordered = parents[order]
        numbers = np.empty(n_rows, np.int64)
        numbers[order] = np.arange(n_rows) - np.searchsorted(ordered, ordered)
        return numbers

    def of(self, rows: np.ndarray) -> list[str]:
        """Name the groups of rows."""
        return [self.groups[number] for number in self.parents(rows).tolist()]
