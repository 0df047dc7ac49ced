"""Files by hand: rows by number and id, notes, states of models."""

from __future__ import annotations

import shutil
from collections import OrderedDict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import h5stream as h5s

COLUMNS: dict[str, Any] = {
    "image": h5s.DenseColumn((2, 3), "u1"),
    "loss": h5s.DenseColumn((), "f8"),
    "tokens": h5s.RaggedColumn("i4"),
    "text": h5s.TextColumn(),
    "name": h5s.TextColumn(vlen=True),
    "counts": h5s.SparseColumn(9, "f4"),
}


def make(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    places = np.flatnonzero(rng.random(9) < 0.3)
    return {
        "image": rng.integers(0, 256, (2, 3), np.uint8),
        "loss": float(rng.random()),
        "tokens": rng.integers(0, 9, rng.integers(0, 6)).astype("i4"),
        "text": "ä" * int(rng.integers(0, 5)),
        "name": "b" * int(rng.integers(0, 5)),
        "counts": (places.astype("i4"), rng.random(len(places)).astype("f4")),
    }


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, tuple):
        assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
    else:
        assert np.array_equal(found, expected)


class Notes(RuleBasedStateMachine):
    """A file beside a dict: whatever is added, replaced and closed, they agree."""

    @initialize(memory=st.booleans(), compression=st.sampled_from([None, "gzip", "zstd"]))
    def begin(self, memory: bool, compression: Any) -> None:
        self.options: Any = {"compression": compression, "chunk_bytes": 64}
        self.memory = memory
        self.file = h5s.File(None, COLUMNS, memory=memory, **self.options)
        self.known: dict[str, dict[str, Any]] = {}

    @rule(source=st.sampled_from("abcdef"), seed=st.integers(0, 50))
    def add(self, source: str, seed: int) -> None:
        sample = make(seed)
        self.file.add(source, sample)
        self.known[source] = sample

    @rule(source=st.sampled_from("abcdefg"))
    def refuse(self, source: str) -> None:
        with pytest.raises(h5s.WriteError, match="'loss'"):
            self.file.add(source, make(1) | {"loss": "text"})

    @rule()
    def flush(self) -> None:
        self.file.flush()

    @rule()
    def open_again(self) -> None:
        if not self.memory:
            self.file.flush()
            copy = f"{self.file.path}.copy"
            shutil.copy(str(self.file.path), copy)
            with h5s.File(copy, mode="append", **self.options) as file:
                self.check(file)
            if self.known:
                self.check(h5s.File(copy, mode="read"))

    @invariant()
    def agree(self) -> None:
        self.check(self.file)

    def check(self, file: h5s.File) -> None:
        assert file.ids == list(self.known)
        for row, (source, sample) in enumerate(self.known.items()):
            assert file.index(source) == row
            for name, value in sample.items():
                assert_same(file[name][source], value)

    def teardown(self) -> None:
        self.file.close()


TestNotes = Notes.TestCase
TestNotes.settings = settings(deadline=None, stateful_step_count=8)


def test_rows_are_found_by_number_slice_and_id(tmp_path: Path) -> None:
    path = tmp_path / "notes.h5"
    with h5s.File(path) as file:
        for epoch in range(4):
            file.add(f"epoch {epoch}", {"loss": 1 / (1 + epoch), "tokens": list(range(epoch))})
        assert file["loss"][-1] == file["loss"]["epoch 3"] == 0.25
        assert file["loss"][1:3] == [0.5, 1 / 3]
        assert (len(file), len(file["loss"]), file.names) == (4, 4, ["loss", "tokens"])
        with pytest.raises(IndexError, match="has 4 rows, not one at 4"):
            file["loss"][4]
        with pytest.raises(h5s.ConfigError, match="no row has the id 'epoch 9'"):
            file["loss"]["epoch 9"]
        with pytest.raises(h5s.ConfigError, match="there is no column 'los'"):
            file["los"]
        assert "epoch 2" in file
        assert "epoch 9" not in file
    batch = next(iter(h5s.H5Stream(path, batch_size=4)))
    assert batch["tokens_lengths"].tolist() == [0, 1, 2, 3]


def test_what_is_not_flushed_is_not_on_disk(tmp_path: Path) -> None:
    path, copy = tmp_path / "notes.h5", tmp_path / "copy.h5"
    file = h5s.File(path, COLUMNS, chunk_bytes=64)
    for number, source in enumerate("abc"):
        file.add(source, make(number))
    file.flush()
    for number, source in enumerate("abcd"):
        file.add(source, make(number + 10))
        assert_same(file["tokens"][source], make(number + 10)["tokens"])
    shutil.copy(path, copy)
    found = h5s.File(copy, mode="read")
    assert found.ids == ["a", "b", "c"]
    for number, source in enumerate("abc"):
        for name in ("image", "tokens", "text"):
            assert_same(found[name][source], make(number)[name])
    file.close()
    assert h5s.File(path, mode="read").ids == ["a", "b", "c", "d"]


def test_logs_without_ids_grow(tmp_path: Path) -> None:
    path = tmp_path / "log.h5"
    for epoch in range(3):
        with h5s.File(path) as log:
            log.append({"epoch": epoch, "loss": 0.5})
            with pytest.raises(h5s.WriteError, match="its rows have no ids"):
                log.add("a", {"epoch": epoch, "loss": 0.5})
    log = h5s.File(path, mode="read")
    assert log["epoch"][:] == [0, 1, 2]
    assert log.ids == []
    with pytest.raises(h5s.ConfigError, match='write mode="append"'):
        log.append({})


