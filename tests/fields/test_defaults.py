"""Which datasets are fields by default: columns of one table, and nothing that may be samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import h5stream as h5s
from tests.places import PLACES, placed


def write(path: Path, **datasets: Any) -> str:
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name.replace("__", "/")] = values
    return str(path)


def test_groups_side_by_side_are_refused_with_the_line_to_write(tmp_path: Path) -> None:
    names = ("water", "methane", "ammonia")
    path = write(tmp_path / "a.h5", **{f"{name}__energies": np.zeros(5) for name in names})
    with pytest.raises(h5s.ConfigError, match=r"h5stream\.Grouped\('\*/energies'\)"):
        len(h5s.H5Stream(path))
    assert len(h5s.H5Stream(path, {"e": h5s.Grouped("*/energies")})) == 3
    assert len(h5s.H5Stream(path, ["water/energies"])) == 5


def test_dozens_of_datasets_are_refused(tmp_path: Path) -> None:
    names = [f"trace{letter}{n}x" for n in range(20) for letter in "ab"]
    path = write(tmp_path / "a.h5", **{name: np.zeros(5) for name in names})
    with pytest.raises(h5s.ConfigError, match="40 datasets are as long as the largest, too many"):
        len(h5s.H5Stream(path))


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("saved", [False, True])
def test_dimension_scales_are_no_samples(tmp_path: Path, where: str, saved: bool) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["noy"], file["time"], file["lat"] = np.zeros((12, 3)), np.arange(12.0), np.zeros(3)
        for name in ("time", "lat"):
            file[name].make_scale(name)
    with placed(path, where) as place:
        layout = None
        if saved:
            layout = tmp_path / "layout.npz"
            h5s.index_files(place, layout)
        stream = h5s.H5Stream(place, batch_size=12, layout=layout)
        assert set(next(iter(stream))) == {"noy"}
        explained = str(stream.explain())
    assert "'time' is no field by default: it is a dimension scale" in explained


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", x=np.zeros((5, 9)), mean=np.zeros(9), version=1.5)
    explained = str(h5s.H5Stream(path).explain())
    assert "'mean' is no field by default: it has 9 rows, not 5" in explained
    assert "'version' is no field by default: it is a scalar" in explained
