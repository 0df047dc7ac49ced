"""Two epochs of a training loop, against its model alone.

The model takes 60 ms for a batch, as one on an accelerator does: the loop sleeps. So whatever the
epochs take longer is time that the loop waited for the first batch, between epochs, or for batches
that came too late. The ways:

- model alone: as many steps without any data;
- epoch by epoch: a stream that is told ``epochs=1``, so that nothing is read early;
- epochs=2: the first rows of the second epoch are read while the last ones of the first are given.

Files are read from a warm page cache, in a new stream for each way.

Run ``python benchmarks/epochs.py [--directory DIR] [--only NAME] [--step SECONDS]``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from local import make_images

import h5stream as h5s

BATCH, EPOCHS = 128, 2
CASES: dict[str, tuple[int, tuple[int, ...], int]] = {
    "images, 64-row gzip chunks": (12_000, (3, 64, 64), 64),
    "4 KiB rows, one-row gzip chunks": (40_000, (4096,), 1),
}
"""Rows, the shape of one, and rows of a chunk; all uint8."""


def write(path: Path, rows: int, shape: tuple[int, ...], chunk_rows: int) -> None:
    """Write a file, if it is not there."""
    if path.exists():
        return
    images = make_images(np.random.default_rng(0), 4096).reshape(-1)
    data = np.resize(images, (rows, *shape))
    partial = path.with_suffix(".partial")
    with h5py.File(partial, "w") as file:
        chunks = (chunk_rows, *shape)
        file.create_dataset("x", data=data, chunks=chunks, compression="gzip", compression_opts=1)
    partial.rename(path)


def train(batches: Callable[[], Iterable[Any]], step_s: float) -> tuple[float, float]:
    """Return the seconds of two epochs, and of those until the first batch."""
    started, first_s = time.perf_counter(), 0.0
    for _epoch in range(EPOCHS):
        for _batch in batches():
            first_s = first_s or time.perf_counter() - started
            time.sleep(step_s)
    return time.perf_counter() - started, first_s


def measure(name: str, directory: Path, step_s: float) -> None:
    """Print one file."""
    rows, shape, chunk_rows = CASES[name]
    path = directory / f"epochs-{rows}-{chunk_rows}.h5"
    write(path, rows, shape, chunk_rows)

    def stream(epochs: int) -> h5s.H5Stream:
        return h5s.H5Stream(path, ["x"], batch_size=BATCH, shuffle=True, epochs=epochs)

    warm = stream(1)
    steps = sum(1 for _batch in warm)
    one, two = stream(1), stream(EPOCHS)
    ways: dict[str, Callable[[], Iterable[Any]]] = {
        "model alone": lambda: range(steps),
        "epoch by epoch": lambda: one,
        f"epochs={EPOCHS}": lambda: two,
    }
    print(f"\n{name}: {steps} steps of {step_s * 1000:.0f} ms an epoch")
    print(f"{'':20}{'seconds':>10}{'of alone':>10}{'first batch s':>15}{'waited s':>10}")
    alone = 0.0
    for way, batches in ways.items():
        seconds, first_s = train(batches, step_s)
        alone = alone or seconds
        waited = getattr(batches(), "stats", dict)().get("wait_s", 0.0)
        print(f"{way:20}{seconds:>10.2f}{seconds / alone:>10.3f}{first_s:>15.2f}{waited:>10.2f}")


def main() -> None:
    """Measure the files that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()) / "h5stream")
    parser.add_argument("--only", choices=CASES)
    parser.add_argument("--step", type=float, default=0.06)
    arguments = parser.parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    print(f"{len(os.sched_getaffinity(0))} cores")
    for name in CASES:
        if arguments.only in (None, name):
            measure(name, arguments.directory, arguments.step)


if __name__ == "__main__":
    main()
