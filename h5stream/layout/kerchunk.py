"""Turns layouts into kerchunk's references, and back: Zarr version 2 metadata with byte ranges.

The format has no place for some of what HDF5 files have: skipped filters of single chunks, several
compressors, compound types. What does not fit is refused, never left out. References say nothing
of the version of a file, so whoever reads them asks the file.

See https://fsspec.github.io/kerchunk/spec.html.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from h5stream.errors import LayoutError, UnsupportedError
from h5stream.layout.model import ChunkTable, DatasetLayout, FileLayout, FilterSpec, Storage

__all__ = ["pack_references", "unpack_references"]

_GZIP, _SHUFFLE, _FLETCHER32, _BZIP2, _ZSTD = 1, 2, 3, 307, 32015

_TO_CODEC: dict[int, Callable[[tuple[int, ...]], dict[str, Any]]] = {
    _GZIP: lambda values: {"id": "zlib", "level": values[0] if values else 4},
    _SHUFFLE: lambda values: {"id": "shuffle", "elementsize": values[0]},
    _FLETCHER32: lambda values: {"id": "fletcher32"},
    _BZIP2: lambda values: {"id": "bz2", "level": values[0] if values else 9},
    _ZSTD: lambda values: {"id": "zstd", "level": values[0] if values else 3},
}

_FROM_CODEC: dict[str, Callable[[Mapping[str, Any]], FilterSpec]] = {
    "zlib": lambda codec: FilterSpec(_GZIP, "deflate", (int(codec.get("level", 4)),)),
    "shuffle": lambda codec: FilterSpec(_SHUFFLE, "shuffle", (int(codec["elementsize"]),)),
    "fletcher32": lambda codec: FilterSpec(_FLETCHER32, "fletcher32"),
    "bz2": lambda codec: FilterSpec(_BZIP2, "bzip2", (int(codec.get("level", 9)),)),
    "zstd": lambda codec: FilterSpec(_ZSTD, "zstd", (int(codec.get("level", 3)),)),
}

_NOT_A_NUMBER = {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf}
_MOST_CHUNKS = 2**40


def pack_references(layout: FileLayout) -> bytes:
    """Write the datasets of a file as references.

    Raises
    ------
    UnsupportedError
        Naming the dataset that does not fit the format, and why.
    """
    references: dict[str, Any] = {".zgroup": json.dumps({"zarr_format": 2})}
    for name, dataset in layout.datasets.items():
        if reason := _reason_against(dataset):
            raise UnsupportedError(
                f"{layout.path}: {name!r} cannot be written as kerchunk references: {reason}; "
                "index other fields, or write a layout of h5stream (any name but .json)"
            )
        path = dataset.path.strip("/")
        for group in itertools.accumulate(path.split("/")[:-1], lambda a, b: f"{a}/{b}"):
            references[f"{group}/.zgroup"] = references[".zgroup"]
        references[f"{path}/.zarray"] = json.dumps(_describe_array(dataset))
        references[f"{path}/.zattrs"] = "{}"
        references |= {f"{path}/{key}": place for key, place in _places(dataset).items()}
    return json.dumps({"version": 1, "refs": references}).encode()


def _reason_against(layout: DatasetLayout) -> str | None:
    if layout.refused or layout.indirect:
        return layout.refused or layout.indirect
    if layout.vlen is not None:
        return "its elements vary in length, and lie in heaps of HDF5"
    if layout.storage not in (Storage.CHUNKED, Storage.CONTIGUOUS):
        return f"its storage is {layout.storage}"
    if layout.dtype.kind not in "biufcSV" or layout.dtype.names is not None:
        return f"its elements are {layout.dtype}"
    if (
        layout.dtype.kind in "cSV"
        and layout.fill is not None
        and layout.fill.tobytes().strip(b"\0")
    ):
        return "its fill value is no number"
    for spec in layout.filters:
        if spec.id not in _TO_CODEC:
            return f"it is compressed with {spec.name or spec.id}"
    if layout.table is not None and layout.table.filter_mask.any():
        return "some of its chunks skip a filter, for which the format has no place"
    return None


def _describe_array(layout: DatasetLayout) -> dict[str, Any]:
    chunks = layout.chunks or tuple(max(1, n) for n in layout.shape)
    return {
        "zarr_format": 2,
        "shape": list(layout.shape),
        "chunks": list(chunks),
        "dtype": layout.dtype.str,
        "fill_value": _describe_fill(layout),
        "order": "C",
        "compressor": None,
        "filters": [_TO_CODEC[spec.id](spec.values) for spec in layout.filters] or None,
    }


def _describe_fill(layout: DatasetLayout) -> Any:
    if layout.fill is None or layout.dtype.kind not in "biuf":
        return None
    value = layout.fill.item()
    if isinstance(value, float) and not math.isfinite(value):
        return next(name for name, each in _NOT_A_NUMBER.items() if str(each) == str(value))
    return value


def _places(layout: DatasetLayout) -> dict[str, list[Any]]:
    """Map the keys of chunks to their places."""
    if layout.storage is Storage.CONTIGUOUS:
        if layout.byte_offset is None or not layout.nbytes:
            return {}
        key = ".".join("0" * len(layout.shape))
        return {key: [layout.file, layout.byte_offset, layout.nbytes]}
    table = layout.table
    if table is None or not len(table):
        return {}
    coordinates = np.stack(np.unravel_index(table.index, layout.grid), axis=1).tolist()
    columns = (coordinates, table.byte_offset.tolist(), table.size.tolist())
    return {
        ".".join(map(str, at)): [layout.file, offset, size]
        for at, offset, size in zip(*columns, strict=True)
    }


def unpack_references(data: bytes, what: str) -> FileLayout:
    """Read references to one file; its fingerprint is not in them.

    Parameters
    ----------
    data : bytes
        JSON.
    what : str
        What messages call it.

    Raises
    ------
    LayoutError
        If they are damaged, or lead to several files.
    UnsupportedError
        If they need what is not read directly.
    """
    try:
        said = json.loads(data)
        references = said.get("refs", said)
        names = [key.removesuffix("/.zarray") for key in references if key.endswith("/.zarray")]
        datasets = {name: _make_dataset(name, references, what) for name in names}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise LayoutError(
            f"{what}: these are no kerchunk references, or they are damaged "
            f"({type(error).__name__}: {error}); write them again"
        ) from error
    files = {layout.file for layout in datasets.values() if layout.file}
    if len(files) != 1:
        raise LayoutError(
            f"{what}: the references lead to {len(files)} files, expected one; write one for each "
            "file, or use `h5stream index` for all of them"
        )
    return FileLayout(files.pop(), datasets)


def _make_dataset(name: str, references: Mapping[str, Any], what: str) -> DatasetLayout:
    array = references[f"{name}/.zarray"]
    array = json.loads(array) if isinstance(array, str) else array
    codecs = [*(array.get("filters") or []), *filter(None, [array.get("compressor")])]
    unknown = [codec["id"] for codec in codecs if codec["id"] not in _FROM_CODEC]
    if unknown or array.get("order", "C") != "C":
        raise UnsupportedError(
            f"{what}: {name!r} needs {unknown[0] if unknown else 'Fortran order'}, which is not "
            "read from references; index the file with `h5stream index`"
        )
    dtype = np.dtype(array["dtype"])
    if dtype.hasobject or dtype.names is not None:
        raise ValueError(f"{name!r} has elements of {dtype}")
    shape, chunks = tuple(map(int, array["shape"])), tuple(map(int, array["chunks"]))
    grid = [-(-n // c) for n, c in zip(shape, chunks, strict=True)]
    if min(shape, default=1) < 0 or min(chunks, default=1) < 1 or math.prod(grid) > _MOST_CHUNKS:
        raise ValueError(f"{name!r} of shape {shape} has chunks {chunks}")
    file, table = _make_table(name, references, tuple(grid))
    fill = array.get("fill_value")
    return DatasetLayout(
        file=file,
        path=f"/{name}",
        shape=shape,
        dtype=dtype,
        storage=Storage.CHUNKED,
        chunks=chunks,
        filters=tuple(_FROM_CODEC[codec["id"]](codec) for codec in codecs),
        fill=np.array(_NOT_A_NUMBER.get(fill, fill) if fill else 0).astype(dtype),
        table=table,
        stored_bytes=int(table.size.sum()),
    )


def _make_table(
    name: str, references: Mapping[str, Any], grid: tuple[int, ...]
) -> tuple[str, ChunkTable]:
    prefix = f"{name}/"
    entries, files = [], set()
    for key, place in references.items():
        inside = key.removeprefix(prefix)
        if inside == key or "/" in inside or inside.startswith("."):
            continue
        if not isinstance(place, list) or len(place) != 3:
            raise ValueError(f"{key!r} is no range of a file")
        at = tuple(map(int, inside.split(".")))
        entries.append((int(np.ravel_multi_index(at, grid)), int(place[1]), int(place[2])))
        files.add(str(place[0]))
    if len(files) > 1:
        raise ValueError(f"{name!r} lies in {len(files)} files")
    columns = np.array(sorted(entries), np.int64).reshape(-1, 3).T
    index, offset, size = (np.ascontiguousarray(column) for column in columns)
    mask = np.zeros(len(index), np.uint32)
    return next(iter(files), ""), ChunkTable(index, offset, size, mask)
