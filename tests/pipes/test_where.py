from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import h5stream as h5s
from tests.places import Place
from tests.streams import blocks_of, rows_of, write_rows


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, place: Place) -> str:
    return place(write_rows(tmp_path_factory.mktemp("where") / "a.h5", 23))


def is_even(item: dict[str, Any]) -> Any:
    return item["row"] % 2 == 0


@given(st.frozensets(st.integers(0, 22)), st.integers(0, 9), st.integers(1, 9))
def test_batches_hold_exactly_the_kept_rows_in_order(
    path: str, kept: frozenset[int], seed: int, batch_size: int
) -> None:
    blocks = blocks_of(path, seed=seed).shuffle_rows(6)
    expected = [row for row in rows_of(blocks) if row in kept]
    pipe = blocks.where(lambda columns: np.isin(columns["row"], list(kept))).batch(batch_size)
    pipe.set_epoch(0)
    batches = list(pipe)
    assert rows_of(batches) == expected
    assert [batch.n_rows for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)


def test_where_over_samples_decides_one_by_one(path: str) -> None:
    assert rows_of(blocks_of(path, seed=None).unbatch().where(is_even)) == list(range(0, 23, 2))


def test_where_and_its_opposite_share_no_row(path: str) -> None:
    even = rows_of(blocks_of(path).where(is_even))
    odd = rows_of(blocks_of(path).where(lambda columns: ~is_even(columns)))
    assert sorted(even + odd) == list(range(23))


def test_other_columns_stay_beside_their_rows(path: str) -> None:
    for block in blocks_of(path).shuffle_rows(8).where(is_even):
        assert block["x"][:, 0].tolist() == block["row"].tolist()


def test_length_is_known_only_after_a_run(path: str) -> None:
    with pytest.raises(TypeError, match="only after a run"):
        len(blocks_of(path).where(is_even).batch(4))


@pytest.mark.parametrize(
    ("predicate", "found"),
    [
        (lambda columns: True, r"bool of shape \(\)"),
        (lambda columns: columns["row"], r"int64 of shape \(4,\)"),
        (lambda columns: columns["x"] > 0, r"bool of shape \(4, 3\)"),
        (lambda columns: columns["row"][:2] > 0, r"bool of shape \(2,\)"),
    ],
    ids=["one bool", "numbers", "two axes", "too few"],
)
def test_what_is_no_mask_of_the_block_is_refused(path: str, predicate: Any, found: str) -> None:
    with pytest.raises(h5s.ConfigError, match=rf"shape \(4,\), but the predicate returned {found}"):
        next(iter(blocks_of(path, seed=None).where(predicate)))


def test_where_does_not_take_tensors(path: str) -> None:
    with pytest.raises(h5s.ConfigError, match=r"where\(\) takes blocks or samples, but gets tens"):
        blocks_of(path).batch(4).collate().where(is_even)
