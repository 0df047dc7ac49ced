"""Batches come to a device as the loader gives them, with its state after the last one taken.

Torch's "meta" device stands for those that a thread copies to: it has everything but values. So the
row numbers of a batch are in a list as well, which stays as it is.
"""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest
import torch

import h5stream as h5s
from tests.streams import rows_of, write_rows

N_ROWS = 46
DEVICES = ["cpu", "meta", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_rows(tmp_path_factory.mktemp("device") / "a.h5", N_ROWS)


def with_rows(columns: dict[str, Any]) -> dict[str, Any]:
    return {"x": torch.from_numpy(columns["x"]), "row": columns["row"].tolist()}


def stream_of(path: str) -> h5s.H5Stream:
    options: dict[str, Any] = {"batch_size": 4, "shuffle": True, "seed": 5, "buffer_size": 8}
    return h5s.H5Stream(path, ["x", "row"], collate=with_rows, **options)


def rows(batch: Any) -> list[int]:
    return batch["row"]


def copying() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("h5stream-to-device")]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("ahead", [1, 2, 50])
def test_batches_are_those_of_the_loader(path: str, device: str, ahead: int) -> None:
    expected = [rows(batch) for batch in stream_of(path)]
    moved = list(h5s.to_device(stream_of(path), device, ahead=ahead))
    assert [rows(batch) for batch in moved] == expected
    assert {batch["x"].device.type for batch in moved} == {device}


@pytest.mark.parametrize("device", DEVICES)
def test_every_epoch_has_an_order_of_its_own(path: str, device: str) -> None:
    plain, copied = stream_of(path), h5s.to_device(stream_of(path), device)
    assert len(copied) == len(plain)
    for _epoch in range(3):
        assert [rows(batch) for batch in copied] == [rows(batch) for batch in plain]


@pytest.mark.parametrize("device", DEVICES)
def test_the_transform_gets_batches_on_the_device_in_order(path: str, device: str) -> None:
    seen: list[tuple[str, list[int]]] = []

    def note(batch: dict[str, Any]) -> dict[str, Any]:
        seen.append((batch["x"].device.type, batch["row"]))
        return {**batch, "x": batch["x"].half()}

    found = list(h5s.to_device(stream_of(path), device, note))
    assert seen == [(device, rows(batch)) for batch in stream_of(path)]
    assert {batch["x"].dtype for batch in found} == {torch.float16}


@pytest.mark.parametrize("device", [name for name in DEVICES if name != "meta"])
def test_values_arrive(path: str, device: str) -> None:
    for batch in h5s.to_device(stream_of(path), device, lambda batch: batch):
        expected = np.array(rows(batch))[:, None] + np.array([0, 0.25, 0.5])
        np.testing.assert_array_equal(batch["x"].cpu().numpy(), expected)


class Point(NamedTuple):
    x: torch.Tensor
    name: str


@pytest.mark.parametrize("device", DEVICES)
def test_only_tensors_of_a_batch_move(device: str) -> None:
    batch = {"a": [torch.ones(2), "text", None], "p": Point(torch.zeros(3), "n"), "t": (1, 2.5)}
    (moved,) = h5s.to_device([batch], device)
    assert moved["a"][0].device.type == moved["p"].x.device.type == device
    assert (moved["a"][1:], moved["p"].name, moved["t"]) == (["text", None], "n", (1, 2.5))


@pytest.mark.parametrize("device", [name for name in DEVICES if name != "meta"])
@pytest.mark.parametrize("form", ["csr", "pairs", "dense"])
def test_sparse_batches_arrive_whole(tmp_path: Path, device: str, form: str) -> None:
    dense = (np.arange(60).reshape(10, 6) % 7 == 0) * np.arange(60.0).reshape(10, 6)
    row, column = dense.nonzero()
    with h5py.File(tmp_path / "s.h5", "w") as file:
        group = file.create_group("m")
        group.attrs["shape"] = dense.shape
        group["data"], group["indices"] = dense[row, column], column
        group["indptr"] = np.searchsorted(row, np.arange(11))
    stream = h5s.H5Stream(tmp_path / "s.h5", {"m": "m"}, batch_size=10, sparse=form)
    (batch,) = h5s.to_device(stream, device, lambda batch: batch)
    found = batch["m"]
    if form == "pairs":
        found = torch.sparse_csr_tensor(found.indptr, found.indices.long(), found.values, (10, 6))
    found = found.to_dense() if found.layout is torch.sparse_csr else found
    np.testing.assert_array_equal(found.cpu().numpy(), dense)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("taken", [0, 1, 5, 11])
