"""Chunks as HDF5 encodes them, and memory that ends where the process would crash."""

from __future__ import annotations

import ctypes
import mmap
from functools import cache

import h5py
import numpy as np

from h5stream.decode import Pipeline, Scratch
from h5stream.layout import FilterSpec
from tests.h5files import DIRECT_PIPELINES, Recipe, create, encode, random_elements, stored_specs

COMPRESSORS = [
    "gzip",
    "lzf",
    "szip nn",
    "szip ec fletcher32",
    "lz4",
    "lz4 in small blocks",
    "shuffle zstd",
    "bzip2",
    "blosc lz4 byte shuffle",
    "blosc lz4hc bit shuffle",
    "blosc blosclz",
    "blosc zlib",
    "blosc zstd fletcher32",
]
"""Pipelines that between them have every compressor."""


@cache
def encoded(
    name: str, dtype: str = "<i4", count: int = 500, smooth: bool = True
) -> tuple[Pipeline, np.ndarray, int, bytes]:
    """Return the pipeline, the stored bytes, the filter mask and the decoded bytes of a chunk."""
    recipe = Recipe(np.dtype(dtype), (count,), (count,), DIRECT_PIPELINES[name])
    elements = random_elements(recipe.shape, recipe.dtype, smooth=smooth)
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        specs = stored_specs(create(file, "x", recipe))
    stored, mask = encode(elements, recipe)
    filters = tuple(FilterSpec(number, title, values) for number, values, title in specs)
    raw = elements.tobytes()
    return Pipeline(filters, len(raw)), np.frombuffer(stored, np.uint8), mask, raw


def decode(pipeline: Pipeline, stored: np.ndarray, mask: int = 0, prefill: int = 0) -> bytes:
    """Decode into memory that held `prefill` before."""
    out = np.full(pipeline.chunk_nbytes, prefill, np.uint8)
    pipeline.decode(np.asarray(stored), mask, out, Scratch())
    return out.tobytes()


class GuardedMemory:
    """Bytes between two pages that must not be touched."""

    def __init__(self, room_bytes: int) -> None:
        pages = -(-room_bytes // mmap.PAGESIZE)
        self._map = mmap.mmap(-1, (pages + 2) * mmap.PAGESIZE)
        self._end = (pages + 1) * mmap.PAGESIZE
        self._bytes = np.frombuffer(self._map, np.uint8)
        libc = ctypes.CDLL(None, use_errno=True)
        for at in (0, self._end):
            page = ctypes.c_void_p(self._bytes.ctypes.data + at)
            assert libc.mprotect(page, ctypes.c_size_t(mmap.PAGESIZE), 0) == 0

    def holding(self, content: bytes) -> np.ndarray:
        """Return an array of some bytes, the last of which is the last before the guard."""
        placed = self._bytes[self._end - len(content) : self._end]
        placed[:] = np.frombuffer(content, np.uint8)
        return placed
