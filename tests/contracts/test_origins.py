"""Constants of files, where rows come from, and files that are one row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import h5stream as h5s


def write(path: Path, attributes: dict[str, Any] | None = None, **datasets: Any) -> str:
    with h5py.File(path, "w") as file:
        file.attrs.update(attributes or {})
        for name, values in datasets.items():
            file[name.replace("__", "/")] = values
    return str(path)


@pytest.fixture
def scans(tmp_path: Path) -> list[str]:
    """Three volumes of slices, each with its own maximum and patient."""
    return [
        write(
            tmp_path / f"scan_{number}.h5",
            {"max": np.float32(number + 0.5), "patient": f"p{number}"},
            kspace=np.full((number + 2, 3), number),
            mask=np.arange(4) == number,
        )
        for number in range(3)
    ]


FILE_OF_ROW = [0, 0, 1, 1, 1, 2, 2, 2, 2]


def test_each_row_has_what_its_file_says(scans: list[str]) -> None:
    fields = {
        "x": "kspace",
        "max": h5s.Constant("/", "max"),
        "patient": h5s.Constant("/", attribute="patient"),
        "mask": h5s.Constant("mask"),
    }
    for subset in (None, [8, 0, 3, 3], {"patient": ["p0", "p2"]}):
        for row in h5s.H5Stream(scans, fields, subset=subset, shuffle=True, output="numpy"):
            number = int(row["x"][0])
            assert (row["max"], row["patient"]) == (number + 0.5, f"p{number}")
            assert row["mask"].tolist() == [n == number for n in range(4)]


def test_origins_are_what_rows_tell(scans: list[str]) -> None:
    origins = ("path", "name", "stem", "file", "row", "index")
    fields = {"x": "kspace", **{what: h5s.Origin(what) for what in origins}}
    stream = h5s.H5Stream(scans, fields, output="numpy")
    rows, told = list(stream), stream.rows()
    assert [row["file"] for row in rows] == told.file.tolist() == FILE_OF_ROW
    assert [row["row"] for row in rows] == told.row.tolist()
    assert [row["index"] for row in rows] == list(range(9))
    assert [row["path"] for row in rows] == [scans[number] for number in FILE_OF_ROW]
    assert [row["name"] for row in rows] == [f"scan_{number}.h5" for number in FILE_OF_ROW]
    assert [row["stem"] for row in rows] == [f"scan_{number}" for number in FILE_OF_ROW]


def test_origins_stay_those_of_all_rows_in_a_subset(scans: list[str]) -> None:
    fields = {"x": "kspace", "index": h5s.Origin("index"), "file": h5s.Origin("file")}
    stream = h5s.H5Stream(scans, fields, subset=[7, 2, 2], output="numpy")
    assert [(int(row["index"]), int(row["file"])) for row in stream] == [(7, 2), (2, 1), (2, 1)]


def test_constants_are_kept_once_in_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", x=np.arange(4096), grid=np.zeros((512, 512)))
    fields = {"x": "x", "grid": h5s.Constant("grid")}
    block = next(iter(h5s.open_files(path, fields).list_chunks().shard().read_chunks()))
    assert block.n_rows == 4096
    assert block["grid"][5:7].shape == (2, 512, 512)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        pytest.param(h5s.Constant("demo_*/x"), r"ask for Grouped\('demo_\*/x'\)", id="pattern"),
        pytest.param(h5s.Constant("/", "none"), "'/' has no attribute 'none'; it has max", id="no"),
        pytest.param(h5s.Constant("words"), "lists of strings", id="list of strings"),
        pytest.param(h5s.Constant("kspac"), "did you mean kspace", id="misspelt"),
        pytest.param(h5s.Constant("/", "max", dtype="i4"), "0.5, which int32", id="loses values"),
        pytest.param(h5s.Origin("group"), "rows come from no groups", id="no groups"),
        pytest.param(h5s.Origin("page"), "takes one of", id="unknown origin"),
    ],
)
def test_what_no_row_can_have_is_refused(scans: list[str], spec: Any, said: str) -> None:
    with h5py.File(scans[0], "a") as file:
        file.create_dataset("words", data=["a", "b"], dtype=h5py.string_dtype())
    with pytest.raises((h5s.ConfigError, h5s.UnsupportedError), match=said):
        len(h5s.H5Stream(scans[0], {"x": "kspace", "c": spec}))


def test_constants_alone_do_not_tell_how_many_rows_there_are(scans: list[str]) -> None:
    with pytest.raises(h5s.ConfigError, match=r"'mask' does not tell how many rows there are"):
        len(h5s.H5Stream(scans, {"mask": h5s.Constant("mask")}))


def test_files_whose_constants_differ_in_type_are_refused(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{n}.h5", x=[1], c=c) for n, c in enumerate((1, 2.5))]
    with pytest.raises(h5s.ConfigError, match="ask for one type with dtype="):
        len(h5s.H5Stream(paths, {"x": "x", "c": h5s.Constant("c")}))
    stream = h5s.H5Stream(paths, {"x": "x", "c": h5s.Constant("c", dtype="f8")})
    assert [float(row["c"]) for row in stream] == [1, 2.5]


def test_files_as_rows_that_differ_in_shape_come_flat(tmp_path: Path) -> None:
    shapes = [(2, 3, 4), (3, 5, 2)]
    volumes = [np.arange(np.prod(shape)).reshape(shape) for shape in shapes]
    paths = [write(tmp_path / f"{n}.h5", a__v=volume) for n, volume in enumerate(volumes)]
    with pytest.raises(h5s.ConfigError, match=r"Whole\('a/v', flat=True\), Shape\('a/v'\)"):
        len(h5s.H5Stream(paths, {"x": h5s.Whole("a/v")}))
    fields = {"x": h5s.Whole("a/v", flat=True), "shape": h5s.Shape("a/v")}
    rows = list(h5s.H5Stream(paths, fields, output="numpy"))
    found = [row["x"].reshape(row["shape"]) for row in rows]
    assert all(map(np.array_equal, found, volumes))


def test_shapes_of_groups_are_beside_them(tmp_path: Path) -> None:
    shapes = [(2, 3), (4, 1), (1, 1)]
    path = write(tmp_path / "a.h5", **{f"m_{n}__x": np.ones(s) for n, s in enumerate(shapes)})
    fields = {"x": h5s.Grouped("m_*/x", flat=True), "shape": h5s.Shape("m_*/x")}
    assert [tuple(row["shape"].tolist()) for row in h5s.H5Stream(path, fields)] == shapes


def test_a_type_is_asked_of_attributes_of_groups_too(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", m_0__x=[1], m_1__x=[2])
    with h5py.File(path, "a") as file:
        for number in range(2):
            file[f"m_{number}"].attrs["k"] = number
    k = h5s.Grouped("m_*", attribute="k", dtype="f4")
    rows = h5s.H5Stream(path, {"x": h5s.Grouped("m_*/x"), "k": k}, output="numpy")
    assert [row["k"].dtype for row in rows] == [np.float32, np.float32]


def test_rows_of_several_datasets_follow_each_other(tmp_path: Path) -> None:
    buckets = {0: 3, 2: 1, 10: 2}
    datasets = {f"data__bucket{n}": np.full((size, 4), n) for n, size in buckets.items()}
    labels = {f"label__bucket{n}": np.arange(size) + 10 * n for n, size in buckets.items()}
    path = write(tmp_path / "a.h5", **datasets, **labels)
    with h5py.File(path, "a") as file:
        for number in buckets:
            file[f"data/bucket{number}"].attrs["rate"] = number
    fields = {
        "x": h5s.Concat("data/bucket*"),
        "label": h5s.Concat(h5s.Grouped("label/*", dtype="f4")),
        "rate": h5s.Grouped("data/bucket*", attribute="rate"),
        "bucket": h5s.Origin("group"),
    }
    rows = list(h5s.H5Stream(path, fields, output="numpy"))
    told = [(int(row["x"][0]), float(row["label"]), int(row["rate"])) for row in rows]
    assert told == [(0, 0, 0), (0, 1, 0), (0, 2, 0), (2, 20, 2), (10, 100, 10), (10, 101, 10)]
    assert [row["bucket"] for row in rows] == [f"bucket{n}" for n, _label, _rate in told]
    with h5py.File(path, "a") as file:
        del file["label/bucket2"]
        file["label/bucket2"] = [1, 2]
    with pytest.raises(h5s.ConfigError, match="unequal numbers of rows"):
        len(h5s.H5Stream(path, fields))


def test_rows_of_several_datasets_are_named_by_a_pattern(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", x__a=[1, 2], x__b=[[1, 2]])
    with pytest.raises(h5s.ConfigError, match="takes a pattern"):
        len(h5s.H5Stream(path, {"x": h5s.Concat(h5s.Dense("x/a"))}))
    with pytest.raises(h5s.ConfigError, match="rows of one field must agree"):
        len(h5s.H5Stream(path, {"x": h5s.Concat("x/*")}))


def test_members_of_a_whole_dataset(tmp_path: Path) -> None:
    values = np.zeros(4, [("a", "f4"), ("b", "i4")])
    values["b"] = np.arange(4)
    path = write(tmp_path / "a.h5", x=values, y=[7])
    fields = {"x": h5s.Whole("x[b]"), "c": h5s.Constant("x[b]")}
    (row,) = h5s.H5Stream(path, fields, output="numpy")
    assert row["x"].tolist() == row["c"].tolist() == [0, 1, 2, 3]
    with pytest.raises(h5s.ConfigError, match="has no member 'c'"):
        len(h5s.H5Stream(path, {"x": h5s.Whole("x[c]")}))


def test_text_becomes_no_number(scans: list[str]) -> None:
    fields = {"x": "kspace", "p": h5s.Constant("/", "patient", dtype="f4")}
    with pytest.raises(h5s.ConfigError, match="'p' is text, and cannot become f4"):
        len(h5s.H5Stream(scans, fields))
