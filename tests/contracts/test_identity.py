"""Rows that cannot be shown to belong together are refused, with the line to write instead."""

from __future__ import annotations

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
def molecules(tmp_path: Path) -> str:
    """Six molecules: one lacks x, another y."""
    path = tmp_path / "molecules.h5"
    with h5py.File(path, "w") as file:
        for number in range(6):
            group = file.create_group(f"mol_{number}")
            if number != 1:
                group["x"] = np.full(2, number, "f4")
            if number != 4:
                group["y"] = np.full(2, number, "f4")
    return str(path)


X_AND_Y = {"x": h5s.Grouped("mol_*/x"), "y": h5s.Grouped("mol_*/y")}


def test_groups_that_lack_a_field_are_named(molecules: str) -> None:
    with pytest.raises(h5s.ConfigError, match=r"2 of 6 groups .*mol_1 lacks 'x'; mol_4 lacks 'y'"):
        len(h5s.H5Stream(molecules, X_AND_Y))


def test_groups_that_are_left_out_are_told(molecules: str) -> None:
    stream = h5s.H5Stream(molecules, X_AND_Y, missing="drop", output="numpy")
    assert [(row["x"][0], row["y"][0]) for row in stream] == [(n, n) for n in (0, 2, 3, 5)]
    assert "mol_1 lacks 'x'" in str(stream.explain())
    assert stream.rows().group == ["mol_0", "mol_2", "mol_3", "mol_5"]
    assert h5s.Dataset(molecules, X_AND_Y, missing="drop").rows().group == stream.rows().group


def test_what_some_samples_lack_is_told_by_default(molecules: str, tmp_path: Path) -> None:
    with pytest.raises(h5s.ConfigError, match=r'no dataset is in all 6 samples .*missing="drop"'):
        len(h5s.H5Stream(molecules))
    with h5py.File(molecules, "a") as file:
        file["mol_1/x"] = np.ones(2, "f4")
    explained = str(h5s.H5Stream(molecules).explain())
    assert "'y' is in 5 of 6 samples only" in explained


def test_patterns_with_other_groups_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", a__g0=[1, 2], b__h1=[3, 4])
    with pytest.raises(h5s.ConfigError, match="have no group in common"):
        len(h5s.H5Stream(path, {"a": h5s.Grouped("a/g*"), "b": h5s.Grouped("b/h*")}))


def test_patterns_of_names_alike_in_their_stars_are_joined(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", x_0=[0, 0], x_2=[2, 2], y_2=[-2], y_0=[0])
    stream = h5s.H5Stream(path, {"x": h5s.Grouped("x_*"), "y": h5s.Grouped("y_*")}, output="numpy")
    assert [(row["x"][0], row["y"][0]) for row in stream] == [(0, 0), (2, -2)]


def test_orders_that_contradict_each_other_are_refused(molecules: str) -> None:
    fields = {
        "x": h5s.Grouped("mol_*/x", order="natural"),
        "y": h5s.Grouped("mol_*/y", order="listed"),
    }
    with pytest.raises(h5s.ConfigError, match="row i must mean the same group"):
        len(h5s.H5Stream(molecules, fields, missing="drop"))


@pytest.fixture
def utterances(tmp_path: Path) -> str:
    return write(tmp_path / "u.h5", **{f"data__utt{n}": np.full(n + 2, n) for n in range(12)})


def test_labels_by_name_reach_their_group(utterances: str) -> None:
    with h5py.File(utterances) as file:
        labels = {name: file["data"][name][0] for name in file["data"]}
    fields = {"x": h5s.Grouped("data/*"), "label": h5s.Given(labels, by="name")}
    assert all(row["x"][0] == row["label"] for row in h5s.H5Stream(utterances, fields))


def test_labels_along_h5py_s_order_need_that_order(utterances: str) -> None:
    with h5py.File(utterances) as file:
        labels = [file["data"][name][0] for name in file["data"]]
    given = h5s.Given(labels)
    with pytest.raises(h5s.ConfigError, match=r'pass Grouped\(.data/\*., order="natural"\)'):
        len(h5s.H5Stream(utterances, {"x": h5s.Grouped("data/*"), "label": given}))
    listed = {"x": h5s.Grouped("data/*", order="listed"), "label": given}
    assert all(row["x"][0] == row["label"] for row in h5s.H5Stream(utterances, listed))


def test_names_of_values_that_no_group_has_are_refused(utterances: str) -> None:
    fields = {"x": h5s.Grouped("data/*"), "label": h5s.Given({"utt0": 1}, by="name")}
    with pytest.raises(h5s.ConfigError, match=r"11 of 12 groups .* lacks 'label'"):
        len(h5s.H5Stream(utterances, fields))


def test_values_by_name_need_groups(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", x=np.arange(4))
    with pytest.raises(h5s.ConfigError, match="no field comes from groups with names"):
        len(h5s.H5Stream(path, {"x": "x", "y": h5s.Given({"a": 1}, by="name")}))


def test_constants_follow_the_recording_of_explicit_slices(tmp_path: Path) -> None:
    path = tmp_path / "r.h5"
    with h5py.File(path, "w") as file:
        for number in range(3):
            file[f"rec_{number}"] = 10 * number + np.arange(4)
            file[f"rec_{number}"].attrs["label"] = number
    fields = {
        "x": h5s.Slices(h5s.Grouped("rec_*"), 2, starts=[8, 1, 0]),
        "label": h5s.Grouped("rec_*", attribute="label"),
    }
    rows = [(row["x"].tolist(), int(row["label"])) for row in h5s.H5Stream(path, fields)]
    assert rows == [([20, 21], 2), ([1, 2], 0), ([0, 1], 0)]


def test_a_slice_that_leaves_its_recording_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "r.h5", rec_0=np.arange(4), rec_1=np.arange(4))
    for options in ({"length": 3}, {"stops": [3, 5]}, {"length": 2, "shift": 1}):
        fields = {"x": h5s.Slices(h5s.Grouped("rec_*"), starts=[0, 2], **options)}
        with pytest.raises(h5s.LayoutError, match=r"slice 1 goes from .* its sequence, number 0"):
            len(h5s.H5Stream(path, fields))


def test_rows_that_may_be_of_slices_or_of_recordings_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "r.h5", v=np.arange(9), o=[0, 3, 6, 9], label=[0, 1, 2])
    base = h5s.Ragged("v", "o")
    fields = {"x": h5s.Slices(base, 2, starts=[6, 0, 1]), "label": "label"}
    with pytest.raises(h5s.ConfigError, match=r"as many as there are slices .* Given\(values\)"):
        len(h5s.H5Stream(path, fields))
    picked = {**fields, "label": h5s.Picked("label", at=np.array([2, 0, 0]))}
    assert [int(row["label"]) for row in h5s.H5Stream(path, picked)] == [2, 0, 0]


