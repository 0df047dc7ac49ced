"""What `stats` counts, in workers too, against what was done."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader

import h5stream as h5s
from tests.streams import rows_of, write_rows

N = 60


def stream(path: Any, **options: Any) -> h5s.H5Stream:
    return h5s.H5Stream(path, batch_size=4, shuffle=True, **options)


@pytest.mark.parametrize("context", ["fork", "spawn"])
@pytest.mark.parametrize("persistent", [False, True], ids=["anew", "persistent"])
def test_workers_count_for_their_parent(tmp_path: Path, context: str, persistent: bool) -> None:
    path = write_rows(tmp_path / "a.h5", N)
    alone = stream(path, epochs=3)
    for _epoch in range(3):
        assert len(rows_of(alone)) == N
    pipe = stream(path)
    assert len(rows_of(pipe)) == N
    loader: Any = DataLoader(
        pipe,
        batch_size=None,
        num_workers=2,
        multiprocessing_context=context,
        persistent_workers=persistent,
    )
    for _epoch in range(2):
        assert len(rows_of(loader)) == N
    expected, found = alone.stats(), pipe.stats()
    for name in ("rows", "batches", "fetched_bytes", "decoded_bytes"):
        assert found[name] >= expected[name], name
    assert found["rows"] == 3 * N
    assert found["batches"] == 3 * N / 4


def test_a_loader_counts_what_its_caller_waits(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.h5", N)
    loader = h5s.Loader(stream(path), num_workers=1)
    rows_of(loader)
    found = loader.stream.stats()
    assert found["wait_s"] > 0
    assert found["rows"] == N


@pytest.mark.parametrize("num_workers", [0, 2])
def test_waiting_and_working_make_up_the_time_of_an_epoch(tmp_path: Path, num_workers: int) -> None:
    path = write_rows(tmp_path / "a.h5", N)
    loader = h5s.Loader(stream(path), num_workers=num_workers)
    for _epoch in range(2):
        began = time.perf_counter()
        for batch in loader:
            assert len(batch["row"]) == 4
            time.sleep(0.005)
        took = time.perf_counter() - began
    stats = loader.stats()
    assert stats.epoch["work_s"] >= 15 * 0.005
    assert 0 < stats.epoch["wait_s"] <= took - stats.epoch["work_s"]
    assert stats["work_s"] >= 2 * 15 * 0.005
    assert stats["wait_s"] > stats.epoch["wait_s"]
    assert (stats["rows"], stats.epoch["rows"]) == (2 * N, N)
    assert stats.verdict != "nothing was streamed yet"


def test_what_a_function_takes_counts_as_waiting_for_its_items(tmp_path: Path) -> None:
    pipe = stream(write_rows(tmp_path / "a.h5", N)).map(slowly)
    assert len(rows_of(pipe)) == N
    stats = pipe.stats()
    assert stats["wait_s"] >= stats["make_s"] >= 15 * 0.005
    assert "bound by making batches" in stats.verdict
    ahead = stream(tmp_path / "a.h5").map(slowly).prefetch(2)
    assert len(rows_of(ahead)) == N
    assert ahead.stats()["make_s"] >= 15 * 0.005


def slowly(batch: dict[str, Any]) -> dict[str, Any]:
    time.sleep(0.005)
    return batch


def test_fewer_workers_count_for_the_last_epoch_alone(tmp_path: Path) -> None:
    pipe = stream(write_rows(tmp_path / "a.h5", N))
    for num_workers in (2, 1):
        pipe.set_epoch(0)
        loader: Any = DataLoader(pipe, batch_size=None, num_workers=num_workers)
        assert len(rows_of(loader)) == N
        assert pipe.stats().epoch["rows"] == N
    assert len(rows_of(pipe)) == N
    assert (pipe.stats().epoch["rows"], pipe.stats()["rows"]) == (N, 3 * N)


def test_a_stream_that_gave_nothing_says_so(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.h5", N)
    assert stream(path).stats().verdict == "nothing was streamed yet"


@pytest.mark.parametrize("num_workers", [0, 1])
def test_the_log_tells_of_each_epoch_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, num_workers: int
) -> None:
    loader = h5s.Loader(stream(write_rows(tmp_path / "a.h5", N)), num_workers=num_workers)
    with caplog.at_level(logging.INFO, "h5stream"):
        for _epoch in range(2):
            assert len(rows_of(loader)) == N
    told = [record.getMessage() for record in caplog.records if record.name == "h5stream"]
    assert [each.partition(";")[0] for each in told] == [
        f"epoch 0 ended: {N} rows",
        f"epoch 1 ended: {N} rows",
    ]


def test_done_tells_where_a_resumed_epoch_goes_on(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.h5", N)
    for lanes in (1, 3):
        items = iter(stream(path, lanes=lanes))
        for given in range(6):
            resumed = stream(path, lanes=lanes)
            assert resumed.done == 0
            resumed.load_state_dict(items.state_dict())  # type: ignore[attr-defined]
            assert resumed.done == given
            next(items)
    only_a_run = stream(path).map(twice)
    items = iter(only_a_run)
    next(items)
    again = stream(path).map(twice)
    again.load_state_dict(items.state_dict())  # type: ignore[attr-defined]
    assert again.done is None


def twice(batch: dict[str, Any]) -> Any:
    yield batch
    yield batch
