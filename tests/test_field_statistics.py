"""Statistics of fields, against NumPy in one go."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import h5stream as h5s
from h5stream.columns import merge_moments, moments_of

RNG = np.random.default_rng(0)
N = 3000
IMAGES = RNG.integers(0, 256, (N, 3, 8, 8), np.uint8)
LABELS = RNG.choice(5, N, p=[0.5, 0.3, 0.1, 0.1, 0])
FLOATS = 1e6 + RNG.random((N, 4))
FLOATS[::7, 2] = np.nan
LENGTHS = RNG.integers(0, 9, N)
VALUES = RNG.normal(size=(LENGTHS.sum(), 2)).astype("f4")
MATRIX = np.where(RNG.random((N, 13)) < 0.2, RNG.normal(size=(N, 13)), 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=IMAGES, chunks=(64, 3, 8, 8), compression="gzip")
        file["labels"], file["floats"] = LABELS, FLOATS
        file["values"], file["lengths"] = VALUES, LENGTHS
        file.create_dataset("names", data=[f"c{n}" for n in LABELS], dtype=h5py.string_dtype())
        rows, columns = np.nonzero(MATRIX)
        file["m/data"], file["m/indices"] = MATRIX[rows, columns], columns
        file["m/indptr"] = np.searchsorted(rows, np.arange(N + 1))
        file["m"].attrs["shape"] = MATRIX.shape
    return path


FIELDS: dict[str, Any] = {
    "images": "images",
    "labels": "labels",
    "floats": "floats",
    "ragged": h5s.Ragged("values", lengths="lengths"),
    "names": "names",
    "sparse": "m",
}


def check(found: h5s.Statistics, array: np.ndarray, axes: tuple[int, ...]) -> None:
    array = array.astype(np.float64)
    assert found.count is not None
    assert np.array_equal(found.count, (~np.isnan(array)).sum(axes))
    expected = (np.nanmean, np.nanstd, np.nanmin, np.nanmax)
    for value, function in zip(
        (found.mean, found.std, found.min, found.max), expected, strict=True
    ):
        np.testing.assert_allclose(value, function(array, axis=axes), rtol=1e-9)


def test_statistics_are_those_of_numpy(path: Path) -> None:
    stream = h5s.H5Stream(path, FIELDS, batch_size=7, shuffle=True)
    found = h5s.statistics(stream)
    check(found["images"], IMAGES, (0, 1, 2, 3))
    check(found["labels"], LABELS, (0,))
    check(found["floats"], FLOATS, (0, 1))
    check(found["ragged"], VALUES, (0, 1))
    check(found["sparse"], MATRIX, (0, 1))
    assert {each.rows for each in found.values()} == {N}
    assert found["floats"].missing == np.isnan(FLOATS).sum()
    assert found["labels"].counts == Counter(LABELS.tolist())
    assert found["names"].counts == Counter(f"c{n}" for n in LABELS)
    assert found["images"].counts == Counter(IMAGES.reshape(-1).tolist())


def test_axes_that_are_kept_have_statistics_of_their_own(path: Path) -> None:
    keep = {"images": 0, "floats": [-1], "ragged": 1, "sparse": 0}
    found = h5s.statistics(h5s.H5Stream(path, FIELDS), list(keep), keep=keep)
    check(found["images"], IMAGES, (0, 2, 3))
    check(found["floats"], FLOATS, (0,))
    check(found["ragged"], VALUES, (0,))
    check(found["sparse"], MATRIX, (0,))
    normalized = h5s.H5Stream(path, {"x": "images"}, batch_size=N).map(
        h5s.Normalize({"x": found["images"]})
    )
    x = next(iter(normalized))["x"]
    assert torch.allclose(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(x.std((0, 2, 3)), torch.ones(3), atol=1e-4)


def test_only_the_rows_of_the_stream_count(path: Path) -> None:
    subset = np.flatnonzero(LABELS == 1)
    stream = h5s.H5Stream(path, FIELDS, subset={"labels": 1})
    found = h5s.statistics(stream, "floats")
    check(found["floats"], FLOATS[subset], (0, 1))
    dataset = h5s.Dataset(path, FIELDS, subset=subset[::-1])
    check(h5s.statistics(dataset, "floats")["floats"], FLOATS[subset], (0, 1))


def test_rare_classes_weigh_more(path: Path) -> None:
    found = h5s.statistics(h5s.H5Stream(path, ["labels"]))["labels"]
    weights = found.class_weights(5)
    counts = np.bincount(LABELS, minlength=5)
    expected = np.where(counts > 0, N / (4 * np.maximum(counts, 1)), 0)
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    assert len(found.class_weights()) == 4
    with pytest.raises(h5s.ConfigError, match="there is a class 3, but n_classes=2"):
        found.class_weights(2)
    names = h5s.statistics(h5s.H5Stream(path, ["names"]))["names"]
    with pytest.raises(h5s.ConfigError, match="only fields of class numbers"):
        names.class_weights()
    with pytest.raises(h5s.ConfigError, match="text cannot be normalized"):
        h5s.Normalize({"names": names})({"names": ["a"]})


RANKS = """
import sys, torch, h5stream as h5s
path, folder, rank = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = f"file://{folder}/store"
torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
stream = h5s.H5Stream(path, ["floats", "labels"])
found = h5s.statistics(stream, keep={"floats": 0})
print([(f.mean.tolist(), f.std.tolist(), f.counts) for f in found.values()])
torch.distributed.destroy_process_group()
"""


def test_all_ranks_get_the_same_to_the_last_bit(path: Path, tmp_path: Path) -> None:
    found = h5s.statistics(h5s.H5Stream(path, ["floats", "labels"]), keep={"floats": 0})
    told = [(f.mean.tolist(), f.std.tolist(), f.counts) for f in found.values()]
    command = [sys.executable, "-c", RANKS, str(path), str(tmp_path)]
    ranks = [
        subprocess.Popen([*command, str(rank)], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    try:
        assert [rank.communicate(timeout=200)[0].strip() for rank in ranks] == [repr(told)] * 2
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()


@given(
    hnp.arrays(
        np.float64,
        st.tuples(st.integers(1, 20), st.integers(1, 3)),
        elements=st.floats(-1e9, 1e9) | st.just(np.nan),
    ),
    st.integers(0, 20),
    st.booleans(),
)
def test_parts_merge_to_the_moments_of_the_whole(array: np.ndarray, cut: int, keep: bool) -> None:
    kept = [0] if keep else []
    whole = moments_of("x", array, kept)
    cut = min(cut, len(array) - 1)
    if not cut:
        return
    merged = merge_moments(moments_of("x", array[:cut], kept), moments_of("x", array[cut:], kept))
    assert np.array_equal(merged.count, whole.count)
    assert np.array_equal(merged.missing, whole.missing)
    scale = np.nanmax(np.abs(array), initial=1)
    np.testing.assert_allclose(merged.mean, whole.mean, atol=1e-9 * scale)
    np.testing.assert_allclose(merged.squares, whole.squares, atol=1e-9 * scale**2 * array.size)
    assert np.array_equal(merged.least, whole.least)


def test_means_far_from_zero_lose_nothing() -> None:
    array = 1e9 + np.array([0.0, 1, 2, 3])
    parts = [moments_of("x", part) for part in np.split(array, 4)]
    merged = parts[0]
    for part in parts[1:]:
        merged = merge_moments(merged, part)
    assert float(merged.squares) == 5


@pytest.mark.parametrize(
    ("fields", "keep", "said"),
    [
        (["none"], None, "there is no field 'none'; the stream has images"),
        (["images"], 3, "have no axis 3"),
        (["ragged"], 0, "no axis 0 of fixed length"),
        (["sparse"], 1, "axis 0 only"),
    ],
)
def test_what_has_no_statistics_is_refused(
    path: Path, fields: list[str], keep: Any, said: str
) -> None:
    with pytest.raises(h5s.ConfigError, match=said):
        h5s.statistics(h5s.H5Stream(path, FIELDS), fields, keep=keep)


def test_a_mix_has_no_statistics(path: Path) -> None:
    streams = [h5s.H5Stream(path, ["floats"])] * 2
    with pytest.raises(h5s.ConfigError, match="for one stream"):
        h5s.statistics(h5s.mix(streams))
