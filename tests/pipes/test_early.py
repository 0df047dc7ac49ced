"""The next epoch is read while the last rows of one are given, and nothing else changes."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from torch.utils.data import DataLoader

import h5stream as h5s
from h5stream.pipes import Pipe
from h5stream.pipes.early import EarlyReads
from h5stream.pipes.read_chunks import ReadAhead
from tests.streams import rows_of, threads

N, WIDTH = 400, 25
ROW_NBYTES = 8 * WIDTH


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        rows = np.arange(N).repeat(WIDTH).reshape(N, WIDTH)
        file.create_dataset("row", data=rows, chunks=(10, WIDTH), compression="gzip")
    return tmp_path / "a.h5"


def make(path: Path, *, shuffle: bool = True, **options: Any) -> Pipe:
    reading = {name: options.pop(name) for name in ("epochs", "threads") if name in options}
    pipe = h5s.open_files(path, ["row"]).list_chunks(10 * ROW_NBYTES)
    pipe = (pipe.shuffle_chunks(3) if shuffle else pipe).shard(**options).read_chunks(**reading)
    return (pipe.shuffle_rows(100) if shuffle else pipe).batch(10).collate()


def epoch_of(items: Any) -> list[list[int]]:
    return [rows_of([batch])[::WIDTH] for batch in items]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all that can be read early be there before the next batch is given."""

    def begin(reads: EarlyReads, number: int, runtime: Any) -> None:
        reads._begin(number, runtime)
        for group in reads._begun[number]._pending:
            wait(group.tasks)

    monkeypatch.setattr(EarlyReads, "begin", begin)


def decoded_rows(stream: Any) -> float:
    return stream.stats()["decoded_bytes"] / ROW_NBYTES


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lanes": 4},
        {"threads": 1},
        {"shuffle": False},
        {"lanes": 2, "rank": 1, "world_size": 2},
    ],
    ids=str,
)
def test_every_epoch_is_what_it_is_alone(path: Path, options: dict[str, Any]) -> None:
    stream, alone = make(path, epochs=4, **options), make(path, epochs=1, **options)
    for number in range(4):
        alone.set_epoch(number)
        assert epoch_of(stream) == epoch_of(alone)


@pytest.mark.usefixtures("at_once")
def test_each_row_is_decoded_once_an_epoch(path: Path) -> None:
    stream = make(path, epochs=3)
    found = []
    for _epoch in range(3):
        list(stream)
        found.append(decoded_rows(stream))
    assert found == [N + 100, 2 * N + 100, 3 * N]


@pytest.mark.usefixtures("at_once")
def test_nothing_is_read_early_of_a_single_epoch(path: Path) -> None:
    for options in ({}, {"epochs": 1}):
        stream = make(path, **options)
        list(stream)
        assert decoded_rows(stream) == N


@pytest.mark.usefixtures("at_once")
def test_from_the_second_epoch_on_there_is_one_more(path: Path) -> None:
    stream = make(path)
    found = []
    for _epoch in range(3):
        list(stream)
        found.append(decoded_rows(stream))
    assert found == [N, 2 * N + 100, 3 * N + 100]


@pytest.mark.usefixtures("at_once")
def test_no_thread_and_no_open_file_is_left(path: Path) -> None:
    stream = make(path, epochs=5)
    for _epoch in range(2):
        list(stream)
        assert threads() == []
        links = Path("/proc/self/fd").iterdir()
        assert path not in {link.readlink() for link in links if link.exists()}


def look_elsewhere(stream: Pipe) -> None:
    stream.set_epoch(7)


def load(stream: Pipe) -> None:
    stream.load_state_dict(stream.state_dict())


def set_the_same(stream: Pipe) -> None:
    stream.set_epoch(1)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    ("act", "kept"), [(look_elsewhere, False), (load, False), (set_the_same, True)]
)
def test_what_is_not_wanted_is_dropped(path: Path, act: Callable[[Pipe], None], kept: bool) -> None:
    stream = make(path, epochs=9)
    list(stream)
    assert decoded_rows(stream) == N + 100
    act(stream)
    assert stream._series is not None
    assert (stream._series._early is not None) == kept
    expected = make(path)
    expected.set_epoch(stream.next_epoch)
    assert epoch_of(itertools.islice(stream, 12)) == epoch_of(itertools.islice(expected, 12))


def test_an_epoch_that_is_left_reads_nothing_early(path: Path) -> None:
    stream = make(path, epochs=9)
    for number, _batch in enumerate(stream):
        if number == N // 10 - 2:
            break
    gc.collect()
    assert threads() == []
    assert epoch_of(stream) == epoch_of(_of_epoch(path, 1))


def _of_epoch(path: Path, number: int) -> Pipe:
    stream = make(path)
    stream.set_epoch(number)
    return stream


@pytest.mark.usefixtures("at_once")
def test_a_place_in_what_was_read_early_is_resumed(path: Path) -> None:
    whole = epoch_of(_of_epoch(path, 1))
    stream = make(path, epochs=2)
    list(stream)
    assert epoch_of(itertools.islice(stream, 3)) == whole[:3]
    resumed = make(path, epochs=2)
    resumed.load_state_dict(stream.state_dict())
    assert epoch_of(resumed) == whole[3:]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_reads_early_as_well(path: Path, workers: int) -> None:
    stream = make(path, epochs=3)
    loader = h5s.Loader(stream, num_workers=workers, persistent_workers=workers > 0)
    plain = DataLoader(make(path, epochs=1), batch_size=None, num_workers=workers)
    for _epoch in range(3):
        assert epoch_of(loader) == epoch_of(plain)


def test_jobs_that_had_not_begun_when_the_epoch_ended_begin_in_the_next(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [epoch_of(_of_epoch(path, number)) for number in range(3)]
    pause = ReadAhead.pause

    def begin_nothing(reads: ReadAhead) -> None:
        for group in reads._pending:
            group.cancel()

    def late(reads: ReadAhead) -> None:
        begin_nothing(reads)
        pause(reads)

    monkeypatch.setattr(ReadAhead, "pause", late)
    stream = make(path, epochs=3, threads=1)
    assert [epoch_of(stream) for _epoch in range(3)] == expected
    assert decoded_rows(stream) == 3 * N


@pytest.mark.usefixtures("at_once")
def test_what_fails_early_is_told_when_its_epoch_begins(path: Path) -> None:
    stream = make(path, epochs=2)
    list(stream)
    with h5py.File(path, "a") as file:
        file["more"] = 1
    with pytest.raises(h5s.FetchError, match="changed"):
        list(stream)


def test_a_plan_that_fails_early_does_no_harm(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: Any) -> None:
        raise MemoryError

    expected = [epoch_of(_of_epoch(path, number)) for number in range(2)]
    monkeypatch.setattr(ReadAhead, "begin_early", fail)
    stream = make(path, epochs=2)
    assert [epoch_of(stream) for _epoch in range(2)] == expected


@pytest.mark.parametrize("number", [0, -1, 2.5, "2"])
def test_a_number_of_epochs_is_checked(path: Path, number: Any) -> None:
    with pytest.raises(h5s.ConfigError, match="epochs must be a positive integer"):
        make(path, epochs=number)
