"""How well batches are mixed, and what memory that takes, on files sorted by label.

Makes files of 100 labels in sorted order, the worst case for a stream that reads whole chunks, and
prints for each the mean entropy of the labels in a batch of 128, in nats and as a part of a full
shuffle's, for:

- a full shuffle: a permutation of all labels;
- H5Stream with its defaults, and with windows of other sizes;
- the chunk order alone, rows within windows alone, and no shuffle;
- a shuffle buffer as WebDataset has it: shards in permuted order, and a buffer from which a random
  sample is given for each that comes in. This one is simulated on the labels.

Every h5stream row is really streamed, both fields, in a process of its own. Memory is the window
and what is read ahead, by the plan, or the samples of the buffer; peak is what the process took on
top of its imports and its copy of the labels; rows/s is the best epoch, with a warm page cache.

Run ``python benchmarks/shuffle.py [--directory DIR] [--only NAME] [--plot FILE]``; the files take
3.2 GB. The plot, an SVG of entropy against memory, needs
``pip install -c constraints.txt matplotlib``.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from local import make_images, make_table

import h5stream as h5s
from h5stream.pipes.epoch import instance_of, lane_stages, plan_lanes

LABELS, BATCH = 100, 128
BUFFERS_MIB = (16, 32, 64, 256, 512)
SHUFFLE_BUFFERS, FIRST_GIVEN_AT = (1000, 5000), 100
DEFAULT, STREAM, BUFFER = "H5Stream, default", "H5Stream", "shuffle buffer"
"""How the names of ways begin, which the plot picks them by."""
PROCESSES = get_context("forkserver")
COLOURS = ("#3b82f6", "#0d9488", "#d97706", "#db2777")
"""Of the plot's lines; these and `INK` can be read on white and on black."""
INK = "#808080"


@dataclass(frozen=True)
class Case:
    """One file sorted by label: which data, how chunked and filtered, and WebDataset's shards."""

    name: str
    rows: int
    row_shape: tuple[int, ...]
    chunk_rows: int
    options: dict
    shard_rows: int

    @property
    def row_nbytes(self) -> int:
        """Bytes of one row of x."""
        return int(np.prod(self.row_shape)) * (1 if len(self.row_shape) > 1 else 4)

    @property
    def labels(self) -> np.ndarray:
        """The label of each row."""
        return np.arange(self.rows) * LABELS // self.rows


GZIP = {"compression": "gzip", "compression_opts": 1}
CASES = [
    Case("images, 1 MB chunks, gzip", 64_000, (3, 64, 64), 85, GZIP, 1000),
    Case("images, 1 MB chunks, no filter", 64_000, (3, 64, 64), 85, {}, 1000),
    Case("images, 64 KiB chunks, gzip", 64_000, (3, 64, 64), 5, GZIP, 1000),
    Case("table, 1 MB chunks, no filter", 4_000_000, (100,), 2621, {}, 10_000),
]


@dataclass(frozen=True)
class Measured:
    """What one way of shuffling gives and takes; None where that cannot be said."""

    way: str
    entropy: float
    memory_mb: float | None = None
    peak_mb: float | None = None
    rows_per_s: float | None = None


