from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

import h5stream as h5s
from h5stream.cli import app
from tests.golden import GOLDEN
from tests.streams import write_columns


def inspect(path: Path | str) -> Any:
    return CliRunner().invoke(app, ["inspect", str(path)])


def line_of(output: str, name: str) -> str:
    return next(line for line in output.splitlines() if f" {name}  " in line)


def test_inspect_shows_groups_shapes_types_chunks_filters_and_sizes() -> None:
    result = inspect(h5s.example_file())
    assert result.exit_code == 0
    assert " raw.X/" in result.output
    x = line_of(result.output, "X")
    for fact in ("(700, 765)", "float32", "chunks (44, 96)", "gzip", "2.1 MB (2.4x)", "direct"):
        assert fact in x


def test_inspect_says_why_a_dataset_goes_through_h5py(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("scaled", data=np.arange(8), chunks=(4,), scaleoffset=0)
    assert "through h5py: " in inspect(tmp_path / "a.h5").output


def test_inspect_notes_what_cannot_be_streamed_and_goes_on(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["texts"] = ["a", "bc"]
        file.create_dataset("nested", (2,), h5py.vlen_dtype(h5py.string_dtype()))
        file["scalar"] = 3
        file["[bold]x"] = np.arange(3)
    result = inspect(tmp_path / "a.h5")
    assert result.exit_code == 0
    assert "not streamable: its elements have variable length" in result.output
    assert "not streamable: it is a scalar: there is no sample axis" in result.output
    assert "direct" in line_of(result.output, "[bold]x")


def test_inspect_notes_a_filter_that_nothing_can_undo(tmp_path: Path) -> None:
    path = write_columns(tmp_path / "a.h5", {"x": np.arange(8)})
    raw = Path(path).read_bytes()
    with h5py.File(path) as file:
        plist = file["x"].id.get_create_plist()
        assert plist.get_filter(0)[0] == 1
    # The filter message holds the id 1 of deflate and, from the name on, "deflate".
    at = raw.index(b"deflate\0") - 8
    Path(path).write_bytes(raw[:at] + (300).to_bytes(2, "little") + raw[at + 2 :])
    result = inspect(path)
    assert result.exit_code == 0
    assert "not streamable: " in result.output
    assert "(filter 300)" in result.output


@pytest.mark.parametrize("content", [None, b"not HDF5"], ids=["missing", "not HDF5"])
def test_inspect_fails_with_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.h5"
    if content is not None:
        path.write_bytes(content)
    result = inspect(path)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith(f"error: {path}: ")
    assert result.stderr.count("\n") == 1


def test_inspect_names_the_convention_its_fields_and_how_to_ask_for_others() -> None:
    output = inspect(h5s.example_file()).output
    assert "convention  AnnData: a matrix of cells by genes" in output
    assert "obs/n_genes       obs[n_genes]\n" in output
    assert "also        raw/X, obs/bulk_labels/codes, " in output
    assert "otherwise   fields=" in output


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("h5torch/csr.h5", "fields      central  central, sparse, 8 columns"),
        ("h5torch/coo.h5", "            0/rows   rows of 0/rows"),
        ("h5mapper/vshape.h5", "fields      img/arr     slices of img/arr/__arr__"),
        ("h5mapper/vshape.h5", "            __src__/id  read when the file is opened"),
        ("blog/traj0.h5", "fields      trajectory  one dataset a sample: trajectory_*"),
        ("blog/traj0.h5", "            cls         attribute cls of trajectory_*"),
    ],
)
def test_inspect_says_where_fields_come_from(path: str, line: str) -> None:
    assert f"\n{line}" in inspect(GOLDEN / path).output


def test_inspect_names_no_convention_where_there_is_none() -> None:
    assert "convention" not in inspect(GOLDEN / "blog" / "images.h5").output


def test_inspect_says_what_breaks_a_convention_and_goes_on(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["__src__/id"] = ["a", "a"]
        file["x"] = np.arange(3)
    result = inspect(tmp_path / "a.h5")
    assert result.exit_code == 0
    assert "convention  h5mapper" in result.output
    assert "holds the id 'a' twice" in result.output
