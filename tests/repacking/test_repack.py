from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from typer.testing import CliRunner

import h5stream as h5s
from h5stream.cli import app
from tests.write.rows import SPECS, assert_equal_rows, by_stream, make_rows

NAMES = ["image", "label", "tokens", "counts", "text", "strings"]


def write_slow(path: Path, n_rows: int, seed: int = 0) -> dict[str, Any]:
    """Write rows as many files hold them: one-row chunks, variable length, a compound."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 9, n_rows)
    rows = {
        "image": list(rng.integers(0, 256, (n_rows, 4, 5), np.uint8)),
        "tokens": [rng.integers(0, 99, length) for length in lengths],
        "text": [f"row é {number}" * (number % 3) for number in range(n_rows)],
        "pose/x": list(rng.standard_normal(n_rows)),
        "pose/n": list(rng.integers(0, 5, n_rows).astype("<i2")),
    }
    with h5py.File(path, "w") as file:
        file.attrs["title"] = "slow"
        file.create_dataset("image", data=rows["image"], chunks=(1, 4, 5), compression="gzip")
        file["image"].attrs["unit"] = "counts"
        tokens = file.create_dataset("tokens", n_rows, h5py.vlen_dtype("<i8"))
        for number, row in enumerate(rows["tokens"]):
            tokens[number] = row
        file.create_dataset("text", data=rows["text"], dtype=h5py.string_dtype())
        pose = np.zeros(n_rows, [("x", "<f8"), ("n", "<i2")])
        pose["x"], pose["n"] = rows["pose/x"], rows["pose/n"]
        file["pose"] = pose
    return rows


@given(
    n_rows=st.integers(1, 30),
    shuffle=st.none() | st.integers(0, 3),
    shard_bytes=st.none() | st.integers(500, 5000),
    subset=st.none() | st.lists(st.integers(0, 36), min_size=1, max_size=20),
    compression=st.sampled_from(["auto", "zstd", None]),
)
def test_rows_are_those_of_the_sources(
    tmp_path_factory: pytest.TempPathFactory,
    n_rows: int,
    shuffle: int | None,
    shard_bytes: int | None,
    subset: list[int] | None,
    compression: Any,
) -> None:
    folder = tmp_path_factory.mktemp("repack")
    rows = write_slow(folder / "a.h5", n_rows)
    more = write_slow(folder / "b.h5", 7, seed=1)
    rows = {name: [*column, *more[name]] for name, column in rows.items()}
    chosen = None if subset is None else [number % (n_rows + 7) for number in subset]
    done = h5s.repack(
        [folder / "a.h5", folder / "b.h5"],
        folder / "out.h5",
        subset=chosen,
        shuffle=shuffle,
        shard_bytes=shard_bytes,
        compression=compression,
    )
    order = list(range(n_rows + 7)) if chosen is None else chosen
    assert done.n_rows == len(order)
    found: dict[str, list[Any]] = {name: [] for name in rows}
    places: list[int] = []
    for path in done.paths:
        for name, column in by_stream(path, list(rows)).items():
            found[name] += column
        if shuffle is not None:
            places += h5s.read(path, "source/rows").tolist()
    if shuffle is not None:
        assert sorted(places) == sorted(order)
        order = places
    assert_equal_rows(found, {name: [column[at] for at in order] for name, column in rows.items()})
    assert sorted(folder.glob(".*")) == []


def test_a_shuffle_is_the_same_for_every_memory_and_differs_by_seed(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5s.Writer(path) as writer:
        writer.extend({"x": np.zeros((3000, 8000), "u1"), "n": np.arange(3000)})
    orders = []
    for number, (seed, memory) in enumerate([(1, 2**26), (1, 2**30), (2, 2**30)]):
        out = tmp_path / f"{number}.h5"
        h5s.repack(path, out, shuffle=seed, memory_bytes=memory)
        orders.append(h5s.read(out, "n").tolist())
        assert orders[-1] == h5s.read(out, "source/rows").tolist()
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == list(range(3000)) != orders[0]
    shifts = np.array(orders[0]) - np.arange(3000)
    assert 800 < np.abs(shifts).mean() < 1200  # a third of the rows, for a uniform order


def test_attributes_come_along_and_what_does_not_is_told(tmp_path: Path) -> None:
    write_slow(tmp_path / "a.h5", 20)
    done = h5s.repack(tmp_path / "a.h5", tmp_path / "b.h5")
    with h5py.File(tmp_path / "b.h5") as file:
        assert file.attrs["title"] == "slow"
        assert file["image"].attrs["unit"] == "counts"
    assert done.left_out == ()
    done = h5s.repack(h5s.example_file("climate"), tmp_path / "c.h5")
    assert any("'DIMENSION_LIST' of '/noy'" in told for told in done.left_out)


def test_arguments_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path, other = tmp_path / "a.h5", tmp_path / "b.h5"
    write_slow(path, 20)
    other.write_bytes(b"precious")
    before = path.read_bytes()
    with pytest.raises(h5s.ConfigError, match="is one of the sources"):
        h5s.repack(path, path, overwrite=True)
    with pytest.raises(h5s.ConfigError, match="overwrite=True"):
        h5s.repack(path, other)
    with pytest.raises(h5s.ConfigError, match="no folder"):
        h5s.repack(path, tmp_path / "none" / "b.h5")
    with pytest.raises(h5s.ConfigError, match="memory_bytes must be"):
        h5s.repack(path, tmp_path / "c.h5", memory_bytes=1000)
    assert (path.read_bytes(), other.read_bytes()) == (before, b"precious")
    assert h5s.repack(path, other, overwrite=True).n_rows == 20


def test_rows_that_differ_are_found(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write_slow(path, 50)
    for name, options in (("b.h5", {}), ("c.h5", {"shuffle": 0})):
        out = tmp_path / name
        h5s.repack(path, out, compression=None, checksum=False, **options)
        assert h5s.verify(path, out) == 50
        with h5py.File(out, "r+") as file:
            file["tokens/values"][11] += 1
        with pytest.raises(h5s.WriteError, match=r"(row \d+|rows) of 'tokens'"):
            h5s.verify(path, out)
    write_slow(tmp_path / "d.h5", 49)
    with pytest.raises(h5s.WriteError, match="has 49 rows, expected 50"):
        h5s.verify(path, tmp_path / "d.h5")


REPACK = """
import sys
import h5stream as h5s
h5s.repack
sys.modules["h5stream.repacking.repack"]._FLUSH_BYTES = 20_000
sys.modules["h5stream.repacking.rows"]._BATCH_BYTES = 3_000
shuffle = int(sys.argv[3]) if sys.argv[3] else None
def tell(what, done, of):
    print(what, done, flush=True)
