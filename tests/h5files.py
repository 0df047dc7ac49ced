"""Writes HDF5 files of every kind that the tests read back, with h5py as the only author."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import ml_dtypes
import numpy as np
from h5py import h5d, h5p, h5s, h5t

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
ENUM = h5py.enum_dtype({"red": 0, "green": 1, "blue": -7}, basetype="<i2")

DTYPES: dict[str, Any] = {
    **{name: np.dtype(name) for name in ("i1", "u1", "<i2", ">u2", ">i4", "<u4", "<i8", ">u8")},
    **{name: np.dtype(name) for name in ("<f2", ">f2", "<f4", ">f4", "<f8", ">f8")},
    "bool": np.dtype(bool),
    "enum": ENUM,
    "complex64": np.dtype("<c8"),
    "big-endian complex128": np.dtype(">c16"),
    "string": np.dtype("S5"),
    "opaque": np.dtype("V3"),
    "compound": np.dtype([("a", "<i4"), ("b", "u1"), ("c", "<f8")]),
    "padded compound": np.dtype([("a", "i1"), ("b", "<f8"), ("c", "<i2")], align=True),
    "big-endian compound": np.dtype([("a", ">i4"), ("s", "S3"), ("b", "<f2")]),
    "nested compound": np.dtype(
        [("p", [("x", "<f4"), ("y", ">f4")]), ("v", "<i2", (2, 3)), ("ok", "?")]
    ),
    "array": np.dtype(("<i2", (3,))),
    "big-endian array": np.dtype((">f4", (2, 2))),
    "bfloat16": BFLOAT16,
}
"""Element types, by a name for test ids."""

GZIP, SHUFFLE, FLETCHER32, SZIP, NBIT, SCALEOFFSET = 1, 2, 3, 4, 5, 6
LZF = 32000

Filters = Sequence[tuple[int, tuple[int, ...]]]


def plugin(compression: Mapping[str, Any]) -> tuple[int, tuple[int, ...]]:
    """Return (filter id, client data) of a compression of hdf5plugin."""
    return compression["compression"], tuple(compression["compression_opts"])


def _blosc(cname: str, shuffle: int, clevel: int = 5) -> tuple[int, tuple[int, ...]]:
    return plugin(hdf5plugin.Blosc(cname=cname, clevel=clevel, shuffle=shuffle))


_GZIP, _SHUFFLE, _FLETCHER32 = (GZIP, (4,)), (SHUFFLE, ()), (FLETCHER32, ())

DIRECT_PIPELINES: dict[str, Filters] = {
    "none": [],
    "gzip": [_GZIP],
    "shuffle": [_SHUFFLE],
    "shuffle gzip": [_SHUFFLE, _GZIP],
    "gzip shuffle": [_GZIP, _SHUFFLE],
    "lzf": [(LZF, ())],
    "shuffle lzf fletcher32": [_SHUFFLE, (LZF, ()), _FLETCHER32],
    "fletcher32": [_FLETCHER32],
    "fletcher32 shuffle gzip": [_FLETCHER32, _SHUFFLE, _GZIP],
    "shuffle fletcher32 gzip": [_SHUFFLE, _FLETCHER32, _GZIP],
    "shuffle gzip fletcher32": [_SHUFFLE, _GZIP, _FLETCHER32],
    "fletcher32 gzip fletcher32": [_FLETCHER32, _GZIP, _FLETCHER32],
    "gzip fletcher32 shuffle": [_GZIP, _FLETCHER32, _SHUFFLE],
    "szip nn": [(SZIP, (32, 8))],
    "szip ec fletcher32": [(SZIP, (4, 16)), _FLETCHER32],
    "shuffle szip": [_SHUFFLE, (SZIP, (32, 32))],
    "lz4": [plugin(hdf5plugin.LZ4())],
    "lz4 in small blocks": [plugin(hdf5plugin.LZ4(nbytes=64))],
    "shuffle zstd": [_SHUFFLE, plugin(hdf5plugin.Zstd())],
    "bzip2": [plugin(hdf5plugin.BZip2())],
    "blosc lz4 byte shuffle": [_blosc("lz4", 1)],
    "blosc lz4hc bit shuffle": [_blosc("lz4hc", 2)],
    "blosc blosclz": [_blosc("blosclz", 0)],
    "blosc zlib": [_blosc("zlib", 1)],
    "blosc zstd fletcher32": [_blosc("zstd", 1), _FLETCHER32],
    "blosc stored": [_blosc("lz4", 1, clevel=0)],
}
"""Filter pipelines that are read directly."""

H5PY_PIPELINES: dict[str, Filters] = {
    "bitshuffle lz4": [plugin(hdf5plugin.Bitshuffle())],
    "bitshuffle zstd": [plugin(hdf5plugin.Bitshuffle(cname="zstd"))],
    "blosc2": [plugin(hdf5plugin.Blosc2())],
    "nbit": [(NBIT, ())],
    "scaleoffset": [(SCALEOFFSET, ())],
    "nbit gzip": [(NBIT, ()), _GZIP],
    "gzip gzip": [_GZIP, _GZIP],
    "lzf gzip": [(LZF, ()), _GZIP],
}
"""Filter pipelines that go through h5py."""

PIPELINES = DIRECT_PIPELINES | H5PY_PIPELINES

NUMBERS_ONLY = {SZIP, NBIT, SCALEOFFSET}
"""Filters that take integers and floats only."""

SZIP_LEAST_ELEMENTS = 32


def bfloat16_type() -> Any:
    """Make HDF5's description of bfloat16."""
    made = h5t.IEEE_F32LE.copy()
    made.set_fields(15, 7, 8, 0, 7)
    made.set_size(2)
    made.set_ebias(127)
    return made


