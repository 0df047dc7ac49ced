from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from h5stream.errors import ConfigError
from h5stream.fields import Split

PARTS = ("train", "validation", "test")

fractions = st.tuples(st.integers(0, 60), st.integers(0, 39)).map(
    lambda pair: (pair[0] / 100, pair[1] / 100)
)
seeds = st.integers(0, 2**64 - 1)


def shares_of(split: Split) -> list[float]:
    return [1 - split.validation - split.test, split.validation, split.test]


def assert_partition(parts: dict[str, np.ndarray], n_rows: int) -> None:
    assert tuple(parts) == PARTS
    together = np.concatenate([parts[name] for name in PARTS])
    assert sorted(together.tolist()) == list(range(n_rows))
    assert all((np.diff(rows) > 0).all() for rows in parts.values())
    assert all(rows.dtype == np.int64 for rows in parts.values())


@given(n_rows=st.integers(0, 500), shares=fractions, seed=seeds)
def test_each_row_is_in_one_part_and_parts_have_their_share(
    n_rows: int, shares: tuple[float, float], seed: int
) -> None:
    split = Split(*shares, seed=seed)
    parts = split.rows(n_rows)
    assert_partition(parts, n_rows)
    for name, share in zip(PARTS, shares_of(split), strict=True):
        assert abs(len(parts[name]) - n_rows * share) <= 1 + 1e-6


@given(
    labels=st.lists(st.sampled_from("abc"), max_size=300).map(lambda found: np.array(found, "U1")),
    shares=fractions,
    seed=seeds,
)
def test_strata_have_the_same_shares(
    labels: np.ndarray, shares: tuple[float, float], seed: int
) -> None:
    split = Split(*shares, seed=seed, stratify="label")
    parts = split.rows(len(labels), labels)
    assert_partition(parts, len(labels))
    for name, share in zip(PARTS, shares_of(split), strict=True):
        assert abs(len(parts[name]) - len(labels) * share) <= 1 + 1e-6
        for label in "abc":
            expected = (labels == label).sum() * share
            assert abs((labels[parts[name]] == label).sum() - expected) <= 2 + 1e-6


@given(
    labels=st.lists(st.integers(0, 12), max_size=300).map(lambda found: np.array(found, np.int64)),
    shares=fractions,
    seed=seeds,
)
def test_groups_stay_together(labels: np.ndarray, shares: tuple[float, float], seed: int) -> None:
    split = Split(*shares, seed=seed, group="patient")
    parts = split.rows(len(labels), labels)
    assert_partition(parts, len(labels))
    groups = [set(labels[rows].tolist()) for rows in parts.values()]
    assert sum(map(len, groups)) == len(set(labels.tolist()))
    largest = max(np.unique(labels, return_counts=True)[1], default=0)
    for name, share in zip(PARTS, shares_of(split), strict=True):
        assert len(parts[name]) <= len(labels) * share + largest + 1e-6
        assert len(parts[name]) >= len(labels) * share - 2 * largest - 1e-6


def test_a_part_without_a_share_is_empty_though_groups_are_large() -> None:
    parts = Split(0.5, group="patient").rows(6, np.array([0, 0, 0, 0, 1, 2]))
    assert parts["test"].size == 0


def test_golden_splits_stay() -> None:
    found = {name: rows.tolist() for name, rows in Split(0.2, 0.1, seed=7).rows(10).items()}
    assert found == {"train": [1, 2, 3, 4, 6, 7, 9], "validation": [5, 8], "test": [0]}


def test_seeds_draw_different_parts() -> None:
    drawn = {tuple(Split(0.2, seed=seed).rows(50)["validation"].tolist()) for seed in range(8)}
    assert len(drawn) == 8


def test_which_strata_of_one_row_are_held_out_depends_on_the_seed() -> None:
    labels = np.arange(40)
    drawn = {
        tuple(Split(0.1, seed=seed, stratify="x").rows(40, labels)["validation"].tolist())
        for seed in range(8)
    }
    assert len(drawn) == 8


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param({"validation": 0.6, "test": 0.4}, "leave some rows", id="nothing left"),
        pytest.param({"validation": -0.1}, "fractions from 0 on", id="negative"),
        pytest.param({"validation": float("nan")}, "fractions", id="nan"),
        pytest.param({"validation": 0.1, "seed": -1}, "seed must lie", id="seed"),
        pytest.param(
            {"validation": 0.1, "group": "a", "stratify": "b"}, "not both", id="two columns"
        ),
    ],
)
def test_a_split_that_makes_no_sense_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Split(**arguments)


def test_parts_are_named() -> None:
    with pytest.raises(ConfigError, match="train, validation, test, not 'valid'"):
        Split(0.1)["valid"]


@pytest.mark.parametrize("labels", [None, np.arange(3)], ids=["none", "too few"])
def test_a_split_by_group_needs_a_label_of_each_row(labels: np.ndarray | None) -> None:
    with pytest.raises(ConfigError, match="one label a row of column 'patient'"):
        Split(0.1, group="patient").rows(4, labels)