def write_case(case: Case, directory: Path) -> Path:
    """Write the case's file unless it is there."""
    path = directory / ("sorted-" + case.name.replace(",", "").replace(" ", "-") + ".h5")
    if path.exists():
        return path
    rng = np.random.default_rng(0)
    partial = path.with_suffix(".partial")
    make = make_images if len(case.row_shape) > 1 else make_table
    step = case.chunk_rows * max(1, 2**25 // (case.chunk_rows * case.row_nbytes))
    with h5py.File(partial, "w") as file:
        x = file.create_dataset(
            "x",
            (case.rows, *case.row_shape),
            make(rng, 1).dtype,
            chunks=(case.chunk_rows, *case.row_shape),
            **case.options,
        )
        for start in range(0, case.rows, step):
            rows = min(step, case.rows - start)
            x[start : start + rows] = make(rng, rows)
        file.create_dataset("y", data=case.labels, chunks=(1000,))
    partial.rename(path)
    return path


# ------------------------------------------------------------------------- entropy


def batch_entropy(labels: np.ndarray) -> float:
    """Mean entropy of the labels of whole batches, in nats."""
    batches = len(labels) // BATCH
    cell = np.repeat(np.arange(batches) * LABELS, BATCH) + labels[: batches * BATCH]
    share = np.bincount(cell, minlength=batches * LABELS) / BATCH
    share = share[share > 0]
    return float(-(share * np.log(share)).sum() / batches)


def full_shuffle(case: Case) -> Measured:
    """Permute all labels."""
    labels = np.random.default_rng(0).permutation(case.labels)
    return Measured("full shuffle", batch_entropy(labels))


def shuffle_buffer(case: Case, buffer_rows: int) -> Measured:
    """Permute shards, then take the samples through a buffer."""
    rng = np.random.default_rng(0)
    shards = np.split(case.labels, range(case.shard_rows, case.rows, case.shard_rows))
    labels = np.concatenate([shards[number] for number in rng.permutation(len(shards))])
    given = np.array(list(through_buffer(labels, buffer_rows, rng)))
    memory_mb = buffer_rows * case.row_nbytes / 1e6
    return Measured(f"{BUFFER} of {buffer_rows}", batch_entropy(given), memory_mb)


def through_buffer(labels: np.ndarray, buffer_rows: int, rng: np.random.Generator) -> Iterator[int]:
    """Give a random sample of the buffer for each that comes in, as ``webdataset.shuffle`` does."""
    samples, draws = iter(labels.tolist()), iter(rng.random(len(labels)).tolist())
    buffer: list[int] = []
    for sample in samples:
        buffer.append(sample)
        if len(buffer) < buffer_rows:
            buffer.extend(islice(samples, 1))
        if len(buffer) >= FIRST_GIVEN_AT:
            yield pick(buffer, next(draws))
    while buffer:
        yield pick(buffer, next(draws))


def pick(buffer: list[int], draw: float) -> int:
    """Take a sample out of the buffer."""
    at = int(draw * len(buffer))
    buffer[at], buffer[-1] = buffer[-1], buffer[at]
    return buffer.pop()


# ----------------------------------------------------------------------- h5stream


def make_pipes(path: Path, row_nbytes: int) -> Iterator[tuple[str, h5s.Pipe]]:
    """Name and make the streams under test."""

    def shuffled(buffer_size: int | None = None) -> h5s.H5Stream:
        return h5s.H5Stream(
            path, ["x", "y"], batch_size=BATCH, shuffle=True, buffer_size=buffer_size
        )

    yield DEFAULT, shuffled()
    for mib in BUFFERS_MIB:
        rows = mib * 2**20 // row_nbytes
        yield f"{STREAM}, buffer_size={rows} ({mib} MiB)", shuffled(rows)
    row_chunks = h5s.open_files(path, ["x", "y"]).list_chunks()
    blocks = row_chunks.shuffle_chunks(seed=0).shard().read_chunks()
    yield "chunk order only", blocks.batch(BATCH).collate()
    windows = row_chunks.shard().read_chunks().shuffle_rows()
    yield "rows within windows only", windows.batch(BATCH).collate()
    yield "no shuffle", h5s.H5Stream(path, ["x", "y"], batch_size=BATCH)


def measure(way: str, pipe: h5s.Pipe, n_rows: int, epochs: int) -> Measured:
    """Stream a few epochs and keep their labels; call it in a process of its own."""
    labels = np.full((epochs, n_rows), LABELS, np.uint8)
    before_mb, rows_per_s = peak_mb(), 0.0
    for epoch in range(epochs):
        started, done = time.perf_counter(), 0
        for batch in pipe:
            y = batch["y"].numpy()
            labels[epoch, done : done + len(y)] = y
            done += len(y)
        rows_per_s = max(rows_per_s, done / (time.perf_counter() - started))
    took_mb = peak_mb() - before_mb
    entropy = float(np.mean([batch_entropy(order) for order in labels]))
    return Measured(way, entropy, planned_bytes(pipe) / 1e6, took_mb, rows_per_s)


def measure_apart(way: str, pipe: h5s.Pipe, n_rows: int, epochs: int) -> Measured:
    """Measure in a process whose memory nothing else has used."""
    with ProcessPoolExecutor(1, mp_context=PROCESSES) as executor:
        return executor.submit(measure, way, pipe, n_rows, epochs).result()


def peak_mb() -> float:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def planned_bytes(pipe: h5s.Pipe) -> int:
    """Bytes of the window (or block) whose rows are given and of those that are read ahead."""
    (lane,) = plan_lanes(pipe.stages, pipe.catalog, instance_of(pipe.stages), epoch=0)
    reading = lane_stages(pipe.stages)[0]
    bounds = reading.bounds(lane)
    ends = np.concatenate([[0], np.cumsum(lane.pieces.sizes)])
    largest = int(np.diff(ends[bounds]).max())
    return min(1 + reading.ahead(lane), len(bounds) - 1) * largest * lane.row_nbytes


# ------------------------------------------------------------------------- printing


def measure_case(case: Case, path: Path, epochs: int) -> list[Measured]:
    """Measure all ways on one file, and print them."""
    full = full_shuffle(case)
    print(f"\n{case.name}: {case.rows:,} rows, {case.rows * case.row_nbytes / 1e6:,.0f} MB")
    print(f"{'':40} {'nats':>6} {'/ full':>6} {'memory MB':>10} {'peak MB':>8} {'rows/s':>11}")
    print_row(full, full)
    found = [full]
    for way, pipe in make_pipes(path, case.row_nbytes):
        found.append(measure_apart(way, pipe, case.rows, epochs))
        print_row(found[-1], full)
    for buffer_rows in SHUFFLE_BUFFERS:
        found.append(shuffle_buffer(case, buffer_rows))
        print_row(found[-1], full)
    return found


def print_row(found: Measured, full: Measured) -> None:
    """Print one way."""
    numbers = (found.memory_mb, found.peak_mb, found.rows_per_s)
    memory, peak, rate = ("" if number is None else f"{number:,.0f}" for number in numbers)
    print(
        f"{found.way:40} {found.entropy:>6.3f} {found.entropy / full.entropy:>6.3f} "
        f"{memory:>10} {peak:>8} {rate:>11}",
        flush=True,
    )


# ------------------------------------------------------------------------- plotting


def plot(found: dict[str, list[Measured]], path: Path) -> None:
    """Draw the entropy of each file's streams and shuffle buffers against their memory."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "h5stream", "font.size": 11})
    coloured = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    mpl.rcParams.update(dict.fromkeys(coloured, INK))
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8.5, 4.6))
    axes.axhline(1, color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
    for (name, rows), colour in zip(found.items(), COLOURS, strict=False):
        axes.plot(*points(rows, BUFFER), "x--", color=INK, linewidth=1)
        axes.plot(*points(rows, STREAM), "o-", color=colour, markersize=4, label=name)
        axes.plot(*points(rows, DEFAULT), "o", color=colour, markersize=9)
    label_points(axes, found)
    legend = axes.legend(loc="lower right", labelcolor="linecolor", frameon=False, reverse=True)
    legend.set_title("H5Stream at several buffer sizes (large: default)")
    axes.set(
        xscale="log",
        ylim=(0, 1.06),
        xlabel="memory, MB (H5Stream: measured peak)",
        ylabel="part of full entropy",
    )
    axes.set_xlim(left=axes.get_xlim()[0] / 10)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, transparent=True, bbox_inches="tight", metadata={"Date": None})


def points(rows: Sequence[Measured], way: str) -> tuple[list[float], list[float]]:
    """Memory of the ways that begin with `way`, and their part of a full shuffle's entropy."""
    chosen = [row for row in rows if row.way.startswith(way)]
    ordered = sorted(
        (row.peak_mb or row.memory_mb, row.entropy / rows[0].entropy) for row in chosen
    )
    return [memory for memory, _ in ordered], [part for _, part in ordered]


def label_points(axes: Any, found: dict[str, list[Measured]]) -> None:
    """Write what the points of shuffle buffers are; files of one kind share them."""
    of_kind = {name.split(",")[0]: rows for name, rows in found.items()}
    for kind, rows in of_kind.items():
        for row in rows:
            if row.way.startswith(BUFFER):
                place = (row.memory_mb, row.entropy / rows[0].entropy)
                text = f"{row.way}, {kind}  "
                axes.annotate(text, place, fontsize=8, ha="right", va="bottom")
    axes.text(0.01, 1.01, "full shuffle", va="bottom", transform=axes.get_yaxis_transform())


def main() -> None:
    """Write what is missing, measure, print, plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()) / "h5stream")
    parser.add_argument("--only", default="", help="measure only cases whose name contains this")
    parser.add_argument("--epochs", type=int, default=3, help="epochs of each stream")
    parser.add_argument("--plot", type=Path, help="write a plot (SVG) here")
    arguments = parser.parse_args()
    PROCESSES.set_forkserver_preload(["h5stream"])
    arguments.directory.mkdir(parents=True, exist_ok=True)
    print(f"{len(os.sched_getaffinity(0))} cores; entropy of {LABELS} labels in batches of {BATCH}")
    found = {}
    for case in CASES:
        if arguments.only in case.name:
            path = write_case(case, arguments.directory)
            found[case.name] = measure_case(case, path, arguments.epochs)
    if arguments.plot:
        plot(found, arguments.plot)


if __name__ == "__main__":
    main()