def stored_type(dtype: np.dtype[Any]) -> Any:
    """Return the HDF5 type that h5py stores a NumPy type as."""
    return bfloat16_type() if dtype == BFLOAT16 else h5t.py_create(dtype, logical=True)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides how a dataset is written."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    chunks: tuple[int, ...] | None = None
    filters: Filters = ()
    maxshape: tuple[int | None, ...] | None = None
    fill: np.ndarray | None = None
    alloc_time: int | None = None
    masks: Mapping[int, int] = field(default_factory=dict)
    """Number of a chunk in the grid -> which filters are skipped for it."""
    missing: frozenset[int] = frozenset()
    """Numbers of chunks that are never written; 0 means all rows of a contiguous dataset."""


def create(group: Any, name: str, recipe: Recipe) -> h5py.Dataset:
    """Create an empty dataset."""
    plist = h5p.create(h5p.DATASET_CREATE)
    maxshape = recipe.maxshape or recipe.shape
    if recipe.chunks is not None:
        plist.set_chunk(recipe.chunks)
    for number, values in recipe.filters:
        _add_filter(plist, number, values, recipe.dtype)
    if recipe.fill is not None:
        stored = recipe.fill.astype("f4") if recipe.dtype == BFLOAT16 else recipe.fill
        plist.set_fill_value(stored)
    if recipe.alloc_time is not None:
        plist.set_alloc_time(recipe.alloc_time)
    limits = tuple(h5s.UNLIMITED if n is None else n for n in maxshape)
    space = h5s.create_simple(recipe.shape, limits)
    kind = stored_type(recipe.dtype)
    parent, _, leaf = name.rpartition("/")
    holder = group.require_group(parent) if parent else group
    return h5py.Dataset(h5d.create(holder.id, leaf.encode(), kind, space, plist))