def test_given_beside_slices_is_one_a_slice(tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    with h5py.File(path, "w") as file:
        for number, length in enumerate((4, 3, 1)):
            file[f"demo_{number}/a"] = np.arange(length) + 10 * number
    fields = {
        "a": h5s.Slices(h5s.Grouped("demo_*/a"), 3),
        "g": h5s.Given([100, 101, 102]),
    }
    rows = [(int(row["a"][0]), int(row["g"])) for row in h5s.H5Stream(path, fields)]
    assert rows == [(0, 100), (1, 101), (10, 102)]


def test_values_given_for_each_file_must_say_so(tmp_path: Path) -> None:
    paths = [write(tmp_path / name, a=np.arange(4)) for name in ("a.h5", "b.h5")]
    values = [10, 11, 12, 13]
    with pytest.raises(h5s.ConfigError, match=r'given 4 values, .* 8 rows; .* by="file"'):
        len(h5s.H5Stream(paths, {"a": "a", "g": h5s.Given(values)}))
    for given in (
        h5s.Given([values, values], by="file"),
        h5s.Given({"a.h5": values, "b.h5": values}, by="file"),
        h5s.Given({paths[0]: values, paths[1]: values}, by="file"),
        h5s.Given([*values, *values]),
    ):
        found = [int(row["g"]) for row in h5s.H5Stream(paths, {"a": "a", "g": given})]
        assert found == values * 2


@pytest.mark.parametrize(
    ("values", "said"),
    [
        pytest.param({"a.h5": [1, 2, 3, 4]}, "no values for", id="a file lacks"),
        pytest.param({"c.h5": [1, 2, 3, 4]}, "there is no such file", id="unknown file"),
        pytest.param([[1, 2, 3, 4]], "1 columns, but there are 2 files", id="too few"),
        pytest.param([[1], [1, 2, 3, 4]], "given 1 values, but the file has 4", id="too short"),
    ],
)
def test_values_by_file_must_fit_the_files(tmp_path: Path, values: Any, said: str) -> None:
    paths = [write(tmp_path / name, a=np.arange(4)) for name in ("a.h5", "b.h5")]
    with pytest.raises(h5s.ConfigError, match=said):
        len(h5s.H5Stream(paths, {"a": "a", "g": h5s.Given(values, by="file")}))


def test_explicit_slices_of_each_file_go_by_its_name(tmp_path: Path) -> None:
    paths = [write(tmp_path / name, a=np.arange(4)) for name in ("a.h5", "b.h5")]
    starts = {"a.h5": [2], "b.h5": [0, 1]}
    stream = h5s.H5Stream(paths, {"a": h5s.Slices("a", 2, starts=starts)})
    assert [row["a"].tolist() for row in stream] == [[2, 3], [0, 1], [1, 2]]


def test_explicit_slices_out_of_the_order_of_files_are_refused(tmp_path: Path) -> None:
    paths = [write(tmp_path / name, a=np.arange(4)) for name in ("a.h5", "b.h5")]
    with pytest.raises(h5s.ConfigError, match=r"slice 1 lies in .*a\.h5, after slices of later"):
        len(h5s.H5Stream(paths, {"a": h5s.Slices("a", 2, starts=[5, 0])}))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param({"lengths": "short"}, "sum to 9, but there are 10 values", id="lengths"),
        pytest.param({"offsets": "starts"}, "go from 0 to 7", id="starts without an end"),
        pytest.param({"offsets": "from_one"}, "go from 1 to 10", id="counted from 1"),
    ],
)
def test_values_that_belong_to_no_row_are_refused(
    tmp_path: Path, options: dict[str, str], said: str
) -> None:
    numbers = {"short": [3, 4, 2], "starts": [0, 3, 7], "from_one": [1, 4, 8, 10]}
    path = write(tmp_path / "n.h5", v=np.arange(10), **numbers)
    with pytest.raises(h5s.LayoutError, match=f"{said}.*partial=True"):
        len(h5s.H5Stream(path, {"x": h5s.Ragged("v", **options)}))
    partial = h5s.H5Stream(path, {"x": h5s.Ragged("v", partial=True, **options)})
    assert len(partial) == (2 if "starts" in options.values() else 3)


