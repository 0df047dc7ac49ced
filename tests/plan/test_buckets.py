from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from h5stream.plan import budget_buckets, even_buckets

LENGTHS = st.lists(st.integers(0, 30), min_size=1, max_size=40).map(np.array)


def as_lists(batches: list[np.ndarray]) -> list[list[int]]:
    return [batch.tolist() for batch in batches]


@given(LENGTHS, st.integers(1, 12))
def test_each_row_is_in_one_batch_of_the_size_or_left_over(
    lengths: np.ndarray, batch_size: int
) -> None:
    batches, rest = even_buckets(lengths, batch_size=batch_size)
    assert sorted(np.concatenate([*batches, rest]).tolist()) == list(range(len(lengths)))
    assert {len(batch) for batch in batches} <= {batch_size}
    assert rest.tolist() == list(range(len(lengths)))[len(batches) * batch_size :]


@given(LENGTHS, st.integers(1, 12))
def test_no_row_of_a_batch_is_longer_than_one_of_the_batch_before(
    lengths: np.ndarray, batch_size: int
) -> None:
    batches, _rest = even_buckets(lengths, batch_size=batch_size)
    for before, after in pairwise(batches):
        assert lengths[before].min() >= lengths[after].max()


@given(LENGTHS, st.integers(1, 60), st.one_of(st.none(), st.integers(1, 5)))
def test_no_batch_exceeds_the_budget_but_one_row_alone(
    lengths: np.ndarray, max_tokens: int, batch_size: int | None
) -> None:
    batches = budget_buckets(lengths, max_tokens=max_tokens, batch_size=batch_size)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) * lengths[batch].max() <= max_tokens or len(batch) == 1
        assert batch_size is None or len(batch) <= batch_size


@given(LENGTHS, st.integers(1, 60))
def test_a_batch_could_not_have_held_the_next_row(lengths: np.ndarray, max_tokens: int) -> None:
    batches = budget_buckets(lengths, max_tokens=max_tokens, batch_size=None)
    for batch in batches[:-1]:
        assert (len(batch) + 1) * max(1, lengths[batch].max()) > max_tokens


@given(LENGTHS, st.integers(1, 12))
def test_rows_of_a_batch_keep_their_order(lengths: np.ndarray, batch_size: int) -> None:
    even, _rest = even_buckets(lengths, batch_size=batch_size)
    budget = budget_buckets(lengths, max_tokens=40, batch_size=batch_size)
    assert all(sorted(batch) == batch for batch in as_lists(even) + as_lists(budget))


def test_rows_without_elements_fill_a_batch_up_to_the_budget() -> None:
    batches = budget_buckets(np.zeros(5, np.int64), max_tokens=2, batch_size=None)
    assert as_lists(batches) == [[0, 1], [2, 3], [4]]
