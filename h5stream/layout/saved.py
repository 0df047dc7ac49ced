"""Writes layouts down, and reads them back without trusting what was written.

A saved layout is a zip file of NumPy arrays, none of them pickled: one holds JSON, the others hold
the columns of chunk tables, one table after the other. Whoever reads one checks that it is
complete, and that every range lies inside its file; what it says is otherwise as good as who
wrote it.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from h5stream.errors import LayoutError
from h5stream.layout.model import (
    ChunkTable,
    DatasetLayout,
    FileLayout,
    FilterSpec,
    Fingerprint,
    Storage,
    VlenType,
)
from h5stream.layout.packing import Packing
from h5stream.layout.tables import check_inside

__all__ = ["SavedFile", "is_layout", "pack_layouts", "unpack_layouts"]

_FORMAT = "h5stream layouts"
_VERSION = 3
_HEADER, _ENDS = "header", "ends"
_BEGIN_BYTES = 4096
_FEW_BYTES, _MOST_RATIO = 2**24, 1024
"""What unpacked arrays may take: the best ratio of deflate, and a little for small files."""

_MOST_BYTES = 2**33
"""Of all arrays, unpacked: more than 10 years of a chunk a second."""

_COLUMNS = {"index": np.int64, "byte_offset": np.int64, "size": np.int64, "filter_mask": np.uint32}
_PLAIN = (
    "file",
    "path",
    "byte_offset",
    "stored_bytes",
    "indirect",
    "refused",
    "user_block_bytes",
    "is_scale",
)
_BFLOAT16 = "bfloat16"
_UNREADABLE = (
    AttributeError,
    EOFError,
    KeyError,
    MemoryError,
    NotImplementedError,
    OverflowError,
    RecursionError,
    RuntimeError,
    OSError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, eq=False)
class SavedFile:
    """What is written down of a file.

    Parameters
    ----------
    layout : FileLayout
        Its datasets.
    reasons : dict
        Key of a dataset's layout -> why it is read through h5py, None if it is not.
    convention : str or None
        Name of the convention that the file shows.
    """

    layout: FileLayout
    reasons: dict[tuple[str, str], str | None]
    convention: str | None = None


def pack_layouts(files: Sequence[SavedFile]) -> bytes:
    """Write layouts down."""
    tables: list[ChunkTable] = []
    said = [_describe_file(file, tables) for file in files]
    header = json.dumps({"format": _FORMAT, "version": _VERSION, "files": said})
    arrays: dict[str, Any] = {_HEADER: np.frombuffer(header.encode(), np.uint8)}
    for name, kind in _COLUMNS.items():
        columns = [getattr(table, name) for table in tables]
        arrays[name] = np.concatenate(columns) if columns else np.empty(0, kind)
    arrays[_ENDS] = np.cumsum([len(table) for table in tables], dtype=np.int64)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # none of objects: `unpack_layouts` takes no pickles
    return buffer.getvalue()


def _describe_file(file: SavedFile, tables: list[ChunkTable]) -> dict[str, Any]:
    layout = file.layout
    return {
        "path": layout.path,
        "convention": file.convention,
        "fingerprints": {name: asdict(mark) for name, mark in layout.fingerprints.items()},
        "datasets": {
            name: _describe_dataset(dataset, file.reasons, tables)
            for name, dataset in layout.datasets.items()
        },
    }


def _describe_dataset(
    layout: DatasetLayout,
    reasons: Mapping[tuple[str, str], str | None],
    tables: list[ChunkTable],
) -> dict[str, Any]:
    said = {name: getattr(layout, name) for name in _PLAIN}
    if layout.key in reasons:
        said["reason"] = reasons[layout.key]
    if layout.vlen is not None:
        said["vlen"] = [_describe_type(layout.vlen.dtype), layout.vlen.text]
    if layout.table is not None:
        said["table"] = len(tables)
        tables.append(layout.table)
    return {
        **said,
        "storage": str(layout.storage),
        "shape": list(layout.shape),
        "chunks": None if layout.chunks is None else list(layout.chunks),
        "dtype": _describe_type(layout.dtype),
        "filters": [[spec.id, spec.name, list(spec.values)] for spec in layout.filters],
        "fill": None if layout.fill is None else layout.fill.tobytes().hex(),
        "enum": None if layout.enum is None else dict(layout.enum),
        "packing": None if layout.packing is None else asdict(layout.packing),
    }


def _describe_type(dtype: np.dtype[Any]) -> Any:
    if dtype == ml_dtypes.bfloat16:
        return _BFLOAT16
    if dtype.names is None:
        return None if dtype.hasobject else dtype.str
    fields: Mapping[str, Any] = dtype.fields or {}
    return {
        "names": list(dtype.names),
        "formats": [_describe_member(fields[name][0]) for name in dtype.names],
        "offsets": [int(fields[name][1]) for name in dtype.names],
        "itemsize": dtype.itemsize,
    }


def _describe_member(dtype: np.dtype[Any]) -> Any:
    return [_describe_type(dtype.base), list(dtype.shape)]


def unpack_layouts(data: bytes, what: str) -> list[SavedFile]:
    """Read layouts back.

    Parameters
    ----------
    data : bytes
        What `pack_layouts` gave.
    what : str
        What messages call it.

    Raises
    ------
    LayoutError
        If they are not saved layouts of this version, or not complete, or not possible.
    """
    try:
        arrays = _unzip(data)
        header = json.loads(bytes(arrays[_HEADER]))
        if (header["format"], header["version"]) != (_FORMAT, _VERSION):
            raise ValueError(f"version {header['version']!r} of {header['format']!r}")
        tables = _Tables(arrays)
        return [_make_file(said, tables) for said in header["files"]]
    except LayoutError:
        raise
    except _UNREADABLE as error:
        raise LayoutError(
            f"{what}: this is no saved layout (version {_VERSION}) of h5stream, or it is damaged "
            f"({type(error).__name__}: {error}); write it again with `h5stream index`"
        ) from error


class _Tables:
    """Chunk tables, by their number."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._columns = {
            name: arrays[name].astype(kind, casting="safe") for name, kind in _COLUMNS.items()
        }
        self._ends = [0, *arrays[_ENDS].tolist()]
        lengths = {len(column) for column in self._columns.values()}
        if lengths != {self._ends[-1]} or self._ends != sorted(self._ends):
            raise ValueError("columns of chunk tables differ in length")

    def __getitem__(self, number: Any) -> ChunkTable:
        if not isinstance(number, int) or not 0 <= number < len(self._ends) - 1:
            raise ValueError(f"there is no chunk table {number!r}")
        some = slice(self._ends[number], self._ends[number + 1])
        return ChunkTable(**{name: column[some] for name, column in self._columns.items()})