def test_the_state_is_that_after_the_last_batch_taken(path: str, device: str, taken: int) -> None:
    whole = [rows(batch) for batch in stream_of(path)]
    copied = h5s.to_device(h5s.Loader(stream_of(path)), device, ahead=4)
    passing = iter(copied)
    for _ in range(taken):
        next(passing)
    state = copied.state_dict()
    resumed = h5s.to_device(h5s.Loader(stream_of(path)), device)
    resumed.load_state_dict(state)
    assert state["batches"] == taken
    assert [rows(batch) for batch in resumed] == whole[taken:]


def test_after_an_epoch_the_state_is_the_start_of_the_next(path: str) -> None:
    loader = h5s.Loader(stream_of(path))
    copied = h5s.to_device(loader, "cpu")
    rows_of(copied)
    assert copied.state_dict() == loader.state_dict()
    assert copied.state_dict()["epoch"] == 1


def test_set_epoch_reaches_the_loader(path: str) -> None:
    copied = h5s.to_device(h5s.Loader(stream_of(path)), "meta")
    first, second = rows_of(copied), rows_of(copied)
    copied.set_epoch(0)
    assert rows_of(copied) == first != second


def test_a_loader_without_state_has_none(path: str) -> None:
    assert [int(x) for x in h5s.to_device([torch.tensor(1), torch.tensor(2)], "cpu")] == [1, 2]
    with pytest.raises(TypeError, match="list has no state_dict"):
        h5s.to_device([], "cpu").state_dict()


@pytest.mark.parametrize("device", DEVICES)
def test_an_error_of_the_loader_arrives_in_its_place(device: str) -> None:
    def batches() -> Iterator[torch.Tensor]:
        yield torch.tensor(1)
        raise h5s.DecodeError("chunk 2 is damaged")

    passing = iter(h5s.to_device(batches(), device))
    assert next(passing).shape == ()
    with pytest.raises(h5s.DecodeError, match="chunk 2 is damaged"):
        next(passing)
    with pytest.raises(StopIteration):
        next(passing)


@pytest.mark.parametrize("device", DEVICES)
def test_an_error_of_the_transform_arrives_in_its_place(path: str, device: str) -> None:
    def fail(batch: Any) -> Any:
        raise ZeroDivisionError("in the transform")

    with pytest.raises(ZeroDivisionError, match="in the transform"):
        next(iter(h5s.to_device(stream_of(path), device, fail)))


def test_a_pass_that_is_left_ends_its_thread(path: str) -> None:
    copied = h5s.to_device(stream_of(path), "meta")
    for _batch in copied:
        break
    gc.collect()
    for thread in [t for t in threading.enumerate() if t.name.startswith("h5stream-to-device")]:
        thread.join(30)
    assert copying() == []


def test_a_new_pass_ends_the_one_before(path: str) -> None:
    copied = h5s.to_device(h5s.Loader(stream_of(path)), "meta")
    left = iter(copied)
    next(left)
    assert next(iter(copied)) is not None
    with pytest.raises(StopIteration):
        next(left)


@pytest.mark.parametrize("device", DEVICES)
def test_batches_that_were_given_are_not_held(device: str) -> None:
    passing = iter(h5s.to_device([torch.zeros(4) for _ in range(3)], device, lambda x: x + 1))
    given = weakref.ref(next(passing))
    gc.collect()
    assert given() is None


def test_wrong_arguments_are_refused(path: str) -> None:
    with pytest.raises(h5s.ConfigError, match="ahead must be at least 1, but is 0"):
        h5s.to_device(stream_of(path), "cpu", ahead=0)
    with pytest.raises(h5s.ConfigError, match="torch has no device 'gpu' here"):
        h5s.to_device(stream_of(path), "gpu")
