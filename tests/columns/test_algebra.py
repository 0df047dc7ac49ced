from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from h5stream.columns import concat, stack, take
from h5stream.errors import ConfigError

DTYPES = st.sampled_from(["i1", "f4", "i8", "S3", "c8", "bool", [("a", "i2"), ("b", "f8")]])


@st.composite
def columns(draw: st.DrawFn, least: int = 0) -> np.ndarray:
    shape = (draw(st.integers(least, 12)), *draw(st.lists(st.integers(0, 3), max_size=2)))
    raw = np.random.default_rng(draw(st.integers(0, 9))).integers(0, 2, shape)
    column = np.zeros(shape, np.dtype(draw(DTYPES)))
    if column.dtype.names is None:
        return raw.astype(column.dtype)
    column["a"], column["b"] = raw, -raw
    return column


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == expected.tobytes()


@given(columns(least=1), st.data())
def test_take_is_numpy_indexing(column: np.ndarray, data: st.DataObject) -> None:
    places = st.integers(0, len(column) - 1)
    rows = np.array(data.draw(st.lists(places, max_size=20)), np.int64)
    assert_same(take(column, rows), column[rows])


@given(columns(), st.data())
def test_joined_slices_are_the_column_again(column: np.ndarray, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(column)), max_size=4)))
    bounds = [0, *cuts, len(column)]
    assert_same(concat([column[a:b] for a, b in pairwise(bounds)]), column)


@given(columns(least=1))
def test_stacked_rows_are_the_column_again(column: np.ndarray) -> None:
    assert_same(stack(list(column)), column)


def test_taken_and_joined_columns_own_their_memory() -> None:
    column = np.arange(6)
    assert not np.shares_memory(take(column, np.arange(6)), column)
    assert not np.shares_memory(concat([column]), column)


@pytest.mark.parametrize("row", [6, -7])
def test_taking_a_row_that_is_not_there_is_an_error(row: int) -> None:
    with pytest.raises(IndexError):
        take(np.arange(6), np.array([row]))


def test_rows_of_different_shapes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"\[\(2, 1\), \(3, 2\)\] are no ragged column"):
        stack([np.zeros((3, 2)), np.zeros((2, 1))])


def test_plain_numbers_stack_to_a_column() -> None:
    assert stack([1, 2, 3]).tolist() == [1, 2, 3]
