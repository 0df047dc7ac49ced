"""Functions of the single samples of a stream, and batches of what they return."""

from __future__ import annotations

import warnings
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import h5stream as h5s
from tests.streams import rows_of

N = 50


@pytest.fixture
def path(tmp_path: Path) -> str:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=np.arange(N * 6.0).reshape(N, 2, 3), chunks=(7, 2, 3))
        file["row"] = np.arange(N)
        file["values"], file["lengths"] = np.arange(N * 2), np.tile([1, 3], N // 2)
    return str(tmp_path / "a.h5")


FIELDS: dict[str, Any] = {
    "x": "x",
    "row": "row",
    "tokens": h5s.Ragged("values", lengths="lengths"),
}


def double(sample: dict[str, Any]) -> dict[str, Any]:
    assert sample["x"].shape == (2, 3)
    return {"x": sample["x"] * 2, "row": sample["row"], "tokens": sample["tokens"] + 1}


def batches_of(path: str, **options: Any) -> Any:
    options = options or {"padding_value": -1}
    stream = h5s.H5Stream(path, FIELDS, shuffle=True, buffer_size=9, **options)
    return stream.map(double).batch(8)


def test_batches_of_mapped_samples_are_those_of_a_transform(path: str) -> None:
    options: dict[str, Any] = {"shuffle": True, "buffer_size": 9, "padding_value": -1}
    expected = list(h5s.H5Stream(path, FIELDS, batch_size=8, transform=double, **options))
    found = list(batches_of(path))
    assert len(batches_of(path)) == len(found) == 7
    for one, other in zip(found, expected, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in other)
        assert (one["tokens"] >= -1).all()


def test_mapped_samples_stay_arrays(path: str) -> None:
    batch = next(iter(batches_of(path, output="numpy")))
    assert isinstance(batch["x"], np.ndarray)
    assert batch["x"].shape == (8, 2, 3)


def test_a_stop_anywhere_changes_nothing(path: str) -> None:
    whole = rows_of(batches_of(path))
    for stop in range(7):
        iterator = iter(batches_of(path))
        before = rows_of(islice(iterator, stop))
        resumed = batches_of(path)
        resumed.load_state_dict(iterator.state_dict())
        assert before + rows_of(resumed) == whole


def test_lanes_fix_the_order_for_every_number_of_workers(path: str) -> None:
    loader = h5s.Loader(batches_of(path, lanes=2), num_workers=2)
    assert len(loader) == 8
    assert rows_of(loader) == rows_of(batches_of(path, lanes=2))


def test_batches_of_batches_are_refused(path: str) -> None:
    with pytest.raises(h5s.ConfigError, match="gives batches already"):
        h5s.H5Stream(path, batch_size=4).batch(2)


def test_an_augmentation_of_whole_batches_is_told(path: str) -> None:
    class RandomFlip:
        __module__ = "torchvision.transforms.v2._geometry"

        def __call__(self, batch: Any) -> Any:
            return batch

    with pytest.warns(UserWarning, match="RandomFlip draws once for all their images"):
        h5s.H5Stream(path, batch_size=4).map(RandomFlip())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        h5s.H5Stream(path).map(RandomFlip())
        h5s.H5Stream(path, batch_size=4, transform=RandomFlip())
