from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from h5stream.fields import DenseField
from h5stream.layout import DatasetLayout, Storage
from h5stream.reader.execution.destination import Columns, columns_of, scatter
from h5stream.reader.tasks import Destination, Target

DTYPES = ["u1", "<f8", ">i4", "S5", [("a", ">i4"), ("b", "f8", (2,))]]


def field(dtype: object, row_shape: tuple[int, ...], *members: str) -> DenseField:
    layout = DatasetLayout("f.h5", "/x", (9, *row_shape), np.dtype(dtype), Storage.CONTIGUOUS)
    return DenseField("x", layout, members)


def elements_of(shape: tuple[int, ...], dtype: object) -> np.ndarray:
    elements = np.zeros(shape, np.dtype(dtype))
    numbers = np.random.default_rng(0).integers(0, 100, shape)
    if elements.dtype.names is None:
        elements[...] = numbers
    else:
        elements["a"], elements["b"] = numbers, numbers[..., None]
    return elements


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "shape", [(1, 40_000), (3, 200, 70), (100, 331), (499, 66), (600, 100), (7,), (5, 0)], ids=str
)
def test_scattered_rows_go_to_their_places(shape: tuple[int, ...], dtype: object) -> None:
    """Rows that are few and long are cut into parts; the result is that of plain indexing."""
    values = elements_of(shape, dtype)
    column = np.zeros((shape[0] + 3, *shape[1:]), values.dtype.newbyteorder("="))
    places = np.random.default_rng(1).permutation(shape[0] + 3)[: shape[0]]
    scatter(values, column, places)
    expected = np.zeros_like(column)
    expected[places] = values
    assert column.tobytes() == expected.tobytes()


def test_rows_that_are_not_contiguous_are_scattered_too() -> None:
    values = np.arange(2 * 40_000 * 2).reshape(2, 40_000, 2)[:, :, 0]
    column = np.zeros((2, 40_000), np.int64)
    scatter(values, column, np.array([1, 0]))
    assert (column == values[::-1]).all()


@given(st.permutations(range(9)), st.integers(0, 8), st.integers(0, 9))
def test_rows_are_put_where_they_are_told(order: list[int], first: int, count: int) -> None:
    rows = np.arange(100, 109)[first : first + count]
    column = np.full(9, -1)
    Columns([(field("i8", ()), column)], np.array(order)).put(rows, first)
    assert column[order][first : first + count].tolist() == rows.tolist()
    assert (column == -1).sum() == 9 - len(rows)


def test_without_places_rows_stay_in_order_and_may_be_parts() -> None:
    column = np.zeros((4, 5), np.int64)
    part = np.ones((2, 2), np.int64)
    Columns([(field("i8", (5,)), column)]).put(part, 1, (slice(3, 5),))
    assert column.tolist() == [[0] * 5, [0, 0, 0, 1, 1], [0, 0, 0, 1, 1], [0] * 5]


def test_every_field_gets_its_member() -> None:
    table = elements_of((3,), DTYPES[-1])
    a, b = np.zeros(3, "i4"), np.zeros((3, 2))
    members = [(field(DTYPES[-1], (), "a"), a), (field(DTYPES[-1], (), "b"), b)]
    Columns(members, np.array([2, 0, 1])).put(table, 0)
    assert a[[2, 0, 1]].tolist() == table["a"].tolist()
    assert b[[2, 0, 1]].tolist() == table["b"].tolist()


@pytest.mark.parametrize("places", [None, np.array([3, 1, 0, 2])], ids=["in order", "permuted"])
def test_rows_are_filled(places: np.ndarray | None) -> None:
    column = np.zeros((4, 2), "i4")
    Columns([(field(">i4", (2,)), column)], places).fill(np.array(7, ">i4"), 1, 2)
    filled = column if places is None else column[places]
    assert filled.tolist() == [[0, 0], [7, 7], [7, 7], [0, 0]]


@pytest.mark.parametrize("places", [None, np.array([3, 1, 0, 2])], ids=["in order", "permuted"])
def test_raw_rows_are_the_memory_of_the_rows(places: np.ndarray | None) -> None:
    column = np.zeros((4, 2), "<i2")
    columns = Columns([(field("<i2", (2,)), column)], places)
    stored = np.arange(10, 16, dtype="<i2").view(np.uint8)
    at = 0
    for raw in columns.raw_rows(1, 3):
        raw[:] = stored[at : at + raw.nbytes]
        at += raw.nbytes
    assert at == 12
    filled = column if places is None else column[places]
    assert filled[1:].tolist() == [[10, 11], [12, 13], [14, 15]]


def test_a_target_may_be_a_part_of_a_buffer_seen_as_rows() -> None:
    memory = [np.zeros(2), np.zeros(12, "i8")]
    columns = columns_of(Destination((Target(field("i8", (3,)), 1, (3, 9)),)), memory)
    columns.put(np.arange(6).reshape(2, 3), 0)
    assert memory[1].tolist() == [0, 0, 0, *range(6), 0, 0, 0]
