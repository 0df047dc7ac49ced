"""A mix draws by weight, keeps every stream's own order, and resumes anywhere."""

from __future__ import annotations

import json
from collections import Counter
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import h5stream as h5s
from h5stream.plan.draws import StopCriteria
from tests.places import Place
from tests.streams import write_rows

EVERY: list[StopCriteria] = ["first_exhausted", "all_exhausted", "cycle"]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory, place: Place) -> list[str]:
    folder = tmp_path_factory.mktemp("mix")
    sizes = [(0, 30), (100, 12), (200, 21)]
    return [place(write_rows(folder / f"{first}.h5", n, first=first)) for first, n in sizes]


def make(paths: list[str], stop: StopCriteria = "all_exhausted", **options: Any) -> h5s.Pipe:
    options = {"batch_size": 2, "shuffle": True, "buffer_size": 8, **options}
    streams = [h5s.H5Stream(path, ["row"], **options) for path in paths]
    return h5s.mix(streams, weights=[3, 1, 2], stop_criteria=stop, seed=4)


def rows(batch: Any) -> list[int]:
    return np.ravel(np.asarray(batch["row"])).tolist()


def some(items: Any) -> list[list[int]]:
    return [rows(item) for item in islice(items, 60)]


def test_all_exhausted_gives_every_row_once(paths: list[str]) -> None:
    pipe = make(paths, lanes=3, uneven="keep")
    for _ in range(2):
        found = sorted(row for batch in pipe for row in rows(batch))
        assert found == [*range(30), *range(100, 112), *range(200, 221)]


