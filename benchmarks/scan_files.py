"""Files of many kinds to scan, with holes where their data would be."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5p

__all__ = ["FILES", "add_dataset"]


@dataclass(frozen=True)
class Kind:
    """A kind of file, and the fields that are scanned; None for those of a stream by default."""

    write: Callable[[Path], None]
    fields: tuple[str, ...] | None = None


def add_dataset(
    group: h5py.Group,
    name: str,
    shape: tuple[int, ...],
    chunks: tuple[int, ...] | None,
    maxshape: tuple[int | None, ...] | None = None,
) -> h5py.Dataset:
    """Make a dataset of bytes that takes its place in the file, and is never written."""
    plist = h5p.create(h5p.DATASET_CREATE)
    plist.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    plist.set_fill_time(h5d.FILL_TIME_NEVER)
    return group.create_dataset(
        name, shape, "u1", chunks=chunks, maxshape=maxshape, fill_time="never", dcpl=plist
    )


def write_small(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=np.zeros((1000, 64), "u1"), chunks=(100, 64))


def write_many_chunks(
    path: Path, options: Mapping[str, Any], maxshape: tuple[int | None, ...], chunk_bytes: int
) -> None:
    """Write 50,000 chunks under one index."""
    with h5py.File(path, "w", **options) as file:
        shape, chunks = (50_000, chunk_bytes), (1, chunk_bytes)
        grows = [limit is None for limit in maxshape]
        limits = tuple(None if grow else n for n, grow in zip(shape, grows, strict=True))
        first = tuple(0 if grow else n for n, grow in zip(shape, grows, strict=True))
        add_dataset(file, "x", first, chunks, limits).resize(shape)


def many_names(groups: int) -> list[str]:
    """Name 1,000 datasets, which lie in so many groups."""
    above = [f"{number % groups:02}_run/" if groups else "" for number in range(1000)]
    return [f"{group}{number:03}_image" for number, group in enumerate(above)]


def write_many_datasets(
    path: Path, options: Mapping[str, Any], groups: int, chunks: tuple[int, ...] | None
) -> None:
    """Write 1,000 datasets of a megabyte, with attributes."""
    with h5py.File(path, "w", **options) as file:
        for number, name in enumerate(many_names(groups)):
            x = add_dataset(file, name, (16, 2**16), chunks)
            x.attrs["number"] = number
            x.attrs["scale"] = np.arange(4.0)


def write_fixed_array(path: Path, options: Mapping[str, Any]) -> None:
    """Write 50,000 chunks of a dataset that cannot grow; their sizes are listed with them."""
    with h5py.File(path, "w", **options) as file:
        x = file.create_dataset("x", (50_000, 2**16), "u1", chunks=(1, 2**16), compression="gzip")
        chunk = zlib.compress(bytes(2**16))
        for row in range(50_000):
            x.id.write_direct_chunk((row, 0), chunk)


def write_vlen(path: Path) -> None:
    with h5py.File(path, "w") as file:
        texts = [f"a text of some length {number}" * (number % 7) for number in range(20_000)]
        file.create_dataset("text", data=texts, dtype=h5py.string_dtype(), chunks=(500,))
        file.create_dataset("label", data=np.arange(20_000), chunks=(500,))


def write_cells(path: Path) -> None:
    """Write what AnnData writes, as far as it matters where things lie."""
    texts = h5py.string_dtype()
    with h5py.File(path, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        x = file.create_group("X")
        x.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0"})
        x.attrs["shape"] = np.array([200_000, 30_000])
        for name, dtype in (("data", "f4"), ("indices", "i4")):
            values = np.zeros(8 * 2**20, dtype)
            x.create_dataset(name, data=values, chunks=(2**15,), compression="gzip")
        x.create_dataset("indptr", data=np.linspace(0, 8 * 2**20, 200_001).astype("i8"))
        for name in ("obs", "var"):
            rows = 200_000 if name == "obs" else 30_000
            frame = file.create_group(name)
            frame.attrs.update({"encoding-type": "dataframe", "_index": "index"})
            frame.attrs["column-order"] = np.array([f"c{n}" for n in range(12)], texts)
            keys = [f"row {n}" for n in range(rows)]
            frame.create_dataset("index", data=keys, dtype=texts, chunks=(2**12,))
            for n in range(12):
                column = frame.create_group(f"c{n}")
                column.attrs.update({"encoding-type": "categorical", "ordered": False})
                column.create_dataset("codes", data=np.zeros(rows, "i1"), chunks=(2**14,))
                column.create_dataset("categories", data=["a", "b"], dtype=texts)


def _kinds() -> dict[str, Kind]:
    small = partial(write_many_chunks, options={}, maxshape=_ONE, chunk_bytes=600)
    kinds = {"small": Kind(write_small), "v1-small-chunks": Kind(small)}
    pages = {"": None, "-paged-4k": 2**12, "-paged-64k": 2**16, "-paged-1m": 2**20}
    for page_name, page_bytes in pages.items():
        paged = {"fs_strategy": "page", "fs_page_size": page_bytes} if page_bytes else {}
        for name, (write, options) in _INDEXES.items():
            kinds[name + page_name] = Kind(partial(write, options={**options, **paged}))
    paged = {"fs_strategy": "page", "fs_page_size": 2**16}
    versions = {
        "v1": {},
        "latest": _LATEST,
        "v1-paged-64k": paged,
        "latest-paged-64k": {**_LATEST, **paged},
    }
    for version, options in versions.items():
        for groups, chunks in ((0, (1, 2**16)), (100, None)):
            write = partial(write_many_datasets, options=options, groups=groups, chunks=chunks)
            kinds[f"datasets-{groups or 1}-groups-{version}"] = Kind(write, many_names(groups))
    return {**kinds, "vlen": Kind(write_vlen), "cells": Kind(write_cells)}


_ONE, _TWO = (None, 0), (None, None)
_LATEST = {"libver": "latest"}
_large = partial(write_many_chunks, chunk_bytes=2**16)
_INDEXES: Mapping[str, tuple[Callable[..., None], Mapping[str, Any]]] = {
    "v1": (partial(_large, maxshape=_ONE), {}),
    "fixed-array": (write_fixed_array, _LATEST),
    "extensible-array": (partial(_large, maxshape=_ONE), _LATEST),
    "v2-tree": (partial(_large, maxshape=_TWO), _LATEST),
}
FILES = _kinds()
