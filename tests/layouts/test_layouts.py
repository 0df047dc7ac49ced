"""Files of public code bases, against a slow reader, in order and shuffled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import h5stream as h5s
from tests.layouts.cases import CASES, Case, Row

PAGE = Path(__file__).parents[2] / "docs" / "layouts.md"

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.fixture
def expected(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    monkeypatch.chdir(tmp_path)
    case.write(np.random.default_rng(0))
    return list(case.rows())


def asked(kind: str, case: Case, **options: Any) -> Any:
    """Make a stream, or a dataset, as the documentation says."""
    names = {"h5s": h5s, "np": np, "h5py": h5py, "options": options}
    return eval(f"h5s.{kind}({case.ask}, **options)", names)


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


@every_case
def test_the_page_says_how(case: Case) -> None:
    page = PAGE.read_text()
    assert f"### {case.name}\n\n{case.drawn}\n\n```py\nh5s.H5Stream({case.ask})\n```" in page
    assert case.ask.count("\n") < 12
