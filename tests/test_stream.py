from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import h5stream as h5s
from h5stream.pipes import Pipe
from tests.places import Place
from tests.streams import rows_of, threads, write_columns, write_rows

SIZES = (17, 0, 30, 5)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, place: Place) -> list[str]:
    """Write four files, chunked in different ways; rows count on."""
    folder = tmp_path_factory.mktemp("stream")
    written: list[str] = []
    first = 0
    for number, (size, chunk_rows) in enumerate(zip(SIZES, (4, 3, None, 7), strict=True)):
        path = folder / f"part-{number}.h5"
        written.append(place(write_rows(path, size, first=first, chunk_rows=chunk_rows)))
        first += size
    return written


@given(
    seed=st.integers(0, 2**64 - 1),
    buffer_size=st.none() | st.integers(1, 70),
    batch_size=st.none() | st.integers(1, 60),
    n_files=st.integers(1, 4),
    lanes=st.none() | st.integers(1, 3),
    epoch=st.integers(0, 3),
)
def test_an_epoch_has_every_row_exactly_once(
    files: list[str],
    seed: int,
    buffer_size: int | None,
    batch_size: int | None,
    n_files: int,
    lanes: int | None,
    epoch: int,
) -> None:
    stream = h5s.H5Stream(
        files[:n_files],
        ["row", "x"],
        batch_size=batch_size,
        shuffle=True,
        seed=seed,
        buffer_size=buffer_size,
        lanes=lanes,
    )
    stream.set_epoch(epoch)
    expected_items = len(stream)
    items = list(stream)
    assert len(items) == expected_items
    assert sorted(rows_of(items)) == list(range(sum(SIZES[:n_files])))
    assert all(bool((item["x"][..., 0] == item["row"]).all()) for item in items)


@given(n_files=st.integers(1, 4), batch_size=st.integers(1, 60), drop_last=st.booleans())
def test_without_shuffling_rows_come_in_the_order_of_files(
    files: list[str], n_files: int, batch_size: int, drop_last: bool
) -> None:
    stream = h5s.H5Stream(files[:n_files], batch_size=batch_size, drop_last=drop_last)
    batches = list(stream)
    n_rows = sum(SIZES[:n_files])
    kept = n_rows // batch_size * batch_size if drop_last else n_rows
    assert rows_of(batches) == list(range(kept))
    assert len(batches) == len(stream)


def shuffled(files: list[str], **options: Any) -> h5s.H5Stream:
    options = {"batch_size": 8, "shuffle": True, "buffer_size": 12, **options}
    return h5s.H5Stream(files, ["row"], **options)


def test_the_same_seed_gives_the_same_order_whatever_runs_it(files: list[str]) -> None:
    expected = rows_of(shuffled(files, seed=4))
    for options in ({"threads": 1}, {"threads": 5}, {"prefetch": 1}, {"prefetch": 50}):
        assert rows_of(shuffled(files, seed=4, **options)) == expected


def test_another_seed_and_another_epoch_give_another_order(files: list[str]) -> None:
    stream = shuffled(files, seed=4)
    orders = [rows_of(stream) for _ in range(3)]
    orders.append(rows_of(shuffled(files, seed=5)))
    assert len({tuple(order) for order in orders}) == 4
    stream.set_epoch(1)
    assert rows_of(stream) == orders[1]


def test_a_stream_is_the_chain_with_defaults(files: list[str]) -> None:
    stream = shuffled(files, seed=7, drop_last=True)
    pipe = (
        h5s.open_files(files, ["row"])
        .list_chunks()
        .shuffle_chunks(7)
        .shard()
        .read_chunks()
        .shuffle_rows(12)
        .batch(8, drop_last=True)
        .collate()
    )
    assert isinstance(stream, Pipe)
    assert stream.stages[1:] == pipe.stages[1:]
    assert rows_of(stream) == rows_of(pipe)


def test_methods_of_pipes_work_on_a_stream(files: list[str]) -> None:
    stream = h5s.H5Stream(files[:1], ["row"], batch_size=8)
    assert list(stream.map(lambda batch: len(batch["row"])).prefetch(1)) == [8, 8, 1]


