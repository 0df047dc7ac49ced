"""torchdata's StatefulDataLoader resumes a chain anywhere, through the chain's own state."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from torchdata.stateful_dataloader import StatefulDataLoader

import h5stream as h5s
from h5stream.pipes.chain import Chain
from tests.pipes.test_resume import CHAINS
from tests.streams import write_rows

pytestmark = [
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning"),
    pytest.mark.filterwarnings(
        "ignore:This DataLoader will create .* worker processes:UserWarning"
    ),
]

N_ROWS = 26
EPOCHS = 3

Make = Callable[[str], Chain]
Batches = list[list[int]]


def make_stream(path: str) -> h5s.H5Stream:
    return h5s.H5Stream(path, ["row"], batch_size=3, shuffle=True, seed=5, buffer_size=8, lanes=2)


def make_pipe(chain: str) -> Make:
    def make(path: str) -> h5s.Pipe:
        pipe = h5s.open_files(path, ["row"]).list_chunks(target_bytes=1)
        return CHAINS[chain](pipe.shuffle_chunks(1).shard(lanes=2))

    return make


MAKERS: dict[str, Make] = {
    "stream": make_stream,
    **{
        name: make_pipe(name)
        for name in ("where", "generator over samples", "generator over tensors", "unbatch, batch")
    },
}

LOADERS: dict[str, dict[str, Any]] = {
    "0 workers": {"num_workers": 0},
    "2 workers": {"num_workers": 2},
    "2 persistent": {"num_workers": 2, "persistent_workers": True},
}
ALL_LOADERS: dict[str, dict[str, Any]] = {
    **LOADERS,
    "1 worker": {"num_workers": 1},
    "1 persistent": {"num_workers": 1, "persistent_workers": True},
}

CASES = [
    pytest.param(make, options, id=f"{chain}, {loader}")
    for chain, make in MAKERS.items()
    for loader, options in ALL_LOADERS.items()
    if chain == "stream" or loader in ("0 workers", "2 persistent")
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_rows(tmp_path_factory.mktemp("stateful") / "a.h5", N_ROWS)


def rows(batch: Any) -> list[int]:
    return np.ravel(np.asarray(batch["row"])).tolist()


def load(stream: Chain, **options: Any) -> StatefulDataLoader:
    return StatefulDataLoader(stream, batch_size=None, snapshot_every_n_steps=1, **options)


def bare_epochs(path: str, make: Make) -> list[Batches]:
    """Stream some epochs without a loader."""
    stream = make(path)
    epochs = [[rows(batch) for batch in stream] for _ in range(EPOCHS)]
    assert all(epochs)
    assert all(one != other for one, other in pairwise(epochs))
    return epochs


def pickled_state(loader: StatefulDataLoader) -> bytes:
    return pickle.dumps(loader.state_dict())


def epochs_after(state: bytes, path: str, make: Make, count: int, **options: Any) -> list[Batches]:
    """Make everything new, load a state, and stream the rest of its epoch and those after it."""
    loader = load(make(path), **options)
    loader.load_state_dict(pickle.loads(state))
    return [[rows(batch) for batch in loader] for _ in range(count)]


def some(places: list[tuple[int, int, bytes]], workers: int) -> list[tuple[int, int, bytes]]:
    """Pick all places without workers, else the edges of the epochs and one place within."""
    if not workers:
        return places
    starts = [number for number, (_epoch, given, _state) in enumerate(places) if not given]
    picked = {0, starts[1] // 2, starts[1] - 1, starts[1], starts[2] - 2, starts[2]}
    return [places[number] for number in sorted(picked)]


@pytest.mark.parametrize(("make", "options"), CASES)
def test_a_state_of_any_position_of_two_epochs_gives_the_rest(
    path: str, make: Make, options: dict[str, Any]
) -> None:
    expected = bare_epochs(path, make)
    loader = load(make(path), **options)
    places = [(0, 0, pickled_state(loader))]
    for epoch in range(2):
        found = []
        for batch in loader:
            found.append(rows(batch))
            places.append((epoch, len(found), pickled_state(loader)))
        assert found == expected[epoch]
        places.append((epoch + 1, 0, pickled_state(loader)))
    for epoch, given, state in some(places, options["num_workers"]):
        rest = [expected[epoch][given:], *expected[epoch + 1 :]]
        assert epochs_after(state, path, make, len(rest), **options) == rest


@pytest.mark.parametrize("options", LOADERS.values(), ids=LOADERS)
def test_a_resumed_run_can_be_saved_and_resumed_again(path: str, options: dict[str, Any]) -> None:
    expected = bare_epochs(path, make_stream)
    state: bytes | None = None
    for given in (0, 3, 6):
        loader = load(make_stream(path), **options)
        if state is not None:
            loader.load_state_dict(pickle.loads(state))
            state = pickled_state(loader)  # not used yet, it stands where it was loaded
            loader = load(make_stream(path), **options)
            loader.load_state_dict(pickle.loads(state))
        running = iter(loader)
        assert [rows(next(running)) for _ in range(3)] == expected[0][given : given + 3]
        state = pickled_state(loader)
    assert state is not None
    rest = epochs_after(state, path, make_stream, 2, **options)
    assert rest == [expected[0][9:], expected[1]]


@pytest.mark.parametrize("options", LOADERS.values(), ids=LOADERS)
def test_a_loader_goes_back_to_its_own_earlier_state(path: str, options: dict[str, Any]) -> None:
    expected = bare_epochs(path, make_stream)
    loader = load(make_stream(path), **options)
    running = iter(loader)
    assert [rows(next(running)) for _ in range(4)] == expected[0][:4]
    state = loader.state_dict()
    assert [rows(batch) for batch in running] == expected[0][4:]
    assert [rows(batch) for batch in loader] == expected[1]
    for _ in range(2):
        loader.load_state_dict(state)
        assert [rows(batch) for batch in loader] == expected[0][4:]
        assert [rows(batch) for batch in loader] == expected[1]


@pytest.mark.parametrize("options", LOADERS.values(), ids=LOADERS)
def test_an_epoch_left_early_counts_before_and_after_a_resume(
    path: str, options: dict[str, Any]
) -> None:
    expected = bare_epochs(path, make_stream)
    loader = load(make_stream(path), **options)
    assert rows(next(iter(loader))) == expected[0][0]
    running = iter(loader)
    assert [rows(next(running)) for _ in range(2)] == expected[1][:2]
    state = pickled_state(loader)
    resumed = load(make_stream(path), **options)
    resumed.load_state_dict(pickle.loads(state))
    assert rows(next(iter(resumed))) == expected[1][2]
    assert [rows(batch) for batch in resumed] == expected[2]


@pytest.mark.parametrize("options", LOADERS.values(), ids=LOADERS)
def test_a_state_after_set_epoch_has_that_epoch(path: str, options: dict[str, Any]) -> None:
    expected = bare_epochs(path, make_stream)
    stream = make_stream(path)
    loader = load(stream, **options)
    assert [rows(batch) for batch in loader] == expected[0]
    stream.set_epoch(2)
    running = iter(loader)
    assert [rows(next(running)) for _ in range(5)] == expected[2][:5]
    rest = epochs_after(pickled_state(loader), path, make_stream, 1, **options)
    assert rest == [expected[2][5:]]
    stream.set_epoch(1)
    assert [rows(batch) for batch in loader] == expected[1]


@pytest.mark.parametrize("every", [2, 3])
@pytest.mark.parametrize("workers", [0, 2], ids=lambda n: f"{n} workers")
def test_batches_since_the_last_snapshot_are_not_given_twice(
    path: str, every: int, workers: int
) -> None:
    expected = bare_epochs(path, make_stream)
    options = {"batch_size": None, "num_workers": workers, "snapshot_every_n_steps": every}
    loader = StatefulDataLoader(make_stream(path), **options)
    running = iter(loader)
    for _ in range(5):
        next(running)
    resumed = StatefulDataLoader(make_stream(path), **options)
    resumed.load_state_dict(pickle.loads(pickled_state(loader)))
    assert [rows(batch) for batch in resumed] == expected[0][5:]
    assert [rows(batch) for batch in resumed] == expected[1]


@pytest.mark.parametrize("workers", [0, 2], ids=lambda n: f"{n} workers")
def test_a_state_of_another_stream_is_refused_by_name(path: str, workers: int) -> None:
    loader = load(make_stream(path), num_workers=workers)
    next(iter(loader))
    other = load(
        h5s.H5Stream(path, ["row"], batch_size=3, shuffle=True, seed=6, buffer_size=8, lanes=2),
        num_workers=workers,
    )
    other.load_state_dict(loader.state_dict())
    with pytest.raises(h5s.StateError, match="seed was 5 and is 6"):
        list(other)
