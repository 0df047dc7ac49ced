"""Rows whose shape differs from dataset to dataset: what is refused, and what to write instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import h5stream as h5s


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, shape in enumerate([(4, 3, 5), (6, 3, 7)]):
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            file["x"] = np.arange(np.prod(shape)).reshape(shape)
            file["y"] = np.arange(len(file["x"]), dtype=["f4", "f8"][number])[:, None]
            file["n"] = np.full((2, 2), 2)
            file["both/a"], file["both/b"] = file["x"][()], np.zeros((2, 3, 9), int)
    return tmp_path


def test_files_that_differ_in_a_later_axis_are_told_to_flatten(folder: Path) -> None:
    with pytest.raises(h5s.ConfigError, match=r"Dense\('x', flat=True\), with Shape\('x'\)"):
        len(h5s.H5Stream(folder / "*.h5", ["x"]))
    with pytest.raises(h5s.ConfigError, match="all files must agree"):
        len(h5s.H5Stream(folder / "*.h5", {"x": h5s.Dense("x", ragged=True)}))
    fields = {"x": h5s.Dense("x", flat=True), "shape": h5s.Shape("x")}
    rows = list(h5s.H5Stream(folder / "*.h5", fields))
    assert [tuple(row["x"].reshape(*row["shape"][1:]).shape) for row in rows[3:5]] == [
        (3, 5),
        (3, 7),
    ]


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (h5s.Dense("y", ragged=True, inner=0), "have rows of float32 ()"),
        (h5s.Dense("x", flat=True, axis=1), "no other axis"),
        (h5s.Slices(h5s.Dense("x", ragged=True), 2), "cannot be cut into slices"),
        (h5s.Slices(h5s.Dense("x", flat=True), 2, axis=1), "cut from one dataset"),
        (h5s.Patches(h5s.Dense("x", flat=True), (2, 2)), "cut from one dataset"),
        (h5s.Concat("both/*"), "ragged=True"),
        (h5s.Concat("both/*", ragged=True), "flat=True"),
        (h5s.Ragged("x", lengths="n"), "Dense('n', inner=0)"),
        (h5s.Ragged("x", lengths=h5s.Dense("n", inner=5)), "goes beyond an axis of 2"),
    ],
    ids=str,
)
def test_what_is_refused_says_what_to_write(folder: Path, field: Any, message: str) -> None:
    with pytest.raises(h5s.ConfigError) as error:
        len(h5s.H5Stream(folder / "0.h5", {"x": field}))
    assert message in str(error.value)
