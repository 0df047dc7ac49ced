"""What an array of Zarr version 2 says, and the layout of a dataset that says the same. Pure."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from h5stream.errors import H5StreamError, LayoutError, UnsupportedError
from h5stream.layout.elements import SCALAR
from h5stream.layout.model import ChunkTable, DatasetLayout, FileLayout, FilterSpec, Storage

__all__ = [
    "References",
    "describe_arrays",
    "make_arrays",
    "places_of",
    "refuse_damage",
    "require_fitting",
    "with_places",
]

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
_KINDS = "biufcSV"
_MOST_CHUNKS = 2**40
_MOST_AXES = 32
_MOST_LENGTH = 2**62
_OF_FORMAT = (".z", "refs.")
"""What begins so is no dataset where references lie in folders."""


class References(Protocol):
    """References that were read; where chunks lie is looked up when it is wanted."""

    @property
    def arrays(self) -> Mapping[str, DatasetLayout]:
        """What each array is, without its chunks; `file` is empty.

        `indirect` says why the references of an array cannot be used. The element type is
        ``object`` if only the file can tell it.
        """

    def locate(self, names: Sequence[str]) -> dict[str, DatasetLayout]:
        """Add the chunk tables of some arrays, and the file that holds them.

        Raises
        ------
        LayoutError
            If they are damaged, or lead to several files.
        """


@contextlib.contextmanager
def refuse_damage(what: str) -> Iterator[None]:
    """Turn what damaged references lead to into an error that says so."""
    try:
        yield
    except H5StreamError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, OSError) as error:
        raise LayoutError(
            f"{what}: these are no kerchunk references, or they are damaged "
            f"({type(error).__name__}: {error}); write them again"
        ) from error


def require_fitting(layout: FileLayout) -> None:
    """Refuse what references cannot hold.

    Raises
    ------
    UnsupportedError
        Naming the dataset that does not fit the format, and why.
    """
    for name, dataset in layout.datasets.items():
        if reason := _reason_against(dataset):
            raise UnsupportedError(
                f"{layout.path}: {name!r} cannot be written as kerchunk references: {reason}; "
                "index other fields, or write a layout of h5stream (any other suffix, like .npz)"
            )


def _reason_against(layout: DatasetLayout) -> str | None:
    if layout.refused or layout.indirect:
        return layout.refused or layout.indirect
    if layout.vlen is not None:
        return "its elements vary in length, and lie in heaps of HDF5"
    if layout.storage not in (Storage.CHUNKED, Storage.CONTIGUOUS):
        return f"its storage is {layout.storage}"
    if layout.dtype.kind not in _KINDS or layout.dtype.names is not None:
        return f"its elements are {layout.dtype}"
    if layout.dtype.kind in "cSV" and layout.fill is not None and any(layout.fill.tobytes()):
        return "its fill value is no number"
    for spec in layout.filters:
        if spec.id not in _TO_CODEC:
            return f"it is compressed with {spec.name or spec.id}"
    if layout.table is not None and layout.table.filter_mask.any():
        return "some of its chunks skip a filter, for which the format has no place"
    if not _is_plain(layout.path.strip("/")):
        return "its name means something else there"
    return None


def _is_plain(name: str) -> bool:
    """Tell whether a name can also be that of a folder, below another, and of nothing else."""
    parts = name.split("/")
    ambiguous = any(part in ("", ".", "..") or part.startswith(_OF_FORMAT) for part in parts)
    return not ambiguous and "\\" not in name and name.isprintable()


def describe_arrays(layout: FileLayout) -> dict[str, Any]:
    """Write the groups and arrays of a file as Zarr's metadata.

    Returns
    -------
    dict
        Key, like ``group/x/.zarray`` -> what it holds.
    """
    said: dict[str, Any] = {".zgroup": {"zarr_format": 2}}
    for dataset in layout.datasets.values():
        path = dataset.path.strip("/")
        for group in itertools.accumulate(path.split("/")[:-1], lambda a, b: f"{a}/{b}"):
            said[f"{group}/.zgroup"] = said[".zgroup"]
        said[f"{path}/.zarray"] = _describe_array(dataset)
        said[f"{path}/.zattrs"] = {}
    return said


def _describe_array(layout: DatasetLayout) -> dict[str, Any]:
    return {
        "zarr_format": 2,
        "shape": list(layout.shape),
        "chunks": list(_chunks_of(layout)),
        "dtype": layout.dtype.str,
        "fill_value": _describe_fill(layout),
        "order": "C",
        "compressor": None,
        "filters": [_TO_CODEC[spec.id](spec.values) for spec in layout.filters] or None,
    }


def _chunks_of(layout: DatasetLayout) -> tuple[int, ...]:
    return layout.chunks or tuple(max(1, n) for n in layout.shape)


def _describe_fill(layout: DatasetLayout) -> Any:
    if layout.fill is None or layout.dtype.kind not in "biuf":
        return None
    value = layout.fill.item()
    if isinstance(value, float) and not math.isfinite(value):
        return next(name for name, each in _NOT_A_NUMBER.items() if str(each) == str(value))
    return value


def places_of(layout: DatasetLayout) -> tuple[tuple[int, ...], np.ndarray, np.ndarray, np.ndarray]:
    """Say where the chunks of a dataset lie; a contiguous one has one chunk.

    Returns
    -------
    grid : tuple of int
        How many chunks lie along each axis.
    index, byte_offset, size : numpy.ndarray
        int64, of each stored chunk: its C-order place in the grid, and its range.
    """
    table = layout.table
    if layout.storage is Storage.CHUNKED and table is not None:
        return layout.grid, table.index, table.byte_offset, table.size
    grid = tuple(min(1, n) for n in layout.shape)
    stored = layout.byte_offset is not None and layout.nbytes > 0
    columns = [(0, layout.byte_offset, layout.nbytes)] if stored else []
    index, byte_offset, size = np.array(columns, np.int64).reshape(-1, 3).T
    return grid, index, byte_offset, size


def make_arrays(said: Mapping[str, Any]) -> dict[str, DatasetLayout]:
    """Read Zarr's metadata back: arrays only, without their chunks.

    Raises
    ------
    LookupError, TypeError, ValueError
        If they are damaged.
    """
    found = (key.removesuffix("/.zarray") for key in said if key.endswith("/.zarray"))
    arrays = {name: _make_array(name, said[f"{name}/.zarray"]) for name in found}
    if not arrays:
        raise ValueError("there are no arrays")
    return arrays


def _make_array(name: str, said: Mapping[str, Any]) -> DatasetLayout:
    if not _is_plain(name):
        raise ValueError(f"{name!r} cannot be the name of an array")
    shape, chunks = _counts(said["shape"]), _counts(said["chunks"])
    chunks = tuple(c or (n == 0) for n, c in zip(shape, chunks, strict=True))
    layout = DatasetLayout(
        file="",
        path=f"/{name}",
        shape=shape,
        dtype=_element_type(said["dtype"]),
        storage=Storage.CHUNKED,
        chunks=chunks,
        refused=None if shape else SCALAR,
    )
    if min(chunks, default=1) < 1 or math.prod(layout.grid) > _MOST_CHUNKS:
        raise ValueError(f"{name!r} of shape {shape} has chunks {chunks}")
    codecs = [*(said.get("filters") or []), *filter(None, [said.get("compressor")])]
    unknown = [codec["id"] for codec in codecs if codec["id"] not in _FROM_CODEC]
    if unknown or said.get("order", "C") != "C" or layout.dtype.hasobject:
        reason = f"the codec {unknown[0]}" if unknown else "another order or type of elements"
        return replace(layout, indirect=f"it needs {reason}")
    return replace(layout, filters=tuple(_FROM_CODEC[codec["id"]](codec) for codec in codecs))


def _counts(numbers: Sequence[Any]) -> tuple[int, ...]:
    if len(numbers) > _MOST_AXES:
        raise ValueError(f"there are {len(numbers)} axes")
    for number in numbers:
        if not isinstance(number, int) or not 0 <= number < _MOST_LENGTH:
            raise ValueError(f"{number!r} is no length of an axis")
    return tuple(map(int, numbers))


def _element_type(said: Any) -> np.dtype[Any]:
    """Read a type of elements; what HDF5 spells otherwise is left to the file."""
    if not isinstance(said, str):
        return np.dtype(object)
    dtype = np.dtype(said)
    plain = dtype.kind in _KINDS and dtype.names is None and dtype.subdtype is None
    return dtype if plain and dtype.itemsize else np.dtype(object)


def with_places(
    layout: DatasetLayout,
    files: set[str],
    index: np.ndarray,
    byte_offset: np.ndarray,
    size: np.ndarray,
) -> DatasetLayout:
    """Add what was read of an array's chunks.

    Parameters
    ----------
    layout : DatasetLayout
        The array.
    files : set of str
        Where they lie.
    index, byte_offset, size : numpy.ndarray
        int64, in any order.

    Raises
    ------
    LayoutError
        If they lie in several files.
    ValueError
        If a place is impossible.
    """
    if len(files) > 1:
        raise LayoutError(
            f"the references of {layout.path!r} lead to {len(files)} files, expected one; write "
            "references for each file, or use `h5stream index` for all of them"
        )
    order = np.argsort(index, kind="stable")
    index, byte_offset, size = index[order], byte_offset[order], size[order]
    if len(index) and not (index[0] >= 0 and index[-1] < math.prod(layout.grid)):
        raise ValueError(f"a chunk of {layout.path!r} lies outside of it")
    if (np.diff(index) <= 0).any() or (byte_offset < 0).any() or (size < 0).any():
        raise ValueError(f"the chunks of {layout.path!r} lie at impossible places")
    if not (byte_offset + size).any() and len(index):
        return replace(layout, indirect="its chunks are whole files")
    table = ChunkTable(index, byte_offset, size, np.zeros(len(index), np.uint32))
    return replace(layout, file=next(iter(files), ""), table=table, stored_bytes=int(size.sum()))
