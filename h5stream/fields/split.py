"""Splits of rows into training, validation and test parts, as functions of a seed.

1. Rows are put in an order: permuted by the seed; and sorted by label, if they are stratified.
2. Along that order, every so many-th row is held out, spread as evenly as numbers allow; among
   those, again every so many-th is for testing, the rest for validation.
3. With groups, these are permuted, and each goes as a whole to the part that lacks most rows.

So each row is in exactly one part; parts have their fraction of rows to within one (of each label,
to within two), or within one group. A split depends on the seed and on the number of rows (with
groups or labels, on those of each row): with more rows, all rows are dealt anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from h5stream.errors import ConfigError
from h5stream.plan.order import Purpose, permutation

__all__ = ["Part", "Split"]


@dataclass(frozen=True)
class Split:
    """A split of rows into training, validation and test parts.

    Pass ``split["train"]``, ``split["validation"]`` or ``split["test"]`` as `subset`.

    Parameters
    ----------
    validation, test : float
        Fractions of the rows; the rest is for training.
    seed : int
        Of the draw.
    group : str or None
        Column whose rows of one value stay together: a patient, a recording.
    stratify : str or None
        Column whose values have the same share of each part: a label.

    Raises
    ------
    ConfigError
        If the fractions leave nothing for training, or both columns are given.

    Examples
    --------
    >>> split = Split(validation=0.2, test=0.1, seed=0)
    >>> {name: len(rows) for name, rows in split.rows(100).items()}
    {'train': 70, 'validation': 20, 'test': 10}
    >>> split["train"]
    Part(split=Split(validation=0.2, test=0.1, seed=0, group=None, stratify=None), name='train')
    """

    validation: float
    test: float = 0.0
    seed: int = 0
    group: str | None = None
    stratify: str | None = None

    def __post_init__(self) -> None:
        held_out = self.validation + self.test
        if not (self.validation >= 0 and self.test >= 0 and held_out < 1):
            raise ConfigError(
                f"validation={self.validation} and test={self.test} must be fractions from 0 on, "
                "and leave some rows for training"
            )
        if not 0 <= self.seed < 2**64:
            raise ConfigError(f"seed must lie in [0, 2**64), not {self.seed}")
        if self.group is not None and self.stratify is not None:
            raise ConfigError("a split is either by group or stratified, not both")

    def __getitem__(self, name: str) -> Part:
        return Part(self, name)

    def rows(self, n_rows: int, labels: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Deal rows to the parts.

        Parameters
        ----------
        n_rows : int
            How many.
        labels : numpy.ndarray or None
            Of each row: its group, or what it is stratified by.

        Returns
        -------
        dict of str to numpy.ndarray
            int64 row numbers of "train", "validation" and "test", in increasing order.
        """
        by = self.group if self.group is not None else self.stratify
        if (by is None) != (labels is None) or (labels is not None and len(labels) != n_rows):
            raise ConfigError(f"{self} needs one label a row of column {by!r}")
        if self.group is not None and labels is not None:
            part = self._deal_groups(n_rows, labels)
        else:
            part = self._deal_rows(n_rows, labels)
        return {name: np.flatnonzero(part == at) for at, name in enumerate(_PARTS)}

    def _deal_rows(self, n_rows: int, labels: np.ndarray | None) -> np.ndarray:
        order = self._permute(n_rows)
        if labels is not None:
            values, rank = np.unique(labels, return_inverse=True)
            shuffled = self._permute(len(values), lane=1)
            order = order[np.argsort(shuffled[rank][order], kind="stable")]
        share = self.validation + self.test
        held_out = order[_evenly(n_rows, share)]
        part = np.zeros(n_rows, np.int64)
        part[held_out] = 1
        if self.test:
            part[held_out[_evenly(len(held_out), self.test / share)]] = 2
        return part

    def _deal_groups(self, n_rows: int, labels: np.ndarray) -> np.ndarray:
        values, rank, sizes = np.unique(labels, return_inverse=True, return_counts=True)
        shares = (1 - self.validation - self.test, self.validation, self.test)
        lacking = [n_rows * share for share in shares]
        part = np.zeros(len(values), np.int64)
        for group in self._permute(len(values)).tolist():
            at = max(range(len(lacking)), key=lacking.__getitem__)
            part[group] = at
            lacking[at] -= int(sizes[group])
        return part[rank]

    def _permute(self, n: int, lane: int = 0) -> np.ndarray:
        return permutation(n, seed=self.seed, epoch=0, purpose=Purpose.SPLITS, lane=lane)


_PARTS = ("train", "validation", "test")


def _evenly(n: int, share: float) -> np.ndarray:
    """Choose positions that are spread evenly: of any stretch, its share to within one."""
    steps = np.floor(np.arange(n + 1) * share + 0.5)
    return np.flatnonzero(steps[1:] > steps[:-1])


@dataclass(frozen=True)
class Part:
    """One part of a split, for `subset`.

    Parameters
    ----------
    split : Split
        The split.
    name : {"train", "validation", "test"}
        Which part.
    """

    split: Split
    name: str

    def __post_init__(self) -> None:
        if self.name not in _PARTS:
            raise ConfigError(f"a split has the parts {', '.join(_PARTS)}, not {self.name!r}")
