from __future__ import annotations

import gc
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch.utils.data import DataLoader, IterableDataset

import h5stream as h5s
from h5stream.pipes import Pipe
from tests.streams import blocks_of, rows_of, threads, write_rows


@pytest.fixture
def path(tmp_path: Path) -> str:
    return write_rows(tmp_path / "a.h5", 40)


def opened(path: str) -> Pipe:
    return h5s.open_files(path, ["row", "x"])


def batches(path: str) -> Pipe:
    return blocks_of(path).shuffle_rows(8).batch(3).collate()


def has_threads(wanted: bool) -> bool:
    deadline = time.monotonic() + 10
    while bool(threads()) != wanted and time.monotonic() < deadline:
        time.sleep(0.005)
    return bool(threads()) == wanted


WRONG_CHAINS: dict[str, tuple[Callable[[Pipe], Pipe], str]] = {
    "read_chunks": (lambda p: p.read_chunks(), r"read_chunks\(\) takes row chunks, but gets files"),
    "shuffle_chunks": (lambda p: p.shuffle_chunks(), "gets files"),
    "shard": (lambda p: p.shard(), r"shard\(\) takes row chunks, but gets files"),
    "list_chunks twice": (lambda p: p.list_chunks().list_chunks(), "takes files, but gets row"),
    "batch": (lambda p: p.list_chunks().batch(2), "takes blocks or samples or tensors, but gets"),
    "shuffle_rows": (
        lambda p: p.list_chunks().read_chunks().unbatch().shuffle_rows(),
        r"shuffle_rows\(\) takes blocks, but gets samples",
    ),
    "collate twice": (
        lambda p: p.list_chunks().read_chunks().collate().collate(),
        "gets tensors here; the order is open_files, list_chunks",
    ),
    "prefetch": (lambda p: p.list_chunks().prefetch(), "takes blocks or samples or tensors"),
}


@pytest.mark.parametrize(("chain", "message"), WRONG_CHAINS.values(), ids=WRONG_CHAINS)
def test_wrong_order_is_refused_at_once(chain: Callable[[Pipe], Pipe], message: str) -> None:
    with pytest.raises(h5s.ConfigError, match=message):
        chain(h5s.open_files("missing.h5"))


@pytest.mark.parametrize(
    "chain",
    [
        lambda p: p.list_chunks(target_bytes=0),
        lambda p: p.shuffle_chunks(seed=-1),
        lambda p: p.shuffle_chunks(seed=2**64),
        lambda p: p.shuffle_chunks(seed=1.5),
        lambda p: p.shard(lanes=0),
        lambda p: p.shard(uneven="fair"),
        lambda p: p.shard(rank=2, world_size=2),
        lambda p: p.shard(rank=0),
        lambda p: p.read_chunks(prefetch=0),
        lambda p: p.read_chunks(threads=True),
    ],
)
def test_wrong_arguments_are_refused_at_once(chain: Callable[[Pipe], Pipe]) -> None:
    pipe = h5s.open_files("missing.h5")
    with pytest.raises(h5s.ConfigError):
        chain(pipe if "list_chunks" in chain.__code__.co_names else pipe.list_chunks())


def test_pipes_are_values_that_share_a_beginning(path: str) -> None:
    blocks = blocks_of(path, seed=None)
    small, large = blocks.batch(3), blocks.batch(20)
    assert [b.n_rows for b in large] == [20, 20]
    assert next(iter(small)).n_rows == 3
    assert blocks.stages == small.stages[:-1]
    assert rows_of(blocks) == list(range(40))


def test_pipes_give_what_flows_at_their_end(path: str) -> None:
    pipe = opened(path)
    assert [file.n_rows for file in pipe] == [40]
    chunks = pipe.list_chunks(target_bytes=1)
    assert [(c.start, c.stop) for c in chunks][:2] == [(0, 4), (4, 8)]
    assert (len(pipe), len(chunks), len(chunks.shard(lanes=4))) == (1, 10, 12)


def test_nothing_is_opened_before_the_first_item(tmp_path: Path) -> None:
    stream = h5s.H5Stream(tmp_path / "later.h5", ["row"], batch_size=4, shuffle=True)
    running = iter(stream)
    write_rows(tmp_path / "later.h5", 8)
    assert len(rows_of([next(running)])) == 4


def test_a_missing_file_is_named_at_the_first_item(tmp_path: Path) -> None:
    stream = h5s.H5Stream(tmp_path / "missing.h5", batch_size=4)
    with pytest.raises(h5s.LayoutError, match=r"missing\.h5: cannot be read"):
        next(iter(stream))


