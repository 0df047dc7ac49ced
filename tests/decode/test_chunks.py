from __future__ import annotations

import itertools

import numpy as np
import pytest

from h5stream.decode import Pipeline, Scratch
from h5stream.errors import DecodeError
from h5stream.layout import FilterSpec
from tests.decode.encoding import decode, encoded
from tests.h5files import DIRECT_PIPELINES, Recipe, encode, random_elements

GZIP = FilterSpec(1, "deflate", (4,))
SHUFFLE = FilterSpec(2, "shuffle", (4,))
FLETCHER32 = FilterSpec(3, "fletcher32")


@pytest.mark.parametrize("name", DIRECT_PIPELINES)
@pytest.mark.parametrize("dtype", ["u1", ">i2", "<f4", "<f8"])
def test_a_pipeline_decodes_what_hdf5_encodes(name: str, dtype: str) -> None:
    for smooth in (True, False):
        pipeline, stored, mask, raw = encoded(name, dtype, 999, smooth)
        assert decode(pipeline, stored, mask) == raw


@pytest.mark.parametrize("mask", range(8))
@pytest.mark.parametrize("order", list(itertools.permutations([1, 2, 3])), ids=str)
def test_a_pipeline_leaves_out_masked_filters(mask: int, order: tuple[int, ...]) -> None:
    recipe = Recipe(np.dtype("<i4"), (333,), (333,), [(number, ()) for number in order])
    elements = random_elements(recipe.shape, recipe.dtype, smooth=True)
    stored, extra = encode(elements, recipe, mask)
    specs = {1: GZIP, 2: SHUFFLE, 3: FLETCHER32}
    pipeline = Pipeline(tuple(specs[number] for number in order), elements.nbytes)
    assert decode(pipeline, np.frombuffer(stored, np.uint8), mask | extra) == elements.tobytes()


def test_a_chunk_with_all_filters_masked_is_raw() -> None:
    pipeline = Pipeline((SHUFFLE, GZIP), 8)
    assert [pipeline.is_raw(mask) for mask in range(4)] == [False, False, False, True]
    assert decode(pipeline, np.arange(8, dtype=np.uint8), 3) == bytes(range(8))


def test_a_pipeline_without_filters_is_raw() -> None:
    assert Pipeline((), 8).is_raw(0)


@pytest.mark.parametrize("length", [0, 7, 9])
def test_an_unfiltered_chunk_of_another_size_is_an_error(length: int) -> None:
    with pytest.raises(DecodeError, match=f"has {length} bytes, expected 8"):
        decode(Pipeline((), 8), np.zeros(length, np.uint8))


def test_a_shuffled_chunk_of_another_size_is_an_error() -> None:
    with pytest.raises(DecodeError, match="7 bytes, expected 8"):
        decode(Pipeline((SHUFFLE,), 8), np.zeros(7, np.uint8))


@pytest.mark.parametrize(
    ("filters", "reason"),
    [
        pytest.param((FilterSpec(32008, "bitshuffle"),), "bitshuffle (filter 32008)", id="other"),
        pytest.param((FilterSpec(777, "mine"), GZIP), "mine (filter 777)", id="unknown"),
        pytest.param((GZIP, GZIP), "two compressors", id="two compressors"),
        pytest.param((FilterSpec(2, "shuffle"),), "no item size", id="shuffle without values"),
        pytest.param((FilterSpec(2, "", (0,)),), "no item size", id="shuffle of nothing"),
        pytest.param((FilterSpec(4, "szip", (1, 2)),), "incomplete", id="szip without values"),
        pytest.param((FilterSpec(4, "", (141, 0, 8, 9)),), "unusual", id="szip of no pixels"),
        pytest.param((FilterSpec(4, "", (141, 8, 24, 9)),), "unusual", id="szip of 24 bits"),
        pytest.param((FilterSpec(4, "", (141, 8, 8, 2**31)),), "unusual", id="szip of long lines"),
    ],
)
def test_a_pipeline_says_what_it_cannot_decode(filters: tuple, reason: str) -> None:
    assert reason in str(Pipeline.misfit(filters))


@pytest.mark.parametrize(
    "filters",
    [(), (GZIP,), (SHUFFLE, SHUFFLE, FLETCHER32, GZIP, FLETCHER32)],
    ids=["none", "one", "many"],
)
def test_a_pipeline_with_one_compressor_fits(filters: tuple) -> None:
    assert Pipeline.misfit(filters) is None


def test_scratch_memory_of_one_thread_serves_many_chunks() -> None:
    scratch = Scratch()
    names = ["fletcher32 shuffle gzip", "shuffle lzf fletcher32", "gzip shuffle", "gzip"] * 2
    for count, name in enumerate(names, start=100):
        pipeline, stored, mask, raw = encoded(name, "<i4", count * 7)
        out = np.empty(len(raw), np.uint8)
        pipeline.decode(stored, mask, out, scratch)
        assert out.tobytes() == raw


def test_scratch_memory_grows_and_is_used_again() -> None:
    scratch = Scratch()
    small, large = scratch.take("a", 10), scratch.take("a", 1000)
    assert (small.nbytes, large.nbytes) == (10, 1000)
    assert np.shares_memory(large, scratch.take("a", 500))
    assert not np.shares_memory(large, scratch.take("b", 500))
