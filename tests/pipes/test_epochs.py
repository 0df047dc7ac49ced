from __future__ import annotations

import pickle
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader

import h5stream as h5s
from h5stream.pipes.epochs import EpochCount
from tests.streams import write_rows


def make(path: Path) -> h5s.H5Stream:
    return h5s.H5Stream(path, ["row"], batch_size=4, shuffle=True, lanes=2)


def order(batches: Any) -> list[list[int]]:
    return [batch["row"].tolist() for batch in batches]


def test_the_parent_counts_on_by_itself() -> None:
    count = EpochCount()
    assert [count.begin() for _ in range(3)] == [0, 1, 2]
    count.set(9)
    assert (count.peek(), count.begin(), count.peek()) == (9, 9, 10)


def test_workers_of_one_loader_agree_whoever_is_first() -> None:
    count = EpochCount()
    assert [count.begin_in_worker(worker, 77) for worker in (2, 0, 1)] == [0, 0, 0]
    assert [count.begin_in_worker(worker, 77) for worker in (1, 2, 0)] == [1, 1, 1]


def test_workers_made_anew_count_on() -> None:
    count = EpochCount()
    first = [count.begin_in_worker(worker, 5) for worker in (0, 1)]
    second = [count.begin_in_worker(worker, 6) for worker in (1, 0, 2)]
    assert (first, second, count.peek()) == ([0, 0], [1, 1, 1], 2)


def test_set_reaches_workers_that_are_running() -> None:
    count = EpochCount()
    assert [count.begin_in_worker(worker, 5) for worker in (0, 1)] == [0, 0]
    count.set(40)
    assert [count.begin_in_worker(worker, 5) for worker in (1, 0)] == [40, 40]
    assert [count.begin_in_worker(worker, 5) for worker in (0, 1)] == [41, 41]


def test_the_parent_goes_on_after_its_workers() -> None:
    count = EpochCount()
    count.begin_in_worker(0, 5)
    assert [count.begin(), count.begin_in_worker(0, 5)] == [1, 2]


def test_a_copy_counts_for_itself() -> None:
    count = EpochCount()
    count.set(3)
    copy = pickle.loads(pickle.dumps(count))
    assert (copy.begin(), copy.begin(), count.peek()) == (3, 4, 3)


@pytest.mark.parametrize("epoch", [-1, 2**24])
def test_an_epoch_out_of_range_is_refused(epoch: int) -> None:
    with pytest.raises(h5s.ConfigError, match="epoch must be"):
        EpochCount().set(epoch)


@pytest.mark.parametrize("persistent", [False, True], ids=["new workers", "persistent"])
@pytest.mark.parametrize("context", ["fork", "spawn", "forkserver"])
def test_every_epoch_of_a_loader_has_its_own_order(
    tmp_path: Path, context: str, persistent: bool
) -> None:
    path = write_rows(tmp_path / "a.h5", 40)
    alone = make(path)
    expected = [order(alone) for _ in range(3)]
    loader: DataLoader[Any] = DataLoader(
        make(path),
        batch_size=None,
        num_workers=2,
        multiprocessing_context=context,
        persistent_workers=persistent,
    )
    found = [order(loader) for _ in range(3)]
    assert found == expected
    assert expected[0] != expected[1] != expected[2]


def test_set_epoch_reaches_the_workers_of_a_loader(tmp_path: Path) -> None:
    stream = make(write_rows(tmp_path / "a.h5", 40))
    loader: DataLoader[Any] = DataLoader(
        stream, batch_size=None, num_workers=2, persistent_workers=True
    )
    first = order(loader)
    stream.set_epoch(0)
    assert order(loader) == first
    assert order(loader) != first


def test_workers_and_parent_do_not_mix_up_epochs(tmp_path: Path) -> None:
    stream = make(write_rows(tmp_path / "a.h5", 40))
    loader: DataLoader[Any] = DataLoader(stream, batch_size=None, num_workers=2)
    orders = [order(stream), order(loader), order(stream), order(loader)]
    again = make(tmp_path / "a.h5")
    assert orders == [order(again) for _ in range(4)]
    assert [sorted(chain.from_iterable(o)) for o in orders] == [list(range(40))] * 4
