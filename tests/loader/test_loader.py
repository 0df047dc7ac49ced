"""A loader resumes anywhere, with any numbers of ranks and workers that fit."""

from __future__ import annotations

import gc
import json
import multiprocessing
import time
import weakref
from collections.abc import Iterator
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import h5stream as h5s
from h5stream.pipes.state import seal
from h5stream.plan.lanes import Uneven
from tests.places import Place
from tests.streams import write_rows, yielded

N_ROWS = 46

pytestmark = pytest.mark.filterwarnings(
    "ignore:This DataLoader will create .* worker processes:UserWarning"
)

Batches = list[list[int]]
KEPT = {"num_workers": 2, "persistent_workers": True}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_rows(tmp_path_factory.mktemp("loader") / "a.h5", N_ROWS)


@pytest.fixture(scope="module")
def source(path: str, place: Place) -> str:
    """The same file, on disk or as a remote one."""
    return place(path)


def make(path: str, rank: int = 0, world_size: int = 1, **options: Any) -> h5s.H5Stream:
    options = {"batch_size": 3, "shuffle": True, "seed": 5, "buffer_size": 8, **options}
    return h5s.H5Stream(path, ["row"], rank=rank, world_size=world_size, **options)


def changed(state: dict[str, Any], **values: Any) -> dict[str, Any]:
    """Change a state as somebody would who knows how it is sealed."""
    return seal({**{key: value for key, value in state.items() if key != "digest"}, **values})


def rows(batch: Any) -> list[int]:
    return np.ravel(np.asarray(batch["row"])).tolist()


def third(item: dict[str, Any]) -> Any:
    return item["row"] % 3 == 0


