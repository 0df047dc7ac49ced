"""No batch has more elements than its budget, counted as it is padded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import h5stream as h5s

N = 60
LENGTHS = np.random.default_rng(3).integers(1, 30, N)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("budget") / "a.h5"
    with h5py.File(path, "w") as file:
        file["v"] = np.arange(LENGTHS.sum())
        file["o"] = np.append(0, LENGTHS.cumsum())
    return path


@given(
    padding=st.sampled_from(["pad_to", "pad_to_multiple_of", "max_length", "both", "none"]),
    size=st.integers(1, 40),
    max_tokens=st.integers(1, 300),
    by_field=st.booleans(),
    shuffle=st.booleans(),
)
def test_batches_stay_within_their_budget(
    path: Path, padding: str, size: int, max_tokens: int, by_field: bool, shuffle: bool
) -> None:
    names = {"both": ["pad_to_multiple_of", "max_length"], "none": []}.get(padding, [padding])
    options: dict[str, Any] = {name: {"x": size} if by_field else size for name in names}
    fields = {"x": h5s.Ragged("v", "o")}
    stream = h5s.H5Stream(
        path, fields, bucket_by="x", max_tokens=max_tokens, shuffle=shuffle, **options
    )
    shapes = [tuple(batch["x"].shape) for batch in stream]
    assert sum(rows for rows, _width in shapes) == N
    assert all(rows == 1 or rows * width <= max_tokens for rows, width in shapes)
