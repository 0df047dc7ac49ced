"""Started after any number of batches, or from the states of lanes, a run gives the rest."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import h5stream as h5s
from h5stream.errors import StateError
from h5stream.pipes import Instance, Pipe
from h5stream.pipes.epoch import count_in_turn, count_items, lane_stages, pin_cut, plan_lanes
from h5stream.pipes.running import GAP
from h5stream.pipes.stage import Seek, State
from h5stream.pipes.start import AfterBatches, AfterLane
from h5stream.plan import Cut
from tests.pipes.test_resume import CHAINS, rows, seventh
from tests.places import Place
from tests.streams import write_rows

EPOCH = 2

Known = Callable[[Pipe, int], Pipe]

KNOWN: dict[str, Known] = {
    "read": lambda p, _n: p.read_chunks(),
    "batch": lambda p, n: p.read_chunks().batch(n),
    "drop_last": lambda p, n: p.read_chunks().shuffle_rows(6).batch(n, drop_last=True),
    "shuffle_rows": lambda p, n: p.read_chunks().shuffle_rows(n),
    "shuffle_rows, batch": lambda p, n: p.read_chunks().shuffle_rows(6).batch(n),
    "batch of batches": lambda p, n: p.read_chunks().batch(2).batch(n),
    "unbatch": lambda p, _n: p.read_chunks().shuffle_rows(6).unbatch(),
    "unbatch, batch": lambda p, n: p.read_chunks().unbatch().batch(n),
    "bucket": lambda p, n: p.read_chunks().shuffle_rows(6).bucket(n, by=seventh, buffer_size=9),
    "bucket, drop_last": lambda p, n: p.read_chunks().bucket(n, by="row", drop_last=True),
    "bucket, unbatch": lambda p, n: p.read_chunks().bucket(n, by=seventh, buffer_size=9).unbatch(),
    "collate, prefetch": lambda p, n: p.read_chunks().shuffle_rows(6).batch(n).collate().prefetch(),
}

UNKNOWN = [
    name
    for name in CHAINS
    if any(cause in name for cause in ("where", "generator", "max_tokens", "of ragged"))
]


Written = Callable[[int, int], str]
"""Number of rows, and how many of them are in a chunk -> a file of them."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, place: Place) -> Written:
    folder = tmp_path_factory.mktemp("start")

    @cache
    def write(n_rows: int, chunk_rows: int) -> str:
        path = folder / f"{n_rows} of {chunk_rows}.h5"
        return place(write_rows(path, n_rows, chunk_rows=chunk_rows))

    return write


@st.composite
def cuts(draw: st.DrawFn) -> Cut:
    groups = draw(st.sampled_from([1, 2, 3]))
    return Cut(groups * draw(st.sampled_from([1, 2, 3])), groups, "keep")


def make(path: str) -> Pipe:
    return h5s.open_files(path, ["row"]).list_chunks(target_bytes=1).shuffle_chunks(1).shard()


def run(pipe: Pipe, cut: Cut, **options: Any) -> Any:
    return pipe.run(EPOCH, cut=cut, instance=Instance(), **options)


def seeks(pipe: Pipe, cut: Cut) -> list[Seek]:
    stages = pin_cut(pipe.stages, cut)
    lanes = plan_lanes(stages, pipe.catalog, Instance(), EPOCH)
    return [Seek(lane_stages(stages), lane) for lane in lanes]


def batches_in_turn(pipe: Pipe, cut: Cut) -> int:
    """Count the batches before the first lane's end, or all if lanes end in turn."""
    stages = pin_cut(pipe.stages, cut)
    total = count_in_turn(stages, pipe.catalog, EPOCH)
    if total is not None:
        return total
    counts = count_items(stages, plan_lanes(stages, pipe.catalog, Instance(), EPOCH))
    return 0 if counts is None else cut.lanes * min(counts)


@given(
    st.sampled_from(list(KNOWN.values())),
    st.integers(1, 40),
    st.integers(1, 9),
    st.integers(1, 12),
    cuts(),
)
def test_after_any_number_of_batches_the_rest_comes(
    written: Written, chain: Known, n_rows: int, chunk_rows: int, batch_size: int, cut: Cut
) -> None:
    pipe = chain(make(written(n_rows, chunk_rows)), batch_size)
    if n_rows < cut.groups:
        return
    whole = [rows(item) for item in run(pipe, cut)]
    for batches in range(batches_in_turn(pipe, cut) + 1):
        rest = run(pipe, cut, start=AfterBatches(batches))
        assert [rows(item) for item in rest] == whole[batches:]


@pytest.mark.parametrize("name", [name for name in CHAINS if name not in UNKNOWN])
def test_the_state_after_some_items_is_the_one_that_a_run_reaches(
    written: Written, name: str
) -> None:
    cut = Cut(1, 1, "keep")
    pipe = CHAINS[name](make(written(26, 4)))
    whole = [rows(item) for item in run(pipe, cut)]
    (seek,) = seeks(pipe, cut)
    if seek.items(0) is None:
        assert name == "map"  # it may change the number of rows that reach the batches
        return
    for batches in range(len(whole) + 1):
        rest = run(pipe, cut, start=AfterBatches(batches))
        assert [rows(item) for item in rest] == whole[batches:]


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_only_a_run_can_tell_is_not_sought(written: Written, name: str) -> None:
    cut = Cut(2, 1, "keep")
    pipe = CHAINS[name](make(written(26, 4)))
    assert [seek.items(1) for seek in seeks(pipe, cut)] == [None, None]
    with pytest.raises(StateError, match="only a run can tell where batch 3"):
        next(run(pipe, cut, start=AfterBatches(3)))


@pytest.mark.parametrize("lanes", [1, 2, 3])
@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_after_any_lanes_turn_the_rest_comes(
    written: Written, chain: Callable[[Pipe], Pipe], lanes: int
) -> None:
    cut = Cut(lanes, lanes, "keep")
    pipe = chain(make(written(26, 4)))
    running = run(pipe, cut, gaps=True)
    items: list[list[int]] = []
    places: list[tuple[int, int, dict[int, State]]] = []
    states: dict[int, State] = {}
    for item in running:
        lane, states[lane] = running.last_turn()
        if item is not GAP:
            items.append(rows(item))
        places.append((len(items), lane, dict(states)))
    assert items
    for count, last, at in places:
        rest = run(pipe, cut, start=AfterLane(last, at))
        assert [rows(item) for item in rest] == items[count:]