def repeat(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for copy in range(int(np.ravel(np.asarray(item["row"]))[0]) % 4):
        yield yielded({"row": item["row"] + 100 * copy})


def sample_pipe(path: str, lanes: int | None = None) -> h5s.Pipe:
    """Make a pipe whose lanes give numbers of items that only a run can tell."""
    return (
        h5s.open_files(path, ["row"])
        .list_chunks(target_bytes=1)
        .shuffle_chunks(1)
        .shard(lanes=lanes)
        .read_chunks()
        .where(third)
        .batch(2)
        .map(repeat)
    )


def in_turn(ranks: list[Batches]) -> Batches:
    """Put together what ranks got, in the order of the epoch."""
    rounds = zip_longest(*ranks)
    return [batch for batches in rounds for batch in batches if batch is not None]


def gathered(path: str, world_size: int, workers: int, state: Any, **options: Any) -> Batches:
    found = []
    for rank in range(world_size):
        loader = h5s.Loader(make(path, rank, world_size, **options), num_workers=workers)
        if state is not None:
            loader.load_state_dict(state)
        found.append([rows(batch) for batch in loader])
    return in_turn(found)


def state_after(
    path: str, items: int, world_size: int = 1, workers: int = 0, **options: Any
) -> dict[str, Any]:
    loader = h5s.Loader(make(path, 0, world_size, **options), num_workers=workers)
    running = iter(loader)
    for _ in range(items):
        next(running)
    return json.loads(json.dumps(loader.state_dict()))


@pytest.mark.parametrize("workers", [0, 2], ids=lambda n: f"{n} workers")
@pytest.mark.parametrize("uneven", ["keep", "drop", "pad"])
def test_saving_at_every_position_of_two_epochs_gives_the_rest(
    path: str, uneven: Uneven, workers: int
) -> None:
    loader = h5s.Loader(make(path, uneven=uneven), num_workers=workers)
    states, items = [loader.state_dict()], []
    for _ in range(2):
        for batch in loader:
            items.append(rows(batch))
            states.append(loader.state_dict())
    assert len(items) == 2 * len(loader)
    for position in range(0, len(states), 1 if workers == 0 else 5):
        resumed = h5s.Loader(make(path, uneven=uneven), num_workers=workers)
        resumed.load_state_dict(json.loads(json.dumps(states[position])))
        rest = [rows(batch) for batch in resumed]
        while len(rest) < len(items) - position:
            rest += [rows(batch) for batch in resumed]
        assert rest == items[position:]


@given(
    st.sampled_from([1, 2, 4]),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([None, 4]),
    st.sampled_from(["keep", "drop"]),
    st.integers(0, 20),
    st.booleans(),
)
def test_other_numbers_of_ranks_go_on_in_the_same_order(
    source: str, saved: int, resumed: int, lanes: int | None, uneven: Uneven, at: int, last: bool
) -> None:
    options: dict[str, Any] = {"lanes": lanes, "uneven": uneven, "drop_last": last}
    loader = h5s.Loader(make(source, 0, saved, **options))
    items = at % (len(loader) + 1)
    state = state_after(source, items, saved, **options)
    whole = gathered(source, saved, 0, None, **options)
    total = loader.state_dict()["plan"]["lanes"]
    if total % resumed:
        with pytest.raises(h5s.StateError, match=rf"saved with {total} lanes.*fit: \[1"):
            gathered(source, resumed, 0, state, **options)
    elif uneven == "keep" or (len(whole) - items * saved) % resumed == 0:
        assert gathered(source, resumed, 0, state, **options) == whole[items * saved :]


@pytest.mark.parametrize("at", [0, 1, 2, 5])
def test_workers_and_ranks_may_change_together(source: str, at: int) -> None:
    options = {"lanes": 8, "uneven": "keep"}
    whole = gathered(source, 1, 0, None, **options)
    state = state_after(source, at, world_size=2, workers=2, **options)
    for world_size, workers in [(1, 0), (1, 2), (2, 0), (2, 4), (4, 0), (4, 2)]:
        assert gathered(source, world_size, workers, state, **options) == whole[2 * at :]


def test_lanes_by_default_are_kept_by_a_resumed_run(path: str) -> None:
    whole = h5s.Loader(make(path), num_workers=4)
    first, second = ([rows(batch) for batch in whole] for _ in range(2))
    state = state_after(path, 3, workers=4)
    resumed = h5s.Loader(make(path), num_workers=2)
    resumed.load_state_dict(state)
    assert [rows(batch) for batch in resumed] == first[3:]
    assert [rows(batch) for batch in resumed] == second
    assert resumed.state_dict()["plan"]["lanes"] == 4


def test_more_ranks_than_the_rest_can_be_shared_by_leave_it_out_and_say_so(path: str) -> None:
    options = {"lanes": 4, "uneven": "drop"}
    whole = gathered(path, 1, 0, None, **options)
    state = state_after(path, 3, **options)
    with pytest.warns(UserWarning, match="the last 1 are left out"):
        found = gathered(path, 4, 0, state, **options)
    assert found == whole[3:-1]


def test_ranks_that_must_repeat_rows_refuse_an_unequal_rest(path: str) -> None:
    options = {"lanes": 4, "uneven": "pad"}
    state = state_after(path, 3, **options)
    with pytest.raises(h5s.StateError, match=r'13 batches are left.*uneven="pad"'):
        gathered(path, 4, 0, state, **options)


@pytest.mark.parametrize("persistent", [False, True], ids=["new workers", "persistent"])
def test_epochs_count_on_and_set_epoch_goes_back(path: str, persistent: bool) -> None:
    alone = h5s.Loader(make(path, lanes=2))
    expected = [[rows(batch) for batch in alone] for _ in range(3)]
    loader = h5s.Loader(make(path, lanes=2), num_workers=2, persistent_workers=persistent)
    assert [[rows(batch) for batch in loader] for _ in range(3)] == expected
    loader.set_epoch(1)
    assert [rows(batch) for batch in loader] == expected[1]
    assert [rows(batch) for batch in loader] == expected[2]


def test_persistent_workers_resume_and_go_on(path: str) -> None:
    alone = h5s.Loader(make(path, lanes=2))
    first, second = ([rows(batch) for batch in alone] for _ in range(2))
    loader = h5s.Loader(make(path, lanes=2), num_workers=2, persistent_workers=True)
    running = iter(loader)
    assert [rows(next(running)) for _ in range(3)] == first[:3]
    loader.load_state_dict(loader.state_dict())
    assert [rows(batch) for batch in loader] == first[3:]
    assert [rows(batch) for batch in loader] == second


def test_states_around_the_end_of_an_epoch_differ(path: str) -> None:
    loader = h5s.Loader(make(path))
    running = iter(loader)
    for _ in range(len(loader)):
        next(running)
    at_end = loader.state_dict()
    assert next(running, None) is None
    after = loader.state_dict()
    assert (at_end["epoch"], at_end["batches"]) == (0, len(loader))
    assert (after["epoch"], after["batches"]) == (1, 0)
    resumed = h5s.Loader(make(path))
    resumed.load_state_dict(at_end)
    assert list(resumed) == []


def test_saving_twice_and_after_a_load_gives_the_same_state(path: str) -> None:
    state = state_after(path, 4)
    loader = h5s.Loader(make(path))
    loader.load_state_dict(state)
    assert loader.state_dict() == loader.state_dict() == state
    next(iter(loader))
    assert loader.state_dict()["batches"] == 5


def test_a_state_is_small_and_fast(path: str) -> None:
    loader = h5s.Loader(make(path, lanes=46))
    next(iter(loader))
    assert len(json.dumps(loader.state_dict())) < 2048
    started = time.perf_counter()
    for _ in range(1000):
        loader.state_dict()
    assert time.perf_counter() - started < 5  # to tell a plan made anew from one kept


@pytest.mark.parametrize("workers", [0, 1, 2], ids=lambda n: f"{n} workers")
def test_pipes_that_only_a_run_can_count_resume_everywhere(path: str, workers: int) -> None:
    loader = h5s.Loader(sample_pipe(path, lanes=4), num_workers=workers)
    states, items = [loader.state_dict()], []
    for batch in loader:
        items.append(rows(batch))
        states.append(json.loads(json.dumps(loader.state_dict())))
    assert len(items) > 6
    for position in range(0, len(states), 1 if workers == 0 else 4):
        resumed = h5s.Loader(sample_pipe(path, lanes=4), num_workers=(workers + 1) % 3)
        resumed.load_state_dict(states[position])
        assert [rows(batch) for batch in resumed] == items[position:]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_lanes_that_end_early_leave_the_order_as_it_is(path: str, workers: int) -> None:
    alone = [rows(batch) for batch in sample_pipe(path, lanes=4)]
    loader = h5s.Loader(sample_pipe(path, lanes=4), num_workers=workers)
    assert [rows(batch) for batch in loader] == alone


def test_what_a_rank_saved_for_itself_is_refused_by_another(path: str) -> None:
    loader = h5s.Loader(sample_pipe(path, lanes=4))
    running = iter(loader)
    next(running)
    state = changed(loader.state_dict(), rank=[1, 2])
    with pytest.raises(h5s.StateError, match="saved by rank 1 of 2 for itself"):
        h5s.Loader(sample_pipe(path, lanes=4)).load_state_dict(state)


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"batch_size": 4}, "batch_size was 3 and is 4"),
        ({"seed": 6}, "seed was 5 and is 6"),
        ({"buffer_size": 9}, "buffer_size was 8 and is 9"),
        ({"drop_last": True}, "drop_last was 0 and is 1"),
        ({"lanes": 2}, "lanes was 1 and is 2"),
        ({"uneven": "pad"}, "uneven was 'keep' and is 'pad'"),
    ],
)
def test_a_state_of_another_stream_is_refused(
    path: str, options: dict[str, Any], difference: str
) -> None:
    with pytest.raises(h5s.StateError, match=difference):
        h5s.Loader(make(path, **options)).load_state_dict(state_after(path, 2))