@pytest.mark.parametrize("scanned", [False, True], ids=["before scanning", "after running"])
def test_pickled_pipe_carries_no_handle_and_streams_the_same(path: str, scanned: bool) -> None:
    pipe = batches(path)
    if scanned:
        running = iter(pipe)
        next(running)
        pipe.set_epoch(0)
    copy = pickle.loads(pickle.dumps(pipe))
    assert rows_of(copy) == rows_of(batches(path))


def test_pickled_pipe_runs_in_another_process(path: str, tmp_path: Path) -> None:
    (tmp_path / "pipe").write_bytes(pickle.dumps(batches(path)))
    code = "import pickle, sys; print(sum(len(b['row']) for b in pickle.load(sys.stdin.buffer)))"
    with (tmp_path / "pipe").open("rb") as stdin:
        done = subprocess.run([sys.executable, "-c", code], stdin=stdin, capture_output=True)
    assert (done.stderr, done.stdout) == (b"", b"40\n")


def test_two_iterators_over_one_stream_do_not_disturb_each_other(path: str) -> None:
    pipe = batches(path)
    pairs = list(zip(iter(pipe), iter(pipe), strict=True))
    pipe.set_epoch(0)
    assert rows_of(a for a, _ in pairs) == rows_of(pipe)
    assert rows_of(b for _, b in pairs) == rows_of(pipe)


def test_two_streams_over_one_file_do_not_disturb_each_other(path: str) -> None:
    expected = rows_of(batches(path))
    pairs = list(zip(batches(path), batches(path), strict=True))
    assert rows_of(a for a, _ in pairs) == rows_of(b for _, b in pairs) == expected


def test_close_ends_threads_and_items(path: str) -> None:
    running: Any = iter(batches(path))
    next(running)
    assert threads()
    running.close()
    assert threads() == []
    assert list(running) == []
    running.close()


def test_the_end_of_an_epoch_ends_the_threads(path: str) -> None:
    list(batches(path))
    assert threads() == []


def test_an_iterator_that_nobody_holds_ends_its_threads(path: str) -> None:
    running = iter(batches(path).prefetch(2))
    next(running)
    assert threads()
    del running
    gc.collect()
    assert has_threads(False)


def test_an_exception_in_the_loop_ends_the_threads(path: str) -> None:
    def loop() -> None:
        for _batch in batches(path):
            raise RuntimeError("training failed")

    with pytest.raises(RuntimeError, match="training failed"):
        loop()
    gc.collect()
    assert has_threads(False)


def test_breaking_out_of_the_loop_ends_the_threads(path: str) -> None:
    for _batch in batches(path):
        break
    gc.collect()
    assert has_threads(False)


def test_set_epoch_refuses_what_is_no_epoch(path: str) -> None:
    for epoch in (-1, 1.5, True, "1"):
        with pytest.raises(h5s.ConfigError, match="epoch must be"):
            batches(path).set_epoch(epoch)  # type: ignore[arg-type]


def test_dataloader_without_workers_gives_the_same_batches(path: str) -> None:
    pipe = batches(path)
    assert isinstance(pipe, IterableDataset)
    expected = rows_of(pipe)
    pipe.set_epoch(0)
    assert rows_of(DataLoader(pipe, batch_size=None)) == expected


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_dataloader_workers_share_the_rows_in_the_order_of_lanes(path: str) -> None:
    pipe = opened(path).list_chunks(target_bytes=1).shuffle_chunks(0).shard(lanes=2)
    pipe = pipe.read_chunks(threads=1).shuffle_rows(8).batch(3).collate()
    expected = [batch["row"].tolist() for batch in pipe]
    pipe.set_epoch(0)
    loader = DataLoader(pipe, batch_size=None, num_workers=2)
    assert [batch["row"].tolist() for batch in loader] == expected
    assert sorted(row for rows in expected for row in rows) == list(range(40))


def test_workers_without_shard_are_refused(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    info = SimpleNamespace(id=0, num_workers=2, seed=0)
    monkeypatch.setattr("torch.utils.data._utils.worker._worker_info", info)
    pipe = opened(path).list_chunks().read_chunks().batch(3).collate()
    with pytest.raises(h5s.ConfigError, match=r"add \.shard\(\)"):
        next(iter(pipe))


def test_stats_count_rows_and_batches_of_all_epochs(path: str) -> None:
    pipe = batches(path)
    list(pipe)
    list(pipe)
    stats = pipe.stats()
    assert (stats["rows"], stats["batches"]) == (80, 2 * len(pipe))
    assert stats["fetched_bytes"] > 0
    assert stats["wait_s"] > 0
