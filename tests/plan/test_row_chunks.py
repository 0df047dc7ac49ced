from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from h5stream.plan import RowChunk, rows_per_row_chunk
from tests.plan.cutting import cut_row_chunks


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 12)), min_size=1, max_size=5))
def test_row_chunks_are_those_of_a_plain_loop(files: list[tuple[int, int]]) -> None:
    expected = [
        RowChunk(number, start, min(start + step, n_rows))
        for number, (n_rows, step) in enumerate(files)
        for start in range(0, n_rows, step)
    ]
    chunks = cut_row_chunks([n for n, _ in files], [step for _, step in files])
    assert list(chunks) == expected
    assert len(chunks) == len(expected)
    assert chunks.n_rows == sum(n for n, _ in files)
    assert chunks.sizes.tolist() == [len(chunk) for chunk in expected]


def test_take_puts_row_chunks_in_another_order() -> None:
    chunks = cut_row_chunks([6], [2]).take(np.array([2, 0]))
    assert list(chunks) == [RowChunk(0, 4, 6), RowChunk(0, 0, 2)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"chunk_rows": 64, "row_nbytes": 1024, "target_bytes": 2**20}, 1024),
        ({"chunk_rows": 60, "row_nbytes": 1024, "target_bytes": 2**20}, 1020),
        ({"chunk_rows": 4096, "row_nbytes": 1024, "target_bytes": 2**20}, 4096),
        ({"chunk_rows": None, "row_nbytes": 1000, "target_bytes": 5000}, 5),
        ({"chunk_rows": None, "row_nbytes": 9000, "target_bytes": 5000}, 1),
        ({"chunk_rows": 4, "row_nbytes": 0, "target_bytes": 16}, 64),
    ],
    ids=["joined", "whole chunks", "large chunk", "contiguous", "large rows", "empty rows"],
)
def test_row_chunks_are_whole_chunks_of_about_the_target(
    options: dict[str, Any], expected: int
) -> None:
    assert rows_per_row_chunk(**options) == expected
