from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from h5stream.columns import Column, Ragged
from h5stream.errors import ConfigError
from h5stream.fields import Split, locate_rows, resolve_subset, window_rows

TEXT = ["train", "test", "train", "val", "träge"]
COLUMNS: dict[str, Column] = {
    "text": Ragged.from_rows(TEXT),
    "bytes": np.array([text.encode() for text in TEXT]),
    "str": np.array(TEXT),
    "number": np.arange(5) * 10,
    "flag": np.array([True, False, True, False, False]),
    "column": np.arange(5)[:, None],
    "matrix": np.zeros((5, 2)),
    "ragged": Ragged(np.arange(3), np.array([0, 1, 2, 2, 2, 3])),
    "short": np.arange(4),
}


def resolved(subset: Any, n_rows: int = 5) -> list[int]:
    rows = resolve_subset(subset, n_rows, COLUMNS.__getitem__)
    assert rows is not None
    assert rows.dtype == np.int64
    return rows.tolist()


def test_none_means_all_rows() -> None:
    assert resolve_subset(None, 5, COLUMNS.__getitem__) is None


@pytest.mark.parametrize(
    ("subset", "expected"),
    [
        pytest.param([3, 1, 1], [3, 1, 1], id="list"),
        pytest.param((4,), [4], id="tuple"),
        pytest.param(np.array([2, 0], np.uint8), [2, 0], id="array"),
        pytest.param(range(4, 0, -2), [4, 2], id="range"),
        pytest.param([], [], id="empty"),
        pytest.param([True, False, False, True, False], [0, 3], id="mask as list"),
        pytest.param(np.arange(5) > 2, [3, 4], id="mask"),
        pytest.param(slice(1, 4), [1, 2, 3], id="slice"),
        pytest.param(slice(-2, None), [3, 4], id="slice from the end"),
        pytest.param(slice(None, None, -2), [4, 2, 0], id="slice backwards"),
    ],
)
def test_rows_masks_and_slices(subset: Any, expected: list[int]) -> None:
    assert resolved(subset) == expected


def multiples(columns: Any) -> Any:
    return columns["number"] % 20 == 0


SPLIT = Split(validation=0.4, seed=3)


@pytest.mark.parametrize(
    ("subsets", "expected"),
    [
        ([slice(1, None), multiples], [2, 4]),
        ([multiples, slice(1, None)], [2, 4]),
        ([multiples, [2, 0]], [4, 0]),
        (({"text": ["train", "val"]}, {"number": [0, 30]}, slice(1, 2)), [3]),
        ([[4, 4, 1], slice(2)], [4, 4]),
        ([slice(None), None], [0, 1, 2, 3, 4]),
    ],
    ids=["slice, function", "function, slice", "function, rows", "labels", "rows", "all"],
)
def test_of_several_subsets_each_chooses_of_what_is_left(subsets: Any, expected: list[int]) -> None:
    assert resolved(subsets) == expected


def test_a_split_deals_the_rows_that_are_left() -> None:
    parts = [resolved([slice(1, None), SPLIT[name]]) for name in ("train", "validation")]
    assert sorted(row for part in parts for row in part) == [1, 2, 3, 4]
    assert len(resolved([SPLIT["train"], slice(2)])) == 2


@pytest.mark.parametrize("name", ["text", "bytes", "str"])
@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        pytest.param("train", [0, 2], id="text"),
        pytest.param(b"train", [0, 2], id="bytes"),
        pytest.param(["val", "test"], [1, 3], id="list"),
        pytest.param({"träge"}, [4], id="set"),
        pytest.param(re.compile("t"), [0, 1, 2, 4], id="pattern from the beginning"),
        pytest.param(re.compile("val|test$"), [1, 3], id="pattern"),
        pytest.param(lambda column: np.char.startswith(column, "tr"), [0, 2, 4], id="function"),
    ],
)
def test_conditions_on_text(name: str, wanted: Any, expected: list[int]) -> None:
    assert resolved({name: wanted}) == expected


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        pytest.param({"number": 20}, [2], id="number"),
        pytest.param({"number": [0, 40.0]}, [0, 4], id="numbers"),
        pytest.param({"number": range(15, 35)}, [2, 3], id="range"),
        pytest.param({"number": re.compile("[12]0")}, [1, 2], id="pattern on numbers"),
        pytest.param({"flag": True}, [0, 2], id="flag"),
        pytest.param({"flag": re.compile("True")}, [0, 2], id="pattern on flags"),
        pytest.param({"column": 3}, [3], id="one value a row"),
        pytest.param({"text": "train", "number": [20, 30]}, [2], id="two conditions"),
    ],
)
def test_conditions_on_numbers(conditions: dict[str, Any], expected: list[int]) -> None:
    assert resolved(conditions) == expected


