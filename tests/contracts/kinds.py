"""Files with one kind of field each, and the rows that it should give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import h5stream as h5s
from tests.places import PLACES

__all__ = ["KINDS", "Kind", "same_row"]

N = 60
RNG = np.random.default_rng(7)
LENGTHS = RNG.integers(0, 9, N)
LENGTHS[[3, 4, 20]] = 0
OFFSETS = np.concatenate([[0], np.cumsum(LENGTHS)])
VALUES = RNG.integers(-1000, 1000, OFFSETS[-1]).astype("i4")
ROWS = [VALUES[a:b] for a, b in pairwise(OFFSETS)]
STORAGE: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "gzip": {"chunks": (17,), "compression": "gzip", "shuffle": True},
}


@dataclass(frozen=True)
class Kind:
    """One way to lay rows over datasets.

    Parameters
    ----------
    name : str
        For test ids.
    write : callable
        Writes the file.
    field : object
        What to ask for.
    rows : list
        What row i should be.
    places : tuple of str
        Where it can be: remote files lead to no others.
    in_two : object
        What to ask for in two such files together, if that is something else.
    beside : dict
        Fields that the field needs beside it.
    more : tuple of callable
        Write further files, of equally many rows.
    apart : bool
        The field and the row numbers lie in files of their own.
    """

    name: str
    write: Callable[[h5py.File], None]
    field: Any
    rows: list[Any]
    places: tuple[str, ...] = PLACES
    in_two: Any = None
    beside: Any = None
    more: tuple[Callable[[h5py.File], None], ...] = ()
    apart: bool = False

    def make(self, folder: Path) -> list[Path]:
        """Write files, with row numbers beside the field."""
        writers = (self.write, *self.more)
        paths = [folder / f"file{number or ''}.h5" for number in range(len(writers))]
        numbers = np.split(np.arange(len(self.rows)), len(writers))
        for path, write, own in zip(paths, writers, numbers, strict=True):
            with h5py.File(path, "w") as file:
                write(file)
                if not self.apart:
                    file["number"] = own
        if not self.apart:
            return paths
        beside = [path.with_name(f"number-{path.name}") for path in paths]
        for path, own in zip(beside, numbers, strict=True):
            with h5py.File(path, "w") as file:
                file["number"] = own
        return [*paths, *beside]

    def sources(self, paths: Sequence[str]) -> Any:
        """Say what to stream of such files."""
        beside = [path for path in paths if "number-" in path]
        others = [path for path in paths if path not in beside]
        return {"x": others, "number": beside} if self.apart else paths

    @property
    def fields(self) -> dict[str, Any]:
        """The field, and the row numbers."""
        return {"x": self.field, "number": "number", **(self.beside or {})}


def same_row(found: Any, expected: Any) -> bool:
    """Compare rows: text, arrays, and rows of a sparse matrix with dense ones."""
    if isinstance(expected, str):
        return bool(found == expected)
    if hasattr(found, "dense"):
        found = found.dense()[0]
    found = np.asarray(found)
    return found.dtype == expected.dtype and np.array_equal(found, expected)


def _ragged(storage: dict[str, Any]) -> Callable[[h5py.File], None]:
    def write(file: h5py.File) -> None:
        file.create_dataset("values", data=VALUES, **storage)
        file["offsets"], file["lengths"] = OFFSETS, LENGTHS

    return write


def _members(file: h5py.File) -> None:
    pairs = np.zeros(len(VALUES), [("a", "f8"), ("b", ">i4")])
    pairs["b"] = VALUES
    file.create_dataset("pairs", data=pairs, chunks=(13,))
    file["offsets"] = OFFSETS


def _vlen(dtype: str, chunks: bool) -> Callable[[h5py.File], None]:
    def write(file: h5py.File) -> None:
        more = {"chunks": (7,), "compression": "gzip"} if chunks else {}
        dataset = file.create_dataset("x", (N,), h5py.vlen_dtype(dtype), **more)
        for number, row in enumerate(ROWS):
            if len(row):
                dataset[number] = row.astype(dtype)

    return write


TEXTS = [f"row {i} é" * (i % 4) for i in range(N)]


def _text(file: h5py.File) -> None:
    file.create_dataset("x", data=TEXTS, dtype=h5py.string_dtype(), chunks=(11,))


MATRIX = np.where(RNG.random((N, 13)) < 0.2, RNG.integers(1, 99, (N, 13)), 0).astype("f4")


def _sparse(file: h5py.File) -> None:
    group = file.create_group("m")
    rows, columns = np.nonzero(MATRIX)
    group.create_dataset("data", data=MATRIX[rows, columns], chunks=(19,), compression="gzip")
    group["indices"] = columns.astype("i4")
    group["indptr"] = np.searchsorted(rows, np.arange(N + 1))
    group.attrs["shape"] = MATRIX.shape


TRAJECTORIES = [RNG.random((i % 5 + 1, 3)).astype("f4") for i in range(N)]


def _grouped(mixed: bool) -> Callable[[h5py.File], None]:
    def write(file: h5py.File) -> None:
        for number, row in enumerate(TRAJECTORIES):
            kind = number % 3 if mixed else 0
            more = [{}, {"chunks": (2, 3)}, {"chunks": (2, 2), "compression": "gzip"}][kind]
            more = {} if len(row) < 2 else more
            file.create_dataset(f"demo_{number}/x", data=row, **more)

    return write


def _mixed_types(file: h5py.File) -> None:
    """Write rows of which some are stored in another byte order or precision."""
    for number, row in enumerate(TRAJECTORIES):
        file[f"demo_{number}/x"] = row.astype(["<f4", ">f4", "<f8"][number % 3])


def _linked(file: h5py.File) -> None:
    """Write rows of which every other one lies in another file."""
    path = Path(file.filename).with_suffix(".others")
    with h5py.File(path, "w") as other:
        other["padding"] = np.zeros(99)
        for number, row in enumerate(TRAJECTORIES):
            (other if number % 2 else file)[f"demo_{number}/x"] = row
    for number in range(1, N, 2):
        file[f"demo_{number}"] = h5py.ExternalLink(path.name, f"demo_{number}")


SIGNAL = RNG.random((N * 2 + 3, 2))


def _signal(file: h5py.File) -> None:
    file.create_dataset("signal", data=SIGNAL, chunks=(10, 2), compression="gzip")


def _wide(file: h5py.File) -> None:
    file.create_dataset("wide", data=MATRIX.T, chunks=(5, 7), compression="gzip")
    file["flat"] = MATRIX.T


AT = RNG.integers(0, len(SIGNAL), N)
STARTS = RNG.integers(0, 90, N)
STOPS = STARTS + RNG.integers(0, 12, N)
FRAMES = np.pad(SIGNAL, ((2, 2), (0, 0)), mode="reflect")
SLICED = [row[k : k + 2] for row in TRAJECTORIES for k in range(len(row) - 1)]


def _constants(file: h5py.File) -> None:
    _signal(file)
    file.attrs["site"] = "Zürich"
    file["signal"].attrs["scale"] = np.float32([0.5, 2])
    file["gain"] = np.array([[1, 2, 3]], "i2")


def _subjects(file: h5py.File) -> None:
    for number in range(N):
        group = file.require_group(f"sub_{number // 4}")
        group.attrs["age"] = 20 + number // 4
        group[f"run_{number % 4}/eeg"] = TRAJECTORIES[number]


def _one_row(value: Any) -> Callable[[h5py.File], None]:
    def write(file: h5py.File) -> None:
        more = {"chunks": (1, 2), "compression": "gzip"} if np.ndim(value) == 2 else {}
        file.create_dataset("climate/data", data=value, **more)

    return write


def _whole(name: str, rows: list[Any], **options: Any) -> Kind:
    first, *more = map(_one_row, rows)
    return Kind(name, first, h5s.Whole("climate/data", **options), rows, more=tuple(more))


FEW = 12
CROPS = [SIGNAL[n : n + 4] for n in range(FEW)]


FIELD = RNG.integers(-99, 99, (N, 5, 12, 9)).astype("i2")


def _fields(file: h5py.File) -> None:
    file.create_dataset("cut", data=FIELD, chunks=(7, 2, 5, 4), compression="gzip")
    file["flat"] = FIELD
    file.create_dataset("last", data=np.moveaxis(FIELD, 0, 3), chunks=(2, 4, 9, 11))
    for number in range(N):
        file[f"run_{number}/eeg"] = FIELD[number, :, :, 0]


RUNS = RNG.integers(0, 999, (20, 9, 4, 3)).astype("f4")


def _runs(file: h5py.File) -> None:
    file["flat"] = RUNS
    file.create_dataset("cut", data=RUNS, chunks=(5, 2, 3, 2), compression="gzip", shuffle=True)
    file.create_dataset("last", data=np.moveaxis(RUNS, 1, 3), chunks=(1, 4, 2, 4))


MOLECULES = [RNG.random((n % 4 + 1, n % 3 + 1, 3)).astype("f4") for n in range(7)]
ATOMS = [row for rows in MOLECULES for row in rows]


def _molecules(file: h5py.File) -> None:
    for number, rows in enumerate(MOLECULES):
        more = [{}, {"chunks": (1, 1, 2), "compression": "gzip"}, {"dtype": ">f4"}][number % 3]
        file.create_dataset(f"mol_{number}/xyz", data=rows, **more)


def _long_rows(first: int, last: int) -> Callable[[h5py.File], None]:
    def write(file: h5py.File) -> None:
        rows = np.stack([row[: first + 1] for row in RUNS[first:last]])
        more = {"chunks": (2, 1, 3, 3), "compression": "gzip"} if first else {}
        file.create_dataset("x", data=rows, **more)

    return write


LONG = [RUNS[n][: n // 10 * 10 + 1] for n in range(20)]


WINDOWS = [RUNS[run, at : at + 4] for run in range(20) for at in range(0, 5, 2)]


def _bounds(file: h5py.File) -> None:
    _signal(file)
    file["bounds"] = np.stack([STARTS, STOPS], 1)


CLOCK = np.sort(RNG.integers(0, 200, len(SIGNAL))) / 4


def _clocked(file: h5py.File) -> None:
    _signal(file)
    file["clock"], file["begin"] = CLOCK, CLOCK[AT]


VOLUME = RNG.integers(0, 999, (2, 11, 12, 10)).astype("f4")


def _volume(file: h5py.File) -> None:
    file.create_dataset("raw", data=VOLUME, chunks=(1, 4, 5, 10), compression="gzip")
    file["label"] = VOLUME[0]


CORNERS = [(z, y, x) for z in (0, 3, 6) for y in (0, 4, 8) for x in (0, 3, 6)]


EPISODES = [row for row in ROWS if len(row)]


def _flags(file: h5py.File) -> None:
    file["values"] = VALUES
    last = np.isin(np.arange(len(VALUES)), np.cumsum([len(row) for row in EPISODES])[:-1] - 1)
    file["a"], file["b"] = last & (VALUES > 0), last & (VALUES <= 0)


TABLE = {
    "id": [f"id {n}" for n in (3, 6, 1, 0, 5, 2, 4)],
    "label": [f"label {n}" for n in range(7)],
}


def _with_ids(file: h5py.File) -> None:
    _signal(file)
    ids = [f"id {n % 7}" for n in range(N)]
    file.create_dataset("ids", data=ids, dtype=h5py.string_dtype(), chunks=(9,), compression="gzip")


KINDS = [
    *(
        Kind(f"offsets, {name}", _ragged(storage), h5s.Ragged("values", "offsets"), ROWS)
        for name, storage in STORAGE.items()
    ),
    Kind("offsets, of a member", _members, h5s.Ragged("pairs[b]", "offsets"), ROWS),
    Kind("lengths", _ragged({}), h5s.Ragged("values", lengths="lengths"), ROWS),
    Kind(
        "rows of several datasets, of unequal length",
        _molecules,
        h5s.Concat("mol_*/xyz", ragged=True),
        ATOMS,
    ),
    Kind(
        "rows longer in one file, flat",
        _long_rows(0, 10),
        h5s.Dense("x", flat=True, dtype="f8"),
        [row.reshape(-1).astype("f8") for row in LONG],
        more=(_long_rows(10, 20),),
        places=("disk",),
    ),
    Kind("vlen", _vlen("i4", False), "x", ROWS),
    Kind("vlen, big-endian in chunks", _vlen(">f8", True), "x", [row.astype("f8") for row in ROWS]),
    Kind("text", _text, "x", TEXTS),
    Kind("sparse", _sparse, "m", list(MATRIX)),
    Kind("sparse as dense", _sparse, h5s.Sparse("m", dense=True), list(MATRIX)),
    Kind("grouped", _grouped(False), h5s.Grouped("demo_*/x"), TRAJECTORIES),
    Kind("grouped, of several storages", _grouped(True), h5s.Grouped("demo_*/x"), TRAJECTORIES),
    Kind(
        "grouped, of several types",
        _mixed_types,
        h5s.Grouped("demo_*/x", dtype="f4"),
        TRAJECTORIES,
    ),
    Kind(
        "grouped, in several files",
        _linked,
        h5s.Grouped("demo_*/x"),
        TRAJECTORIES,
        places=("disk",),
    ),
    Kind(
        "slices",
        _signal,
        h5s.Slices("signal", 5, stride=2),
        [SIGNAL[2 * i : 2 * i + 5] for i in range(N)],
    ),
    Kind(
        "slices with steps",
        _signal,
        h5s.Slices("signal", 3, stride=2, step=3),
        [SIGNAL[2 * i : 2 * i + 7 : 3] for i in range(N - 1)],
    ),
    Kind("slices of groups", _grouped(False), h5s.Slices(h5s.Grouped("demo_*/x"), 2), SLICED),
    Kind(
        "slices between bounds",
        _signal,
        h5s.Slices("signal", starts=STARTS, stops=STOPS),
        [SIGNAL[a:b] for a, b in zip(STARTS, STOPS, strict=True)],
        in_two=h5s.Slices(
            "signal",
            starts=np.append(STARTS, STARTS + len(SIGNAL)),
            stops=np.append(STOPS, STOPS + len(SIGNAL)),
        ),
    ),
    Kind(
        "windows in time",
        _clocked,
        h5s.TimeSlices("signal", "clock", starts="begin", length=2.0),
        [SIGNAL[(at <= CLOCK) & (at + 2 > CLOCK)] for at in CLOCK[AT]],
        places=("disk",),
    ),
    Kind(
        "frames",
        _signal,
        h5s.Slices("signal", 5, stride=2, center=True, padding="reflect"),
        [FRAMES[2 * i : 2 * i + 5] for i in range(-(-len(SIGNAL) // 2))],
    ),
    Kind("another axis, in chunks", _wide, h5s.Dense("wide", axis=1), list(MATRIX)),
    Kind("another axis, contiguous", _wide, h5s.Dense("flat", axis=1), list(MATRIX)),
    Kind("picked rows", _signal, h5s.Picked("signal", at=AT), list(SIGNAL[AT])),
    Kind(
        "picked elements",
        _signal,
        h5s.Picked("signal", at=AT, within=AT % 2),
        list(SIGNAL[AT, AT % 2]),
    ),
    Kind(
        "converted",
        _signal,
        h5s.Picked(h5s.Dense("signal", dtype="f4"), at=AT),
        list(SIGNAL[AT].astype("f4")),
    ),
    Kind(
        "attribute of the file",
        _constants,
        h5s.Constant("/", "site"),
        ["Zürich"] * N,
    ),
    Kind(
        "attribute of a dataset",
        _constants,
        h5s.Constant("signal", "scale", dtype="f8"),
        [np.array([0.5, 2])] * N,
    ),
    Kind("small dataset", _constants, h5s.Constant("gain"), [np.array([[1, 2, 3]], "i2")] * N),
    Kind(
        "attribute of a group above",
        _subjects,
        h5s.Grouped("sub_*", attribute="age"),
        [np.int64(20 + n // 4) for n in range(N)],
        beside={"eeg": h5s.Grouped("sub_*/run_*/eeg")},
    ),
    Kind(
        "name of the group of slices",
        _grouped(False),
        h5s.Origin("group"),
        [f"demo_{i}" for i, row in enumerate(TRAJECTORIES) for _ in range(len(row) - 1)],
        beside={"slice": h5s.Slices(h5s.Grouped("demo_*/x"), 2)},
    ),
    Kind("name of the file", _signal, h5s.Origin("name"), ["file.h5"] * N),
    Kind("number in the file", _signal, h5s.Origin("row"), [np.int64(n) for n in range(N)]),
    _whole("a row a file", CROPS),
    _whole("a row a file, of other lengths", list(TRAJECTORIES[:FEW])),
    _whole("a number a file", [np.int32(n) for n in range(FEW)]),
    _whole("a text a file", TEXTS[:FEW]),
    replace(_whole("rows a file, numbers in other files", CROPS), apart=True),
    Kind(
        "slices, numbers in another file",
        _signal,
        h5s.Slices("signal", 5, stride=2),
        [SIGNAL[2 * i : 2 * i + 5] for i in range(N)],
        apart=True,
    ),
    Kind(
        "column of a table, by an id",
        _with_ids,
        h5s.Table(TABLE, "label", key="id", by="ids"),
        [TABLE["label"][TABLE["id"].index(f"id {n % 7}")] for n in range(N)],
        beside={"signal": h5s.Slices("signal", 5, stride=2)},
    ),
    Kind(
        "ragged values of a mapping, by the number",
        _signal,
        h5s.Table({n: ROWS[n].tolist() or [0] for n in reversed(range(N))}, by=h5s.Origin("row")),
        [np.array(row.tolist() or [0]) for row in ROWS],
    ),
    Kind(
        "part of a row",
        _fields,
        h5s.Dense("cut", inner=np.s_[1:4, ::3, 2:7]),
        list(FIELD[:, 1:4, ::3, 2:7]),
    ),
    Kind(
        "chosen channels",
        _fields,
        h5s.Dense("cut", inner=([4, 0], ..., -1)),
        list(FIELD[..., -1][:, [4, 0]]),
    ),
    Kind("a channel, contiguous", _fields, h5s.Dense("flat", inner=3), list(FIELD[:, 3])),
    Kind(
        "part of a row along another axis",
        _fields,
        h5s.Dense("last", axis=3, inner=np.s_[:2, 7:, [0, 8, 3]]),
        list(FIELD[:, :2, 7:][..., [0, 8, 3]]),
    ),
    Kind(
        "chosen channels of recordings",
        _fields,
        h5s.Slices(h5s.Grouped("run_*/eeg", axis=1, inner=[3, 1]), 12),
        [FIELD[n, [3, 1], :, 0].T for n in range(N)],
    ),
    Kind("windows of runs, contiguous", _runs, h5s.Slices("flat", 4, stride=2, axis=1), WINDOWS),
    Kind("windows of runs, in chunks", _runs, h5s.Slices("cut", 4, stride=2, axis=1), WINDOWS),
    Kind(
        "windows of parts of runs along another axis",
        _runs,
        h5s.Slices(h5s.Dense("last", inner=np.s_[1:, ::2]), 4, stride=2, axis=3),
        [window[:, 1:, ::2] for window in WINDOWS],
    ),
    Kind(
        "chunks of actions to the end",
        _grouped(False),
        h5s.Slices(h5s.Grouped("demo_*/x"), 3, after=2, padding="edge"),
        [
            row[np.minimum(np.arange(k, k + 3), len(row) - 1)]
            for row in TRAJECTORIES
            for k in range(len(row))
        ],
    ),
    Kind(
        "mask of padded slices",
        _grouped(False),
        h5s.Mask(h5s.Slices(h5s.Grouped("demo_*/x"), 3, before=1, after=1)),
        [
            np.array([0 <= at < len(row) for at in range(k, k + 3)])
            for row in TRAJECTORIES
            for k in range(-1, len(row) - 1)
        ],
    ),
    Kind("between flags", _flags, h5s.Ragged("values", ends=("a", "b")), EPISODES),
    Kind(
        "slices between bounds of a dataset",
        _bounds,
        h5s.Slices("signal", starts="bounds", inclusive=True),
        [SIGNAL[a : b + 1] for a, b in zip(STARTS, STOPS, strict=True)],
    ),
    Kind(
        "patches of volumes with channels",
        _volume,
        h5s.Patches("raw", (4, 4, 3), stride=(3, 4, 3)),
        [VOLUME[:, z : z + 4, y : y + 4, x : x + 3] for z, y, x in CORNERS],
    ),
    Kind(
        "patches of volumes, contiguous",
        _volume,
        h5s.Patches(h5s.Dense("label", dtype="f8"), (4, 4, 3), stride=(3, 4, 3)),
        [VOLUME[0, z : z + 4, y : y + 4, x : x + 3].astype("f8") for z, y, x in CORNERS],
    ),
    Kind(
        "rows of several datasets",
        _grouped(True),
        h5s.Concat("demo_*/x"),
        list(np.concatenate(TRAJECTORIES)),
        beside={"demo": h5s.Origin("group")},
    ),
]
