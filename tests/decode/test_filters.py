from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from h5stream.decode import DECODERS, Pipeline, Scratch, describe_filter
from h5stream.errors import DecodeError
from h5stream.layout import FilterSpec
from tests.decode.encoding import COMPRESSORS, GuardedMemory, decode, encoded
from tests.h5files import DIRECT_PIPELINES


@pytest.mark.parametrize("name", COMPRESSORS)
@pytest.mark.parametrize("dtype", ["u1", "<i2", ">f4", "<i8"])
@pytest.mark.parametrize("smooth", [True, False], ids=["smooth", "noise"])
def test_a_decoder_undoes_what_hdf5_encodes(name: str, dtype: str, smooth: bool) -> None:
    for count in [32, 33, 100, 1001, 5003]:
        pipeline, stored, mask, raw = encoded(name, dtype, count, smooth)
        assert decode(pipeline, stored, mask) == raw


@pytest.mark.parametrize("codec", ["blosclz", "lz4", "lz4hc", "zlib", "zstd"])
@pytest.mark.parametrize("level", [0, 1, 9])
def test_blosc_buffers_of_several_blocks_decode(codec: str, level: int) -> None:
    raw = np.random.default_rng(0).integers(0, 9, 50_000).astype("<i4").tobytes()
    stored = imagecodecs.blosc_encode(
        raw, level=level, compressor=codec, typesize=4, blocksize=4096, shuffle=1
    )
    pipeline = Pipeline((FilterSpec(32001, "blosc"),), len(raw))
    assert decode(pipeline, np.frombuffer(stored, np.uint8)) == raw


def test_the_tested_pipelines_have_every_decoder() -> None:
    tested = {number for filters in DIRECT_PIPELINES.values() for number, _values in filters}
    assert tested == set(DECODERS)


@pytest.mark.parametrize("name", COMPRESSORS)
def test_a_stream_that_ends_early_is_an_error_or_loses_nothing(name: str) -> None:
    pipeline, stored, mask, raw = encoded(name)
    assert not mask
    for length in range(len(stored)):
        for prefill in (0x00, 0xA5):
            try:
                assert decode(pipeline, stored[:length], prefill=prefill) == raw
            except DecodeError:
                continue


