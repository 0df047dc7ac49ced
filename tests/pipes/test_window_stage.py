"""Stages that make items of windows of rows: each stands up to the same laws, whoever wrote it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

import h5stream as h5s
from h5stream.pipes import Bucket, Pipe, Stage, Window
from h5stream.pipes.explain import explain
from tests.streams import blocks_of, rows_of, write_rows

N_ROWS = 90
"""With chunks of four rows; no number of lanes or rows of an item divides it evenly."""


@dataclass(frozen=True)
class Batches(h5s.WindowStage):
    """What `batch` does."""

    size: int

    def window_rows(self, row_nbytes: int) -> int:
        return self.size

    def make(self, rows: h5s.Block, window: Window) -> Iterable[Any]:
        return [rows]

    def n_items(self, n_rows: int) -> int:
        return 1

    def item_rows(self) -> int:
        return self.size


@dataclass(frozen=True)
class Dealt(h5s.WindowStage):
    """Batches of three rows that are drawn from a window of twelve."""

    method: ClassVar[str] = "dealt"

    def window_rows(self, row_nbytes: int) -> int:
        return 12

    def make(self, rows: h5s.Block, window: Window) -> Iterator[Any]:
        order = window.generator().permutation(rows.n_rows)
        for first in range(0, rows.n_rows, 3):
            yield {"row": rows["row"][order[first : first + 3]]}

    def n_items(self, n_rows: int) -> int:
        return -(-n_rows // 3)

    def item_rows(self) -> int:
        return 3


@dataclass(frozen=True)
class Neighbours(h5s.WindowStage):
    """A sample of each row of a window but the last, with the row after it beside."""

    gives_samples: ClassVar[bool] = True

    def window_rows(self, row_nbytes: int) -> int:
        return 5

    def make(self, rows: h5s.Block, window: Window) -> Iterator[Any]:
        row = np.asarray(rows["row"])
        for at in range(rows.n_rows - 1):
            yield {"row": row[at], "next": row[at + 1]}

    def n_items(self, n_rows: int) -> int:
        return n_rows - 1


@dataclass(frozen=True)
class Drawn(h5s.WindowStage):
    """As many batches of two rows as only a run can tell."""

    def window_rows(self, row_nbytes: int) -> int:
        return 8

    def make(self, rows: h5s.Block, window: Window) -> Iterator[Any]:
        generator = window.generator()
        for _ in range(int(generator.integers(0, 4))):
            yield rows.take(generator.integers(0, rows.n_rows, 2))


STAGES: dict[str, Stage] = {
    "batches": Batches(7),
    "dealt": Dealt(),
    "neighbours": Neighbours(),
    "drawn": Drawn(),
    "bucket": Bucket("row", 3, buffer_size=12),
    "bucket by elements": Bucket("row", max_tokens=200, buffer_size=12),
}
COUNTED = [name for name in STAGES if name not in ("drawn", "bucket by elements")]
RESUMED_ANYWHERE = ["batches", "dealt", "neighbours", "bucket"]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_rows(tmp_path_factory.mktemp("rows") / "a.h5", N_ROWS)


def pipe_of(path: str, name: str, rank: int = 0, world_size: int = 1, lanes: int = 2) -> Pipe:
    listed = h5s.open_files(path, ["row"]).list_chunks(target_bytes=32).shuffle_chunks(3)
    sharded = listed.shard(lanes=lanes, rank=rank, world_size=world_size, uneven="keep")
    return sharded.read_chunks().shuffle_rows(10).then(STAGES[name])


def items_of(pipe: Pipe) -> list[Any]:
    return [{key: np.asarray(value).tolist() for key, value in item.items()} for item in pipe]


@pytest.mark.parametrize("name", STAGES)
def test_items_are_the_same_again(path: str, name: str) -> None:
    found = items_of(pipe_of(path, name))
    assert len(found) > 5
    assert found == items_of(pipe_of(path, name))


@pytest.mark.parametrize("name", COUNTED)
def test_the_length_is_known(path: str, name: str) -> None:
    for lanes in (1, 2, 5):
        pipe = pipe_of(path, name, lanes=lanes)
        assert len(pipe) == len(items_of(pipe))


@pytest.mark.parametrize("name", sorted(STAGES.keys() - set(COUNTED)))
def test_where_only_a_run_can_tell_there_is_no_length(path: str, name: str) -> None:
    with pytest.raises(TypeError, match="only after a run"):
        len(pipe_of(path, name))


@pytest.mark.parametrize("name", STAGES)
def test_every_place_can_be_saved_and_gone_on_from(path: str, name: str) -> None:
    whole = items_of(pipe_of(path, name))
    running = iter(pipe_of(path, name))
    for done in range(len(whole)):
        again = pipe_of(path, name)
        again.load_state_dict(running.state_dict())
        assert items_of(again) == whole[done:]
        next(running)


@pytest.mark.parametrize("name", STAGES)
def test_ranks_share_the_items(path: str, name: str) -> None:
    whole = items_of(pipe_of(path, name))
    ranks = [items_of(pipe_of(path, name, rank, 2)) for rank in range(2)]
    assert sorted(map(str, whole)) == sorted(str(item) for rank in ranks for item in rank)


@pytest.mark.parametrize("name", RESUMED_ANYWHERE)
def test_a_run_resumes_on_other_numbers_of_ranks(path: str, name: str) -> None:
    def loaders(ranks: int) -> list[h5s.Loader]:
        return [h5s.Loader(pipe_of(path, name, rank, ranks)) for rank in range(ranks)]

    whole = [str(item) for item in map(dict, loaders(1)[0])]
    (first,) = loaders(1)
    running = iter(first)
    taken = [str(dict(next(running))) for _ in range(6)]
    rest = []
    for loader in loaders(2):
        loader.load_state_dict(first.state_dict())
        rest += [str(dict(item)) for item in loader]
    assert sorted([*taken, *rest]) == sorted(whole)


def test_own_batches_are_those_of_batch(path: str) -> None:
    for rank in range(2):
        own = pipe_of(path, "batches", rank, 2)
        built_in = Pipe(own.stages[:-1]).batch(7)
        assert items_of(own) == items_of(built_in)
        assert len(own) == len(built_in)


def test_workers_share_the_items(path: str) -> None:
    alone = h5s.Loader(pipe_of(path, "dealt"))
    shared = h5s.Loader(pipe_of(path, "dealt"), num_workers=2)
    assert [rows_of([item]) for item in shared] == [rows_of([item]) for item in alone]


def test_own_stages_are_shown_and_explained(path: str) -> None:
    pipe = pipe_of(path, "batches")
    assert repr(pipe).endswith("Batches: size=7)")
    facts = dict(explain(pipe).facts)
    assert facts["batches"] == str(len(pipe))
    held = [dict(explain(each).facts)["in memory"] for each in (Pipe(pipe.stages[:-1]), pipe)]
    less, more = (float(told.removeprefix("at most ").removesuffix(" kB")) for told in held)
    assert more - less == pytest.approx(0.112, abs=0.11)


def test_a_state_of_other_options_is_refused(path: str) -> None:
    running = iter(pipe_of(path, "batches"))
    next(running)
    other = Pipe(pipe_of(path, "batches").stages[:-1]).then(Batches(9))
    other.load_state_dict(running.state_dict())
    with pytest.raises(h5s.StateError, match=r"Batches.*size=7.*size=9"):
        next(iter(other))


@dataclass(frozen=True)
class Wrong(Dealt):
    says: int = 4
    makes: Any = None

    def window_rows(self, row_nbytes: int) -> int:
        return 10 if self.says < 0 else 12

    def n_items(self, n_rows: int) -> int:
        return self.says

    def make(self, rows: h5s.Block, window: Window) -> Iterator[Any]:
        return super().make(rows, window) if self.makes is None else iter([self.makes])


@pytest.mark.parametrize(
    ("stage", "told"),
    [
        (Wrong(3), r"make\(\) gave 4 items for a window of 12 rows, but n_items\(12\) says 3"),
        (Wrong(-1), "windows of 10 rows cannot be made of items of 3"),
        (Wrong(1, makes=5), "must return a dict of columns, not int"),
    ],
    ids=["another number of items", "windows that cut items", "no block"],
)
def test_a_stage_that_does_not_keep_its_word_is_refused(path: str, stage: Stage, told: str) -> None:
    with pytest.raises(h5s.ConfigError, match=told):
        list(blocks_of(path).then(stage))
