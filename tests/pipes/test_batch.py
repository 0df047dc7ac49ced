from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import h5stream as h5s
from h5stream.fetch.buffers import BufferPool
from tests.places import Place
from tests.streams import blocks_of, rows_of, write_columns, write_rows


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, place: Place) -> str:
    return place(write_rows(tmp_path_factory.mktemp("batch") / "a.h5", 31))


@given(st.integers(1, 40), st.booleans(), st.booleans(), st.integers(1, 40))
def test_batches_are_slices_of_the_lane(
    path: str, batch_size: int, drop_last: bool, unbatched: bool, buffer_size: int
) -> None:
    blocks = blocks_of(path).shuffle_rows(buffer_size)
    rows = rows_of(blocks)
    expected = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    if drop_last and len(expected[-1]) < batch_size:
        expected.pop()
    pipe = (blocks.unbatch() if unbatched else blocks).batch(batch_size, drop_last=drop_last)
    pipe.set_epoch(0)
    assert len(pipe) == len(expected)
    assert [batch["row"].tolist() for batch in pipe] == expected


def test_each_lane_has_its_own_short_batch(path: str) -> None:
    pipe = h5s.open_files(path, ["row"]).list_chunks(target_bytes=1).shard(lanes=2)
    sizes = [batch.n_rows for batch in pipe.read_chunks().batch(10)]
    assert sizes == [10, 10, 6, 5]


def test_batches_own_their_memory(path: str) -> None:
    pipe = blocks_of(path).shuffle_rows(8).batch(3)
    kept = list(pipe)
    copies = [batch["x"].copy() for batch in kept]
    for _epoch in range(3):
        list(pipe)
    assert all((a["x"] == b).all() for a, b in zip(kept, copies, strict=True))


@pytest.mark.parametrize("batch_size", [4, 5, 7])
def test_a_loop_over_batches_keeps_two_windows_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    path, taken = write_rows(tmp_path / "a.h5", 64 * 9), []
    take = BufferPool._find

    def record(pool: BufferPool, nbytes: int) -> np.ndarray:
        taken.append(take(pool, nbytes))
        return taken[-1]

    monkeypatch.setattr(BufferPool, "_find", record)
    pipe = h5s.open_files(path, ["row"]).list_chunks(target_bytes=1).shuffle_chunks().shard()
    for _batch in pipe.read_chunks().shuffle_rows(64).batch(batch_size):
        pass
    assert len(taken) == 9
    assert len(set(map(id, taken))) == 2


def test_changing_a_batch_changes_no_other(path: str) -> None:
    pipe = h5s.H5Stream(path, ["row"], batch_size=3)
    running = iter(pipe)
    first = next(running)
    first["row"] += 1000
    assert [batch["row"].tolist() for batch in running][:2] == [[3, 4, 5], [6, 7, 8]]
    assert rows_of(pipe) == list(range(31))


def test_rows_without_elements_are_batched(tmp_path: Path) -> None:
    with_nothing = write_columns(
        tmp_path / "a.h5", {"x": np.zeros((7, 0), np.float32)}, chunk_rows=None
    )
    batches = list(h5s.H5Stream(with_nothing, ["x"], batch_size=4))
    assert [tuple(batch["x"].shape) for batch in batches] == [(4, 0), (3, 0)]


def test_samples_of_unlike_shapes_are_refused(path: str) -> None:
    pipe = blocks_of(path, seed=None).unbatch()
    pipe = pipe.map(lambda sample: {"x": np.zeros((2, int(sample["row"])))}).batch(4)
    with pytest.raises(h5s.ConfigError, match="are no ragged column"):
        next(iter(pipe))
