from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from h5stream.block import Block, as_block
from h5stream.errors import ConfigError

NUMBERS = st.lists(st.integers(0, 99), max_size=20)


def numbered(numbers: list[int]) -> Block:
    """Make a block of two columns from which the numbers of its rows can be told."""
    x = np.array(numbers, np.int64)
    return Block({"x": x, "y": np.stack([x * 2.0, x * 3.0], axis=1)})


def assert_means(block: Block, numbers: list[int]) -> None:
    assert block.n_rows == len(numbers)
    assert block["x"].tolist() == numbers
    assert block["y"].tolist() == [[2.0 * n, 3.0 * n] for n in numbers]


@given(NUMBERS, st.integers(0, 25), st.integers(0, 25))
def test_a_part_is_a_slice_of_the_rows(numbers: list[int], start: int, length: int) -> None:
    start = min(start, len(numbers))
    assert_means(numbered(numbers).part(start, start + length), numbers[start : start + length])


@given(NUMBERS.filter(bool), st.data())
def test_taking_picks_rows_in_any_order(numbers: list[int], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(numbers) - 1), max_size=30))
    assert_means(numbered(numbers).take(np.array(rows, np.int64)), [numbers[i] for i in rows])


@given(NUMBERS.filter(bool), st.data())
def test_parts_and_picks_compose(numbers: list[int], data: st.DataObject) -> None:
    block = numbered(numbers)
    for _ in range(4):
        start = data.draw(st.integers(0, len(numbers) - 1))
        block, numbers = block.part(start, len(numbers)), numbers[start:]
        order = data.draw(st.permutations(range(len(numbers))))
        block, numbers = block.take(np.array(order)), [numbers[i] for i in order]
    assert_means(block, numbers)


@given(st.lists(NUMBERS, min_size=1, max_size=5))
def test_joined_blocks_follow_each_other(drawn: list[list[int]]) -> None:
    joined = Block.concat([numbered(numbers) for numbers in drawn])
    assert_means(joined, [n for numbers in drawn for n in numbers])


@given(NUMBERS, st.data())
def test_joining_undoes_cutting(numbers: list[int], data: st.DataObject) -> None:
    block = numbered(numbers)
    cut = data.draw(st.integers(0, len(numbers)))
    assert_means(Block.concat([block.part(0, cut), block.part(cut, len(numbers))]), numbers)


@given(NUMBERS)
def test_samples_are_the_rows_one_by_one(numbers: list[int]) -> None:
    samples = list(numbered(numbers).samples())
    assert [int(sample["x"]) for sample in samples] == numbers
    assert [sample["y"].tolist() for sample in samples] == [[2.0 * n, 3.0 * n] for n in numbers]


@given(NUMBERS.filter(bool))
def test_stacked_samples_are_the_block_again(numbers: list[int]) -> None:
    assert_means(Block.stack(list(numbered(numbers).samples())), numbers)


def test_parts_are_views_and_picks_are_copies() -> None:
    block = numbered([1, 2, 3])
    assert np.shares_memory(block.part(1, 3)["y"], block["y"])
    assert not np.shares_memory(block.take(np.arange(3))["y"], block["y"])
    assert not np.shares_memory(Block.concat([block])["y"], block["y"])


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"differ in length: \{'x': 2, 'y': 3\}"):
        Block({"x": np.zeros(2), "y": np.zeros(3)})


def test_a_block_is_a_mapping_of_its_fields() -> None:
    block = numbered([1, 2, 3])
    assert (list(block), len(block), "x" in block) == (["x", "y"], 2, True)
    assert repr(block) == "Block(3 rows; x: int64(), y: float64(2,))"
    with pytest.raises(KeyError):
        block["z"]


def test_a_block_or_a_dict_of_arrays_is_a_block() -> None:
    block = numbered([0, 1, 2])
    assert as_block(block) is block
    assert_means(as_block({name: column.tolist() for name, column in block.items()}), [0, 1, 2])


@pytest.mark.parametrize("value", [None, [1, 2], np.zeros(3)], ids=["none", "list", "array"])
def test_anything_else_is_no_block(value: object) -> None:
    with pytest.raises(ConfigError, match=f"not {type(value).__name__}"):
        as_block(value)