@pytest.mark.parametrize("name", COMPRESSORS)
def test_half_a_stream_is_an_error(name: str) -> None:
    pipeline, stored, _mask, _raw = encoded(name)
    with pytest.raises(DecodeError):
        decode(pipeline, stored[: len(stored) // 2])


@pytest.mark.parametrize("name", COMPRESSORS)
@pytest.mark.parametrize("content", [b"", b"\0", bytes(4), bytes(16), bytes(3000), b"\xff" * 99])
def test_bytes_that_are_no_stream_are_an_error(name: str, content: bytes) -> None:
    pipeline, _stored, _mask, _raw = encoded(name)
    with pytest.raises(DecodeError):
        decode(pipeline, np.frombuffer(content, np.uint8))


@pytest.mark.parametrize("name", COMPRESSORS)
@pytest.mark.parametrize("difference", [-400, -4, 4, 400], ids="{:+d} bytes".format)
def test_output_of_another_size_is_an_error(name: str, difference: int) -> None:
    pipeline, stored, _mask, _raw = encoded(name)
    with pytest.raises(DecodeError):
        decode(Pipeline(pipeline.filters, pipeline.chunk_nbytes + difference), stored)


@pytest.mark.parametrize("name", ["gzip", "bzip2", "szip ec fletcher32", "blosc zstd fletcher32"])
def test_a_checksum_finds_every_flipped_bit(name: str) -> None:
    pipeline, stored, _mask, raw = encoded(name)
    for at in range(0, len(stored), 3):
        damaged = stored.copy()
        damaged[at] ^= 1 << at % 8
        try:
            assert decode(pipeline, damaged) == raw  # a bit that no decoder looks at
        except DecodeError:
            continue


@st.composite
def damaged_streams(draw: st.DrawFn, stored: bytes) -> bytes:
    """Draw noise, or a stream with bytes changed, cut off, replaced, doubled or added."""
    if draw(st.booleans()):
        return draw(st.binary(min_size=1, max_size=200))
    data = bytearray(stored)
    places = st.integers(0, min(40, len(data) - 1)) | st.integers(0, len(data) - 1)
    for at in draw(st.lists(places, max_size=4)):
        data[at] = draw(st.integers(0, 255))
    at = draw(places)
    four = st.sampled_from([b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0\0\0\x80", b"\0\0\1\0"])
    match draw(st.sampled_from(["keep", "cut", "add", "number"])):
        case "cut":
            del data[at + 1 :]
        case "add":
            data += draw(st.binary(max_size=20))
        case "number":
            data[at : at + 4] = draw(four)
    return bytes(data)


@pytest.mark.parametrize("name", COMPRESSORS)
@given(data=st.data())
def test_damage_is_an_error_or_fills_the_chunk(name: str, data: st.DataObject) -> None:
    """No decoder leaves bytes unwritten, crashes, or touches memory that is not its own."""
    pipeline, stored, _mask, raw = encoded(name)
    damaged = data.draw(damaged_streams(stored.tobytes()))
    memory, place = GuardedMemory(len(damaged)), GuardedMemory(len(raw))
    found = []
    for prefill in (b"\0", b"\xff"):
        out = place.holding(prefill * len(raw))
        try:
            pipeline.decode(memory.holding(damaged), 0, out, Scratch())
        except DecodeError:
            return
        found.append(out.tobytes())
    assert found[0] == found[1]


def shuffled(raw: bytes, itemsize: int) -> np.ndarray:
    """Shuffle bytes as the HDF5 specification has it."""
    data = np.frombuffer(raw, np.uint8)
    whole = len(data) // itemsize * itemsize
    planes = data[:whole].reshape(-1, itemsize).T
    return np.concatenate([planes.reshape(-1), data[whole:]])


def shuffle_only(itemsize: int, nbytes: int) -> Pipeline:
    return Pipeline((FilterSpec(2, "shuffle", (itemsize,)),), nbytes)


@pytest.mark.parametrize("itemsize", range(1, 18))
@pytest.mark.parametrize("base", [0, 240, 256, 1000, 70_000])
def test_unshuffle_undoes_every_remainder_of_the_item_size(itemsize: int, base: int) -> None:
    for nbytes in range(max(1, base), base + itemsize + 17):
        raw = np.random.default_rng(nbytes).bytes(nbytes)
        assert decode(shuffle_only(itemsize, nbytes), shuffled(raw, itemsize)) == raw


@given(itemsize=st.integers(1, 400), raw=st.binary(min_size=1, max_size=2000))
@example(itemsize=255, raw=bytes(range(256)) * 3)
@example(itemsize=256, raw=bytes(range(256)) * 3)
def test_unshuffle_undoes_any_item_size(itemsize: int, raw: bytes) -> None:
    assert decode(shuffle_only(itemsize, len(raw)), shuffled(raw, itemsize)) == raw


def test_fletcher32_accepts_the_checksum_of_big_endian_writers() -> None:
    pipeline, stored, _mask, raw = encoded("fletcher32")
    swapped = stored.copy()
    swapped[-4:] = stored[[-3, -4, -1, -2]]
    assert decode(pipeline, swapped) == raw


def test_fletcher32_says_which_checksums_differ() -> None:
    pipeline, stored, _mask, _raw = encoded("fletcher32")
    damaged = stored.copy()
    damaged[7] ^= 1
    with pytest.raises(DecodeError, match=r"checksum 0x[0-9a-f]{8} differs from the stored 0x"):
        decode(pipeline, damaged)


@pytest.mark.parametrize("length", range(1, 4))
def test_fletcher32_of_too_few_bytes_is_an_error(length: int) -> None:
    pipeline, _stored, _mask, _raw = encoded("fletcher32")
    with pytest.raises(DecodeError, match="bytes"):
        decode(pipeline, np.zeros(length, np.uint8))


def test_an_error_names_the_decoder_and_the_sizes() -> None:
    pipeline, stored, _mask, _raw = encoded("gzip")
    with pytest.raises(DecodeError, match=rf"gzip.*{len(stored) - 9} stored.*2000"):
        decode(pipeline, stored[:-9])


@pytest.mark.parametrize(
    ("number", "stored_name", "said"),
    [
        pytest.param(1, "deflate", "gzip (filter 1)", id="decoder"),
        pytest.param(32026, "", "blosc2 (filter 32026)", id="known to HDF5"),
        pytest.param(333, "mine; see my site", "mine (filter 333)", id="named by the file"),
        pytest.param(334, "", "unnamed (filter 334)", id="nameless"),
    ],
)
def test_a_filter_is_described_by_name_and_id(number: int, stored_name: str, said: str) -> None:
    assert describe_filter(number, stored_name) == said
