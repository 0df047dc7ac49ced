"""Columns of tables, joined to rows by a key."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

import h5stream as h5s
from tests.places import placed

SLIDES = {"s1": 3, "s2": 4, "s10": 2}
LABELS = {"s10": 1, "s1": 0, "s2": 1}


@pytest.fixture
def slides(tmp_path: Path) -> list[str]:
    """A file a slide, with features of patches, and the number of each."""
    for name, rows in SLIDES.items():
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["features"] = np.full((rows, 2), int(name[1:]), "f4")
            file["patch"] = [f"{name}_{n}" for n in range(rows)]
    return [str(tmp_path / f"{name}.h5") for name in SLIDES]


def write_csv(path: Path, header: list[str], *rows: list[Any]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",").writerows(
            [header, *rows]
        )
    return path


def by_slide(source: Any, **options: Any) -> dict[str, Any]:
    return {"x": "features", "y": h5s.Table(source, by=h5s.Origin("stem"), **options)}


def check(slides: list[str], fields: dict[str, Any], **options: Any) -> None:
    rows = list(h5s.H5Stream(slides, fields, shuffle=True, output="numpy", **options))
    assert len(rows) == sum(SLIDES.values())
    assert all(row["y"] == LABELS[f"s{int(row['x'][0])}"] for row in rows)


class Frame:
    """What of a data frame is used."""

    def __init__(self, columns: dict[str, list[Any]]) -> None:
        self._columns = columns
        self.columns = list(columns)

    def __getitem__(self, name: str) -> Any:
        return np.array(self._columns[name], object if name == "id" else None)


class Series:
    """What of a series is used."""

    def to_dict(self) -> dict[str, int]:
        return dict(LABELS)


COLUMNS = {"id": list(LABELS), "label": list(LABELS.values())}


@pytest.mark.parametrize(
    "source", [COLUMNS, Frame(COLUMNS), pyarrow.table(COLUMNS)], ids=["mapping", "frame", "arrow"]
)
def test_tables_of_every_make_are_joined_by_file(slides: list[str], source: Any) -> None:
    check(slides, by_slide(source, column="label", key="id"))


@pytest.mark.parametrize("source", [LABELS, Series()], ids=["mapping", "series"])
def test_mappings_from_keys_are_joined_by_file(slides: list[str], source: Any) -> None:
    check(slides, by_slide(source))


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_files_of_tables_are_joined(slides: list[str], tmp_path: Path, suffix: str) -> None:
    rows = [[name, label, ""] for name, label in LABELS.items()]
    path = write_csv(tmp_path / f"labels{suffix}", ["id", "label", "note"], *rows)
    check(slides, by_slide(path, column="label", key="id"))
    with placed(path, "memory") as url:
        check(slides, by_slide(url, column="label", key="id"))


def test_parquet_files_are_joined(slides: list[str], tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    pyarrow.parquet.write_table(pyarrow.table({**COLUMNS, "note": [None] * 3}), path)
    check(slides, by_slide(path, column="label", key="id"))
    with placed(path, "memory") as url:
        check(slides, by_slide(url, column="label", key="id"))
    whole = path.read_bytes()
    for damaged in (whole[:50], whole[:4] + bytes(len(whole) - 4), whole[:-9] + bytes(9)):
        path.write_bytes(damaged)
        with pytest.raises(h5s.ConfigError, match=r"labels\.parquet: cannot"):
            len(h5s.H5Stream(slides, by_slide(path, column="label", key="id")))


def test_rows_get_all_values_of_their_key(slides: list[str], tmp_path: Path) -> None:
    boxes = {"s10": [[1, 2], [3, 4]], "s1": [[5, 6]]}
    rows = [[name, *box] for name, some in boxes.items() for box in some]
    path = write_csv(tmp_path / "boxes.csv", ["id", "x", "y"], *rows[::-1])
    fields = by_slide(path, column=("x", "y"), key="id", several=True)
    for row in h5s.H5Stream(slides, fields, shuffle=True, output="numpy"):
        expected = boxes.get(f"s{int(row['x'][0])}", [])[::-1]
        assert row["y"].tolist() == expected
        assert row["y"].shape == (len(expected), 2)


def test_the_groups_of_a_pattern_are_the_parts_of_a_key(slides: list[str]) -> None:
    table = {f"{name}$0{n},rest": n * 2 for name, rows in SLIDES.items() for n in range(rows)}
    by = (h5s.Origin("stem"), h5s.Origin("row"))
    fields = {"id": "patch", "y": h5s.Table(table, by=by, pattern=r"(\w+)\$(\d+)")}
    for row in h5s.H5Stream(slides, fields):
        assert int(row["id"].split("_")[1]) * 2 == row["y"]


LISTED = ["s10_1", "s1_0", "s2_3", "s1_0"]


@pytest.mark.parametrize(
    "listed",
    [
        pytest.param(h5s.Listed(LISTED, by="patch"), id="keys"),
        pytest.param(h5s.Listed(np.array(LISTED), by="patch"), id="array"),
        pytest.param(h5s.Listed({"id": LISTED}, key="id", by="patch"), id="table"),
        pytest.param(
            h5s.Listed(
                [(name.split("_")[0], int(name.split("_")[1])) for name in LISTED],
                by=(h5s.Origin("stem"), h5s.Origin("within")),
            ),
            id="parts",
        ),
        pytest.param(
            h5s.Listed(
                {"id": LISTED},
                key="id",
                by=(h5s.Origin("stem"), h5s.Origin("row")),
                pattern=r"(\w+)_(\d)",
            ),
            id="pattern",
        ),
    ],
)
def test_listed_rows_come_in_the_order_of_the_list(slides: list[str], listed: Any) -> None:
    stream = h5s.H5Stream(slides, ["patch"], subset=listed)
    assert [row["patch"] for row in stream] == LISTED
    shuffled = h5s.H5Stream(slides, ["patch"], subset=listed, shuffle=True)
    assert sorted(row["patch"] for row in shuffled) == sorted(LISTED)
    dataset = h5s.Dataset(slides, ["patch"], subset=listed)
    assert [dataset[n]["patch"] for n in range(4)] == LISTED


def test_all_rows_of_a_listed_key_come_together(slides: list[str]) -> None:
    listed = h5s.Listed(["s10", "s1"], by=h5s.Origin("stem"))
    stream = h5s.H5Stream(slides, ["patch"], subset=listed)
    assert [row["patch"] for row in stream] == ["s10_0", "s10_1", "s1_0", "s1_1", "s1_2"]


def test_listed_keys_that_no_row_has_are_refused_or_left_out(slides: list[str]) -> None:
    listed = h5s.Listed(["s2_0", "nobody", "s1_9"], by="patch")
    with pytest.raises(h5s.ConfigError, match=r"2 of the keys .*nobody, s1_9; rows have keys like"):
        len(h5s.H5Stream(slides, ["patch"], subset=listed))
    stream = h5s.H5Stream(slides, ["patch"], subset=listed, missing="drop")
    assert [row["patch"] for row in stream] == ["s2_0"]
    assert "nobody" in str(stream.explain())


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        pytest.param(h5s.Listed(["a"]), 'by="id"', id="no by"),
        pytest.param(h5s.Listed([], by="patch"), "no keys", id="empty"),
        pytest.param(h5s.Listed("list.csv", by="patch"), "which column", id="no key"),
        pytest.param(h5s.Listed("none.csv", key="id", by="patch"), "no such table", id="file"),
        pytest.param(h5s.Listed([1], by="patch"), "one is text, the other a number", id="kinds"),
        pytest.param(h5s.Listed([("a", 1)], by="patch"), "2 parts, but by= has 1", id="parts"),
        pytest.param(
            h5s.Listed({"id": ["a"]}, key="id", by="patch", pattern="a"),
            "in parentheses",
            id="groups",
        ),
        pytest.param(
            h5s.Listed({"id": ["a"]}, key="id", by="patch", pattern="(b)"), "begin with", id="match"
        ),
        pytest.param(
            h5s.Listed({"id": ["a"]}, key="id", by="patch", pattern="("), "no regular", id="regex"
        ),
    ],
)
def test_lists_that_say_too_little_are_refused(slides: list[str], listed: Any, said: str) -> None:
    with pytest.raises(h5s.ConfigError, match=said):
        len(h5s.H5Stream(slides, ["patch"], subset=listed))


def test_rows_have_keys_of_their_own(slides: list[str]) -> None:
    ids = [f"{name}_{n}" for name, rows in SLIDES.items() for n in range(rows)]
    table = {"id": ids[::-1], "score": np.arange(len(ids))[::-1] / 2}
    fields = {"id": "patch", "y": h5s.Table(table, "score", key="id", by="patch")}
    rows = list(h5s.H5Stream(slides, fields, shuffle=True))
    assert all(row["y"] == ids.index(row["id"]) / 2 for row in rows)


def test_keys_of_several_columns(slides: list[str], tmp_path: Path) -> None:
    rows = [[name, n, f"{name}/{n}"] for name, count in SLIDES.items() for n in range(count)]
    path = write_csv(tmp_path / "boxes.csv", ["file", "slice", "label"], *rows[::-1])
    by = (h5s.Origin("stem"), h5s.Origin("row"))
    fields = {
        "id": "patch",
        "y": h5s.Table(path, "label", key=("file", "slice"), by=by),
    }
    assert all(row["y"] == row["id"].replace("_", "/") for row in h5s.H5Stream(slides, fields))


def test_groups_are_keys_of_all_their_slices(tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    with h5py.File(path, "w") as file:
        for number in range(4):
            file[f"rec_{number}/x"] = np.full(5 + number, number)
            file[f"rec_{number}"].attrs["patient"] = 10 * number
    table = {10 * number: f"p{number}" for number in range(4)}
    fields = {
        "x": h5s.Slices(h5s.Grouped("rec_*/x"), 3),
        "by_name": h5s.Table({f"rec_{n}": n for n in range(4)}, by=h5s.Origin("group")),
        "by_attribute": h5s.Table(table, by=h5s.Grouped("rec_*", attribute="patient")),
    }
    rows = list(h5s.H5Stream(path, fields, shuffle=True))
    assert len(rows) == 3 + 4 + 5 + 6
    for row in rows:
        assert (row["by_name"], row["by_attribute"]) == (row["x"][0], f"p{int(row['x'][0])}")


def test_rows_that_a_table_does_not_know_are_refused_or_left_out(slides: list[str]) -> None:
    fields = {
        **by_slide({"s1": 0, "s10": 1}),
        "index": h5s.Origin("index"),
        "row": h5s.Origin("row"),
    }
    with pytest.raises(
        h5s.ConfigError, match=r"4 of 4 rows are not in the table of 'y': s2 .*keys like s1"
    ):
        len(h5s.H5Stream(slides, fields))
    stream = h5s.H5Stream(slides, fields, missing="drop", output="numpy")
    rows = list(stream)
    assert [int(row["x"][0]) for row in rows] == [1, 1, 1, 10, 10]
    assert [int(row["index"]) for row in rows] == [0, 1, 2, 3, 4]
    assert [int(row["row"]) for row in rows] == stream.rows().row.tolist() == [0, 1, 2, 0, 1]
    assert "4 of 4 rows are not in the table of 'y'" in str(stream.explain())


def test_rows_that_are_left_out_do_not_count(slides: list[str]) -> None:
    known = {f"s1_{n}": n for n in (0, 2)} | {"s10_1": 7}
    fields = {"id": "patch", "y": h5s.Table(known, by="patch")}
    options: dict[str, Any] = {"missing": "drop", "output": "numpy"}
    assert [row["id"] for row in h5s.H5Stream(slides, fields, **options)] == list(known)
    for subset in ([2, 0], {"y": [7, 0]}, {"patch": ["s10_1", "s1_0"]}):
        rows = list(h5s.H5Stream(slides, fields, subset=subset, **options))
        assert sorted(row["id"] for row in rows) == ["s10_1", "s1_0"]
    dataset = h5s.Dataset(slides, fields, missing="drop", collate=dict)
    assert [dataset[n]["id"] for n in range(len(dataset))] == list(known)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        pytest.param(h5s.Table(COLUMNS, "label", key="id"), 'dataset by="id"', id="no by"),
        pytest.param(
            h5s.Table(COLUMNS, "lable", key="id", by="patch"),
            r"no column 'lable'; it has id, label",
            id="no column",
        ),
        pytest.param(h5s.Table("none.csv", "a", key="b", by="patch"), "no such table", id="file"),
        pytest.param(h5s.Table(COLUMNS, by="patch"), "rows are not in the table", id="columns"),
        pytest.param(
            h5s.Table({"id": ["a", "a"], "y": [1, 2]}, "y", key="id", by="patch"),
            "has 'a' more than once",
            id="twice",
        ),
        pytest.param(h5s.Table({1: 2}, by="patch"), "one is text, the other a number", id="kinds"),
        pytest.param(h5s.Table({"a": 2}, by="features"), "one number or string a row", id="no id"),
        pytest.param(
            h5s.Table({"a": 2}, by=h5s.Dense("features")), "or by a field in memory", id="stream"
        ),
        pytest.param(h5s.Table({"a": None}, by="patch"), "missing values", id="None"),
        pytest.param(
            h5s.Table({"id": [], "y": np.zeros(0)}, "y", key="id", by="patch"),
            "no rows",
            id="empty",
        ),
        pytest.param(
            h5s.Table({"id": ["a"], "y": ["b"]}, "y", key="id", by="patch", several=True),
            "column 'y' holds others",
            id="several texts",
        ),
        pytest.param(h5s.Table(7, "a", key="b", by="patch"), "a data frame, or a", id="no table"),
    ],
)
def test_tables_that_say_too_little_are_refused(
    slides: list[str], table: h5s.Table, said: str
) -> None:
    with pytest.raises((h5s.ConfigError, h5s.UnsupportedError), match=said):
        len(h5s.H5Stream(slides, {"x": "features", "y": table}))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        pytest.param("id,y\n", "no rows below", id="header alone"),
        pytest.param("id,y\ns1,1,2\n", "row 1 has 3 columns", id="ragged lines"),
        pytest.param("id,y,y\na,1,2\n", "two columns have the same name", id="twice"),
        pytest.param("PAR1...", "parquet", id="parquet"),
    ],
)
def test_files_that_are_no_tables_are_refused(
    slides: list[str], tmp_path: Path, lines: str, said: str
) -> None:
    (tmp_path / "t.csv").write_text(lines)
    with pytest.raises(h5s.ConfigError, match=said):
        len(h5s.H5Stream(slides, by_slide(tmp_path / "t.csv", column="y", key="id")))


def test_values_given_by_row_beside_rows_left_out_are_refused(slides: list[str]) -> None:
    fields = {**by_slide({"s1": 0}), "g": h5s.Given(np.arange(9))}
    with pytest.raises(h5s.ConfigError, match=r"give its values by a key as well"):
        len(h5s.H5Stream(slides, fields, missing="drop"))


def test_numbers_of_text_files_keep_their_zeros_as_keys(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["id"] = ["007", "010"]
        file["number"] = [7, 10]
    path = write_csv(tmp_path / "t.csv", ["id", "y"], ["010", 1.5], ["007", ""])
    for by in ("id", "number"):
        fields = {"y": h5s.Table(path, "y", key="id", by=by)}
        found = [float(row["y"]) for row in h5s.H5Stream(tmp_path / "a.h5", fields)]
        assert np.isnan(found[0])
        assert found[1] == 1.5


@pytest.mark.parametrize("several", [False, True])
def test_a_resumed_run_refuses_a_table_that_changed(
    slides: list[str], tmp_path: Path, several: bool
) -> None:
    def stream(labels: dict[str, int]) -> h5s.H5Stream:
        path = tmp_path / f"labels-{len(list(tmp_path.iterdir()))}.csv"
        write_csv(path, ["id", "label"], *map(list, labels.items()))
        fields = by_slide(path, column="label", key="id", several=several)
        return h5s.H5Stream(slides, fields, shuffle=True)

    iterator = iter(stream(LABELS))
    next(iterator)
    state = iterator.state_dict()
    same = stream(dict(reversed(LABELS.items())))
    same.load_state_dict(state)
    assert len(list(same)) == sum(SLIDES.values()) - 1
    changed = stream({**LABELS, "s10": 7})
    changed.load_state_dict(state)
    with pytest.raises(h5s.StateError, match=r"s10\.h5 had 2 rows.*tables .* and has 2 rows"):
        next(iter(changed))
    warned = stream({**LABELS, "s10": 7})
    warned.load_state_dict(state, on_changed="warn")
    with pytest.warns(UserWarning, match="saved over other files"):
        next(iter(warned))


def test_of_the_listed_rows_others_choose(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.arange(10)
    listed = h5s.Listed([7, 2, 5], by=h5s.Origin("row"))
    stream = h5s.H5Stream(tmp_path / "a.h5", ["x"], subset=[listed, slice(1, None)])
    assert [int(row["x"]) for row in stream] == [2, 5]
    with pytest.raises(h5s.ConfigError, match="Listed comes first"):
        list(h5s.H5Stream(tmp_path / "a.h5", ["x"], subset=[slice(3), listed]))
