"""How long it takes from naming files to the first batch, beside h5py opening and reading the same.

    python benchmarks/opening.py [largest number of files, default 20000]

Many files of one sample each, and one file with as many datasets, each a sample. Cold: nothing is
known of the files. Kept: they were opened before, and did not change.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import h5stream as h5s


def write_files(folder: Path, count: int) -> None:
    for number in range(count):
        with h5py.File(folder / f"{number}.h5", "w") as file:
            file["x"] = np.full((1, 8), number, "f4")
        _make_old(folder / f"{number}.h5")


def write_datasets(folder: Path, count: int) -> None:
    with h5py.File(folder / "one.h5", "w") as file:
        for number in range(count):
            file[f"data/{number}"] = np.full((3, 8), number, "f4")
    _make_old(folder / "one.h5")


def _make_old(path: Path) -> None:
    os.utime(path, (1e9, 1e9))  # what was modified just now is not kept


def read_files(folder: Path, count: int) -> None:
    for number in range(count):
        with h5py.File(folder / f"{number}.h5") as file:
            file["x"][()]


def read_datasets(folder: Path, count: int) -> None:
    with h5py.File(folder / "one.h5") as file:
        for number in range(count):
            file[f"data/{number}"][()]


KINDS: dict[str, tuple[Callable[..., None], Callable[..., None], Any]] = {
    "files": (write_files, read_files, ["x"]),
    "datasets": (write_datasets, read_datasets, {"x": h5s.Grouped("data/*")}),
}


def seconds_to_first_batch(folder: Path, fields: Any, cache: Path) -> tuple[float, float]:
    """Return seconds until files are known, and until the first batch."""
    began = time.perf_counter()
    stream = h5s.H5Stream(
        str(folder / "*.h5"), fields, batch_size=16, shuffle=True, cache_dir=cache
    )
    stream.rows()
    known = time.perf_counter() - began
    batches = iter(stream)
    next(batches)
    seconds = time.perf_counter() - began
    batches.close()
    return known, seconds


def measure(kind: str, count: int, folder: Path) -> None:
    write, read, fields = KINDS[kind]
    data = folder / f"{kind}-{count}"
    data.mkdir()
    write(data, count)
    began = time.perf_counter()
    read(data, count)
    by_h5py = time.perf_counter() - began
    row = f"{kind:9}{count:8,}{by_h5py:9.2f} s"
    for _state in ("cold", "kept"):
        known, first = seconds_to_first_batch(data, fields, folder / f"cache-{kind}-{count}")
        row += f"{known:9.2f} s{first:9.2f} s{first / by_h5py:7.1f}x"
    print(row, flush=True)


def main() -> None:
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    print(f"{'':17}{'h5py':>11}{'cold: known':>11}{'batch':>11}{'ratio':>8}", end="")
    print(f"{'kept: known':>11}{'batch':>11}{'ratio':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            counts = [100, 1000, 5000, 10_000, *([20_000] if kind == "datasets" else [])]
            for count in counts:
                if count <= most:
                    measure(kind, count, Path(folder))


if __name__ == "__main__":
    main()