def is_layout(path: Path) -> bool:
    """Tell a saved layout from other files by its first words."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{_HEADER}.npy") as header:
            return _FORMAT.encode() in header.read(_BEGIN_BYTES)
    except _UNREADABLE:
        return False


def _unzip(data: bytes) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        most = min(_MOST_BYTES, _FEW_BYTES + _MOST_RATIO * len(data))
        sizes = {member.filename: member.file_size for member in archive.infolist()}
        total = sum(sizes.values())
        if total > most:
            raise ValueError(f"{total} bytes unpacked, where at most {most} are plausible")
        read = partial(_read_array, archive)
        return {name.removesuffix(".npy"): read(name, size) for name, size in sizes.items()}


def _read_array(archive: zipfile.ZipFile, name: str, size: int) -> np.ndarray:
    """Read an array whose header is checked against what is there before memory is taken."""
    with archive.open(name) as raw:
        data = raw.read(size)
    file = io.BytesIO(data)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError(f"{name} is no array of the first version")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.hasobject or fortran or len(shape) != 1 or dtype.kind not in "iu":
        raise ValueError(f"{name} is no list of integers")
    if shape[0] * dtype.itemsize != len(data) - file.tell():
        raise ValueError(f"{name} has {len(data) - file.tell()} bytes for {shape[0]} numbers")
    return np.frombuffer(data, dtype, offset=file.tell())


def _make_file(said: dict[str, Any], tables: _Tables) -> SavedFile:
    marks = {name: Fingerprint(**mark) for name, mark in said["fingerprints"].items()}
    datasets, reasons = {}, {}
    for name, each in said["datasets"].items():
        dataset = datasets[name] = _make_dataset(each, tables)
        _check(dataset, marks[dataset.file].size_bytes)
        if "reason" in each:
            reasons[dataset.key] = each["reason"]
    return SavedFile(FileLayout(said["path"], datasets, marks), reasons, said["convention"])


def _make_dataset(said: dict[str, Any], tables: _Tables) -> DatasetLayout:
    dtype = _make_type(said["dtype"])
    fill = said["fill"]
    layout = DatasetLayout(
        **{name: said[name] for name in _PLAIN},
        storage=Storage(said["storage"]),
        shape=_counts(said["shape"]),
        chunks=None if said["chunks"] is None else _counts(said["chunks"]),
        dtype=dtype,
        filters=tuple(
            FilterSpec(int(number), str(name), tuple(map(int, values)))
            for number, name, values in said["filters"]
        ),
        fill=None if fill is None else np.frombuffer(bytes.fromhex(fill), dtype).reshape(()),
        enum=said["enum"],
        vlen=_make_vlen(said.get("vlen"), dtype),
        packing=_make_packing(said["packing"]),
    )
    if "table" not in said:
        return layout
    return replace(layout, table=tables[said["table"]])


def _make_packing(said: Any) -> Packing | None:
    if said is None:
        return None
    packing = Packing(**{**said, "missing": tuple(said["missing"])})
    numbers = (packing.scale, packing.offset, *packing.missing)
    if not all(type(number) in (int, float) for number in numbers):
        raise ValueError(f"{numbers} are no numbers")
    if packing.dtype not in ("float32", "float64") or type(packing.unsigned) is not bool:
        raise ValueError(f"{packing.dtype!r} is no type of decoded numbers")
    return replace(packing, trouble=str(packing.trouble))


def _make_vlen(said: Any, dtype: np.dtype[Any]) -> VlenType | None:
    if said is None:
        return None
    if dtype != np.dtype("V16"):
        raise ValueError(f"descriptors of {dtype}")
    return VlenType(_make_type(said[0]), bool(said[1]))


def _counts(numbers: Sequence[int]) -> tuple[int, ...]:
    if any(not isinstance(number, int) or number < 0 for number in list[Any](numbers)):
        raise ValueError(f"{numbers} are no counts")
    return tuple(numbers)


def _make_type(said: Any) -> np.dtype[Any]:
    if said is None:
        return np.dtype(object)
    if said == _BFLOAT16:
        return np.dtype(ml_dtypes.bfloat16)
    if isinstance(said, str):
        return _without_objects(np.dtype(said))
    formats = [(_make_type(kind), _counts(shape)) for kind, shape in said["formats"]]
    described: Any = {**said, "formats": formats}
    return _without_objects(np.dtype(described))


def _without_objects(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.hasobject:
        raise ValueError("elements are objects")
    return dtype


def _check(layout: DatasetLayout, size_bytes: int) -> None:
    """Refuse what no scan can have found; what cannot be streamed is not looked at."""
    if layout.refused:
        return
    if not layout.shape:
        raise ValueError("a scalar is to be streamed")
    if layout.storage is Storage.CONTIGUOUS and layout.byte_offset is not None:
        check_inside(layout, np.array([layout.byte_offset]), np.array([layout.nbytes]), size_bytes)
    if layout.storage is Storage.CHUNKED:
        chunks = layout.chunks or ()
        if len(chunks) != len(layout.shape) or not all(chunks):
            raise ValueError(f"chunks {chunks} do not fit shape {layout.shape}")
    table = layout.table
    if table is None:
        return
    most = int(np.prod([int(n) for n in layout.grid], dtype=object))
    if len(table) and not (table.index[0] >= 0 and table.index[-1] < most):
        raise ValueError("a chunk lies outside its dataset")
    if (np.diff(table.index) <= 0).any():
        raise ValueError("chunks are not in order")
    check_inside(layout, table.byte_offset, table.size, size_bytes)
