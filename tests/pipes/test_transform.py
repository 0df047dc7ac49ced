"""Functions of samples, and random numbers that belong to rows."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import h5stream as h5s
from h5stream.plan import row_seeds

N = 60


@pytest.fixture
def path(tmp_path: Path) -> str:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=np.arange(N * 6.0).reshape(N, 2, 3), chunks=(7, 2, 3))
        file["y"] = np.arange(N)
        file.create_dataset("t", data=[f"t{n}" for n in range(N)], dtype=h5py.string_dtype())
    return str(tmp_path / "a.h5")


def draw(sample: dict[str, Any]) -> dict[str, Any]:
    """Draw from all generators that augmentations draw from."""
    drawn = torch.rand(()), torch.tensor(np.random.rand()), torch.tensor(random.random())
    return {"y": sample["y"], "drawn": torch.stack([each.double() for each in drawn])}


def draw_own(sample: dict[str, Any], generator: np.random.Generator) -> dict[str, Any]:
    return {"y": sample["y"], "drawn": torch.from_numpy(generator.random(3))}


def drawn(batches: Any) -> dict[int, list[float]]:
    """Map each row to what was drawn for it."""
    found: dict[int, list[float]] = {}
    for batch in batches:
        rows = dict(zip(np.atleast_1d(batch["y"]).tolist(), batch["drawn"].tolist(), strict=True))
        assert not rows.keys() & found.keys()
        found |= rows
    return found


def stream_of(path: str, function: Any = draw, **options: Any) -> h5s.H5Stream:
    fields = ["x", "y"]
    return h5s.H5Stream(
        path, fields, **{"batch_size": 8, "shuffle": True, "transform": function, **options}
    )


@pytest.mark.parametrize("function", [draw, draw_own])
def test_a_row_draws_the_same_however_it_is_read(path: str, function: Any) -> None:
    expected = drawn(stream_of(path, function))
    assert len(expected) == len({tuple(each) for each in expected.values()}) == N
    assert drawn(stream_of(path, function, buffer_size=9, lanes=2)) == expected
    in_order = drawn(stream_of(path, function, shuffle=False, batch_size=7))
    assert in_order == expected
    workers = h5s.Loader(stream_of(path, function), num_workers=2)
    assert drawn(workers) == expected
    ranks = [stream_of(path, function, rank=r, world_size=3, uneven="keep") for r in range(3)]
    assert drawn(batch for rank in ranks for batch in rank) == expected


@pytest.mark.parametrize("function", [draw, draw_own])
def test_a_run_that_resumes_draws_the_same(path: str, function: Any) -> None:
    whole = [batch["drawn"].tolist() for batch in stream_of(path, function, buffer_size=20)]
    for stop in range(len(whole)):
        iterator = iter(stream_of(path, function, buffer_size=20))
        before = [batch["drawn"].tolist() for batch in islice(iterator, stop)]
        resumed = stream_of(path, function, buffer_size=20)
        resumed.load_state_dict(iterator.state_dict())
        assert before + [batch["drawn"].tolist() for batch in resumed] == whole


def test_epochs_and_seeds_draw_anew(path: str) -> None:
    stream = stream_of(path)
    first, second = drawn(stream), drawn(stream)
    other = drawn(stream_of(path, seed=1))
    assert all(first[n] != second[n] and first[n] != other[n] for n in range(N))


def test_rows_that_repeat_draw_each_time(path: str) -> None:
    stream = stream_of(path, subset=[3, 3, 3, 4], batch_size=4)
    assert len({tuple(each) for each in next(iter(stream))["drawn"].tolist()}) == 4


def test_the_generators_of_the_caller_are_left_alone(path: str) -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    expected = torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    list(islice(stream_of(path), 3))
    assert (torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()) == expected


def test_samples_are_tensors_and_so_is_what_comes_of_them(path: str) -> None:
    seen: list[Any] = []

    def flip(sample: dict[str, Any]) -> dict[str, Any]:
        seen.append(sample)
        return {"image": sample["x"].flip(-1).to(torch.float16), "text": sample["t"] + "!"}

    stream = h5s.H5Stream(path, ["x", "t"], batch_size=8, transform=flip)
    batch = next(iter(stream))
    assert isinstance(seen[0]["x"], torch.Tensor)
    assert (batch["image"].dtype, tuple(batch["image"].shape)) == (torch.float16, (8, 2, 3))
    assert batch["image"][0].tolist() == [[2, 1, 0], [5, 4, 3]]
    assert batch["text"][3] == "t3!"
    sample = next(iter(h5s.H5Stream(path, ["x", "t"], transform=flip)))
    assert sample["image"].tolist() == [[2, 1, 0], [5, 4, 3]]


def test_samples_are_arrays_where_batches_are(path: str) -> None:
    stream = h5s.H5Stream(
        path, ["x"], batch_size=8, output="numpy", transform=lambda s: (s["x"].sum(), s["x"])
    )
    total, x = next(iter(stream))
    assert isinstance(x, np.ndarray)
    assert total.tolist() == x.sum((1, 2)).tolist()


def test_rows_of_similar_length_are_put_together_after_it(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "r.h5", "w") as file:
        file["v"], file["n"] = np.arange(45), np.arange(10)
    fields = {"x": h5s.Ragged("v", lengths="n")}
    stream = h5s.H5Stream(
        tmp_path / "r.h5",
        fields,
        batch_size=2,
        bucket_by="x",
        shuffle=True,
        transform=lambda sample: {"x": sample["x"].repeat(2)},
    )
    lengths = sorted(sorted(batch["x_lengths"].tolist()) for batch in stream)
    assert lengths == [[0, 2], [4, 6], [8, 10], [12, 14], [16, 18]]


def make_none(sample: dict[str, Any]) -> None:
    return None


def make_two(sample: dict[str, Any]) -> Any:
    yield sample
    yield sample


@pytest.mark.parametrize(
    ("function", "said"),
    [
        pytest.param(make_none, "make_none returned None", id="None"),
        pytest.param(make_two, r"\.unbatch\(\)\.map\(make_two\)", id="generator"),
        pytest.param(3, r"transform\(\) needs a function", id="no function"),
    ],
)
def test_what_makes_no_sample_is_refused(path: str, function: Any, said: str) -> None:
    with pytest.raises(h5s.ConfigError, match=said):
        next(iter(stream_of(path, function)))
    with pytest.raises(h5s.ConfigError, match=said):
        h5s.Dataset(path, ["x"], transform=function)[0]


def test_in_a_chain_it_comes_before_what_loses_the_rows(path: str) -> None:
    blocks = h5s.open_files(path, ["x", "y"]).list_chunks().read_chunks()
    assert "_row" not in next(iter(blocks.transform(dict)))
    with pytest.raises(h5s.ConfigError, match="needs the numbers of rows"):
        next(iter(blocks.map(lambda columns: {"y": columns["y"]}).transform(dict)))
    even = blocks.where(lambda columns: columns["y"] % 2 == 0).transform(draw).batch(4).collate()
    every = drawn(stream_of(path, shuffle=False))
    assert drawn(even) == {n: every[n] for n in range(0, N, 2)}


def test_a_stream_that_was_opened_is_not_scanned_again(path: str) -> None:
    pipe = h5s.open_files(path, ["x"])
    files = pipe.catalog.files
    assert pipe.list_chunks().read_chunks().transform(dict).catalog.files is files


def test_a_mix_is_transformed_stream_by_stream(path: str) -> None:
    streams = [stream_of(path), stream_of(path, seed=1)]
    assert len(list(h5s.mix(streams))) > 8
    with pytest.raises(h5s.ConfigError, match="transform each of those"):
        h5s.mix(streams).transform(dict)


@pytest.mark.parametrize("function", [draw, draw_own])
def test_datasets_transform_samples_and_batches(path: str, function: Any) -> None:
    dataset = h5s.Dataset(path, ["x", "y"], transform=function)
    torch.manual_seed(0)
    assert dataset[3]["drawn"].shape == (3,)
    batch = dataset.batch([5, 3, 5])
    assert batch["y"].tolist() == [5, 3, 5]
    assert len({tuple(each) for each in batch["drawn"].tolist()}) == 3
    loader = DataLoader(dataset, batch_size=4, num_workers=1)
    assert sum(len(batch["y"]) for batch in loader) == N


def test_seeds_of_rows_are_those_of_splitmix() -> None:
    def mixed(word: int) -> int:
        word = (word + 0x9E3779B97F4A7C15) % 2**64
        word = ((word ^ word >> 30) * 0xBF58476D1CE4E5B9) % 2**64
        word = ((word ^ word >> 27) * 0x94D049BB133111EB) % 2**64
        return word ^ word >> 31

    for seed, epoch in ((0, 0), (2**64 - 1, 2**40)):
        expected = [mixed(mixed(mixed(seed) ^ epoch) ^ row) for row in range(50)]
        assert row_seeds(np.arange(50), seed=seed, epoch=epoch).tolist() == expected


def test_a_field_may_not_be_called_as_the_numbers_of_rows(path: str) -> None:
    stream = h5s.H5Stream(path, {"_row": "x"}, transform=dict)
    with pytest.raises(h5s.ConfigError, match="give the field another name"):
        len(stream)
    assert len(h5s.H5Stream(path, {"_row": "x"})) == N
