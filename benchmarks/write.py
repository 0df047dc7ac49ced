"""How fast rows are written, beside plain h5py with the same chunks and filters.

Each figure is the median of several turns, in which all writers take part one after the other;
all of them sync the file to disk in the end, and put it in the place of the one before.

python benchmarks/write.py [--repeats 5] [--rows 20000]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import h5stream as h5s

BATCH = 500
SHAPE = (3, 64, 64)


def make_images(rows: int) -> np.ndarray:
    """Make images that shrink to about half."""
    rng = np.random.default_rng(0)
    smooth = rng.integers(0, 3, (rows, *SHAPE), np.uint8).cumsum(axis=3, dtype=np.uint8)
    return smooth + rng.integers(0, 4, (rows, *SHAPE), np.uint8)


def write_ours(path: Path, images: np.ndarray, **options: Any) -> None:
    with h5s.Writer(path, overwrite=True, n_rows=len(images), **options) as writer:
        for at in range(0, len(images), BATCH):
            writer.extend({"image": images[at : at + BATCH]})


def write_h5py(path: Path, images: np.ndarray, **options: Any) -> None:
    temporary = path.with_suffix(".part")
    chunk_rows = 2**20 // images[0].nbytes
    with h5py.File(temporary, "w", libver="v110") as file:
        made = file.create_dataset(
            "image", images.shape, images.dtype, chunks=(chunk_rows, *SHAPE), **options
        )
        for at in range(0, len(images), BATCH):
            made[at : at + BATCH] = images[at : at + BATCH]
    descriptor = os.open(temporary, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    temporary.replace(path)


def read_rate(path: Path) -> float:
    """Stream the file shuffled; return rows per second."""
    stream = h5s.H5Stream(path, shuffle=True, batch_size=128)
    began = time.perf_counter()
    rows = sum(len(batch["image"]) for batch in stream)
    return rows / (time.perf_counter() - began)


def timed(action: Callable[[], None]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "unfiltered": ({"compression": None, "checksum": False}, {}),
    "checksum": ({"compression": None}, {"fletcher32": True}),
    "gzip 4": (
        {"compression": "gzip", "level": 4},
        {"compression": "gzip", "compression_opts": 4, "shuffle": True, "fletcher32": True},
    ),
    "gzip 1": (
        {"compression": "gzip", "level": 1},
        {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True},
    ),
}


def compare(images: np.ndarray, folder: Path, repeats: int) -> None:
    """Print seconds of both writers, and what came of it."""
    ours, theirs = folder / "ours.h5", folder / "theirs.h5"
    print(
        f"{'':12}{'Writer':>10}{'h5py':>10}{'ratio':>8}{'MB':>8}{'h5py MB':>9}{'read rows/s':>13}"
    )
    for name, (options, h5py_options) in CASES.items():
        turns = [
            (
                timed(lambda: write_ours(ours, images, **options)),  # noqa: B023
                timed(lambda: write_h5py(theirs, images, **h5py_options)),  # noqa: B023
            )
            for _ in range(repeats)
        ]
        a, b = (statistics.median(each) for each in zip(*turns, strict=True))
        sizes = f"{ours.stat().st_size / 1e6:8.0f}{theirs.stat().st_size / 1e6:9.0f}"
        print(f"{name:12}{a:9.2f}s{b:9.2f}s{b / a:8.2f}{sizes}{read_rate(ours):13,.0f}", flush=True)


def sweep(images: np.ndarray, folder: Path) -> None:
    """Print what chunk sizes and codecs cost when the file is read shuffled."""
    path = folder / "sweep.h5"
    print(f"\n{'codec':8}{'chunk KiB':>10}{'MB':>8}{'write s':>9}{'read rows/s':>13}")
    for codec in (None, "gzip", "zstd", "lz4"):
        for kib in (16, 64, 256, 1024, 4096):
            seconds = timed(
                lambda: write_ours(path, images, compression=codec, chunk_bytes=kib * 1024)  # noqa: B023
            )
            rates = [read_rate(path) for _ in range(3)]
            size = path.stat().st_size / 1e6
            print(f"{codec!s:8}{kib:10}{size:8.0f}{seconds:9.2f}{max(rates):13,.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", type=int, default=20_000)
    options = parser.parse_args()
    images = make_images(options.rows)
    with tempfile.TemporaryDirectory() as folder:
        compare(images, Path(folder), options.repeats)
        sweep(images, Path(folder))


if __name__ == "__main__":
    main()
