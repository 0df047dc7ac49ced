"""States that were changed by hand are refused with a StateError, or are states of some run."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import h5stream as h5s
from h5stream.pipes.state import seal
from tests.streams import write_rows

ODD = [-1, 2**53, 10**30, 1.5, math.nan, math.inf, True, None, "1", [], {}, [[]], b"x", 2**24]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("tampered")
    return [write_rows(folder / f"{number}.h5", 23) for number in range(2)]


def positive(columns: Any) -> Any:
    return columns["row"] >= 0


def make(paths: list[str], kind: str) -> Any:
    options: dict[str, Any] = {"batch_size": 3, "shuffle": True, "lanes": 2}
    streams = [h5s.H5Stream(path, ["row"], **options) for path in paths]
    if kind == "mix":
        return h5s.mix(streams, stop_criteria="all_exhausted")
    if kind == "where":
        blocks = h5s.open_files(paths[0], ["row"]).list_chunks().shard(lanes=2).read_chunks()
        return blocks.where(positive).batch(3).collate()
    return streams[0]


def places_in(node: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [at] if at else []
    if isinstance(node, dict):
        return found + [p for key, value in node.items() for p in places_in(value, (*at, key))]
    if isinstance(node, list):
        return found + [p for key, value in enumerate(node) for p in places_in(value, (*at, key))]
    return found


def with_value(state: Any, at: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(state)
    node = changed
    for key in at[:-1]:
        node = node[key]
    node[at[-1]] = value
    return changed


@given(
    kind=st.sampled_from(["stream", "mix", "where"]),
    through=st.sampled_from(["pipe", "loader"]),
    taken=st.integers(0, 5),
    sealed=st.booleans(),
    data=st.data(),
)
def test_changed_states_are_refused_or_states_of_some_run(
    paths: list[str], kind: str, through: str, taken: int, sealed: bool, data: st.DataObject
) -> None:
    def target() -> Any:
        pipe = make(paths, kind)
        return h5s.Loader(pipe) if through == "loader" else pipe

    saved = target()
    running = iter(saved)
    for _ in range(taken):
        next(running)
    state = saved.state_dict()
    body = {key: value for key, value in state.items() if key != "digest"}
    at = data.draw(st.sampled_from(places_in(body)))
    value = data.draw(st.sampled_from(ODD) | st.integers(0, 30))
    changed = with_value(body, at, value)
    try:
        tampered = seal(changed) if sealed else {**changed, "digest": state["digest"]}
    except (TypeError, ValueError):
        return  # what JSON has no word for cannot be sealed
    fresh = target()
    differs = repr(changed) != repr(body)  # 1 == True, but they are not the same state
    if not sealed and differs:
        with pytest.raises(h5s.StateError, match="changed or damaged"):
            fresh.load_state_dict(tampered)
        return
    try:
        fresh.load_state_dict(tampered)
        assert len(list(fresh)) <= 20
    except h5s.StateError:
        assert differs


@pytest.mark.parametrize("state", [{}, [], None, 5, "state", {"digest": "x"}], ids=str)
@pytest.mark.parametrize("kind", ["stream", "mix"])
def test_what_is_no_state_is_refused(paths: list[str], kind: str, state: Any) -> None:
    for target in (make(paths, kind), h5s.Loader(make(paths, kind))):
        with pytest.raises(h5s.StateError, match="not a state of"):
            target.load_state_dict(state)


def test_a_deep_state_is_refused(paths: list[str]) -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(h5s.StateError, match="not a state of"):
        make(paths, "stream").load_state_dict({"lanes": deep, "digest": "x"})


def test_the_turn_of_a_state_is_bounded(paths: list[str]) -> None:
    pipe = make(paths, "stream")
    running = iter(pipe)
    next(running)
    body = {key: value for key, value in pipe.state_dict().items() if key != "digest"}
    with pytest.raises(h5s.StateError, match="not a state of h5stream"):
        make(paths, "stream").load_state_dict(seal({**body, "turn": 2}))


@pytest.mark.parametrize("through", ["pipe", "loader"])
def test_copies_and_touched_files_go_on(tmp_path: Path, through: str) -> None:
    path = tmp_path / "a.h5"
    write_rows(path, 23)

    def target(file: Path) -> Any:
        pipe = make([str(file), str(file)], "stream")
        return h5s.Loader(pipe) if through == "loader" else pipe

    saved = target(path)
    running = iter(saved)
    next(running)
    state = saved.state_dict()
    rest = [batch["row"].tolist() for batch in running]
    copied = tmp_path / "b.h5"
    copied.write_bytes(path.read_bytes())
    for file in (path, copied):
        file.touch()
        resumed = target(file)
        resumed.load_state_dict(state)
        assert [batch["row"].tolist() for batch in resumed] == rest


def test_files_of_other_content_are_named_and_may_be_let_pass(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.h5", 23)
    loader = h5s.Loader(make([path, path], "stream"))
    next(iter(loader))
    state = loader.state_dict()
    write_rows(tmp_path / "a.h5", 23, first=100)
    with pytest.raises(h5s.StateError, match=r"a\.h5 had 23 rows, .* content .* and has 23 rows"):
        h5s.Loader(make([path, path], "stream")).load_state_dict(state)
    lenient = h5s.Loader(make([path, path], "stream"), on_changed="warn")
    with pytest.warns(UserWarning, match="saved over other files"):
        lenient.load_state_dict(state)
    write_rows(tmp_path / "a.h5", 22)
    with pytest.raises(h5s.StateError, match=r"23 rows.* and has 22 rows"):
        h5s.Loader(make([path, path], "stream"), on_changed="warn").load_state_dict(state)


def test_a_look_at_the_first_batch_is_no_epoch(paths: list[str]) -> None:
    for target in (make(paths, "stream"), h5s.Loader(make(paths, "stream"))):
        first = next(iter(target))["row"].tolist()
        epochs = [[batch["row"].tolist() for batch in target] for _ in range(2)]
        assert epochs[0][0] == first
        assert epochs[0] != epochs[1]
        assert target.state_dict()["epoch"] == 2


def test_after_a_look_a_run_trains_as_long_with_a_stop_as_without(paths: list[str]) -> None:
    loader = h5s.Loader(make(paths, "stream"))
    next(iter(loader))
    trained = 0
    for _epoch in range(2):
        for batch in loader:
            trained += len(batch["row"])
            state = loader.state_dict()
            if trained == 23 + 6:
                break
    resumed = h5s.Loader(make(paths, "stream"))
    resumed.load_state_dict(state)
    for _epoch in range(state["epoch"], 3):
        trained += sum(len(batch["row"]) for batch in resumed)
    assert trained == 3 * 23
