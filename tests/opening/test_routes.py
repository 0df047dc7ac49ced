from __future__ import annotations

import ctypes
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from h5py import h5p

from h5stream.decode import DECODERS
from h5stream.errors import DecodeError, UnsupportedError
from h5stream.layout import FilterSpec, fingerprint_of, scan_file
from h5stream.opening import open_catalog
from h5stream.opening.routes import choose_route
from h5stream.reader import Route
from tests.h5files import (
    BFLOAT16,
    DIRECT_PIPELINES,
    H5PY_PIPELINES,
    Recipe,
    assert_same_bits,
    chunk_entries,
    flip_bytes,
    native,
    random_elements,
    read_with_h5py,
    write,
)
from tests.layout.test_scan import CONVERTED
from tests.windows import read_field


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "file.h5")


def route_of(path: str, name: str = "x") -> Route:
    (route,) = open_catalog(path, {"x": name}).routes.values()
    return route


def write_pipeline(path: str, filters: list, dtype: str = "<i4") -> np.ndarray:
    recipe = Recipe(np.dtype(dtype), (100, 3), (32, 2), filters)
    rows = random_elements(recipe.shape, recipe.dtype, smooth=True)
    with h5py.File(path, "w") as file:
        write(file, "x", recipe, rows)
    return native(rows)


@pytest.mark.parametrize("name", DIRECT_PIPELINES)
def test_filters_with_a_decoder_are_read_directly(path: str, name: str) -> None:
    rows = write_pipeline(path, DIRECT_PIPELINES[name])
    assert str(route_of(path)) == "direct"
    assert_same_bits(read_field(path), rows)


REASONS = {
    "bitshuffle lz4": r"it is compressed with bitshuffle \(filter 32008\)",
    "bitshuffle zstd": r"it is compressed with bitshuffle \(filter 32008\)",
    "blosc2": r"it is compressed with blosc2 \(filter 32026\)",
    "nbit": r"it is compressed with nbit \(filter 5\)",
    "scaleoffset": r"it is compressed with scaleoffset \(filter 6\)",
    "nbit gzip": r"it is compressed with nbit \(filter 5\)",
    "gzip gzip": "it has two compressors",
    "lzf gzip": "it has two compressors",
}


@pytest.mark.parametrize("name", H5PY_PIPELINES)
def test_filters_without_a_decoder_go_through_h5py(path: str, name: str) -> None:
    rows = write_pipeline(path, H5PY_PIPELINES[name])
    with pytest.raises(AssertionError, match=f"through h5py: {REASONS[name]}"):
        raise AssertionError(str(route_of(path)))
    assert_same_bits(read_field(path), rows)


def write_virtual(path: str, rows: np.ndarray) -> None:
    with h5py.File(f"{path}.source", "w") as file:
        file["part"] = rows[:7]
    layout = h5py.VirtualLayout(rows.shape, rows.dtype)
    layout[:7] = h5py.VirtualSource(f"{path}.source", "part", rows[:7].shape)
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("x", layout, fillvalue=3)