@pytest.mark.parametrize("argument", ["batch_size", "buffer_size", "threads", "prefetch", "lanes"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "8"], ids=repr)
def test_counts_must_be_positive_integers(argument: str, value: Any) -> None:
    with pytest.raises(h5s.ConfigError, match=f"{argument} must be a positive integer, not "):
        h5s.H5Stream("missing.h5", shuffle=True, **{argument: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": "jax"}, 'output must be "torch", "numpy" or "tensordict", not \'jax\''),
        ({"buffer_size": 8}, "buffer_size is for shuffling"),
        ({"shuffle": True, "seed": -1}, "seed must be an integer in"),
        ({"seed": "0"}, "seed must be an integer in"),
        ({"uneven": "fair"}, "uneven must be"),
        ({"rank": 1}, "rank and world_size together"),
        ({"rank": 2, "world_size": 2}, "rank 2 is not in range"),
        ({"collate": 3}, "needs a function, not 3"),
        ({"fields": []}, "fields is empty"),
        ({"fields": {"x": 3}}, "fields must map names to dataset paths"),
        ({"fields": {3: "x"}}, "fields must map names to dataset paths"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_wrong_arguments_are_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(h5s.ConfigError, match=message):
        h5s.H5Stream("missing.h5", **options)


def test_numpy_integers_are_integers(files: list[str]) -> None:
    stream = h5s.H5Stream(files[:1], ["row"], batch_size=np.int64(8), seed=np.uint8(3))
    assert len(rows_of(stream)) == 17


@pytest.mark.parametrize(
    ("fields", "keys"),
    [
        (["row", "x"], ["row", "x"]),
        (("x",), ["x"]),
        ("x", ["x"]),
        ({"number": "row", "again": "/row"}, ["number", "again"]),
        (None, ["row", "x"]),
    ],
    ids=["list", "tuple", "one", "mapping", "None"],
)
def test_fields_name_the_keys_of_a_batch(files: list[str], fields: Any, keys: list[str]) -> None:
    batch = next(iter(h5s.H5Stream(files[0], fields, batch_size=8)))
    assert list(batch) == keys


def test_default_fields_are_those_as_long_as_the_largest(tmp_path: Path) -> None:
    columns = {"x": np.zeros((9, 5)), "y": np.zeros(9), "names": np.zeros(3)}
    path = write_columns(tmp_path / "a.h5", columns)
    with h5py.File(path, "a") as file:
        file["texts"] = ["a"] * 9
    assert set(next(iter(h5s.H5Stream(path)))) == {"x", "y", "texts"}


def test_members_of_a_compound_are_fields_of_their_own(tmp_path: Path) -> None:
    table = np.zeros(6, [("a", "i4"), ("inner", [("b", ">f4", (2,))])])
    table["a"], table["inner"]["b"] = np.arange(6), 0.5
    path = write_columns(tmp_path / "a.h5", {"table": table})
    fields = {"a": "table[a]", "b": "table[inner][b]", "whole": "table"}
    batch = next(iter(h5s.H5Stream(path, fields, batch_size=6)))
    assert batch["a"].tolist() == list(range(6))
    assert batch["b"].tolist() == [[0.5, 0.5]] * 6
    assert batch["whole"]["inner"]["b"].shape == (6, 2)


def test_batches_are_tensors_of_the_stored_types(files: list[str]) -> None:
    batch = next(iter(h5s.H5Stream(files[0], batch_size=8)))
    assert (batch["row"].dtype, batch["row"].shape) == (torch.int64, (8,))
    assert (batch["x"].dtype, batch["x"].shape) == (torch.float32, (8, 3))


def test_numpy_output_gives_arrays(files: list[str]) -> None:
    batch = next(iter(h5s.H5Stream(files[0], batch_size=8, output="numpy")))
    assert type(batch) is dict
    assert type(batch["x"]) is np.ndarray


def test_without_a_batch_size_samples_come_one_by_one(files: list[str]) -> None:
    stream = h5s.H5Stream(files[:2], shuffle=True)
    samples = list(stream)
    assert len(samples) == len(stream) == 17
    assert (samples[0]["row"].shape, samples[0]["x"].shape) == ((), (3,))


def test_a_function_collates(files: list[str]) -> None:
    stream = h5s.H5Stream(files[:1], batch_size=8, collate=lambda columns: set(columns))
    assert next(iter(stream)) == {"row", "x"}


def test_matches_of_a_pattern_come_in_natural_order(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        write_rows(tmp_path / f"part_{number}.h5", 2, first=10 * number)
    stream = h5s.H5Stream(tmp_path / "part_*.h5", ["row"])
    assert rows_of(stream) == [10, 11, 20, 21, 100, 101]


def test_a_list_keeps_its_order_and_may_repeat_a_file(files: list[str]) -> None:
    path = files[3]
    rows = rows_of(h5s.H5Stream([path, files[0], path], ["row"], batch_size=10))
    assert rows == [*range(47, 52), *range(17), *range(47, 52)]


@pytest.mark.parametrize(
    ("other", "found"),
    [
        (np.zeros((4, 3), np.float64), r"float64 \(3,\)"),
        (np.zeros((4, 2), np.float32), r"float32 \(2,\)"),
        (np.zeros(4, np.float32), r"float32 \(\)"),
    ],
    ids=["type", "row shape", "axes"],
)
def test_files_that_disagree_are_named(tmp_path: Path, other: np.ndarray, found: str) -> None:
    first = write_columns(tmp_path / "first.h5", {"x": np.zeros((4, 3), np.float32)})
    second = write_columns(tmp_path / "second.h5", {"x": other})
    expected = rf"second\.h5: field 'x' has rows of {found}, but .*first\.h5 has float32 \(3,\)"
    with pytest.raises(h5s.ConfigError, match=expected):
        next(iter(h5s.H5Stream([first, second], ["x"])))


def test_fields_of_unequal_length_are_refused(tmp_path: Path) -> None:
    path = write_columns(tmp_path / "a.h5", {"x": np.zeros(4), "y": np.zeros(5)})
    with pytest.raises(h5s.ConfigError, match="'x' has 4 rows, 'y' has 5 rows"):
        len(h5s.H5Stream(path, ["x", "y"]))


def test_a_field_that_a_later_file_lacks_is_named(tmp_path: Path) -> None:
    first = write_columns(tmp_path / "first.h5", {"x": np.zeros(4), "y": np.zeros(4)})
    second = write_columns(tmp_path / "second.h5", {"x": np.zeros(4)})
    with pytest.raises(h5s.ConfigError, match=r"second\.h5: there is no dataset 'y'"):
        len(h5s.H5Stream([first, second], ["x", "y"]))


def test_a_pattern_without_matches_is_refused(tmp_path: Path) -> None:
    with pytest.raises(h5s.ConfigError, match="no file matches"):
        len(h5s.H5Stream(tmp_path / "*.h5"))


def test_ranks_share_an_epoch_equally(files: list[str]) -> None:
    ranks = [shuffled(files, rank=rank, world_size=3) for rank in range(3)]
    rows = [rows_of(rank) for rank in ranks]
    assert {len(part) for part in rows} == {sum(SIZES) // 3}
    assert len({row for part in rows for row in part}) == sum(SIZES) // 3 * 3
    assert len({len(rank) for rank in ranks}) == 1


def test_lanes_fix_the_order_for_every_number_of_ranks(files: list[str]) -> None:
    alone = [b["row"].tolist() for b in shuffled(files, lanes=4, uneven="pad")]
    for world_size in (2, 4):
        ranks = [
            shuffled(files, lanes=4, uneven="pad", rank=rank, world_size=world_size)
            for rank in range(world_size)
        ]
        turns = zip(*ranks, strict=True)
        assert [batch["row"].tolist() for turn in turns for batch in turn] == alone


def test_evaluation_on_several_ranks_sees_every_row_once(files: list[str]) -> None:
    ranks = [shuffled(files, uneven="keep", rank=rank, world_size=3) for rank in range(3)]
    assert sorted(row for rank in ranks for row in rows_of(rank)) == list(range(sum(SIZES)))


def test_rank_comes_from_the_environment(files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    expected = rows_of(shuffled(files, rank=1, world_size=2))
    assert rows_of(shuffled(files)) == expected


def test_streaming_leaves_no_thread(files: list[str]) -> None:
    list(shuffled(files))
    assert threads() == []


def test_files_without_any_row_are_refused(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.h5", 0)
    stream = h5s.H5Stream(path, ["row"], batch_size=4)
    with pytest.raises(h5s.ConfigError, match=r"no rows to stream in .*a.h5"):
        next(iter(stream))
