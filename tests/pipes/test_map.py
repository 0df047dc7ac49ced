from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import h5stream as h5s
from tests.streams import blocks_of, rows_of, threads, write_rows, yielded


@pytest.fixture
def path(tmp_path: Path) -> str:
    return write_rows(tmp_path / "a.h5", 10)


def double(item: dict[str, Any]) -> dict[str, Any]:
    return {"row": item["row"] * 2}


def twice(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield yielded({"row": item["row"]})
    yield yielded({"row": item["row"] + 100})


def nothing(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return
    yield


def test_map_over_blocks_gets_a_dict_of_columns(path: str) -> None:
    blocks = list(blocks_of(path, seed=None).map(double))
    assert [block.n_rows for block in blocks] == [4, 4, 2]
    assert rows_of(blocks) == list(range(0, 20, 2))


def test_map_over_samples_gets_a_dict_of_values(path: str) -> None:
    samples = list(blocks_of(path, seed=None).unbatch().map(double))
    assert [sample["row"] for sample in samples] == list(range(0, 20, 2))


def test_map_over_tensors_may_return_anything(path: str) -> None:
    batches = blocks_of(path, seed=None).batch(5).collate()
    assert list(batches.map(lambda batch: int(batch["row"].sum()))) == [10, 35]


def test_map_may_change_the_dict_it_gets(path: str) -> None:
    def rename(item: dict[str, Any]) -> dict[str, Any]:
        item["number"] = item.pop("row")
        return item

    block = next(iter(blocks_of(path).map(rename)))
    assert set(block) == {"number", "x"}


def test_map_may_change_the_number_of_rows_of_a_block(path: str) -> None:
    def every_other(columns: dict[str, Any]) -> dict[str, Any]:
        return {name: column[::2] for name, column in columns.items()}

    pipe = blocks_of(path, seed=None).map(every_other).batch(3)
    assert [batch["row"].tolist() for batch in pipe] == [[0, 2, 4], [6, 8]]


@pytest.mark.parametrize("unbatched", [False, True], ids=["blocks", "samples"])
def test_generator_gives_several_items_for_one(path: str, unbatched: bool) -> None:
    pipe = blocks_of(path, seed=None)
    pipe = pipe.unbatch() if unbatched else pipe
    rows = rows_of(pipe.map(twice))
    assert sorted(rows) == [*range(10), *range(100, 110)]
    assert rows[:2] == ([0, 100] if unbatched else [0, 1])


def test_generator_may_give_nothing(path: str) -> None:
    assert list(blocks_of(path).map(nothing)) == []


def test_length_is_known_unless_a_function_decides_it(path: str) -> None:
    assert len(blocks_of(path).batch(4).map(double)) == 3
    for pipe in (blocks_of(path).map(double).batch(4), blocks_of(path).batch(4).map(twice)):
        with pytest.raises(TypeError, match="only after a run"):
            len(pipe)


def test_columns_that_differ_in_length_are_refused(path: str) -> None:
    pipe = blocks_of(path).map(lambda columns: {"row": columns["row"], "x": columns["x"][:1]})
    with pytest.raises(h5s.ConfigError, match="differ in length"):
        next(iter(pipe))


def test_what_is_no_dict_is_refused_over_blocks(path: str) -> None:
    with pytest.raises(h5s.ConfigError, match="must return a dict of columns, not ndarray"):
        next(iter(blocks_of(path).map(lambda columns: columns["x"])))


def test_what_is_no_function_is_refused(path: str) -> None:
    with pytest.raises(h5s.ConfigError, match=r"map\(\) needs a function, not 3"):
        blocks_of(path).map(3)  # type: ignore[arg-type]


def test_errors_of_the_function_come_through_and_end_the_threads(path: str) -> None:
    def fail(columns: dict[str, Any]) -> dict[str, Any]:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        list(blocks_of(path).map(fail))
    assert threads() == []


def test_new_columns_may_be_lists(path: str) -> None:
    block = next(iter(blocks_of(path, seed=None).map(lambda columns: {"row": [1, 2, 3]})))
    assert block["row"].tolist() == [1, 2, 3]
    assert isinstance(block["row"], np.ndarray)
