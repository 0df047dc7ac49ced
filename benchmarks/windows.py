"""Windows and boxes inside datasets, against reading them one at a time through h5py.

The files hold simulations (run, time, y, x), a long recording, and a volume. Of each an epoch of
all windows is streamed in shuffled batches; h5py reads some of them one at a time, in a random
order, as a map-style dataset does. Printed are windows a second with their ratio to h5py's, and the
bytes that were read, as a multiple of those that all chunks take in the file: each is needed.

Windows that are not compressed are copied at the speed of memory by both; there is less to gain.
The ways take turns, and the best of several rounds counts; the page cache is warm.

Run ``python benchmarks/windows.py [--directory DIR] [--only NAME] [--repeats N]``; the files take
0.6 GB.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

import h5stream as h5s

BATCH, SOME = 64, 300
GZIP = {"compression": "gzip", "compression_opts": 1}

Corner = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """A file, its windows, and where each begins.

    Parameters
    ----------
    shape, chunks : tuple of int
        Of the dataset of float32; None: not chunked.
    window : tuple of int
        Shape of a window, which has as many axes as the dataset.
    steps : tuple of int
        From one window to the next along each axis.
    field : FieldSpec
        What is asked for.
    options : dict
        How it is stored.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...] | None
    window: tuple[int, ...]
    steps: tuple[int, ...]
    field: Any
    options: Mapping[str, Any]

    def corners(self) -> list[Corner]:
        """List where all windows begin."""
        axes = zip(self.shape, self.window, self.steps, strict=True)
        return list(itertools.product(*(range(0, n - w + 1, step) for n, w, step in axes)))


RUNS = (96, 64, 64, 64)
LONG = (2_000_000, 16)
VOLUME = (128, 256, 256)
CASES = {
    "time inside runs, chunks of 8 steps, gzip": Case(
        RUNS, (1, 8, 64, 64), (1, 6, 64, 64), (1, 1, 1, 1), h5s.Slices("x", 6, axis=1), GZIP
    ),
    "time inside runs, not chunked": Case(
        RUNS, None, (1, 6, 64, 64), (1, 1, 1, 1), h5s.Slices("x", 6, axis=1), {}
    ),
    "a long recording, gzip": Case(
        LONG, (4096, 16), (500, 16), (50, 1), h5s.Slices("x", 500, stride=50), GZIP
    ),
    "a long recording, not chunked": Case(
        LONG, None, (500, 16), (50, 1), h5s.Slices("x", 500, stride=50), {}
    ),
    "boxes of a volume, lzf": Case(
        VOLUME,
        (32, 32, 32),
        (32, 32, 32),
        (16, 16, 16),
        h5s.Patches("x", (32, 32, 32), stride=(16, 16, 16)),
        {"compression": "lzf"},
    ),
}


def write(case: Case, path: Path) -> None:
    """Write the file of a case, if it is not there."""
    if path.exists():
        return
    partial = path.with_suffix(".partial")
    rng = np.random.default_rng(0)
    with h5py.File(partial, "w") as file:
        data = file.create_dataset("x", case.shape, "f4", chunks=case.chunks, **case.options)
        step = max(1, 2**23 // int(np.prod(case.shape[1:])))
        for start in range(0, case.shape[0], step):
            rows = min(step, case.shape[0] - start)
            data[start : start + rows] = rng.integers(0, 999, (rows, *case.shape[1:]))
    partial.rename(path)


def one_at_a_time(dataset: Any, corners: list[Corner], window: tuple[int, ...]) -> None:
    """Read windows as tensors."""
    for corner in corners:
        chosen = tuple(slice(at, at + n) for at, n in zip(corner, window, strict=True))
        torch.from_numpy(dataset[chosen])


def measure(name: str, directory: Path, repeats: int) -> None:
    """Print one file."""
    case = CASES[name]
    path = directory / f"windows-{list(CASES).index(name)}.h5"
    write(case, path)
    corners = case.corners()
    drawn = np.random.default_rng(0).permutation(len(corners))[:SOME].tolist()
    stream = h5s.H5Stream(path, {"x": case.field}, batch_size=BATCH, shuffle=True, epochs=1)
    with h5py.File(path) as file:
        stored = file["x"].id.get_storage_size()
        ways: dict[str, tuple[Callable[[], object], int]] = {
            "h5py, one at a time": (
                lambda: one_at_a_time(file["x"], [corners[n] for n in drawn], case.window),
                len(drawn),
            ),
            "h5stream, shuffled": (lambda: sum(1 for _batch in stream), len(corners)),
        }
        best = dict.fromkeys(ways, float("inf"))
        for _ in range(repeats):
            for way, (run, _windows) in ways.items():
                started = time.perf_counter()
                run()
                best[way] = min(best[way], time.perf_counter() - started)
    rates = {way: windows / best[way] for way, (_run, windows) in ways.items()}
    found = stream.stats()
    assert found["rows"] == repeats * len(corners), "each window comes once an epoch"
    print(f"\n{name}: {len(corners)} windows of {case.window} float32")
    first = next(iter(rates.values()))
    for way, rate in rates.items():
        print(f"{way:24}{rate:>12,.0f} windows/s{rate / first:>8.1f}")
    nbytes = found["fetched_bytes"] / repeats
    print(
        f"{'bytes read an epoch':24}{nbytes / stored:>12.2f} of the {stored / 1e6:,.0f} MB stored"
    )


def main() -> None:
    """Measure the files that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()) / "h5stream")
    parser.add_argument("--only", choices=CASES)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    print(f"{len(os.sched_getaffinity(0))} cores, best of {arguments.repeats}")
    for name in CASES:
        if arguments.only in (None, name):
            measure(name, arguments.directory, arguments.repeats)


if __name__ == "__main__":
    main()
