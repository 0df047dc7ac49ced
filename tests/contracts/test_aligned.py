"""Fields of the same rows in files of their own."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import h5stream as h5s


def write(path: Path, **datasets: Any) -> str:
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name.replace("__", "/")] = values
    return str(path)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """x-1, x-2 and x-10 with rows of their numbers, y likewise."""
    for number in (1, 2, 10):
        write(tmp_path / f"x-{number}.h5", x=np.full((number, 2), number))
        write(tmp_path / f"y-{number}.h5", y=np.full(number, number), meta=np.arange(number))
    return tmp_path


def test_rows_of_two_files_come_together(tmp_path: Path) -> None:
    x = write(tmp_path / "train_x.h5", x=np.arange(60).reshape(30, 2))
    y = write(tmp_path / "train_y.h5", y=np.arange(30).reshape(30, 1, 1, 1))
    for fields in (None, ["x", "y"], {"x": "x", "y": "y"}):
        stream = h5s.H5Stream({"x": x, "y": y}, fields, shuffle=True, batch_size=7)
        batches = list(stream)
        assert sorted(int(n) for batch in batches for n in batch["y"]) == list(range(30))
        assert all((batch["x"][:, 0] == 2 * batch["y"].reshape(-1)).all() for batch in batches)


def test_patterns_pair_files_by_what_their_stars_stand_for(pairs: Path) -> None:
    sources = {"x": f"{pairs}/x-*.h5", "y": f"{pairs}/y-*.h5"}
    rows = list(h5s.H5Stream(sources, shuffle=True, fields={"x": "x", "y": "y"}))
    assert len(rows) == 13
    assert all(row["x"][0] == row["y"] for row in rows)


def test_patterns_that_match_other_names_are_refused(pairs: Path) -> None:
    (pairs / "y-2.h5").rename(pairs / "y-3.h5")
    with pytest.raises(h5s.ConfigError, match=r"\('2',\) of .* meets \('3',\) .* give lists"):
        len(h5s.H5Stream({"x": f"{pairs}/x-*.h5", "y": f"{pairs}/y-*.h5"}))


def test_lists_that_differ_in_length_are_refused(pairs: Path) -> None:
    x = [str(pairs / f"x-{n}.h5") for n in (1, 2)]
    with pytest.raises(h5s.ConfigError, match="there are 2 files of 'x', but 1 of 'y'"):
        len(h5s.H5Stream({"x": x, "y": pairs / "y-1.h5"}))


def test_files_of_unequal_rows_are_refused(pairs: Path) -> None:
    x, y = pairs / "x-10.h5", pairs / "y-2.h5"
    with pytest.raises(h5s.ConfigError, match=r"'x' has 10 rows in .*x-10\.h5, 'y' has 2 rows in"):
        len(h5s.H5Stream({"x": x, "y": y}, {"x": "x", "y": "y"}))


def test_a_field_that_may_be_several_datasets_is_named(pairs: Path) -> None:
    x, y = pairs / "x-2.h5", pairs / "y-2.h5"
    with pytest.raises(h5s.ConfigError, match=r"which dataset is 'label'\? It has .*meta"):
        len(h5s.H5Stream({"x": x, "label": y}))


@pytest.mark.parametrize("fields", [{"x": "x"}, {"x": "x", "y": "y", "z": "z"}])
def test_each_field_has_a_source(pairs: Path, fields: dict[str, str]) -> None:
    with pytest.raises(h5s.ConfigError, match=r"sources and fields\s+have the same keys"):
        len(h5s.H5Stream({"x": pairs / "x-2.h5", "y": pairs / "y-2.h5"}, fields))


def test_a_file_may_serve_several_fields(pairs: Path) -> None:
    x, y = pairs / "x-10.h5", pairs / "y-10.h5"
    fields = {"x": "x", "y": "y", "meta": "meta", "file": h5s.Origin("name")}
    stream = h5s.H5Stream({"x": x, "y": y, "meta": y, "file": x}, fields, subset={"meta": [3, 4]})
    assert [(int(row["meta"]), row["file"]) for row in stream] == [(3, "x-10.h5"), (4, "x-10.h5")]


def test_slices_of_two_files_start_together(tmp_path: Path) -> None:
    x = write(tmp_path / "x.h5", fields=np.arange(20))
    y = write(tmp_path / "y.h5", tp=np.arange(20) * 100)
    fields = {"x": h5s.Slices("fields", 3), "y": h5s.Slices("tp", 1, shift=3)}
    rows = list(h5s.H5Stream({"x": x, "y": y}, fields, shuffle=True))
    assert len(rows) == 17
    assert all(row["y"][0] == 100 * (row["x"][-1] + 1) for row in rows)


def test_groups_of_two_files_are_joined_by_name(tmp_path: Path) -> None:
    x = write(tmp_path / "x.h5", **{f"u{n}__x": [n, n] for n in (3, 1, 2)})
    y = write(tmp_path / "y.h5", **{f"u{n}__y": [n] for n in (1, 3)})
    fields = {"x": h5s.Grouped("u*/x"), "y": h5s.Grouped("u*/y")}
    with pytest.raises(h5s.ConfigError, match="u2 lacks 'y'"):
        len(h5s.H5Stream({"x": x, "y": y}, fields))
    stream = h5s.H5Stream({"x": x, "y": y}, fields, missing="drop")
    assert [(row["x"][0].item(), row["y"][0].item()) for row in stream] == [(1, 1), (3, 3)]


def test_a_change_of_either_file_is_seen(pairs: Path) -> None:
    x, y = pairs / "x-10.h5", pairs / "y-10.h5"
    fields = {"x": "x", "y": "y"}
    stream = h5s.H5Stream({"x": x, "y": y}, fields, batch_size=2)
    iterator = iter(stream)
    next(iterator)
    state = iterator.state_dict()
    write(y, y=np.full(10, 11), more=np.zeros(3))
    changed = h5s.H5Stream({"x": x, "y": y}, fields, batch_size=2)
    changed.load_state_dict(state)
    with pytest.raises(h5s.StateError):
        next(iter(changed))


def test_streams_of_pairs_can_be_pickled(pairs: Path) -> None:
    stream = h5s.H5Stream({"x": pairs / "x-2.h5", "y": pairs / "y-2.h5"}, {"x": "x", "y": "y"})
    assert len(list(pickle.loads(pickle.dumps(stream)))) == 2
