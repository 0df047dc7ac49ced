from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

import h5stream as h5s
from h5stream.pipes import Pipe
from tests.places import Place
from tests.streams import as_ragged, blocks_of, rows_of, write_columns, write_rows


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, place: Place) -> str:
    return place(write_rows(tmp_path_factory.mktemp("bucket") / "a.h5", 50))


def length(columns: dict[str, Any]) -> Any:
    return columns["row"] * 5 % 17


def chunks(path: str, **shard: Any) -> Pipe:
    listed = h5s.open_files(path, ["row"]).list_chunks(target_bytes=1).shuffle_chunks(3)
    return listed.shard(**shard).read_chunks().shuffle_rows(12)


def lists(items: Any) -> list[list[int]]:
    return [np.ravel(item["row"]).tolist() for item in items]


@given(
    st.integers(1, 20),
    st.one_of(st.none(), st.integers(1, 60)),
    st.integers(1, 60),
    st.integers(1, 4),
    st.booleans(),
)
def test_each_row_comes_once(
    path: str, batch_size: int, max_tokens: int | None, buffer_size: int, lanes: int, shuffle: bool
) -> None:
    pipe = chunks(path, lanes=lanes)
    options: dict[str, Any] = {"buffer_size": buffer_size, "shuffle": shuffle}
    batches = lists(pipe.bucket(batch_size, by=length, max_tokens=max_tokens, **options))
    assert sorted(row for batch in batches for row in batch) == list(range(50))
    assert max(map(len, batches)) <= batch_size


@given(st.integers(1, 20), st.integers(1, 60), st.integers(1, 4), st.booleans())
def test_there_are_as_many_batches_as_batch_makes(
    path: str, batch_size: int, buffer_size: int, lanes: int, drop_last: bool
) -> None:
    pipe = chunks(path, lanes=lanes)
    bucketed = pipe.bucket(batch_size, by=length, drop_last=drop_last, buffer_size=buffer_size)
    batched = pipe.batch(batch_size, drop_last=drop_last)
    assert len(bucketed) == len(batched)
    assert list(map(len, lists(bucketed))) == list(map(len, lists(batched)))
    assert sorted(rows_of(bucketed)) == sorted(rows_of(batched))


def test_dropped_rows_are_those_that_batch_drops(path: str) -> None:
    pipe = chunks(path, lanes=1)
    bucketed = pipe.bucket(8, by=length, drop_last=True)
    assert sorted(rows_of(bucketed)) == sorted(rows_of(pipe.batch(8, drop_last=True)))


def test_batches_hold_rows_of_similar_length_in_an_order_of_each_epoch(path: str) -> None:
    pipe = chunks(path).bucket(5, by=length, buffer_size=50)
    epochs = [lists(pipe) for _ in range(3)]
    pipe.set_epoch(0)
    assert lists(pipe) == epochs[0] != epochs[1]
    for batches in epochs:
        spans = [np.ptp(length({"row": np.array(batch)})) for batch in batches]
        assert max(spans) <= 2
        longest = [int(length({"row": np.array(batch)}).max()) for batch in batches]
        assert longest not in (sorted(longest), sorted(longest)[::-1])


def test_without_shuffle_the_longest_come_first_in_every_epoch(path: str) -> None:
    pipe = h5s.open_files(path, ["row"]).list_chunks().read_chunks()
    pipe = pipe.bucket(10, by="row", shuffle=False)
    expected = [list(range(start, start + 10)) for start in (40, 30, 20, 10, 0)]
    assert lists(pipe) == lists(pipe) == expected


def test_lanes_give_the_same_batches_to_any_number_of_ranks(path: str) -> None:
    def batches(rank: int, world_size: int) -> list[list[int]]:
        pipe = chunks(path, lanes=4, rank=rank, world_size=world_size, uneven="keep")
        return lists(pipe.bucket(4, by=length, buffer_size=8))

    whole = batches(0, 1)
    for world_size in (2, 4):
        parts = [batches(rank, world_size) for rank in range(world_size)]
        steps = max(map(len, parts))
        assert whole == [part[i] for i in range(steps) for part in parts if i < len(part)]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("options", [{"batch_size": 4}, {"max_tokens": 30}], ids=str)
def test_workers_give_the_same_batches(path: str, options: dict[str, int]) -> None:
    pipe = chunks(path, lanes=2).bucket(by=length, buffer_size=8, **options)
    expected = lists(pipe)
    pipe.set_epoch(0)
    loader: DataLoader[Any] = DataLoader(pipe.collate(), batch_size=None, num_workers=2)
    found = lists(loader)
    assert sorted(found) == sorted(expected)
    assert found == expected or "max_tokens" in options  # lanes of a budget end at other times


