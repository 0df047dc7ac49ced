"""Rows drawn by weight, against the same stream that gives each row once.

Of each file one row in twenty is of a rare class. The ways:

- plain: shuffled, each row once;
- balanced: both classes equally often, as many rows as there are;
- a half, a tenth: so many rows in an epoch, all alike;
- a third, once: without replacement, the rare class ten times as likely;
- torch: a `DataLoader` of `Dataset` with a `WeightedRandomSampler`, on some of the rows.

The ways take turns, and the best of several epochs counts for each; the page cache is warm.

Run ``python benchmarks/weighted.py [--only NAME] [--directory DIR] [--repeats N]``; the files take
1.6 GB.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from local import make_images, make_table
from torch.utils.data import DataLoader, WeightedRandomSampler

import h5stream as h5s

BATCH = 256
SAMPLED = 2048
"""Rows of the sampler's epoch."""


@dataclass(frozen=True)
class Case:
    """One file: what its rows are, and how they are stored."""

    name: str
    rows: int
    make: Callable[[np.random.Generator, int], np.ndarray]
    chunk_rows: int | None
    options: dict[str, Any] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write it, if it is not there."""
        if path.exists():
            return
        rng = np.random.default_rng(0)
        part = self.make(rng, min(self.rows, 20_000))
        chunks = self.chunk_rows and (self.chunk_rows, *part.shape[1:])
        with h5py.File(path, "w") as file:
            shape = (self.rows, *part.shape[1:])
            dataset = file.create_dataset("x", shape, part.dtype, chunks=chunks, **self.options)
            for first in range(0, self.rows, len(part)):
                dataset[first : first + len(part)] = part[: self.rows - first]
            file["y"] = (rng.random(self.rows) < 0.05).astype("i8")


CASES = [
    Case("images, gzip", 20_000, make_images, 85, {"compression": "gzip", "compression_opts": 1}),
    Case("images, chunks without filter", 40_000, make_images, 85),
    Case("images, not chunked", 40_000, make_images, None),
    Case("table, lzf", 500_000, make_table, 2500, {"compression": "lzf"}),
    Case("table, chunks without filter", 1_000_000, make_table, 2500),
    Case("table, not chunked", 1_000_000, make_table, None),
]


def ways_of(path: Path, rows: int) -> dict[str, tuple[Any, int]]:
    """Make the streams, and say how many rows their epochs have."""
    options: dict[str, Any] = {"batch_size": BATCH, "shuffle": True}
    rare = {"weights": {"y": {0: 1, 1: 10}}, "replacement": False}

    def stream(**more: Any) -> h5s.H5Stream:
        return h5s.H5Stream(path, ["x", "y"], **options, **more)

    dataset = h5s.Dataset(path, ["x", "y"])
    labels = h5py.File(path)["y"][:]
    weights = np.where(labels, 0.5 / labels.sum(), 0.5 / (len(labels) - labels.sum()))
    sampler = WeightedRandomSampler(weights.tolist(), SAMPLED)
    return {
        "plain": (stream(), rows),
        "balanced": (stream(weights=h5s.Balanced("y")), rows),
        "a half": (stream(rows_per_epoch=rows // 2), rows // 2),
        "a tenth": (stream(rows_per_epoch=rows // 10), rows // 10),
        "a third, once": (stream(rows_per_epoch=rows // 3, **rare), rows // 3),
        "torch": (DataLoader(dataset, batch_size=BATCH, sampler=sampler), SAMPLED),
    }


def measure(case: Case, directory: Path, repeats: int) -> None:
    """Print the rates of one file."""
    path = directory / f"weighted-{CASES.index(case)}.h5"
    case.write(path)
    ways = ways_of(path, case.rows)
    seconds = dict.fromkeys(ways, float("inf"))
    for number in range(repeats + 1):
        for name, (stream, _rows) in ways.items():
            started = time.perf_counter()
            for _batch in stream:
                pass
            if number:  # the first epoch opens the file
                seconds[name] = min(seconds[name], time.perf_counter() - started)
    rates = {name: rows / seconds[name] for name, (_stream, rows) in ways.items()}
    print(f"\n{case.name}\n{'':24}{'rows/s':>12}{'of plain':>10}")
    for name, rate in rates.items():
        print(f"{name:24}{rate:>12,.0f}{rate / rates['plain']:>10.2f}", flush=True)


def main() -> None:
    """Measure the files that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()) / "h5stream")
    parser.add_argument("--only", choices=[case.name for case in CASES])
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    print(f"{len(os.sched_getaffinity(0))} cores, best of {arguments.repeats}")
    for case in CASES:
        if arguments.only in (None, case.name):
            measure(case, arguments.directory, arguments.repeats)


if __name__ == "__main__":
    main()