@pytest.mark.parametrize("where", ["first", "middle"])
def test_files_that_are_too_short_are_left_out_and_told(tmp_path: Path, where: str) -> None:
    lengths = [2, 9, 9] if where == "first" else [9, 2, 9]
    paths = [write(tmp_path / f"{n}.h5", x=np.arange(size)) for n, size in enumerate(lengths)]
    stream = h5s.H5Stream(paths, {"x": h5s.Slices("x", 5)})
    assert len(list(stream)) == 10
    short = paths[lengths.index(2)]
    assert f"{short}: no slice fits into 1 of 1 sequences" in str(stream.explain())


def test_recordings_that_are_too_short_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "t.h5", **{f"demo_{n}__a": np.zeros(s) for n, s in enumerate((9, 3))})
    stream = h5s.H5Stream(path, {"a": h5s.Slices(h5s.Grouped("demo_*/a"), 5)})
    assert "no slice fits into 1 of 2 sequences (demo_1)" in str(stream.explain())


def test_leaves_that_cannot_be_rows_are_left_out_and_told(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        for number in range(3):
            group = file.create_group(f"episode_{number}")
            group["actions"] = np.zeros((4, 2))
            group.create_dataset("mission", data=["a", "bc"], dtype=h5py.string_dtype())
    stream = h5s.H5Stream(path)
    assert set(next(iter(stream))) == {"actions"}
    assert "'mission' has elements of variable length" in str(stream.explain())


def test_one_string_a_group_is_a_field_of_text(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    with h5py.File(path, "w") as file:
        for number, smiles in enumerate(("C", "CO", "é")):
            file[f"mol_{number}/smiles"] = smiles
    stream = h5s.H5Stream(path, {"s": h5s.Grouped("mol_*/smiles")})
    assert [row["s"] for row in stream] == ["C", "CO", "é"]


def test_padding_without_centre_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", x=np.arange(9))
    with pytest.raises(h5s.ConfigError, match="pass center=True as well"):
        len(h5s.H5Stream(path, {"x": h5s.Slices("x", 4, padding="reflect")}))


def test_types_that_differ_have_a_way_out(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a.h5", x=np.arange(3)), write(tmp_path / "b.h5", x=np.ones(3))]
    with pytest.raises(h5s.ConfigError, match=r"ask for Dense\('x', dtype=\"float64\"\)"):
        len(h5s.H5Stream(paths, ["x"]))
    assert len(h5s.H5Stream(paths, {"x": h5s.Dense("x", dtype="float64")})) == 6


def test_a_pattern_that_names_one_dataset_says_what_to_write(tmp_path: Path) -> None:
    path = write(tmp_path / "c.h5", climate__data=np.zeros((3, 4)))
    with pytest.raises(h5s.ConfigError, match=r"for its own rows ask for 'climate/data'"):
        len(h5s.H5Stream(path, {"x": h5s.Grouped("climate/data")}))
