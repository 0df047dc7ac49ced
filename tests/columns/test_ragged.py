from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from h5stream.columns import Ragged, as_column, concat, gather, stack, take
from h5stream.errors import ConfigError, DecodeError


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 5)), max_size=8), st.booleans())
def test_gather_joins_slices(pairs: list[tuple[int, int]], long: bool) -> None:
    scale = 600 if long else 1  # rows past the length at which rows are copied one by one
    values = np.arange(26 * scale)
    starts, lengths = (np.array(pairs, np.int64).reshape(-1, 2) * scale).T
    expected = [values[a : a + n] for a, n in zip(starts, lengths, strict=True)]
    assert gather(values, starts, lengths).tolist() == np.concatenate([[], *expected]).tolist()


def test_values_and_offsets_follow_the_rows_that_were_taken() -> None:
    column = Ragged(np.arange(6), np.array([0, 3, 3, 6]))[np.array([2, 0, 2])]
    assert column.values.tolist() == [3, 4, 5, 0, 1, 2, 3, 4, 5]
    assert column.offsets.tolist() == [0, 3, 6, 9]


def test_taking_rows_shares_the_values() -> None:
    column = Ragged(np.arange(6), np.array([0, 3, 6]))
    assert np.shares_memory(take(column, np.array([1, 0])).stored, column.stored)
    assert not np.shares_memory(concat([column]).stored, column.stored)


@pytest.mark.parametrize(
    ("offsets", "message"),
    [
        ([0, 3, 2], "do not decrease"),
        ([], "do not decrease"),
        ([[0, 1]], "do not decrease"),
        ([0, 7], "from 0 to 7, but there are 6 values"),
        ([-1, 3], "from -1 to 3"),
    ],
)
def test_offsets_that_do_not_fit_are_refused(offsets: list[int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Ragged(np.arange(6), np.array(offsets, np.int64))


def test_bytes_that_are_not_utf8_are_named_with_their_row() -> None:
    column = Ragged(np.frombuffer(b"ab\xff", np.uint8), np.array([0, 2, 3]), text=True)
    assert column[0] == "ab"
    for read in (lambda: column[1], column.strings, lambda: list(column)):
        with pytest.raises(DecodeError, match=r"row 1 .* not UTF-8 .*b'\\xff'.*errors="):
            read()


def test_a_cut_inside_a_character_is_not_hidden() -> None:
    halves = Ragged(np.frombuffer("é".encode(), np.uint8), np.array([0, 1, 2]), text=True)
    with pytest.raises(DecodeError, match="row 0"):
        halves.strings()


def test_rows_that_happen_to_be_equally_long_join_a_ragged_column() -> None:
    joined = concat([np.array([[1, 2], [3, 4]]), as_column([[5], [6, 7]])])
    assert [row.tolist() for row in joined] == [[1, 2], [3, 4], [5], [6, 7]]


@pytest.mark.parametrize(
    "columns",
    [
        [np.zeros((2, 2)), np.zeros((2, 3))],
        [as_column([[1], [1, 2]]), as_column([[[1]], [[1], [2]]])],
        [as_column([[1], [1, 2]]), as_column(["a", "bc"])],
        [as_column([[1], [1, 2]]), np.arange(3)],
    ],
    ids=["arrays", "elements", "text", "numbers"],
)
def test_columns_that_do_not_fit_are_not_joined(columns: list[object]) -> None:
    with pytest.raises(ConfigError, match="cannot be joined"):
        concat(columns)


def test_numbers_and_text_are_not_stacked() -> None:
    with pytest.raises(ConfigError, match="only axis 0 may vary"):
        stack(["a", 1])
