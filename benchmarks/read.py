"""Arrays out of files: h5s.read beside h5py, of local files and over a slow network.

Makes its own seeded files, then prints for each part of a dataset the seconds of both, side by side
in this process, and how many times faster h5stream is. Ways take turns, and the best of several
rounds counts for each, because other programs on the machine only ever make a run slower. Opening
the file is part of both. Remote files come from nginx behind a proxy that delays each request;
h5py reads them through fsspec's file object, with the best of its caches.

Run ``python -m benchmarks.read [--directory DIR] [--only NAME] [--delay S]``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import h5py
import numpy as np

import h5stream as h5s
from h5stream.system import available_cores
from tests.remote.delay import delayed
from tests.remote.nginx import nginx

ROWS, COLUMNS = 2**20, 128
CACHES = ("readahead", "bytes", "blockcache", "none")

FILES: dict[str, dict[str, Any]] = {
    "gzip": {"chunks": (2048, COLUMNS), "compression": "gzip", "compression_opts": 4},
    "gzip-tiles": {"chunks": (4096, 32), "compression": "gzip", "compression_opts": 4},
    "shuffle-gzip": {"chunks": (2048, COLUMNS), "compression": "gzip", "shuffle": True},
    "lzf": {"chunks": (2048, COLUMNS), "compression": "lzf"},
    "chunked": {"chunks": (2048, COLUMNS)},
    "contiguous": {},
}


@dataclass(frozen=True)
class Part:
    """What is read of a file."""

    file: str
    name: str
    selection: Any


def parts() -> list[Part]:
    generator = np.random.default_rng(0)
    rows = np.sort(generator.choice(ROWS, 2000, replace=False))
    each = [Part(file, "whole", np.s_[:]) for file in FILES]
    return [
        *each,
        Part("gzip", "a quarter", np.s_[ROWS // 4 : ROWS // 2]),
        Part("gzip", "every 10th row", np.s_[::10]),
        Part("gzip", "2,000 rows by number", rows),
        Part("gzip-tiles", "one column", np.s_[:, 7]),
        Part("contiguous", "every 10th row", np.s_[::10]),
        Part("contiguous", "2,000 rows by number", rows),
        Part("gzip", "one row", np.s_[ROWS // 3]),
    ]


def write_file(folder: Path, name: str, rows: int) -> Path:
    """Write readings to three digits, unless the file is there."""
    path = folder / f"{name}-{rows}.h5"
    if path.exists():
        return path
    generator = np.random.default_rng(0)
    unfinished = path.with_suffix(".partial")
    with h5py.File(unfinished, "w") as file:
        x = file.create_dataset("x", (rows, COLUMNS), "f4", **FILES[name])
        for start in range(0, rows, 2**16):
            count = min(2**16, rows - start)
            x[start : start + count] = generator.normal(size=(count, COLUMNS)).round(2)
    unfinished.rename(path)
    return path


def read_h5py(path: Path, selection: Any) -> np.ndarray:
    with h5py.File(path) as file:
        return file["x"][selection]


def seconds(run: Callable[[], Any]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def measure_local(part: Part, path: Path, repeats: int) -> None:
    ours, theirs = (
        lambda: h5s.read(path, "x", part.selection, layout=False),
        lambda: read_h5py(path, part.selection),
    )
    assert np.array_equal(ours(), theirs())
    rounds = [(seconds(ours), seconds(theirs)) for _ in range(repeats)]
    a, b = (min(each) for each in zip(*rounds, strict=True))
    print(f"{part.file:14} {part.name:22} {a:9.4f} {b:9.4f} {b / a:8.2f}", flush=True)


def read_over_fsspec(url: str, cache: str, selection: Any) -> np.ndarray:
    filesystem = fsspec.filesystem("http", skip_instance_cache=True)
    with filesystem.open(url, cache_type=cache) as raw, h5py.File(raw, "r") as file:
        return file["x"][selection]


def measure_remote(folder: Path, delay_s: float, repeats: int) -> None:
    rows = np.sort(np.random.default_rng(0).choice(ROWS, 200, replace=False))
    each = [
        Part("gzip", "whole", np.s_[:]),
        Part("gzip", "200 rows by number", rows),
        Part("chunked", "200 rows by number", rows),
    ]
    with (
        tempfile.TemporaryDirectory() as state,
        nginx(folder, Path(state)) as server,
        delayed(server.port, delay_s) as port,
    ):
        for part in each:
            path = write_file(folder, part.file, ROWS)
            compare_remote(part, path, f"http://127.0.0.1:{port}/{path.name}", repeats)


def compare_remote(part: Part, path: Path, url: str, repeats: int) -> None:
    ours = partial(h5s.read, url, "x", part.selection, layout=False)
    assert np.array_equal(ours(), read_h5py(path, part.selection))
    a = min(seconds(ours) for _ in range(repeats))
    theirs = {
        cache: seconds(partial(read_over_fsspec, url, cache, part.selection)) for cache in CACHES
    }
    best = min(theirs, key=theirs.__getitem__)
    name, b = f"{part.file} remote", theirs[best]
    print(f"{name:14} {part.name:22} {a:9.4f} {b:9.4f} {b / a:8.2f} ({best})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()) / "h5stream")
    parser.add_argument("--only", default="", help="measure only files whose name contains this")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--delay", type=float, default=0.03, help="of remote requests, in seconds")
    arguments = parser.parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    print(f"{available_cores()} cores, warm page cache, best of several; seconds\n")
    print(f"{'file':14} {'part':22} {'h5s.read':>9} {'h5py':>9} {'faster':>8}")
    for part in parts():
        if arguments.only in part.file:
            path = write_file(arguments.directory, part.file, ROWS)
            measure_local(part, path, arguments.repeats)
    if arguments.only in "remote":
        measure_remote(arguments.directory, arguments.delay, arguments.repeats)


if __name__ == "__main__":
    main()
