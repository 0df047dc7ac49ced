"""A stage that is no class of h5stream's own is cut, counted and resumed like the built-in ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

import h5stream as h5s
from h5stream.pipes import Pipe
from h5stream.pipes.batch import Batch
from h5stream.pipes.stage import (
    Count,
    Items,
    Lane,
    LaneIterator,
    LaneStage,
    Runtime,
    Seek,
    State,
    Upstream,
)
from tests.streams import rows_of, write_rows


@dataclass(frozen=True)
class Own(LaneStage):
    """Make batches, by what a built-in stage does inside, of which nobody knows."""

    inner: Batch

    method: ClassVar[str] = "own"
    takes: ClassVar[frozenset[Items]] = Batch.takes
    keeps_rows: ClassVar[bool] = True

    def gives(self, taken: Items) -> Items:
        return Items.BLOCKS

    def unit(self, unit: Items) -> Items:
        return Items.BLOCKS

    @property
    def whole_rows(self) -> int:
        return self.inner.batch_size

    def count(self, lane: Lane, upstream: Count) -> Count:
        return self.inner.count(lane, upstream)

    def seek_items(self, count: int, before: Seek) -> State | None:
        return self.inner.seek_items(count, before)

    def iterate(
        self, lane: Lane, runtime: Runtime, upstream: Upstream, state: State
    ) -> LaneIterator:
        return self.inner.iterate(lane, runtime, upstream, state)


def blocks(path: str, rank: int = 0, world_size: int = 1, lanes: int | None = None) -> Pipe:
    listed = h5s.open_files(path, ["row"]).list_chunks(target_bytes=32).shuffle_chunks(3)
    return listed.shard(lanes=lanes, rank=rank, world_size=world_size).read_chunks()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_own_batch_stage_gives_what_the_built_in_one_gives(tmp_path: Path, workers: int) -> None:
    path = write_rows(tmp_path / "a.h5", 50)
    for rank in range(2):
        built_in = h5s.Loader(blocks(path, rank, 2).batch(7).collate(), num_workers=workers)
        own = h5s.Loader(blocks(path, rank, 2).then(Own(Batch(7))).collate(), num_workers=workers)
        assert len(own) == len(built_in)
        assert list(map(rows_of, zip(own))) == list(map(rows_of, zip(built_in)))


def test_an_own_stage_resumes_on_other_workers(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.h5", 50)
    pipe = blocks(path, lanes=2).then(Own(Batch(7))).collate()
    whole = rows_of(h5s.Loader(blocks(path, lanes=2).batch(7).collate()))
    first = h5s.Loader(pipe)
    taken = [batch for _, batch in zip(range(3), first, strict=False)]
    again = h5s.Loader(blocks(path, lanes=2).then(Own(Batch(7))).collate(), num_workers=2)
    again.load_state_dict(first.state_dict())
    assert rows_of([*taken, *again]) == whole