@pytest.mark.parametrize(
    "predicate",
    [
        pytest.param(lambda columns: columns["number"] > 25, id="mask"),
        pytest.param(lambda columns: [3, 4], id="rows"),
        pytest.param(lambda c: (c["text"] == "val") | (c["number"] == 40), id="text is str"),
    ],
)
def test_a_function_of_all_columns(predicate: Any) -> None:
    assert resolved(predicate) == [3, 4]


def test_columns_are_read_once_and_only_when_asked_for() -> None:
    asked: list[str] = []

    def read(name: str) -> Column:
        asked.append(name)
        return COLUMNS[name]

    rows = resolve_subset(lambda c: (c["number"] > 5) & (c["number"] < 25), 5, read)
    assert rows is not None
    assert rows.tolist() == [1, 2]
    assert asked == ["number"]


@pytest.mark.parametrize(
    ("subset", "said"),
    [
        pytest.param([0, 5], "row 5 of the subset does not exist: there are 5 rows", id="beyond"),
        pytest.param([-1], "row -1 of the subset does not exist", id="negative"),
        pytest.param(range(3, 7), "row 5", id="range"),
        pytest.param(slice(0, 9), r"goes beyond the 5 rows", id="slice"),
        pytest.param([True, False], "the mask has 2 elements, but there are 5 rows", id="mask"),
        pytest.param([0.5], "integers, not float64", id="floats"),
        pytest.param("train", "expected row numbers, a mask", id="string"),
        pytest.param([[0], [1, 2]], "expected row numbers", id="nested"),
        pytest.param(3, "expected row numbers", id="number"),
        pytest.param(lambda columns: None, "returned None", id="function"),
        pytest.param(Split(0.1), r'pass split\["train"\]', id="whole split"),
        pytest.param({"text": "trian"}, "its values are 'test', 'train', ", id="typing error"),
        pytest.param({"text": "val", "number": 0}, "no row meets all conditions", id="none left"),
        pytest.param({"text": 3}, "'text' holds text, and is never equal to 3", id="kinds"),
        pytest.param({"number": "20"}, "holds int64, and is never equal to '20'", id="kinds too"),
        pytest.param({"text": re.compile(b"t")}, "matches bytes", id="pattern of bytes"),
        pytest.param({"number": lambda c: c}, "returned int64", id="no mask"),
        pytest.param({"matrix": 0}, "does not hold one number or string a row", id="matrix"),
        pytest.param({"ragged": 0}, "does not hold one number or string a row", id="ragged"),
        pytest.param({"short": 0}, "'short' has 4 rows, but there are 5", id="short"),
    ],
)
def test_what_fits_no_rows_is_refused(subset: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        resolved(subset)


@pytest.mark.parametrize("name", ["train", "validation"])
def test_parts_of_splits(name: str) -> None:
    split = Split(0.4, seed=1)
    assert resolved(split[name]) == split.rows(5)[name].tolist()


def test_parts_by_group_read_their_column() -> None:
    split = Split(0.4, group="text")
    parts = [resolved(split[name]) for name in ("train", "validation")]
    assert sorted([*parts[0], *parts[1]]) == [0, 1, 2, 3, 4]
    assert any({0, 2} <= set(part) for part in parts)


def test_a_part_without_rows_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'test' .* has none of the 5 rows"):
        resolved(Split(0.4)["test"])


@given(counts=st.lists(st.integers(0, 5), min_size=1, max_size=6))
def test_rows_are_found_in_their_files(counts: list[int]) -> None:
    expected = [(file, row) for file, n in enumerate(counts) for row in range(n)]
    file, row = locate_rows(np.arange(sum(counts)), counts)
    assert list(zip(file.tolist(), row.tolist(), strict=True)) == expected


@given(n_rows=st.integers(1, 30), length=st.integers(1, 30), stride=st.integers(1, 8))
def test_windows_are_slices(n_rows: int, length: int, stride: int) -> None:
    if length > n_rows:
        with pytest.raises(ConfigError, match="do not fit"):
            window_rows(n_rows, length, stride)
        return
    starts = range(0, n_rows - length + 1, stride)
    expected = [row for start in starts for row in range(start, start + length)]
    assert window_rows(n_rows, length, stride).tolist() == expected


@pytest.mark.parametrize(("length", "stride"), [(0, 1), (2, 0), (2, -1)])
def test_windows_must_move(length: int, stride: int) -> None:
    with pytest.raises(ConfigError, match="must be positive"):
        window_rows(5, length, stride)