h5s.repack(sys.argv[1], sys.argv[2], shuffle=shuffle, shard_bytes=100_000,
           progress=tell, overwrite=True)
"""


@pytest.mark.parametrize("shuffle", ["", "5"])
def test_a_run_that_was_killed_goes_on(tmp_path: Path, shuffle: str) -> None:
    path, out = tmp_path / "a.h5", tmp_path / "out.h5"
    rows = make_rows(3000)
    with h5s.Writer(path, {name: SPECS[name] for name in NAMES}) as writer:
        writer.extend({name: rows[name] for name in NAMES})
    command = [sys.executable, "-c", REPACK, str(path), str(out), shuffle]
    generator, first = random.Random(shuffle), []
    for _ in range(3):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            first.append(process.stdout.readline())
            time.sleep(generator.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
    subprocess.run(command, check=True, capture_output=True)
    whole = h5s.repack(path, tmp_path / "whole.h5", shuffle=int(shuffle) if shuffle else None)
    parts = sorted(tmp_path.glob("out-*.h5"))
    assert len(parts) > 3
    found = by_stream(parts, NAMES)  # type: ignore[arg-type]
    assert_equal_rows(found, by_stream(whole.paths[0], NAMES))
    assert not list(tmp_path.glob(".*"))


def test_the_commands_say_what_they_did(tmp_path: Path) -> None:
    path, out = tmp_path / "a.h5", tmp_path / "b.h5"
    write_slow(path, 500)
    run = CliRunner().invoke
    done = run(app, ["repack", str(path), str(out), "--dry-run"])
    assert "would write 500 rows" in done.output
    assert not out.exists()
    done = run(app, ["repack", str(path), str(out), "--shuffle", "1", "--compression", "zstd"])
    assert done.exit_code == 0, done.output
    assert "500 rows in 1 file" in done.output
    assert "rows/s" in done.output
    assert run(app, ["verify", str(path), str(out)]).output == "500 rows are the same\n"
    done = run(app, ["repack", str(path), str(tmp_path / "c.h5"), "--rows", "10:40", "-f", "image"])
    assert "30 rows" in done.output
    done = run(app, ["repack", str(path), str(out)])
    assert done.exit_code == 1
    assert "overwrite" in done.output
    done = run(app, ["repack", str(path), str(tmp_path / "d.h5"), "--memory", "much"])
    assert "is no size" in done.output


def test_attributes_of_columns_that_are_groups_come_along_too(tmp_path: Path) -> None:
    path, out, again = (tmp_path / name for name in ("a.h5", "b.h5", "c.h5"))
    about = {"tokens": {"vocabulary": "small"}, "text": {"language": "de"}, "counts": {"unit": 1}}
    columns = {
        "tokens": h5s.RaggedColumn("i4"),
        "text": h5s.TextColumn(),
        "counts": h5s.SparseColumn(4, "f4"),
    }
    with h5s.Writer(path, columns, column_attributes=about) as writer:
        writer.append({"tokens": [1, 2], "text": "ja", "counts": ([1], [2.0])})
        writer.append({"tokens": [], "text": "nein", "counts": ([], [])})
    with h5py.File(path, "r+") as file:
        file["tokens/values"].attrs["bits"] = 7
        file["tokens/values"].attrs["vocabulary"] = "large"
    done = h5s.repack(path, out)
    assert len(done.left_out) == 1
    assert "'vocabulary' of '/tokens/values'" in done.left_out[0]
    assert h5s.repack(out, again).left_out == ()
    for each in (out, again):
        with h5py.File(each) as file:
            assert dict(file["tokens"].attrs) == {"vocabulary": "small", "bits": 7}
            assert file["text"].attrs["language"] == "de"
            assert file["counts"].attrs["unit"] == 1
            assert file["counts"].attrs["shape"].tolist() == [2, 4]


def test_attributes_of_one_dataset_a_sample_and_of_compounds_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for number in range(3):
            file[f"sample_{number}/x"] = np.arange(number + 1)
            file[f"sample_{number}/x"].attrs["label"] = number
    done = h5s.repack(path, tmp_path / "b.h5", {"x": h5s.Grouped("sample_*/x")})
    assert any("'label'" in told and "one dataset a sample" in told for told in done.left_out)
    with h5py.File(path, "w") as file:
        file["table"] = np.zeros(3, [("a", "i4"), ("b", "f4")])
        file["table"].attrs["unit"] = "m"
    done = h5s.repack(path, tmp_path / "c.h5")
    assert any("'unit' of '/table'" in told for told in done.left_out)


def test_marks_of_h5torch_are_not_taken_for_attributes(tmp_path: Path) -> None:
    path, out = tmp_path / "a.h5", tmp_path / "b.h5"
    with h5s.H5torchWriter(path) as writer:
        writer.register(np.eye(3, dtype="f4"), "central", mode="csr")
        writer.register([1, 2, 3], 0, name="n")
    with h5py.File(path, "r+") as file:
        file["0/n"].attrs["unit"] = "m"
    assert h5s.repack(path, out).left_out == ()
    with h5py.File(out) as file:
        assert dict(file["0/n"].attrs) == {"unit": "m"}


def test_splits_and_states_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5s.Writer(path) as writer:
        writer.extend({"x": np.arange(4)})
        writer.add_split("train", [0, 2])
    with h5s.File(path) as file:
        file.save_state("best", {"x": 1})
    left_out = h5s.repack(path, tmp_path / "b.h5").left_out
    assert len(left_out) == 2
    assert "splits/train is left out" in left_out[0]
    assert "state_dicts/best is left out" in left_out[1]
