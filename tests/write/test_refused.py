"""Rows and options that are refused, with the row named and nothing lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import h5stream as h5s

SPECS: dict[str, Any] = {
    "x": h5s.DenseColumn((2,), "f4"),
    "n": h5s.DenseColumn((), "u1"),
    "t": h5s.TextColumn(),
    "r": h5s.RaggedColumn("i2"),
    "s": h5s.SparseColumn(5, "f4"),
    "b": h5s.DenseColumn((), "S3"),
}
GOOD: dict[str, Any] = {
    "x": np.ones(2, "f4"),
    "n": 3,
    "t": "text",
    "r": [1, 2],
    "s": ([0, 4], [1.0, 2.0]),
    "b": b"abc",
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": None}, r"row 1: 'x' is None, which no column holds"),
        (
            {"x": np.ones(3, "f4")},
            r"row 1: 'x' has shape \(3,\), but its column has .* \(2,\)",
        ),
        ({"x": [1e300, 0]}, r"row 1: 'x' has the value 1e\+300, which its column of float32"),
        ({"n": 256}, r"row 1: 'n' has the value 256, which its column of uint8 cannot hold"),
        ({"n": -1}, r"row 1: 'n' has the value -1"),
        ({"n": 0.5}, r"row 1: 'n' has the value 0.5"),
        ({"n": float("nan")}, r"row 1: 'n' has the value nan"),
        ({"n": "3"}, r"row 1: 'n' is '3', which no column holds"),
        ({"n": 2**70}, r"row 1: 'n' is .*, which no column holds"),
        ({"t": 3}, r"row 1: 't' is 3, but its column holds strings"),
        ({"t": "a\0b"}, r"row 1: 't' has a NUL in its text"),
        ({"t": "\ud800"}, r"row 1: 't' cannot be UTF-8"),
        ({"r": [1, 2**15]}, r"row 1: 'r' has the value 32768, which its column of int16"),
        ({"r": 5}, r"row 1: 'r' has shape \(\), but rows of its column are lists"),
        ({"r": [[1], [2]]}, r"row 1: 'r' has shape \(2, 1\)"),
        ({"r": [[1], [2, 3]]}, r"row 1: 'r' is \[\[1\], \[2, 3\]\], which is no array"),
        ({"s": ([5], [1.0])}, r"row 1: 's' is .*: the indices of a sparse column lie outside"),
        ({"s": np.zeros(4)}, r"row 1: 's' has shape \(4,\), expected \(5,\)"),
        ({"s": ([0, 1], [1.0])}, r"row 1: 's' is .*indices of equal length"),
        ({"b": b"abcd"}, r"row 1: 'b' has the value b'abcd', which its column of \|S3"),
        ({"b": 5}, r"row 1: 'b' has the value 5"),
        ({"more": 1}, r"row 1: has \['more'\], but the file has no such columns"),
        ({"x": ...}, r"row 1: lacks \['x'\]"),
    ],
    ids=str,
)
def test_a_sample_that_does_not_fit_is_named_and_the_others_are_kept(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = tmp_path / "rows.h5"
    bad = {name: value for name, value in (GOOD | changes).items() if value is not ...}
    with h5s.Writer(path, SPECS) as writer:
        writer.append(GOOD)
        with pytest.raises(h5s.WriteError, match=message):
            writer.append(bad)
        assert len(writer) == 1
        writer.append(GOOD)
    batch = next(iter(h5s.H5Stream(path, batch_size=2)))
    assert batch["n"].tolist() == [3, 3]
    assert batch["t"] == ["text", "text"]


def test_a_batch_that_does_not_fit_is_left_out_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "rows.h5"
    with h5s.Writer(path, {"x": h5s.DenseColumn((), "i2"), "y": h5s.RaggedColumn("i2")}) as writer:
        writer.extend({"x": [1, 2], "y": [[1], [2, 3]]})
        with pytest.raises(h5s.WriteError, match="row 4: 'y' has the value 70000"):
            writer.extend({"x": [3, 4, 5], "y": [[1], [2, 3], [70_000]]})
        with pytest.raises(h5s.WriteError, match=r"differ in length: {'x': 2, 'y': 1}"):
            writer.extend({"x": [3, 4], "y": [[1]]})
        writer.extend({"x": [6], "y": [[]]})
    with h5py.File(path) as file:
        assert file["x"][()].tolist() == [1, 2, 6]
        assert file["y/offsets"][()].tolist() == [0, 1, 3, 3]


@pytest.mark.parametrize(
    ("first", "later", "message"),
    [
        ([1, 2], [0.5], "row 2: 'x' has the value 0.5, which its column of int64"),
        (np.ones(2, "f4"), np.array([0.1]), "row 2: 'x' has the value 0.1, which its .* float32"),
        (np.ones(2, "i1"), [200], "row 2: 'x' has the value 200, which its column of int8"),
        (["a", "b"], [1], "row 2: 'x' is 1, but its column holds strings"),
        ([[1, 2], [3, 4]], [[1, 2, 3]], "row 2: 'x' has shape .3,.* need RaggedColumn"),
    ],
    ids=str,
)
def test_a_type_that_was_inferred_is_not_changed_in_silence(
    tmp_path: Path, first: Any, later: Any, message: str
) -> None:
    with h5s.Writer(tmp_path / "rows.h5") as writer:
        writer.extend({"x": first})
        with pytest.raises(h5s.WriteError, match=message):
            writer.extend({"x": later})


def test_values_are_changed_if_somebody_asks_for_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.h5"
    specs = {
        "n": h5s.DenseColumn((), "u1", casting="unsafe"),
        "f": h5s.DenseColumn((), "f4"),
        "r": h5s.RaggedColumn("i1", casting="unsafe"),
    }
    with h5s.Writer(path, specs) as writer:
        writer.extend({"n": [257, 2.7], "f": [0.1, 0.2], "r": [[300], [1.5]]})
    with h5py.File(path) as file:
        assert file["n"][()].tolist() == [1, 2]
        assert file["f"][()].tolist() == np.array([0.1, 0.2], "f4").tolist()
        assert file["r/values"][()].tolist() == [44, 1]


def test_columns_follow_from_the_first_samples(tmp_path: Path) -> None:
    path = tmp_path / "rows.h5"
    with h5s.Writer(path) as writer:
        for number in range(100):
            writer.append(
                {
                    "tokens": list(range(number % 3)),
                    "image": torch.full((2, 2), number, dtype=torch.uint8),
                    "bits": torch.ones(2, dtype=torch.bfloat16) * number,
                    "name": f"n{number}",
                    "deep/er": number / 2,
                    "flag": number % 2 == 0,
                }
            )
    batch = next(iter(h5s.H5Stream(path, batch_size=100, ragged="list")))
    assert [row.tolist() for row in batch["tokens"][:4]] == [[], [0], [0, 1], []]
    assert batch["image"][:, 0, 0].tolist() == list(range(100))
    assert batch["bits"].dtype == torch.bfloat16
    assert batch["bits"][7].tolist() == [7, 7]
    assert batch["name"][99] == "n99"
    assert batch["deep/er"][99] == 49.5
    assert batch["flag"].dtype == torch.bool


def test_sparse_tensors_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "rows.h5"
    dense = torch.tensor([[0.0, 1.0, 0.0], [2.0, 0.0, 3.0]])
    with h5s.Writer(path) as writer:
        writer.extend({"a": dense.to_sparse_csr(), "b": [1, 2]})
        writer.extend({"a": dense.to_sparse_coo(), "b": [3, 4]})
    batch = next(iter(h5s.H5Stream(path, batch_size=4, sparse="dense")))
    assert batch["a"].tolist() == [*dense.tolist(), *dense.tolist()]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"compression": "lzma"}, h5s.ConfigError, 'must be "auto", "gzip"'),
        ({"compression": "gzip", "level": 10}, h5s.ConfigError, "levels from 1 to 9, not 10"),
        ({"compression": None, "level": 1}, h5s.ConfigError, "has no level"),
        ({"mode": "w"}, h5s.ConfigError, 'mode must be "new" or "append"'),
        ({"mode": "append", "n_rows": 3}, h5s.ConfigError, "goes without"),
        ({"chunk_bytes": 0}, h5s.ConfigError, "chunk_bytes must be an integer of 1 or more"),
        ({"n_rows": 1.5}, h5s.ConfigError, "n_rows must be an integer"),
        ({"columns": {"x": "f4"}}, h5s.ConfigError, "must be a DenseColumn"),
        ({"columns": {"": h5s.TextColumn()}}, h5s.ConfigError, "is no name of a column"),
        ({"columns": {"/x": h5s.TextColumn()}}, h5s.ConfigError, "is no name of a column"),
        ({"columns": {"a/../b": h5s.TextColumn()}}, h5s.ConfigError, "is no name of a column"),
        ({"columns": {"splits/x": h5s.TextColumn()}}, h5s.ConfigError, "where splits lie"),
        (
            {"columns": {"a": h5s.TextColumn(), "a/b": h5s.TextColumn()}},
            h5s.ConfigError,
            "inside another column",
        ),
    ],
    ids=str,
)
def test_options_that_do_not_fit_are_refused(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        h5s.Writer(tmp_path / "rows.h5", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: h5s.DenseColumn((), "O"), "cannot have the type object"),
        (lambda: h5s.DenseColumn((), "U5"), r"TextColumn\(\) for strings"),
        (lambda: h5s.DenseColumn((-1,), "f4"), "integers of 0 or more"),
        (lambda: h5s.DenseColumn((), "no type"), "is no type of NumPy"),
        (lambda: h5s.SparseColumn(0, "f4"), "needs its width"),
        (lambda: h5s.RaggedColumn("S3"), "cannot have the type"),
    ],
)
def test_columns_that_cannot_be_are_refused(make: Any, message: str) -> None:
    with pytest.raises(h5s.ConfigError, match=message):
        make()


def test_rows_that_are_too_large_for_a_chunk_are_refused(tmp_path: Path) -> None:
    spec = {"x": h5s.DenseColumn((2**32,), "u1")}
    with (
        pytest.raises(h5s.ConfigError, match="4294967296 bytes, and HDF5 allows"),
        h5s.Writer(tmp_path / "rows.h5", spec),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_not_replaced_unasked(tmp_path: Path) -> None:
    path = tmp_path / "rows.h5"
    path.write_bytes(b"precious")
    with pytest.raises(h5s.ConfigError, match="overwrite=True"):
        h5s.Writer(path)
    writer = h5s.Writer(path, overwrite=True)
    writer.append({"x": 1})
    assert path.read_bytes() == b"precious"
    writer.close()
    assert len(h5s.Dataset(path)) == 1


def fail_in_the_loop(path: Path) -> None:
    with h5s.Writer(path) as writer:
        writer.extend({"x": np.zeros((5000, 100))})
        raise RuntimeError("in the loop")


def test_nothing_is_left_of_a_new_file_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "rows.h5"
    with pytest.raises(RuntimeError, match="in the loop"):
        fail_in_the_loop(path)
    assert list(tmp_path.iterdir()) == []
    writer = h5s.Writer(path, n_rows=2)
    writer.append({"x": 1})
    with pytest.raises(h5s.WriteError, match="1 rows came, but n_rows=2"):
        writer.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(h5s.WriteError, match="the writer is closed"):
        writer.append({"x": 1})


def test_folders_that_cannot_hold_the_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(h5s.ConfigError, match="there is no folder"):
        h5s.Writer(tmp_path / "no" / "rows.h5")


def test_splits_are_fields_by_name(tmp_path: Path) -> None:
    path = tmp_path / "rows.h5"
    with h5s.Writer(path) as writer:
        writer.extend({"x": np.arange(6)})
        writer.add_split("train", [0, 1, 4])
        writer.add_split("test", np.array([False, False, True, True, False, True]))
        with pytest.raises(h5s.ConfigError, match="rows beyond the 6"):
            writer.add_split("bad", [6])
        with pytest.raises(h5s.ConfigError, match="6 flags, not bool of shape"):
            writer.add_split("bad", [True])
    assert list(h5s.H5Stream(path).catalog.files[0].fields) == ["x"]
    for name, rows in (("train", [0, 1, 4]), ("test", [2, 3, 5])):
        stream = h5s.H5Stream(path, ["x"], subset={f"splits/{name}": True}, batch_size=6)
        assert next(iter(stream))["x"].tolist() == rows


def test_attributes_are_stored(tmp_path: Path) -> None:
    path = tmp_path / "rows.h5"
    options: dict[str, Any] = {
        "attributes": {"title": "of all", "mean": np.ones(3)},
        "column_attributes": {"x": {"unit": "m"}},
        "sources": ["a.csv"],
    }
    with h5s.Writer(path, **options) as writer:
        writer.append({"x": 1.0})
    with h5py.File(path) as file:
        assert file.attrs["title"] == "of all"
        assert file["x"].attrs["unit"] == "m"
        assert b"a.csv" in file.attrs["h5stream_provenance"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "that is no JSON"),
        ("[" * 100_000, "that is no JSON"),
        ('{"schema": 2, "columns": {}}', "schema 2 of h5stream, and this version knows 1"),
        ('{"schema": 1, "columns": {"x": "odd"}}', "names no columns"),
        ('{"schema": 1, "columns": {"gone": "dense"}}', "no dataset 'gone'"),
        ('{"schema": 1, "columns": {"x": "ragged"}}', "no dataset 'x/"),
    ],
    ids=["json", "deep", "schema", "kind", "missing", "other"],
)
def test_damaged_descriptions_are_an_error_of_ours(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "rows.h5"
    with h5s.Writer(path) as writer:
        writer.append({"x": 1.0})
    with h5py.File(path, "r+", libver="latest") as file:
        file.attrs["h5stream"] = np.bytes_(text)
    with pytest.raises(h5s.H5StreamError, match=message):
        next(iter(h5s.H5Stream(path)))


FIRST: dict[str, Any] = {"x": np.ones(2), "n": 3, "t": "text", "r": [1, 2], "b": b"ab"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": None}, "row 2: 'x' is None, which no column holds"),
        ({"x": "text"}, "row 2: 'x' is 'text', but row 0 is no text"),
        ({"x": np.ones((2, 2))}, r"row 2: 'x' has shape \(2, 2\), but row 0 has \(2,\)"),
        ({"n": b"3"}, "row 2: 'n' is bytes, but row 0 is not"),
        ({"b": 3}, "row 2: 'b' is no bytes, but row 0 is"),
        ({"t": 3}, "row 2: 't' is 3, but row 0 is text"),
        ({"t": "a\0"}, "row 2: 't' has a NUL"),
        ({"r": [[1], [1, 2]]}, "row 2: 'r' is .* no array"),
        ({"n": 2**53 + 1, "x": ...}, r"row 2: lacks \['x'\]"),
        ({"more": 1}, r"row 2: has \['more'\]"),
    ],
    ids=str,
)
@pytest.mark.parametrize("whole", [False, True], ids=["append", "append_all"])
def test_one_bad_sample_among_the_first_is_refused_alone(
    tmp_path: Path, changes: dict[str, Any], message: str, whole: bool
) -> None:
    path = tmp_path / "rows.h5"
    bad = {name: value for name, value in (FIRST | changes).items() if value is not ...}
    with h5s.Writer(path) as writer:
        writer.append(FIRST)
        writer.append(FIRST | {"r": [1, 2, 3]})
        with pytest.raises(h5s.WriteError, match=message):
            writer.append_all([bad]) if whole else writer.append(bad)
        writer.append(FIRST)
        assert len(writer) == 3
    batch = next(iter(h5s.H5Stream(path, batch_size=3)))
    assert batch["n"].tolist() == [3, 3, 3]
    assert batch["r_lengths"].tolist() == [2, 3, 2]


def test_numbers_that_no_common_type_holds_are_refused_when_they_come(tmp_path: Path) -> None:
    with h5s.Writer(tmp_path / "rows.h5") as writer:
        writer.append({"n": 2**53 + 1})
        with pytest.raises(h5s.WriteError, match=r"row 1: 'n' cannot be .* with the rows before"):
            writer.append({"n": 0.5})
        writer.append({"n": 4})
    assert h5s.read(tmp_path / "rows.h5", "n").tolist() == [2**53 + 1, 4]


def test_a_first_batch_of_bytes_and_numbers_is_refused(tmp_path: Path) -> None:
    with h5s.Writer(tmp_path / "rows.h5") as writer:
        with pytest.raises(h5s.WriteError, match="row 1: 'b' is no bytes, but row 0 is"):
            writer.extend({"b": [b"a", 3]})
        writer.extend({"b": [b"a", b"abc"]})
    assert h5s.read(tmp_path / "rows.h5", "b").tolist() == [b"a", b"abc"]


def test_samples_that_wait_are_as_they_were_given(tmp_path: Path) -> None:
    buffer, tensor = np.zeros(2), torch.zeros(2)
    with h5s.Writer(tmp_path / "rows.h5") as writer:
        for number in range(3):
            buffer[:] = number
            tensor[:] = number
            writer.append({"a": buffer, "t": tensor})
    for name in ("a", "t"):
        assert h5s.read(tmp_path / "rows.h5", name).tolist() == [[0, 0], [1, 1], [2, 2]]


def test_an_empty_list_among_the_first_does_not_make_integers_floats(tmp_path: Path) -> None:
    with h5s.Writer(tmp_path / "rows.h5") as writer:
        writer.append({"tokens": []})
        writer.append({"tokens": [1, 2]})
    assert h5s.read(tmp_path / "rows.h5", "tokens/values").dtype == np.int64
