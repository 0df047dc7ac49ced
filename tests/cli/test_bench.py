"""The command that measures a file: what it prints, not how fast that is."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from typer.testing import CliRunner

import h5stream as h5s
from h5stream.cli import app
from h5stream.measure import SampleBySample
from tests.streams import write_rows

QUICK = ["--seconds", "0.05", "--rounds", "2", "--workers", "1"]

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return write_rows(tmp_path / "a.h5", 600, chunk_rows=20)


def test_json_has_all_ways_with_all_rounds_and_the_versions(path: str, tmp_path: Path) -> None:
    plot = tmp_path / "rates.svg"
    done = CliRunner().invoke(
        app, ["bench", path, "--json", "--step-ms", "1", "--plot", str(plot), *QUICK]
    )
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    ways = {way["name"]: way for way in found["ways"]}
    assert list(ways) == [
        "limit: reading alone",
        "limit: decoding alone",
        "h5stream, shuffled",
        "h5stream, in file order",
        "h5stream, shuffled, 1 thread",
        "h5stream, shuffled, 1 workers",
        "Dataset over h5py, shuffled",
        "Dataset over h5py, shuffled, 1 workers",
    ]
    assert all(rate > 0 for way in ways.values() for rate in way["rates"])
    assert len(ways["h5stream, shuffled"]["rates"]) == 2
    assert 0 < ways["h5stream, shuffled"]["busy"] <= 1
    assert found["about"]["rows"] == 600
    assert "h5py" in found["about"]["versions"]
    drawn = ElementTree.parse(plot)
    assert len(drawn.findall(".//{http://www.w3.org/2000/svg}line")) == len(ways)


def test_the_table_ends_with_verdict_and_advice(path: str) -> None:
    done = CliRunner().invoke(app, ["bench", path, "-f", "row", "--batch-size", "50", *QUICK])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["way", "rows/s", "from", "to"]
    assert any(line.startswith("verdict  ") for line in lines)
    assert any(line.startswith("advice   use ") for line in lines)


def test_ragged_fields_have_no_way_by_h5py(tmp_path: Path) -> None:
    path = tmp_path / "ragged.h5"
    with h5s.Writer(path, {"tokens": h5s.RaggedColumn("int64")}) as writer:
        for row in range(300):
            writer.append({"tokens": np.arange(row % 5)})
    done = CliRunner().invoke(app, ["bench", str(path), "--json", "--batch-size", "50", *QUICK])
    assert done.exit_code == 0, done.output
    names = [way["name"] for way in json.loads(done.stdout)["ways"]]
    assert not any(name.startswith("Dataset") for name in names)
    assert "h5stream, shuffled" in names


def test_the_dataset_by_h5py_gives_rows_of_all_files(tmp_path: Path) -> None:
    places = []
    for number in range(2):
        file = write_rows(tmp_path / f"{number}.h5", 5, first=5 * number)
        places.append({"row": (file, "row"), "x": (file, "x")})
    dataset = SampleBySample(places, [5, 5])
    assert [int(dataset[row]["row"]) for row in range(len(dataset))] == list(range(10))


def test_what_cannot_be_measured_is_said_in_a_line(path: str, tmp_path: Path) -> None:
    few = CliRunner().invoke(app, ["bench", path, "--batch-size", "600", *QUICK])
    assert few.exit_code == 1
    assert "too few to measure" in few.stderr
    missing = CliRunner().invoke(app, ["bench", str(tmp_path / "none.h5"), *QUICK])
    assert missing.exit_code == 1
    assert missing.stderr.startswith("error: ")
