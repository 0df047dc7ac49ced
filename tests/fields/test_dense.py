from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from h5stream.fields import DenseField
from h5stream.layout import DatasetLayout, Storage

TABLE = np.dtype([("a", ">i4"), ("p", [("x", "<f4"), ("v", ">f8", (2, 3))]), ("ok", "?")])


def field(dtype: object, shape: tuple[int, ...] = (5, 2), *members: str) -> DenseField:
    layout = DatasetLayout("f.h5", "/x", shape, np.dtype(dtype), Storage.CONTIGUOUS)
    return DenseField("x", layout, members)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("<i2", np.dtype("i2")),
        (">f8", np.dtype("f8")),
        ("?", np.dtype(bool)),
        (">c16", np.dtype("c16")),
        ("S4", np.dtype("S4")),
        (ml_dtypes.bfloat16, np.dtype(ml_dtypes.bfloat16)),
    ],
)
def test_a_column_is_in_the_byte_order_of_the_machine(dtype: object, expected: np.dtype) -> None:
    assert field(dtype).dtype == expected
    assert field(dtype).dtype.isnative


def test_a_compound_column_is_in_the_byte_order_of_the_machine_throughout() -> None:
    found = field(TABLE).dtype
    assert found["a"] == np.dtype("i4")
    assert found["p"]["v"].base == np.dtype("f8")
    assert found["p"]["v"].shape == (2, 3)


@pytest.mark.parametrize(
    ("members", "dtype", "row_shape"),
    [
        (("a",), "i4", (2,)),
        (("p", "x"), "f4", (2,)),
        (("p", "v"), "f8", (2, 2, 3)),
        (("ok",), "?", (2,)),
    ],
    ids=str,
)
def test_a_member_is_a_column_of_its_own(members: tuple, dtype: str, row_shape: tuple) -> None:
    found = field(TABLE, (5, 2), *members)
    assert (found.dtype, found.row_shape) == (np.dtype(dtype), row_shape)
    assert found.row_nbytes == np.dtype(dtype).itemsize * np.prod(row_shape)
    assert found.n_rows == 5


def test_a_member_is_picked_as_a_view() -> None:
    elements = np.zeros((5, 2), TABLE)
    picked = field(TABLE, (5, 2), "p", "v").select(elements)
    assert picked.shape == (5, 2, 2, 3)
    assert np.shares_memory(picked, elements)


def test_a_field_without_members_is_the_elements_themselves() -> None:
    elements = np.zeros((5, 2))
    assert field("f8").select(elements) is elements