def _add_filter(plist: Any, number: int, values: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if number == SCALEOFFSET:
        floats = dtype.kind == "f"
        plist.set_scaleoffset(
            h5py.h5z.SO_FLOAT_DSCALE if floats else h5py.h5z.SO_INT, 2 if floats else 0
        )
    elif number == SZIP:
        plist.set_szip(*values)
    else:
        plist.set_filter(number, h5py.h5z.FLAG_OPTIONAL, values)


def grid_of(recipe: Recipe) -> list[tuple[int, ...]]:
    """List the offsets of all chunks of a recipe."""
    steps = zip(recipe.shape, recipe.chunks or (), strict=True)
    return list(itertools.product(*(range(0, n, c) for n, c in steps)))


def write(group: Any, name: str, recipe: Recipe, data: np.ndarray) -> h5py.Dataset:
    """Create a dataset and write all its chunks but the missing ones."""
    dataset = create(group, name, recipe)
    if recipe.chunks is None:
        if not recipe.missing and data.size:
            dataset[...] = _as_h5py(data)
        return dataset
    for number, offset in enumerate(grid_of(recipe)):
        if number in recipe.missing:
            continue
        place = tuple(slice(o, o + c) for o, c in zip(offset, recipe.chunks, strict=True))
        mask = recipe.masks.get(number, 0) & ((1 << len(recipe.filters)) - 1)
        if mask:
            stored, extra = encode(_whole_chunk(recipe, data[place]), recipe, mask)
            dataset.id.write_direct_chunk(offset, stored, filter_mask=mask | extra)
        else:
            dataset[place] = _as_h5py(data[place])
    return dataset


def _as_h5py(data: np.ndarray) -> np.ndarray:
    return data.astype("f4") if data.dtype == BFLOAT16 else data


def _whole_chunk(recipe: Recipe, part: np.ndarray) -> np.ndarray:
    element_shape = recipe.dtype.shape
    whole = np.zeros((*recipe.chunks, *element_shape), recipe.dtype.base)
    whole[tuple(slice(0, n) for n in part.shape)] = part
    return whole


def encode(chunk: np.ndarray, recipe: Recipe, mask: int = 0) -> tuple[bytes, int]:
    """Let HDF5 run a chunk through the filters of a pipeline that `mask` leaves on.

    Returns
    -------
    tuple of bytes and int
        What is stored, and the bits of filters that declined to work on it.
    """
    kept = [i for i in range(len(recipe.filters)) if not mask >> i & 1]
    plain = Recipe(
        recipe.dtype, recipe.chunks, recipe.chunks, tuple(recipe.filters[i] for i in kept)
    )
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        dataset = create(file, "x", plain)
        dataset[...] = _as_h5py(chunk)
        declined, stored = dataset.id.read_direct_chunk((0,) * len(recipe.chunks))
    return bytes(stored), sum(1 << at for i, at in enumerate(kept) if declined >> i & 1)


def stored_specs(dataset: h5py.Dataset) -> list[tuple[int, tuple[int, ...], str]]:
    """List (id, client data, name) of a dataset's filters, as the file has them."""
    plist = dataset.id.get_create_plist()
    found = (plist.get_filter(i) for i in range(plist.get_nfilters()))
    return [(number, tuple(values), name.decode()) for number, _flags, values, name in found]


def random_elements(
    shape: tuple[int, ...], dtype: np.dtype[Any], *, seed: int = 0, smooth: bool = False
) -> np.ndarray:
    """Draw elements; array types add their axes to the shape."""
    generator = np.random.default_rng(seed)
    return _draw((*shape, *dtype.shape), dtype.base, generator, smooth)


def _draw(
    shape: tuple[int, ...], dtype: np.dtype[Any], generator: np.random.Generator, smooth: bool
) -> np.ndarray:
    if dtype.names is not None:
        drawn = np.zeros(shape, dtype)
        for name in dtype.names:
            member = dtype[name]
            drawn[name] = _draw((*shape, *member.shape), member.base, generator, smooth)
        return drawn
    if dtype.kind == "b":
        return generator.integers(0, 2, shape).astype(bool)
    if smooth and dtype.kind in "iufc":
        return generator.integers(0, 4, shape).astype(dtype)
    if dtype == BFLOAT16:
        return generator.normal(size=shape).astype(dtype)
    count = int(np.prod(shape)) * dtype.itemsize
    raw = np.frombuffer(generator.bytes(count), np.uint8)
    return (raw & 3 if smooth else raw).view(dtype).reshape(shape)


def native(array: np.ndarray) -> np.ndarray:
    """Convert to the machine's byte order, without metadata that h5py hangs on types."""
    if array.dtype.names is not None or array.dtype == BFLOAT16:
        return array.astype(array.dtype.newbyteorder("="))
    return array.astype(np.dtype(array.dtype.str).newbyteorder("="))


def assert_same_bits(found: np.ndarray, expected: np.ndarray) -> None:
    """Compare shape, type and every byte that is not padding of a compound type."""
    assert found.shape == expected.shape
    if expected.dtype.names is not None:
        assert found.dtype.names == expected.dtype.names
        for name in expected.dtype.names:
            assert_same_bits(found[name], expected[name])
        return
    assert found.dtype == expected.dtype
    assert found.tobytes() == expected.tobytes()


def read_with_h5py(path: Path | str, name: str, dtype: np.dtype[Any] | None = None) -> np.ndarray:
    """Read a whole dataset with h5py, in the machine's byte order."""
    with h5py.File(path, "r") as file:
        found = file[name][...]
    return native(found if dtype is None else found.astype(dtype))


def chunk_entries(path: Path | str, name: str) -> list[Any]:
    """List the chunks of a dataset, as `chunk_iter` gives them."""
    entries: list[Any] = []
    with h5py.File(path, "r") as file:
        file[name].id.chunk_iter(entries.append)
    return entries


def flip_bytes(path: Path | str, offset: int, count: int = 1) -> None:
    """Invert bytes in place, and keep the file's time of modification."""
    patch(path, offset, lambda old: bytes(byte ^ 0xFF for byte in old), count)


def patch(path: Path | str, offset: int, change: Callable[[bytes], bytes], count: int) -> None:
    """Replace `count` bytes at `offset`."""
    with Path(path).open("r+b") as raw:
        raw.seek(offset)
        old = raw.read(count)
        raw.seek(offset)
        raw.write(change(old))


def find_all(path: Path | str, needle: bytes) -> Iterator[int]:
    """Yield every position of some bytes in a file."""
    content, at = Path(path).read_bytes(), -1
    while (at := content.find(needle, at + 1)) >= 0:
        yield at
