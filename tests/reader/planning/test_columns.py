from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import h5stream as h5s
from h5stream.opening import open_catalog
from h5stream.reader.planning.columns import group_names

CASES: dict[str, tuple[dict[str, Any], list[tuple[str, ...]]]] = {
    "shifted": ({"x": {}, "y": {"shift": 1}, "z": {"step": 2}}, [("x", "y", "z")]),
    "other dataset": ({"x": {}, "y": {"base": "b"}, "z": {}}, [("x", "z"), ("y",)]),
    "other type": ({"x": {}, "y": {"base": h5s.Dense("a", dtype="f4")}}, [("x",), ("y",)]),
    "member": ({"x": {"base": "t[m]"}, "y": {"base": "t[n]"}}, [("x",), ("y",)]),
    "ragged": ({"x": {}, "y": {"base": h5s.Ragged("a", "offsets")}}, [("x", "y")]),
    "other axis": (
        {"x": {"base": "square"}, "y": {"base": h5s.Dense("square", axis=1)}},
        [("x",), ("y",)],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_slices_of_the_same_elements_are_grouped(tmp_path: Path, case: str) -> None:
    asked, expected = CASES[case]
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file["a"] = file["b"] = np.arange(9)
        file["t"] = np.zeros(9, [("m", "i4"), ("n", "i4")])
        file["square"], file["offsets"] = np.zeros((9, 9)), [0, 9]
    fields = {name: h5s.Slices(**{"base": "a", "length": 2, **of}) for name, of in asked.items()}
    catalog = open_catalog(str(tmp_path / "file.h5"), fields)
    assert group_names(file.fields for file in catalog.files) == expected


def test_rows_that_may_be_views_stay_alone(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file["a"], file["offsets"] = np.arange(9), [0, 4, 9]
    fields = {name: h5s.Ragged("a", "offsets") for name in "xy"}
    catalog = open_catalog(str(tmp_path / "file.h5"), fields)
    assert group_names(file.fields for file in catalog.files) == [("x",), ("y",)]