def test_every_stream_keeps_its_own_order(paths: list[str]) -> None:
    mixed = some(make(paths))
    for number, path in enumerate(paths):
        alone = h5s.H5Stream(path, ["row"], batch_size=2, shuffle=True, buffer_size=8)
        own = [batch for batch in mixed if batch[0] // 100 == number]
        assert own == [rows(batch) for batch in alone]


def test_first_exhausted_ends_with_the_first_stream_that_is_drawn_in_vain(
    paths: list[str],
) -> None:
    first, every = some(make(paths, "first_exhausted")), some(make(paths))
    assert first == every[: len(first)]
    assert 0 < len(first) < len(every)
    streams = Counter(batch[0] // 100 for batch in first)
    assert any(streams[number] == total for number, total in enumerate([15, 6, 11]))


def test_cycle_starts_streams_again_in_another_order(paths: list[str]) -> None:
    batches = [rows(batch) for batch in islice(make(paths, "cycle"), 200)]
    assert len(batches) == 200
    small = [row for batch in batches for row in batch if row // 100 == 1]
    first, second = small[:12], small[12:24]
    assert sorted(first) == sorted(second) == list(range(100, 112))
    assert first != second


@pytest.mark.parametrize("stop", EVERY)
def test_the_order_is_the_same_for_every_number_of_ranks(
    paths: list[str], stop: StopCriteria
) -> None:
    alone = some(make(paths, stop, lanes=4, uneven="drop"))
    for world_size in (2, 4):
        ranks = [
            some(make(paths, stop, lanes=4, uneven="drop", rank=rank, world_size=world_size))
            for rank in range(world_size)
        ]
        in_turn = [batch for turn in zip_longest(*ranks) for batch in turn if batch is not None]
        assert in_turn[: len(alone)] == alone
        if stop != "cycle":
            assert len({len(rank) for rank in ranks}) == 1


@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize("stop", EVERY)
def test_a_mix_resumes_at_every_position(paths: list[str], stop: StopCriteria, lanes: int) -> None:
    pipe = make(paths, stop, lanes=lanes)
    pipe.set_epoch(1)
    states, items = [pipe.state_dict()], []
    for batch in islice(pipe, 60):
        items.append(rows(batch))
        states.append(json.loads(json.dumps(pipe.state_dict())))
    for position, state in enumerate(states):
        resumed = make(paths, stop, lanes=lanes)
        resumed.load_state_dict(state)
        rest = [rows(batch) for batch in islice(resumed, len(items) - position)]
        assert rest == items[position:]


@pytest.mark.parametrize("stop", EVERY)
@pytest.mark.parametrize("workers", [0, 2], ids=lambda n: f"{n} workers")
def test_a_loader_resumes_a_mix_with_other_workers(
    paths: list[str], stop: StopCriteria, workers: int
) -> None:
    loader = h5s.Loader(make(paths, stop, lanes=4), num_workers=workers)
    states, items = [loader.state_dict()], []
    for batch in islice(loader, 40):
        items.append(rows(batch))
        states.append(json.loads(json.dumps(loader.state_dict())))
    assert len(json.dumps(states[-1])) < 2048
    for position in range(0, len(states), 7):
        resumed = h5s.Loader(make(paths, stop, lanes=4), num_workers=2 - workers)
        resumed.load_state_dict(states[position])
        rest = [rows(batch) for batch in islice(resumed, len(items) - position)]
        assert rest == items[position:]


@pytest.mark.parametrize("lanes", [1, 2, 3])
@pytest.mark.parametrize("stop", ["first_exhausted", "all_exhausted"])
def test_length_is_what_comes_out(paths: list[str], stop: StopCriteria, lanes: int) -> None:
    pipe = make(paths, stop, lanes=lanes)
    for _ in range(2):
        expected = len(pipe)
        assert expected == len(list(pipe))


def test_a_cycle_has_no_length(paths: list[str]) -> None:
    with pytest.raises(TypeError, match="known only after a run"):
        len(make(paths, "cycle"))


def test_samples_mix_into_batches(paths: list[str]) -> None:
    streams = [
        h5s.open_files(path, ["row"]).list_chunks().shard().read_chunks().unbatch()
        for path in paths
    ]
    pipe = h5s.mix(streams, stop_criteria="all_exhausted").batch(5).collate()
    batches = [rows(batch) for batch in pipe]
    assert len(pipe) == len(batches) == 13
    expected = [*range(30), *range(100, 112), *range(200, 221)]
    assert sorted(chain.from_iterable(batches)) == expected
    assert any(len({row // 100 for row in batch}) > 1 for batch in batches)


def test_weights_default_to_equal_shares(paths: list[str]) -> None:
    streams = [h5s.H5Stream(path, ["row"], batch_size=1) for path in paths[:2]]
    pipe = h5s.mix(streams, stop_criteria="cycle")
    drawn = Counter(rows(batch)[0] // 100 for batch in islice(pipe, 1000))
    assert drawn[0] == pytest.approx(500, abs=60)


def test_states_of_other_mixes_are_refused(paths: list[str]) -> None:
    pipe = make(paths)
    next(iter(pipe))
    state = pipe.state_dict()
    for other, difference in [
        (make(paths, "cycle"), "stop_criteria was 'all_exhausted' and is 'cycle'"),
        (make(paths, batch_size=3), "batch_size in stream 1 was 2 and is 3"),
        (make([*paths[1:], paths[0]]), r"had 30 rows, .* and has 12 rows"),
    ]:
        other.load_state_dict(state)
        with pytest.raises(h5s.StateError, match=difference):
            next(iter(other))


def test_what_does_not_mix_is_refused(paths: list[str]) -> None:
    stream = h5s.H5Stream(paths[0], ["row"], batch_size=2)
    bare = h5s.open_files(paths[0], ["row"]).list_chunks().read_chunks().batch(2).collate()
    refused: list[tuple[list[Any], dict[str, Any], str]] = [
        ([], {}, "takes H5Streams or Pipes"),
        ([stream, [1]], {}, "takes H5Streams or Pipes"),
        ([stream], {"weights": [1, 2]}, "a positive weight for each of 1"),
        ([stream], {"weights": [-1]}, "a positive weight"),
        ([stream], {"weights": [float("nan")]}, "a positive weight"),
        ([stream], {"stop_criteria": "never"}, "stop_criteria must be one of"),
        ([stream], {"seed": -1}, "seed must be"),
        ([stream, bare], {}, r"add \.shard\(\)"),
        ([h5s.open_files(paths[0])], {}, "streams of one kind of item"),
        ([h5s.mix([stream])], {}, "mix all of them in one call"),
    ]
    for streams, options, message in refused:
        with pytest.raises(h5s.ConfigError, match=message):
            h5s.mix(streams, **options)


def test_streams_that_are_cut_differently_are_refused(paths: list[str]) -> None:
    streams = [
        h5s.H5Stream(path, ["row"], batch_size=2, lanes=n + 1) for n, path in enumerate(paths)
    ]
    with pytest.raises(h5s.ConfigError, match=r"have lanes \[1, 2, 3\]"):
        h5s.mix(streams)


def test_a_stream_without_rows_for_a_lane_cannot_be_cycled(tmp_path: Path) -> None:
    paths = [write_rows(tmp_path / "a.h5", 9), write_rows(tmp_path / "b.h5", 1)]
    streams = [h5s.H5Stream(path, ["row"], batch_size=2, lanes=2) for path in paths]
    with pytest.raises(h5s.ConfigError, match="gives lane 0 nothing"):
        list(islice(h5s.mix(streams, stop_criteria="cycle"), 50))


def test_explain_tells_each_of_the_streams_of_a_mix(paths: list[str]) -> None:
    mixed = make(paths)
    found = mixed.explain()
    assert dict(found.facts)["items"] == str(len(list(mixed)))
    assert len(found.parts) == 3
    assert [dict(part.facts)["rows"].split()[0] for part in found.parts] == ["30", "12", "21"]
    assert "stream 3" in str(found)
    assert "Stream 3" in found._repr_html_()
