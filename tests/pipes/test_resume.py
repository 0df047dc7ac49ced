"""Wherever a run is stopped, the rest is what the uninterrupted run gives."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.data import DataLoader

import h5stream as h5s
from h5stream.pipes import Pipe
from tests.places import Place
from tests.streams import as_ragged, write_rows, yielded


def is_third(item: dict[str, Any]) -> Any:
    return item["row"] % 3 == 0


def repeat(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for copy in range(int(np.ravel(item["row"])[0]) % 7 % 4):
        yield yielded({"row": item["row"] + 100 * copy})


def negate(item: dict[str, Any]) -> dict[str, Any]:
    return {"row": -item["row"]}


def seventh(columns: dict[str, Any]) -> Any:
    return columns["row"] % 7


Chain = Callable[[Pipe], Pipe]

CHAINS: dict[str, Chain] = {
    "read": lambda p: p.read_chunks(),
    "batch": lambda p: p.read_chunks().batch(3),
    "large batch": lambda p: p.read_chunks().batch(11),
    "drop_last": lambda p: p.read_chunks().shuffle_rows(6).batch(4, drop_last=True),
    "shuffle_rows": lambda p: p.read_chunks().shuffle_rows(6),
    "shuffle_rows, batch, collate": lambda p: p.read_chunks().shuffle_rows(6).batch(4).collate(),
    "shuffle_rows after where": lambda p: p.read_chunks().where(is_third).shuffle_rows(5),
    "unbatch": lambda p: p.read_chunks().shuffle_rows(6).unbatch(),
    "unbatch, batch": lambda p: p.read_chunks().unbatch().batch(5),
    "where": lambda p: p.read_chunks().shuffle_rows(6).where(is_third).batch(4),
    "where over samples": lambda p: p.read_chunks().unbatch().where(is_third).batch(2),
    "map": lambda p: p.read_chunks().map(negate).shuffle_rows(6).batch(4),
    "generator over blocks": lambda p: p.read_chunks().map(repeat).batch(4),
    "generator over samples": lambda p: p.read_chunks().unbatch().map(repeat).batch(4),
    "generator over tensors": lambda p: p.read_chunks().batch(4).collate().map(repeat),
    "bucket": lambda p: p.read_chunks().shuffle_rows(6).bucket(3, by=seventh, buffer_size=9),
    "bucket, drop_last": lambda p: p.read_chunks().bucket(
        4, by="row", drop_last=True, buffer_size=8
    ),
    "bucket over samples": lambda p: p.read_chunks().unbatch().bucket(3, by="row", buffer_size=9),
    "bucket after where": lambda p: p.read_chunks().where(is_third).bucket(2, by="row"),
    "bucket, batch": lambda p: p.read_chunks().bucket(3, by=seventh, buffer_size=9).batch(4),
    "bucket of ragged": lambda p: (
        p.read_chunks().map(as_ragged).bucket(3, by="tokens", buffer_size=7)
    ),
    "max_tokens": lambda p: (
        p.read_chunks().shuffle_rows(6).bucket(by=seventh, max_tokens=12, buffer_size=11)
    ),
    "max_tokens, batch": lambda p: (
        p.read_chunks().bucket(5, by=seventh, max_tokens=12, buffer_size=11).batch(4).prefetch()
    ),
    "prefetch": lambda p: p.read_chunks().shuffle_rows(6).batch(4).collate().prefetch(3),
    "prefetch in between": lambda p: p.read_chunks().unbatch().prefetch(4).batch(3),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, place: Place) -> str:
    return place(write_rows(tmp_path_factory.mktemp("resume") / "a.h5", 26))


def make(path: str, chain: Chain, lanes: int) -> Pipe:
    pipe = h5s.open_files(path, ["row"]).list_chunks(target_bytes=1)
    return chain(pipe.shuffle_chunks(1).shard(lanes=lanes))


def rows(item: Any) -> list[int]:
    return np.ravel(np.asarray(item["row"])).tolist()


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_resuming_at_every_position_gives_the_rest(path: str, chain: Chain, lanes: int) -> None:
    pipe = make(path, chain, lanes)
    pipe.set_epoch(2)
    running: Any = iter(pipe)
    states, items = [running.state_dict()], []
    for item in running:
        items.append(rows(item))
        states.append(running.state_dict())
    assert items
    for position, state in enumerate(states):
        resumed = make(path, chain, lanes)
        resumed.load_state_dict(pickle.loads(pickle.dumps(state)))
        assert [rows(item) for item in resumed] == items[position:]


def test_a_resumed_run_can_be_stopped_and_resumed_again(path: str) -> None:
    chain = CHAINS["where"]
    expected = [rows(item) for item in make(path, chain, 1)]
    found: list[list[int]] = []
    state: Any = None
    while True:
        pipe = make(path, chain, 1)
        if state is not None:
            pipe.load_state_dict(state)
        running: Any = iter(pipe)
        item = next(running, None)
        if item is None:
            break
        found.append(rows(item))
        state = running.state_dict()
        running.close()
    assert found == expected


def test_the_epoch_after_a_resumed_one_is_the_next(path: str) -> None:
    pipe = make(path, CHAINS["batch"], 1)
    first, second = ([rows(item) for item in pipe] for _ in range(2))
    running: Any = iter(make(path, CHAINS["batch"], 1))
    next(running)
    resumed = make(path, CHAINS["batch"], 1)
    resumed.load_state_dict(running.state_dict())
    assert [rows(item) for item in resumed] == first[1:]
    assert [rows(item) for item in resumed] == second


def test_taking_the_state_does_not_disturb_the_run(path: str) -> None:
    expected = [rows(item) for item in make(path, CHAINS["prefetch"], 1)]
    running: Any = iter(make(path, CHAINS["prefetch"], 1))
    found = []
    for item in running:
        running.state_dict()
        running.state_dict()
        found.append(rows(item))
    assert found == expected


def test_a_state_of_another_number_of_lanes_is_refused(path: str) -> None:
    running: Any = iter(make(path, CHAINS["batch"], 2))
    next(running)
    pipe = make(path, CHAINS["batch"], 1)
    pipe.load_state_dict(running.state_dict())
    with pytest.raises(h5s.StateError, match="lanes was 2 and is 1"):
        next(iter(pipe))


def test_set_epoch_forgets_a_loaded_state(path: str) -> None:
    running: Any = iter(make(path, CHAINS["batch"], 1))
    next(running)
    pipe = make(path, CHAINS["batch"], 1)
    expected = [rows(item) for item in pipe]
    pipe.load_state_dict(running.state_dict())
    pipe.set_epoch(0)
    assert [rows(item) for item in pipe] == expected


def test_a_state_does_not_grow_with_the_file(path: str, tmp_path: Path) -> None:
    def state_size(source: str) -> int:
        running: Any = iter(make(source, CHAINS["where"], 1))
        next(running)
        return len(pickle.dumps(running.state_dict()))

    assert state_size(write_rows(tmp_path / "long.h5", 4000)) <= state_size(path) + 16


def rest_of(path: str, state: dict[str, Any], epochs: int = 1) -> list[list[list[int]]]:
    """Load a state into a new pipe, and stream what is left of its epoch and those after it."""
    pipe = make(path, CHAINS["batch"], 2)
    pipe.load_state_dict(pickle.loads(pickle.dumps(state)))
    return [[rows(item) for item in pipe] for _ in range(epochs)]


@pytest.fixture(scope="module")
def epochs(path: str) -> list[list[list[int]]]:
    """Items of the first three epochs."""
    pipe = make(path, CHAINS["batch"], 2)
    return [[rows(item) for item in pipe] for _ in range(3)]


def test_a_pipe_tells_its_state_in_a_loop(path: str, epochs: list[list[list[int]]]) -> None:
    pipe = make(path, CHAINS["batch"], 2)
    for epoch in range(2):
        for given, item in enumerate(pipe, 1):
            assert rows(item) == epochs[epoch][given - 1]
            rest = rest_of(path, pipe.state_dict(), epochs=2)
            assert rest == [epochs[epoch][given:], epochs[epoch + 1]]


def test_a_pipe_tells_its_state_after_the_loop_was_left(
    path: str, epochs: list[list[list[int]]]
) -> None:
    pipe = make(path, CHAINS["batch"], 2)
    for given, _item in enumerate(pipe, 1):
        if given == 4:
            break
    gc.collect()  # nobody holds the iterator any more
    state = pipe.state_dict()
    assert rest_of(path, state, epochs=2) == [epochs[0][4:], epochs[1]]
    assert pipe.state_dict() == state
    assert [rows(item) for item in pipe] == epochs[1]


def test_before_the_first_epoch_and_after_one_the_state_is_the_start_of_the_next(
    path: str, epochs: list[list[list[int]]]
) -> None:
    pipe = make(path, CHAINS["batch"], 2)
    assert rest_of(path, pipe.state_dict(), epochs=2) == epochs[:2]
    for epoch in range(2):
        assert [rows(item) for item in pipe] == epochs[epoch]
        assert pipe.state_dict()["epoch"] == epoch + 1
        assert rest_of(path, pipe.state_dict()) == [epochs[epoch + 1]]
    running = iter(pipe)
    assert rest_of(path, pipe.state_dict()) == [epochs[2]]
    assert rows(next(running)) == epochs[2][0]


def test_after_the_end_a_pipe_whose_iterator_is_kept_stands_at_the_next_epoch(
    path: str, epochs: list[list[list[int]]]
) -> None:
    pipe = make(path, CHAINS["batch"], 2)
    running: Any = iter(pipe)
    for _ in epochs[0]:
        next(running)
    assert rest_of(path, pipe.state_dict(), epochs=2) == [[], epochs[1]]
    assert next(running, None) is None
    assert rest_of(path, pipe.state_dict()) == [epochs[1]]


def test_a_loaded_state_is_told_as_it_is_and_goes_on(
    path: str, epochs: list[list[list[int]]]
) -> None:
    pipe = make(path, CHAINS["batch"], 2)
    running: Any = iter(pipe)
    for _ in range(3):
        next(running)
    state = pipe.state_dict()
    assert state == running.state_dict()
    resumed = make(path, CHAINS["batch"], 2)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    going_on = iter(resumed)
    assert resumed.state_dict() == state
    assert rows(next(going_on)) == epochs[0][3]
    assert rest_of(path, resumed.state_dict()) == [epochs[0][4:]]


def test_a_pipe_goes_back_to_its_own_earlier_state(
    path: str, epochs: list[list[list[int]]]
) -> None:
    pipe = make(path, CHAINS["batch"], 2)
    running: Any = iter(pipe)
    next(running)
    state = pipe.state_dict()
    assert [rows(item) for item in running] == epochs[0][1:]
    assert [rows(item) for item in pipe] == epochs[1]
    pipe.load_state_dict(state)
    assert [rows(item) for item in pipe] == epochs[0][1:]
    assert [rows(item) for item in pipe] == epochs[1]


def test_set_epoch_moves_the_state_of_a_pipe(path: str, epochs: list[list[list[int]]]) -> None:
    pipe = make(path, CHAINS["batch"], 2)
    next(iter(pipe))
    pipe.set_epoch(2)
    assert rest_of(path, pipe.state_dict()) == [epochs[2]]


def test_an_iterator_let_go_late_does_not_bring_its_place_back(
    path: str, epochs: list[list[list[int]]]
) -> None:
    pipe = make(path, CHAINS["batch"], 2)
    first: Any = iter(pipe)
    next(first)
    assert [rows(item) for item in pipe] == epochs[1]
    del first
    assert rest_of(path, pipe.state_dict()) == [epochs[2]]
    second: Any = iter(pipe)
    next(second)
    pipe.set_epoch(1)
    del second
    assert rest_of(path, pipe.state_dict()) == [epochs[1]]


@pytest.mark.parametrize("persistent", [False, True], ids=["new workers", "persistent"])
def test_beside_workers_the_parents_pipe_does_not_know_the_state(
    path: str, persistent: bool
) -> None:
    pipe = make(path, CHAINS["batch"], 2)
    loader: DataLoader[Any] = DataLoader(
        pipe, batch_size=None, num_workers=2, persistent_workers=persistent
    )
    running = iter(loader)
    next(running)
    with pytest.raises(h5s.StateError, match=r"only they know.*h5stream\.Loader"):
        pipe.state_dict()
    list(running)
    with pytest.raises(h5s.StateError, match="only they know"):
        pipe.state_dict()
    pipe.set_epoch(1)
    assert pipe.state_dict()["epoch"] == 1


def test_workers_that_stream_after_the_parent_hide_its_old_state(
    path: str, epochs: list[list[list[int]]]
) -> None:
    pipe = make(path, CHAINS["batch"], 2)
    assert len(list(islice(pipe, 2))) == 2
    loader: DataLoader[Any] = DataLoader(pipe, batch_size=None, num_workers=2)
    assert [rows(item) for item in loader] == epochs[1]
    with pytest.raises(h5s.StateError, match="only they know"):
        pipe.state_dict()
    assert [rows(item) for item in pipe] == epochs[2]
    assert pipe.state_dict()["epoch"] == 3


def test_workers_go_on_from_a_state_that_their_parent_loaded(
    path: str, epochs: list[list[list[int]]]
) -> None:
    pipe = make(path, CHAINS["batch"], 2)
    pipe.set_epoch(1)
    running: Any = iter(pipe)
    next(running)
    resumed = make(path, CHAINS["batch"], 2)
    resumed.load_state_dict(running.state_dict())
    loader: DataLoader[Any] = DataLoader(resumed, batch_size=None, num_workers=1)
    assert [rows(item) for item in loader] == epochs[1][1:]
    with pytest.raises(h5s.StateError, match="only they know"):
        resumed.state_dict()
    assert [rows(item) for item in resumed] == epochs[2]
