"""Patches of volumes, against NumPy."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import h5stream as h5s


def patches_of(
    volume: np.ndarray, shape: Any, stride: Any, axes: Any, cover: bool
) -> list[np.ndarray]:
    """Cut patches one by one, the last axis first to change."""
    places = []
    for size, length, step in zip([volume.shape[a] for a in axes], shape, stride, strict=True):
        own = list(range(0, size - length + 1, step))
        if cover and own and own[-1] + length < size:
            own.append(size - length)
        places.append(own)
    found = []
    for corner in product(*places):
        box = [slice(None)] * volume.ndim
        for axis, at, length in zip(axes, corner, shape, strict=True):
            box[axis] = slice(at, at + length)
        found.append(volume[tuple(box)])
    return found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_patches_are_those_of_numpy(tmp_path: Path, data: st.DataObject) -> None:
    n_axes = data.draw(st.integers(2, 4))
    axes = sorted(data.draw(st.sets(st.integers(0, n_axes - 1), min_size=1)))
    shape = [data.draw(st.integers(1, 4)) for _axis in axes]
    stride = [data.draw(st.integers(1, 4)) for _axis in axes]
    cover = data.draw(st.booleans())
    others = [data.draw(st.integers(1, 4)) for _axis in range(n_axes)]
    paths, expected = [], []
    for number in range(data.draw(st.integers(1, 3))):
        sizes = [
            data.draw(st.integers(1, 7)) if axis in axes else others[axis] for axis in range(n_axes)
        ]
        volume = np.arange(np.prod(sizes)).reshape(sizes) + 10_000 * number
        chunks = data.draw(st.none() | st.tuples(*(st.integers(1, size) for size in sizes)))
        paths.append(tmp_path / f"{number}.h5")
        with h5py.File(paths[-1], "w") as file:
            file.create_dataset("x", data=volume, chunks=chunks)
        expected += patches_of(volume, shape, stride, axes, cover)
    patch = h5s.Patches("x", tuple(shape), stride=tuple(stride), axes=tuple(axes), cover=cover)
    if not expected:
        return
    for options in ({}, {"shuffle": True, "buffer_size": data.draw(st.integers(1, 30))}):
        stream = h5s.H5Stream(paths, {"x": patch}, output="numpy", batch_size=3, **options)
        rows = [row for batch in stream for row in batch["x"]]
        assert len(rows) == len(expected)
        if not options:
            assert all(map(np.array_equal, rows, expected))
        assert sorted(row.tobytes() for row in rows) == sorted(row.tobytes() for row in expected)
    dataset = h5s.Dataset(paths, {"x": patch}, collate=dict)
    some = [len(expected) - 1, 0, len(expected) // 2]
    for row, found in zip(some, dataset.batch(some)["x"], strict=True):
        assert np.array_equal(found, expected[row])


@pytest.fixture
def unet(tmp_path: Path) -> list[str]:
    """Volumes of two channels with labels, which differ in size."""
    paths = []
    for number, size in enumerate([(16, 20, 24), (12, 24, 20)]):
        paths.append(str(tmp_path / f"{number}.h5"))
        with h5py.File(paths[-1], "w") as file:
            raw = np.random.default_rng(number).random((2, *size)).astype("f4")
            file.create_dataset("raw", data=raw, chunks=(1, 4, 10, 10), compression="gzip")
            file["label"] = raw[0] > 0.5
            file["other"] = np.zeros((size[1], size[0], size[2]))
    return paths


def test_volumes_and_labels_are_cut_at_the_same_places(unet: list[str]) -> None:
    fields = {
        "raw": h5s.Patches("raw", (8, 8, 8), stride=(4, 6, 8), cover=True),
        "label": h5s.Patches("label", (8, 8, 8), stride=(4, 6, 8), cover=True),
        "file": h5s.Origin("stem"),
    }
    stream = h5s.H5Stream(unet, fields, shuffle=True, batch_size=4)
    total = 0
    for batch in stream:
        assert tuple(batch["raw"].shape[1:]) == (2, 8, 8, 8)
        assert ((batch["raw"][:, 0] > 0.5) == batch["label"]).all()
        total += len(batch["raw"])
    assert total == len(stream.rows().row) > 40


def test_volumes_of_other_sizes_are_refused(unet: list[str]) -> None:
    fields = {"x": h5s.Patches("raw", (4, 4, 4)), "y": h5s.Patches("other", (4, 4, 4))}
    with pytest.raises(h5s.ConfigError, match=r"begin at different places|unequal numbers"):
        len(h5s.H5Stream(unet[:1], fields))


def test_an_epoch_reads_each_slab_about_once(unet: list[str]) -> None:
    patch = h5s.Patches("raw", (8, 10, 10), stride=(8, 5, 5))
    stream = h5s.H5Stream(unet, {"x": patch}, shuffle=True, batch_size=4)
    list(stream)
    stored = sum(h5py.File(path)["raw"].id.get_storage_size() for path in unet)
    assert stream.stats()["fetched_bytes"] <= 1.3 * stored


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        (h5s.Patches("raw", (4, 4, 4), stride=(1, 1)), "shape and stride of patches"),
        (h5s.Patches("raw", (4, 0, 4)), "shape and stride of patches"),
        (h5s.Patches("raw", (4, 4), axes=(2, 1)), "axes are different ones, in order"),
        (h5s.Patches("raw", (4, 4), axes=(2, 4)), "axes are different ones, in order"),
        (h5s.Patches("raw", (1, 1, 1, 1, 1)), "axes are different ones, in order"),
        (h5s.Patches(h5s.Grouped("*"), (4,)), "cut from one dataset, whole"),
    ],
)
def test_patches_that_cannot_be_are_refused(unet: list[str], patch: Any, said: str) -> None:
    with pytest.raises(h5s.ConfigError, match=said):
        len(h5s.H5Stream(unet, {"x": patch}))