def write_external(path: str, rows: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        raw = [(f"{path}.raw", 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("x", rows.shape, rows.dtype, external=raw)[...] = rows


def write_compact(path: str, rows: np.ndarray) -> None:
    plist = h5p.create(h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.COMPACT)
    with h5py.File(path, "w") as file:
        space = h5py.h5s.create_simple(rows.shape)
        kind = h5py.h5t.py_create(rows.dtype)
        h5py.Dataset(h5py.h5d.create(file.id, b"x", kind, space, plist))[...] = rows


STORAGES = {"virtual": write_virtual, "external": write_external, "compact": write_compact}


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("dtype", ["<i4", ">f8"])
def test_storage_without_chunks_of_its_own_goes_through_h5py(
    path: str, storage: str, dtype: str
) -> None:
    STORAGES[storage](path, np.arange(30).reshape(10, 3).astype(dtype))
    assert route_of(path).reason == f"its storage is {storage}"
    assert_same_bits(read_field(path), read_with_h5py(path, "x"))


@pytest.mark.parametrize("kind", CONVERTED)
def test_elements_that_need_conversion_go_through_h5py(path: str, kind: str) -> None:
    with h5py.File(path, "w") as file:
        space = h5py.h5s.create_simple((9,))
        h5py.Dataset(h5py.h5d.create(file.id, b"x", CONVERTED[kind], space))[...] = np.arange(9)
    assert "needs conversion" in route_of(path).reason
    dtype = BFLOAT16 if "bfloat16" in kind else None
    assert_same_bits(read_field(path), read_with_h5py(path, "x", dtype))


def test_a_fill_value_of_an_array_type_goes_through_h5py(path: str) -> None:
    pair = np.dtype(("<i4", (2,)))
    plist = h5p.create(h5p.DATASET_CREATE)
    plist.set_chunk((2,))
    value = np.array([7, 8], "<i4")
    kind = h5py.h5t.py_create(pair)
    _libhdf5().H5Pset_fill_value(plist.id, kind.id, ctypes.c_void_p(value.ctypes.data))
    with h5py.File(path, "w") as file:
        h5py.h5d.create(file.id, b"x", kind, h5py.h5s.create_simple((3,)), plist)
    assert route_of(path).reason == "its fill value cannot be read directly"
    assert read_field(path).tolist() == [[7, 8]] * 3


def _libhdf5() -> ctypes.CDLL:
    """Return the HDF5 library that h5py is linked to, for calls that h5py leaves out."""
    library = ctypes.CDLL(h5p.__file__)
    library.H5Pset_fill_value.argtypes = [ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
    library.H5Pset_chunk_opts.argtypes = [ctypes.c_int64, ctypes.c_uint]
    return library


@pytest.mark.parametrize("shape", [(10, 4), (8, 3), (9, 5)], ids=str)
def test_edge_chunks_that_skip_their_filters_are_found_by_the_self_check(
    path: str, shape: tuple[int, int]
) -> None:
    """H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS leaves no trace in the chunks' filter masks."""
    plist = h5p.create(h5p.DATASET_CREATE)
    plist.set_chunk((4, 2))
    plist.set_deflate(4)
    assert _libhdf5().H5Pset_chunk_opts(plist.id, 2) >= 0
    rows = np.arange(shape[0] * shape[1], dtype="<i4").reshape(shape)
    with h5py.File(path, "w", libver="latest") as file:
        kind, space = h5py.h5t.STD_I32LE, h5py.h5s.create_simple(shape)
        h5py.Dataset(h5py.h5d.create(file.id, b"x", kind, space, plist))[...] = rows
    assert "the self-check failed on rows" in route_of(path).reason
    assert_same_bits(read_field(path), rows)


def write_unknown_filter(path: str, number: int) -> None:
    """Write a dataset and then rename its filter, so that nothing can undo it."""
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=np.zeros(100), chunks=(10,), compression=32004)
    content = Path(path).read_bytes()
    old, new = (32004).to_bytes(2, "little"), number.to_bytes(2, "little")
    assert content.count(old) == 1
    Path(path).write_bytes(content.replace(old, new))


@pytest.mark.parametrize("number", [7307, 32099])
def test_a_filter_that_nothing_can_undo_is_refused_by_name(path: str, number: int) -> None:
    write_unknown_filter(path, number)
    with pytest.raises(
        UnsupportedError, match=rf"file\.h5: '/x' .* \(filter {number}\).*pip install hdf5plugin"
    ):
        open_catalog(path, {"x": "x"})


def test_an_unknown_filter_is_refused_by_the_name_in_the_file(path: str) -> None:
    write_unknown_filter(path, 7307)
    with pytest.raises(UnsupportedError, match=r"with HDF5 lz4 filter \(filter 7307\)"):
        open_catalog(path, {"x": "x"})


def _add_one(data: np.ndarray, out: np.ndarray, values: object) -> int:
    written = DECODERS_AS_THEY_ARE[1].run(data, out, values)
    out += 1
    return written


def _fail(_data: np.ndarray, _out: np.ndarray, _values: object) -> int:
    raise DecodeError("no such stream")


DECODERS_AS_THEY_ARE = dict(DECODERS)


def test_the_self_check_prefers_h5py_to_a_wrong_decoder(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = write_pipeline(path, DIRECT_PIPELINES["gzip"])
    monkeypatch.setenv("H5STREAM_EXECUTOR", "python")
    monkeypatch.setitem(DECODERS, 1, replace(DECODERS[1], run=_add_one))
    assert "the self-check differed on rows 0 to 32" in str(route_of(path))
    assert_same_bits(read_field(path), rows)


def test_what_does_not_decode_is_not_handed_to_hdf5(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pipeline(path, DIRECT_PIPELINES["gzip"])
    monkeypatch.setenv("H5STREAM_EXECUTOR", "python")
    monkeypatch.setitem(DECODERS, 1, replace(DECODERS[1], run=_fail))
    with pytest.raises(DecodeError, match="no such stream"):
        route_of(path)


@pytest.mark.parametrize("stored", [b"short", bytes(641)], ids=["too short", "too long"])
@pytest.mark.parametrize("compression", ["gzip", "lzf", 32008], ids=str)
def test_a_chunk_whose_filters_are_skipped_has_the_size_of_a_chunk(
    path: str, stored: bytes, compression: str | int
) -> None:
    with h5py.File(path, "w") as file:
        x = file.create_dataset("x", (40, 64), "u1", chunks=(10, 64), compression=compression)
        x[...] = 7
        x.id.write_direct_chunk((20, 0), stored, filter_mask=1)
    with pytest.raises(DecodeError, match=rf"at \(20, 0\) .* {len(stored)} bytes, expected 640"):
        open_catalog(path, {"x": "x"})


def test_items_of_a_shuffle_longer_than_a_chunk_are_left_alone(path: str) -> None:
    rows = np.arange(400, dtype="i4").reshape(40, 10)
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=rows, chunks=(10, 10), shuffle=True, compression="gzip")
    content = bytearray(Path(path).read_bytes())
    at = content.index(b"shuffle\0") + 8
    content[at : at + 4] = (2**31 - 1).to_bytes(4, "little")
    Path(path).write_bytes(content)
    with h5py.File(path) as file:
        assert_same_bits(read_field(path), file["x"][()])


def test_without_a_fingerprint_the_self_check_is_left_out(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pipeline(path, DIRECT_PIPELINES["gzip"])
    monkeypatch.setenv("H5STREAM_EXECUTOR", "python")
    monkeypatch.setitem(DECODERS, 1, replace(DECODERS[1], run=_add_one))
    layout = scan_file(path, ["x"]).datasets["x"]
    assert choose_route(layout).direct
    assert not choose_route(layout, fingerprint_of(path)).direct


def test_chunks_that_hdf5_cannot_read_either_stay_direct(path: str) -> None:
    """Reading them says which chunk is damaged; h5py could not."""
    write_pipeline(path, DIRECT_PIPELINES["fletcher32"])
    for entry in chunk_entries(path, "x"):
        flip_bytes(path, entry.byte_offset + 5)
    assert route_of(path).direct
    with pytest.raises(DecodeError, match="is damaged: fletcher32"):
        read_field(path)


def test_a_layout_with_too_large_chunks_goes_through_h5py(path: str) -> None:
    write_pipeline(path, [])
    layout = scan_file(path, ["x"]).datasets["x"]
    large = replace(layout, indirect="its chunks are larger than 4 GiB")
    assert choose_route(large) == Route("its chunks are larger than 4 GiB")


def test_a_filter_of_hdf5_without_its_plugin_is_refused(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pipeline(path, [])
    layout = scan_file(path, ["x"]).datasets["x"]
    monkeypatch.setattr("h5stream.opening.routes.can_hdf5_undo", lambda _number: False)
    with pytest.raises(UnsupportedError, match=r"blosc2 \(filter 32026\)"):
        choose_route(replace(layout, filters=(FilterSpec(32026, "blosc2"),)))