def test_padding_is_less_than_without(path: str) -> None:
    ragged = chunks(path, lanes=1).map(as_ragged)

    def waste(pipe: Pipe) -> float:
        list(tensors := pipe.collate())
        return tensors.stats()["padding_waste"]

    plain = waste(ragged.batch(5))
    assert waste(ragged.bucket(5, by="tokens")) < 0.3 * plain
    assert waste(ragged.bucket(by="tokens", max_tokens=24)) < 0.3 * plain


def test_budgets_hold_for_padded_batches(path: str) -> None:
    pipe = chunks(path).map(as_ragged).bucket(by="tokens", max_tokens=24).collate()
    assert max(batch["tokens"].numel() for batch in pipe) in range(18, 25)
    with pytest.raises(TypeError, match=r"known only after a run: .* max_tokens"):
        len(pipe)


def test_a_row_longer_than_the_budget_is_a_batch_of_its_own(path: str) -> None:
    batches = lists(chunks(path).bucket(by="row", max_tokens=30))
    assert all([row] in batches for row in range(31, 50))


def test_lengths_are_those_of_ragged_or_sparse_rows_or_numbers(tmp_path: Path) -> None:
    columns = {"row": np.arange(6), "n": np.array([3, 1, 2, 3, 1, 2], np.uint8)}
    source = write_columns(tmp_path / "n.h5", columns, chunk_rows=None)
    pipe = h5s.open_files(source).list_chunks().read_chunks()
    assert lists(pipe.bucket(2, by="n", shuffle=False)) == [[0, 3], [2, 5], [1, 4]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "row"}, "needs batch_size or max_tokens"),
        ({"by": "row", "batch_size": 0}, "batch_size must be a positive integer"),
        ({"by": "row", "max_tokens": 1.5}, "max_tokens must be a positive integer"),
        ({"by": "row", "max_tokens": 9, "drop_last": True}, "drop_last would do nothing"),
        ({"by": "row", "batch_size": 2, "buffer_size": 0}, "buffer_size must be a positive"),
        ({"by": 3, "batch_size": 2}, "needs by= a field or a function, not 3"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(path: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(h5s.ConfigError, match=message):
        chunks(path).bucket(**options)


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("tokens", r"by 'tokens', but the fields are \['row', 'x'\]"),
        (lambda columns: columns["x"], r"a length for each of \d+ rows, but got float32 of shape"),
        (lambda columns: -1 - columns["row"], "a length for each of"),
    ],
    ids=["unknown", "floats", "negative"],
)
def test_what_has_no_lengths_is_refused(path: str, by: Any, message: str) -> None:
    with pytest.raises(h5s.ConfigError, match=message):
        next(iter(blocks_of(path).bucket(4, by=by)))


def test_stream_puts_rows_together(path: str) -> None:
    options: dict[str, Any] = {"bucket_by": length, "shuffle": True}
    stream = h5s.H5Stream(path, ["row"], batch_size=8, **options)
    assert len(stream) == 7
    assert sorted(rows_of(stream)) == list(range(50))
    assert len(list(h5s.H5Stream(path, ["row"], max_tokens=20, **options))) > 7
    with pytest.raises(h5s.ConfigError, match="needs batch_size or max_tokens"):
        h5s.H5Stream(path, ["row"], bucket_by="row")
    with pytest.raises(h5s.ConfigError, match="max_tokens needs bucket_by"):
        h5s.H5Stream(path, ["row"], batch_size=8, max_tokens=20)


def test_a_loader_resumes_in_a_window(path: str) -> None:
    def make(workers: int) -> h5s.Loader:
        stream = h5s.H5Stream(
            path, ["row"], batch_size=4, bucket_by=length, shuffle=True, lanes=2, buffer_size=16
        )
        return h5s.Loader(stream, num_workers=workers)

    whole = lists(make(0))
    loader = make(2)
    for step, _batch in enumerate(loader, 1):
        if step == 3:
            state = loader.state_dict()
            break
    resumed = make(0)
    resumed.load_state_dict(state)
    assert lists(resumed) == whole[3:]


def test_explain_counts_the_window_of_a_bucket(path: str) -> None:
    def held(**options: Any) -> float:
        stream = h5s.H5Stream(path, ["row"], batch_size=5, threads=1, **options)
        found = dict(stream.explain().facts)["in memory"]
        return float(found.removeprefix("at most ").removesuffix(" kB"))

    assert held(bucket_by="row") - held() == pytest.approx(0.4, abs=0.11)


def test_an_order_is_pinned(path: str) -> None:
    """Another order here means that saved runs resume with other rows: say so in the changelog."""
    pipe = h5s.open_files(path, ["row"]).list_chunks().shuffle_chunks(1).shard().read_chunks()
    assert [batch[0] for batch in lists(pipe.bucket(10, by="row"))] == [0, 40, 30, 10, 20]
