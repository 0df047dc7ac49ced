"""Files of public code bases, against a slow reader, in order and shuffled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import h5stream as h5s
from tests.layouts.case import Case, Row
from tests.layouts.cases import CASES
from tests.layouts.page import PAGE, section

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.fixture
def expected(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    monkeypatch.chdir(tmp_path)
    case.write(np.random.default_rng(0))
    return list(case.rows())


def asked(kind: str, case: Case, **options: Any) -> Any:
    """Make a stream, or a dataset, as the documentation says."""
    names: dict[str, Any] = {"h5s": h5s, "np": np, "h5py": h5py, "json": json, "Path": Path}
    names["options"] = options
    exec(f"{case.before}asked = h5s.{kind}({case.ask}, **options)", names)
    return names["asked"]


def as_text(row: Row) -> str:
    """Return a row as text, with element types left to the files."""
    parts = []
    for name in sorted(row):
        value = row[name]
        value = value.decode() if isinstance(value, bytes) else value
        array = np.asarray(value)
        shown = str(value) if array.dtype.kind == "U" else f"{array.shape} {array.tolist()}"
        parts.append(f"{name}: {shown}")
    return "; ".join(parts)


@every_case
def test_rows_in_order_are_those_of_a_slow_reader(case: Case, expected: list[Row]) -> None:
    rows = [as_text(row) for row in asked("H5Stream", case, output="numpy")]
    assert rows == [as_text(row) for row in expected]


@every_case
def test_a_shuffled_epoch_has_each_row_once(case: Case, expected: list[Row]) -> None:
    stream = asked("H5Stream", case, output="numpy", shuffle=True, buffer_size=16, seed=3)
    rows = [as_text(row) for row in stream]
    assert sorted(rows) == sorted(as_text(row) for row in expected)


@every_case
def test_rows_by_number_are_the_same(case: Case, expected: list[Row]) -> None:
    dataset = asked("Dataset", case, collate=dict)
    assert len(dataset) == len(expected)
    for number in {0, len(expected) // 2, len(expected) - 1}:
        assert as_text(dataset[number]) == as_text(expected[number])


@every_case
def test_ranks_share_the_rows(case: Case, expected: list[Row]) -> None:
    rows = [
        as_text(row)
        for rank in range(2)
        for row in asked(
            "H5Stream", case, output="numpy", rank=rank, world_size=2, uneven="keep", shuffle=True
        )
    ]
    assert sorted(rows) == sorted(as_text(row) for row in expected)


@every_case
def test_batches_of_tensors_are_made(case: Case, expected: list[Row]) -> None:
    batch = next(iter(asked("H5Stream", case, batch_size=2, shuffle=True)))
    assert set(batch) >= set(expected[0])


def test_the_page_draws_each_layout_and_says_how_to_ask_for_it(tmp_path: Path) -> None:
    assert section(tmp_path) in PAGE.read_text()


@every_case
def test_at_most_twelve_lines_ask_for_it(case: Case) -> None:
    assert f"{case.before}{case.ask}".count("\n") < 12
