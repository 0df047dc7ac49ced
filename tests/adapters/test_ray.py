"""Ray Data over two local workers, one of which is killed."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import ray

import h5stream as h5s
from tests.streams import write_columns, write_rows

N = 600

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # of what Ray opens and leaves open
]


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    root = Path(__file__).parents[2]
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder:
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=100 * 2**20,
            _temp_dir=folder,
            runtime_env={"env_vars": {"PYTHONPATH": str(root)}},
        )
        yield
        ray.shutdown()


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    sizes, first, made = (250, 50, 300), 0, []
    for number, size in enumerate(sizes):
        made.append(write_rows(tmp_path / f"{number}.h5", size, first=first, chunk_rows=10))
        first += size
    return made


def numbers(dataset: Any) -> list[int]:
    return sorted(int(row["row"]) for row in dataset.take_all())


def test_every_row_comes_once_over_two_workers(files: list[str]) -> None:
    dataset = h5s.adapters.ray.read_hdf5(files, ["row", "x"], override_num_blocks=4)
    assert dataset.count() == N
    assert numbers(dataset) == list(range(N))
    for batch in dataset.iter_torch_batches(batch_size=64):
        assert batch["x"].shape[1:] == (3,)
        np.testing.assert_array_equal(batch["x"][:, 0].numpy(), batch["row"].numpy())


def test_tasks_are_runs_of_row_chunks_with_their_size(files: list[str]) -> None:
    source = h5s.adapters.ray.HDF5Datasource(h5s.open_files(files, ["row", "x"]).catalog)
    assert source.estimate_inmemory_data_size() == N * (8 + 12)
    tasks = source.get_read_tasks(2)
    assert sum(task.metadata.num_rows for task in tasks) == N
    assert [task.metadata.input_files for task in tasks] == [tuple(files[:2]), (files[2],)]
    assert len(source.get_read_tasks(12)) == 12


def test_a_killed_worker_costs_no_row_and_doubles_none(files: list[str], tmp_path: Path) -> None:
    flag = tmp_path / "killed"

    def die_once(batch: dict[str, Any]) -> dict[str, Any]:
        if 300 in batch["row"]:
            try:
                flag.touch(exist_ok=False)
            except FileExistsError:
                return batch
            os.kill(os.getpid(), signal.SIGKILL)
        return batch

    dataset = h5s.adapters.ray.read_hdf5(files, ["row"], override_num_blocks=4)
    assert numbers(dataset.map_batches(die_once)) == list(range(N))
    assert flag.exists()


def test_only_what_is_asked_for_is_read(files: list[str]) -> None:
    dataset = h5s.adapters.ray.read_hdf5(files, {"number": "row"}, subset=slice(100, 500, 2))
    assert dataset.columns() == ["number"]
    assert sorted(int(row["number"]) for row in dataset.take_all()) == list(range(100, 500, 2))


def test_ragged_sparse_text_and_images_become_lists_and_tensors(tmp_path: Path) -> None:
    columns = {
        "tokens": h5s.RaggedColumn("int64"),
        "counts": h5s.SparseColumn(50, "float32"),
        "name": h5s.TextColumn(),
        "image": h5s.DenseColumn((2, 3), "uint8"),
    }
    dense = np.zeros((20, 50), np.float32)
    with h5s.Writer(tmp_path / "a.h5", columns) as writer:
        for row in range(20):
            dense[row, [row, row + 9]] = row, 1
            image = np.full((2, 3), row)
            tokens = np.arange(row % 4)
            writer.append(
                {"tokens": tokens, "counts": dense[row], "name": f"é{row}", "image": image}
            )
    rows = h5s.adapters.ray.read_hdf5(tmp_path / "a.h5").take_all()
    rows.sort(key=lambda row: int(row["name"][1:]))
    for number, row in enumerate(rows):
        assert list(row["tokens"]) == list(range(number % 4))
        assert row["name"] == f"é{number}"
        np.testing.assert_array_equal(row["image"], np.full((2, 3), number))
        found = np.zeros(50, np.float32)
        found[row["counts"]["indices"]] = row["counts"]["values"]
        np.testing.assert_array_equal(found, dense[number])


def test_what_arrow_has_no_column_for_is_refused(tmp_path: Path) -> None:
    path = write_columns(tmp_path / "a.h5", {"pair": np.zeros(5, [("a", "f4"), ("b", "i8")])})
    with pytest.raises(Exception, match="ask for its members"):
        h5s.adapters.ray.read_hdf5(path, ["pair"]).take_all()
    assert h5s.adapters.ray.read_hdf5(path, ["pair[a]"]).count() == 5


def read_all(paths: Any) -> np.ndarray:
    return np.concatenate([h5py.File(path)["row"][:] for path in paths])


def test_repack_writes_every_row_once_in_order(files: list[str], tmp_path: Path) -> None:
    done = h5s.adapters.ray.repack(files, tmp_path / "out", ["row", "x"], shard_bytes=4000)
    assert len(done.paths) >= 3
    assert read_all(done.paths).tolist() == list(range(N))
    assert sorted(map(str, (tmp_path / "out").iterdir())) == sorted(done.paths)
    assert h5s.verify(files, [str(path) for path in done.paths], ["row", "x"]) == N
    with pytest.raises(h5s.ConfigError, match="exists; name another"):
        h5s.adapters.ray.repack(files, tmp_path / "out")
    with pytest.raises(h5s.ConfigError, match="shuffle is for"):
        h5s.adapters.ray.repack(files, tmp_path / "other", shuffle=0)


def test_a_repack_whose_worker_is_killed_writes_the_same(
    files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room, flag = h5s.adapters.ray, tmp_path / "killed"
    write = room._write_shard  # type: ignore[attr-defined]

    def write_and_die(sources: Any, path: Path, *others: Any) -> Any:
        told = write(sources, path, *others)
        if path.name == "00001.h5":
            try:
                flag.touch(exist_ok=False)
            except FileExistsError:
                return told
            path.with_name("00001.half.h5").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return told

    monkeypatch.setattr(room, "_write_shard", write_and_die)
    done = room.repack(files, tmp_path / "out", ["row"], shard_bytes=1200)
    assert flag.exists()
    assert read_all(done.paths).tolist() == list(range(N))
    assert sorted(map(str, (tmp_path / "out").iterdir())) == sorted(done.paths)