def test_a_state_of_other_files_or_fields_is_refused(path: str, tmp_path: Path) -> None:
    state = state_after(path, 2)
    with pytest.raises(h5s.StateError, match=r"b\.h5 had 46 rows, .* content .* and has 46 rows"):
        h5s.Loader(make(write_rows(tmp_path / "b.h5", N_ROWS, first=1))).load_state_dict(state)
    both = h5s.H5Stream(path, ["row", "x"], batch_size=3, shuffle=True, seed=5, buffer_size=8)
    with pytest.raises(h5s.StateError, match="fields was"):
        h5s.Loader(both).load_state_dict(state)


@pytest.mark.parametrize(
    "state",
    [{}, {"epoch": 0}, None, [], {"kind": "h5stream.Loader 1", "epoch": 0, "batches": 0}],
    ids=str,
)
def test_what_is_no_state_is_refused(path: str, state: Any) -> None:
    with pytest.raises(h5s.StateError, match="not a state of a loader"):
        h5s.Loader(make(path)).load_state_dict(state)


def test_a_damaged_state_is_refused(path: str) -> None:
    state = changed(state_after(path, 2), batches=999)
    with pytest.raises(h5s.StateError, match="after batch 999, but the epoch has 16"):
        h5s.Loader(make(path)).load_state_dict(state)


def test_counts_that_do_not_fit_may_start_the_epoch_again(path: str) -> None:
    loader = h5s.Loader(make(path))
    first = [rows(batch) for batch in loader]
    loader.set_epoch(1)
    next(iter(loader))
    state = loader.state_dict()
    resumed = h5s.Loader(make(path), num_workers=2, on_mismatch="restart_epoch")
    resumed.load_state_dict(state)
    found = [rows(batch) for batch in resumed]
    assert sorted(chain.from_iterable(found)) == list(range(N_ROWS))
    assert resumed.state_dict()["epoch"] == 2
    assert found != first