def test_any_file_is_looked_into(tmp_path: Path) -> None:
    golden = Path(__file__).parents[1] / "golden" / "h5mapper" / "experiment.h5"
    file = h5s.File(golden, mode="read")
    assert file.names
    assert "planes/01.jpeg" in file.ids
    with h5py.File(golden) as raw:
        table = raw["data/images/__ref__"]
        expected = raw["data/images/__arr__"][table[1]]
    found = file["data/images"]["planes/01.jpeg"]
    assert np.array_equal(np.ravel(found), np.ravel(expected))


def train(steps: int) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 40), torch.nn.BatchNorm1d(40))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.rand(5, 3)).square().sum().backward()
        optimizer.step()
    return model, optimizer


def test_states_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    model, optimizer = train(3)
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "epoch": 3,
        "best": float("inf"),
        "names": ["a", None, (True, 1.5)],
        "half": torch.arange(5).bfloat16(),
        "scalar": torch.tensor(2),
        "array": np.arange(3),
        "numpy": np.float32(0.1),
        3: OrderedDict(x=torch.empty(0, 4)),
        "large": torch.arange(100_000).reshape(100, 1000).T,
    }
    with h5s.File(path) as file:
        file.save_state("last", {"epoch": 2})
        file.add("epoch 3", {"loss": 0.5})
        file.save_state("last", state)
        file.save_state("first", model.state_dict())
        assert_equal(file.load_state("last"), state)
    file = h5s.File(path, mode="read")
    assert file.states == ["first", "last"]
    found = file.load_state("last")
    assert_equal(found, state)
    again, other = train(0)
    again.load_state_dict(found["model"])
    other.load_state_dict(found["optimizer"])
    assert h5s.read(path, "loss").tolist() == [0.5]
    with pytest.raises(h5s.ConfigError, match="there is no state 'best'"):
        file.load_state("best")


def assert_equal(found: Any, expected: Any) -> None:
    assert isinstance(found, type(expected)) or isinstance(expected, np.generic)
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_equal(found[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_equal(one, other)
    elif isinstance(expected, torch.Tensor):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert torch.equal(found, expected)
    else:
        assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": {1, 2}}, r"state\['a'\] is a set"),
        ({"a": [object()]}, r"state\['a'\]\[0\] is a object"),
        ({(1, 2): 3}, r"state has the key \(1, 2\)"),
        ({"a": np.array(["x"])}, "only numbers are stored"),
        ({"a": torch.eye(3).to_sparse()}, "store it dense"),
    ],
    ids=["set", "object", "key", "text", "sparse"],
)
def test_states_that_hold_more_than_numbers_are_refused(
    tmp_path: Path, state: Any, message: str
) -> None:
    with h5s.File(tmp_path / "run.h5") as file:
        file.save_state("a", {"x": 1})
        with pytest.raises(h5s.WriteError, match=message):
            file.save_state("a", state)
        assert file.load_state("a") == {"x": 1}
        with pytest.raises(h5s.ConfigError, match="is no name of a state"):
            file.save_state("a/b", {})


@pytest.mark.parametrize(
    "tree",
    [
        b"no json",
        b"[]",
        b'["value", []]',
        b'["code", 0]',
        b'["tensor", 7, "int64", []]',
        b'["tensor", 0, "save", [3]]',
        b'["tensor", 0, "int64", [9]]',
        b'["tensor", 0, "float32", [3]]',
        b'["list", ' * 300 + b"1" + b"]" * 300,
    ],
    ids=range(9),
)
def test_states_that_are_damaged_are_an_error(tmp_path: Path, tree: bytes) -> None:
    path = tmp_path / "run.h5"
    with h5s.File(path) as file:
        file.save_state("a", torch.arange(3))
    with h5py.File(path, "r+") as raw:
        del raw["state_dicts/a/tree"]
        raw["state_dicts/a/tree"] = np.frombuffer(tree, np.uint8)
    with pytest.raises(h5s.LayoutError, match=r"state_dicts/a|cannot be opened|read"):
        h5s.File(path, mode="read").load_state("a")


@pytest.mark.parametrize("memory", [False, True], ids=["temporary", "memory"])
def test_files_without_a_path_can_be_saved(tmp_path: Path, memory: bool) -> None:
    path = tmp_path / "kept.h5"
    with h5s.File(memory=memory) as file:
        folder = None if file.path is None else Path(file.path).parent
        file.add("a", {"x": [1, 2, 3]})
        file.save_state("s", {"y": torch.ones(2)})
        file.save(path)
        with pytest.raises(h5s.ConfigError, match="overwrite=True"):
            file.save(path)
        file.add("b", {"x": [1, 2, 4]})
    assert folder is None or not folder.exists()
    found = h5s.File(path, mode="read")
    assert found["x"]["a"].tolist() == [1, 2, 3]
    assert found.load_state("s")["y"].tolist() == [1, 1]
    assert found.ids == ["a"]


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "write"},
        {"mode": "read", "path": None},
        {"memory": True},
        {"overwrite": True},
        {"mode": "read", "compression": None},
        {"storage_options": {}},
        {"columns": {"state_dicts": h5s.TextColumn()}, "memory": True, "path": None},
    ],
    ids=str,
)
def test_arguments_that_do_not_fit_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    arguments = {"path": tmp_path / "a.h5"} | options
    with pytest.raises(h5s.ConfigError), h5s.File(**arguments) as file:
        file.add("a", {"state_dicts": "x"})
