"""What holds for columns of every kind."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from h5stream.block import Block
from h5stream.columns import Ragged, concat, stack, take
from tests.columns.kinds import KINDS, assert_rows, rows_of

kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def places(column: Any) -> st.SearchStrategy[np.ndarray]:
    """Draw rows of a column, some of them twice."""
    one = st.integers(0, len(column) - 1)
    return st.lists(one, max_size=12).map(lambda rows: np.array(rows, np.int64))


@kinds
@given(st.data())
def test_a_column_holds_its_rows(kind: Any, data: st.DataObject) -> None:
    assert_rows(*data.draw(kind()))


@kinds
@given(st.data())
def test_a_slice_holds_the_rows_of_a_list_slice(kind: Any, data: st.DataObject) -> None:
    column, rows = data.draw(kind())
    part = data.draw(st.slices(len(rows)))
    assert_rows(column[part], rows[part])


@kinds
@given(st.data())
def test_take_chooses_rows(kind: Any, data: st.DataObject) -> None:
    column, rows = data.draw(kind(least=1))
    chosen = data.draw(places(column))
    assert_rows(take(column, chosen), [rows[place] for place in chosen])


@kinds
@given(st.data())
def test_take_of_take_is_take_of_the_chosen(kind: Any, data: st.DataObject) -> None:
    column, _ = data.draw(kind(least=1))
    first = np.append(data.draw(places(column)), 0)
    second = data.draw(places(first))
    assert_rows(take(take(column, first), second), rows_of(take(column, first[second])))


@kinds
@given(st.data())
def test_a_mask_keeps_rows(kind: Any, data: st.DataObject) -> None:
    column, rows = data.draw(kind())
    mask = np.array([data.draw(st.booleans()) for _ in rows], bool)
    assert_rows(column[mask], [row for row, kept in zip(rows, mask, strict=True) if kept])


@kinds
@given(st.data())
def test_joined_parts_are_the_column_again(kind: Any, data: st.DataObject) -> None:
    column, rows = data.draw(kind())
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    bounds = pairwise([0, *cuts, len(rows)])
    assert_rows(concat([column[start:stop] for start, stop in bounds]), rows)


@kinds
@given(st.data())
def test_joined_choices_are_the_choice_of_all(kind: Any, data: st.DataObject) -> None:
    column, rows = data.draw(kind(least=1))
    parts = data.draw(st.lists(places(column), min_size=1, max_size=3))
    joined = concat([take(column, part) for part in parts])
    assert_rows(joined, [rows[place] for place in np.concatenate(parts)])


@kinds
@given(st.data())
def test_stacked_rows_are_the_column_again(kind: Any, data: st.DataObject) -> None:
    column, rows = data.draw(kind(least=1))
    assert_rows(stack(list(column)), rows)


@kinds
@given(st.data())
def test_blocks_of_any_kind_are_cut_and_joined(kind: Any, data: st.DataObject) -> None:
    column, rows = data.draw(kind(least=1))
    block = Block({"c": column, "row": np.arange(len(rows))})
    order = np.random.default_rng(0).permutation(len(rows))
    cut = data.draw(st.integers(0, len(rows)))
    shuffled = block.take(order)
    joined = Block.concat([shuffled.part(0, cut), shuffled.part(cut, len(rows))])
    assert joined["row"].tolist() == order.tolist()
    assert_rows(joined["c"], [rows[place] for place in order])
    samples = [sample["row"] for sample in joined.samples()]
    assert samples == order.tolist()


@kinds
@given(st.data())
def test_a_row_that_is_not_there_is_an_index_error(kind: Any, data: st.DataObject) -> None:
    column, rows = data.draw(kind(least=1))
    if isinstance(column, Ragged | np.ndarray):
        with pytest.raises(IndexError):
            column[len(rows)]
    with pytest.raises(IndexError):
        take(column, np.array([len(rows)]))