@pytest.mark.parametrize("n_rows", [1, 7, 46])
@pytest.mark.parametrize("workers", [0, 1, 2, 3])
@pytest.mark.parametrize("options", [{}, {"batch_size": None}, {"drop_last": True}], ids=str)
def test_length_is_what_comes_out_with_any_number_of_workers(
    tmp_path: Path, n_rows: int, workers: int, options: dict[str, Any]
) -> None:
    stream = make(write_rows(tmp_path / "a.h5", n_rows), **options)
    expected = len(stream)
    loader = h5s.Loader(stream, num_workers=workers)
    assert len(loader) == expected == len(list(loader))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 4}, "batch_size is not the loader's business"),
        ({"shuffle": True}, "shuffle is not the loader's business"),
        ({"in_order": False}, "in_order=False"),
        ({"on_mismatch": "ignore"}, "on_mismatch must be"),
    ],
)
def test_options_that_are_not_the_loaders_are_refused(
    path: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(h5s.ConfigError, match=message):
        h5s.Loader(make(path), **options)


def test_a_loader_takes_streams_only(path: str) -> None:
    with pytest.raises(h5s.ConfigError, match="needs an H5Stream"):
        h5s.Loader([1, 2])  # type: ignore[arg-type]


def test_workers_without_a_shard_are_refused(path: str) -> None:
    pipe = h5s.open_files(path, ["row"]).list_chunks().read_chunks().batch(4)
    with pytest.raises(h5s.ConfigError, match=r"add \.shard"):
        iter(h5s.Loader(pipe, num_workers=2))


@pytest.mark.parametrize("workers", [0, 2], ids=lambda n: f"{n} workers")
def test_an_error_arrives_whole_and_at_once(tmp_path: Path, workers: int) -> None:
    path = write_rows(tmp_path / "a.h5", 40)
    with h5py.File(path) as file:
        damaged = file["row"].id.get_chunk_info(4)
    with Path(path).open("r+b") as file:
        file.seek(damaged.byte_offset)
        file.write(bytes(damaged.size))
    loader = h5s.Loader(make(path, lanes=2, shuffle=False, buffer_size=None), num_workers=workers)
    with pytest.raises(h5s.DecodeError, match=r"a\.h5") as error:
        list(loader)
    assert error.value.dataset == "/row"
    assert error.value.chunk_offset == (16,)


def whole_epoch(path: str, epoch: int) -> Batches:
    stream = make(path, lanes=2)
    stream.set_epoch(epoch)
    return [rows(batch) for batch in stream]


@pytest.mark.parametrize("options", [{}, KEPT], ids=["no workers", "workers that stay"])
@pytest.mark.parametrize(
    ("taken", "told", "goes_on"),
    [
        (None, 0, (0, 0)),
        (None, 3, (3, 0)),
        (0, 0, (0, 0)),
        (4, 0, (0, 4)),
        (16, 0, (0, 16)),
        (16, 1, (1, 0)),
    ],
)
def test_a_library_may_say_which_epoch_begins_after_it_asked_for_the_iterator(
    path: str, options: dict[str, Any], taken: int | None, told: int, goes_on: tuple[int, int]
) -> None:
    loader = h5s.Loader(make(path, lanes=2), **options)
    if taken is not None:
        loader.load_state_dict(state_after(path, taken, lanes=2))
    batches = iter(loader)
    loader.sampler.set_epoch(told)
    epoch, given = goes_on
    assert [rows(batch) for batch in batches] == whole_epoch(path, epoch)[given:]
    assert loader.state_dict()["epoch"] == epoch + 1
    assert [rows(batch) for batch in loader] == whole_epoch(path, epoch + 1)


@pytest.mark.parametrize("told", [0, 1])
def test_a_library_may_name_the_epoch_under_way_or_the_next(path: str, told: int) -> None:
    loader = h5s.Loader(make(path, lanes=2))
    batches = iter(loader)
    first = rows(next(batches))
    loader.sampler.set_epoch(told)
    assert loader.state_dict()["batches"] == 1
    assert [first, *(rows(batch) for batch in batches)] == whole_epoch(path, 0)
    loader.sampler.set_epoch(1)
    assert [rows(batch) for batch in loader] == whole_epoch(path, 1)


def test_a_library_may_say_which_epoch_begins_before_it_asks_for_the_iterator(path: str) -> None:
    loader = h5s.Loader(make(path, lanes=2))
    for told in (2, 0, 1):
        loader.sampler.set_epoch(told)
        assert [rows(batch) for batch in loader] == whole_epoch(path, told)
    loader.load_state_dict(state_after(path, 3, lanes=2))
    loader.sampler.set_epoch(0)
    assert [rows(batch) for batch in loader] == whole_epoch(path, 0)[3:]


def test_a_loader_goes_at_once_when_nobody_holds_it(path: str) -> None:
    others = multiprocessing.active_children()
    loader = h5s.Loader(make(path), **KEPT)
    next(iter(loader))
    workers = set(multiprocessing.active_children()).difference(others)
    held = weakref.ref(loader)
    gc.disable()
    try:
        del loader
        assert held() is None
        assert len(workers) == 2
        assert not any(worker.is_alive() for worker in workers)
    finally:
        gc.enable()
