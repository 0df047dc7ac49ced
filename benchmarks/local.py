"""Rows a second from a local file: h5stream, the machine's limit, and what people use today.

Makes its own seeded files, then prints for each, measured side by side in this process:

(a) limit: the same chunks in the same order by pread and decode on as many threads, and one
    gather into each batch; nothing else;
(b) h5stream: shuffled, batches of 128, tensors;
(c) sample by sample: the usual map-style `Dataset` over h5py in a shuffling `DataLoader`, best of
    0 and 2 workers;
(d) h5py: whole chunks in order, no batches.

The ways take turns, and the best of several rounds counts for each, because other programs on the
machine only ever make a run slower. On small chunks (a) is bound by the Python loop around its
reads, so it is no limit there; compare those rows with (d), and with ``H5STREAM_EXECUTOR=python``.

Run ``python benchmarks/local.py [--directory DIR] [--only NAME] [--quick]``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import h5py
import hdf5plugin
import imagecodecs
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

import h5stream as h5s
from h5stream.decode.filters import FRAME_ROOM, unshuffle_framed
from h5stream.native import choose_executor

BATCH = 128
IMAGE_ROWS, IMAGE_SHAPE, IMAGE_CHUNK = 20_000, (3, 64, 64), 64
TABLE_ROWS, TABLE_COLUMNS, TABLE_CHUNK = 1_000_000, 100, 4096
SMALL_ROWS, SMALL_SHAPE = 60_000, (4096,)
WINDOW_BYTES = 128 * 2**20


@dataclass(frozen=True)
class Case:
    """One file: which data, how chunked and filtered."""

    name: str
    kind: str
    chunks: object
    options: dict


CASES = [
    Case("images, no filter", "images", (IMAGE_CHUNK, *IMAGE_SHAPE), {}),
    Case(
        "images, gzip-4",
        "images",
        (IMAGE_CHUNK, *IMAGE_SHAPE),
        {"compression": "gzip", "compression_opts": 4},
    ),
    Case("images, lz4", "images", (IMAGE_CHUNK, *IMAGE_SHAPE), dict(hdf5plugin.LZ4())),
    Case("images, zstd", "images", (IMAGE_CHUNK, *IMAGE_SHAPE), dict(hdf5plugin.Zstd(clevel=3))),
    Case("images, automatic chunks, gzip-4", "images", True, {"compression": "gzip"}),
    Case("table, no filter", "table", (TABLE_CHUNK, TABLE_COLUMNS), {}),
    Case(
        "table, gzip + shuffle",
        "table",
        (TABLE_CHUNK, TABLE_COLUMNS),
        {"compression": "gzip", "shuffle": True},
    ),
    *(
        Case(f"4 KiB rows, {rows} a chunk, {name}", "small", (rows, SMALL_SHAPE[0]), options)
        for rows in (1, 16)
        for name, options in (
            ("gzip-1", {"compression": "gzip", "compression_opts": 1}),
            ("lz4", dict(hdf5plugin.LZ4())),
            ("zstd", dict(hdf5plugin.Zstd(clevel=3))),
        )
    ),
]


def write_case(case: Case, directory: Path) -> Path:
    """Write the case's file unless it is there; labels lie in a second dataset, in other chunks."""
    path = directory / (case.name.replace(" ", "-").replace(",", "").replace("+", "and") + ".h5")
    if path.exists():
        return path
    rng = np.random.default_rng(0)
    partial = path.with_suffix(".partial")
    with h5py.File(partial, "w") as file:
        n, shape, dtype, step, make = KINDS[case.kind]
        data = file.create_dataset("x", (n, *shape), dtype, chunks=case.chunks, **case.options)
        for start in range(0, n, step):
            rows = min(step, n - start)
            data[start : start + rows] = make(rng, rows)
        file.create_dataset("y", data=np.arange(n) % 100, chunks=(1000,))
    partial.rename(path)
    return path


def make_images(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Noisy patches on an empty background: compresses about twofold, as scans and masks do."""
    coarse = rng.integers(0, 200, (rows, 3, 8, 8), np.uint8)
    coarse[coarse < 100] = 0
    smooth = coarse.repeat(8, axis=2).repeat(8, axis=3)
    return np.where(smooth > 0, smooth + rng.integers(0, 8, smooth.shape, np.uint8), smooth)


def make_table(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Sensor readings to three digits."""
    return rng.normal(size=(rows, TABLE_COLUMNS)).round(3).astype(np.float32)


def make_small(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Noisy steps on an empty background, as the images, in one line."""
    coarse = rng.integers(0, 200, (rows, SMALL_SHAPE[0] // 8), np.uint8)
    coarse[coarse < 100] = 0
    smooth = coarse.repeat(8, axis=1)
    return np.where(smooth > 0, smooth + rng.integers(0, 8, smooth.shape, np.uint8), smooth)


KINDS = {
    "images": (IMAGE_ROWS, IMAGE_SHAPE, np.uint8, 2500, make_images),
    "table": (TABLE_ROWS, (TABLE_COLUMNS,), np.float32, 102_400, make_table),
    "small": (SMALL_ROWS, SMALL_SHAPE, np.uint8, 4000, make_small),
}
"""Rows, shape and type of one, how many are made at a time, and how."""


# ------------------------------------------------------------------ (a) the machine's limit


def limit(path: Path, threads: int) -> Callable[[], int]:
    """Prepare the limit: chunk places, order and decoders are all known before the clock starts."""
    stream = make_stream(path, threads)
    order = stream.row_chunks_of(0)
    with h5py.File(path) as file:
        dataset, labels = file["x"], file["y"][...]
        shape, dtype, chunk = dataset.shape, dataset.dtype, dataset.chunks
        filters = [layer[0] for layer in dataset._filters.items()]
        places: dict[int, list] = {}
        dataset.id.chunk_iter(
            lambda c: places.setdefault(c.chunk_offset[0], []).append(
                (c.chunk_offset, c.byte_offset, c.size)
            )
        )
    row_nbytes = int(np.prod(shape[1:])) * dtype.itemsize
    rows_per_window = WINDOW_BYTES // row_nbytes
    windows: list[list] = [[]]
    filled = 0
    for rows in order:
        if filled >= rows_per_window:
            windows.append([])
            filled = 0
        windows[-1].append((rows.start, rows.stop, filled))
        filled += len(rows)
    capacity = rows_per_window + max(len(rows) for rows in order)
    buffers = [np.empty((capacity, *shape[1:]), dtype) for _ in range(2)]
    buffers_y = [np.empty(capacity, labels.dtype) for _ in range(2)]
    for buffer in (*buffers, *buffers_y):
        buffer.fill(0)
    rng = np.random.default_rng(0)
    picks = [rng.permutation(sum(b - a for a, b, _ in window)) for window in windows]
    decode = decoder_for(filters, dtype.itemsize)
    whole = chunk[1:] == shape[1:]
    chunk_nbytes = int(np.prod(chunk)) * dtype.itemsize
    local = threading.local()
    descriptor = os.open(path, os.O_RDONLY)

    def scratch(name: str, nbytes: int) -> np.ndarray:
        found = getattr(local, name, None)
        if found is None or found.nbytes < nbytes:
            found = np.empty(nbytes * 2, np.uint8)
            setattr(local, name, found)
        return found[:nbytes]

    def read(buffer: np.ndarray, start: int, stop: int, dest: int) -> None:
        for row in range(start, stop, chunk[0]):
            at = dest + row - start
            rows = min(chunk[0], stop - row)
            for offset, byte_offset, size in places[row]:
                if decode is None and rows == chunk[0]:
                    target = buffer[at : at + rows].reshape(-1).view(np.uint8)
                    os.preadv(descriptor, [target], byte_offset)
                    continue
                stored = scratch("stored", size)
                os.preadv(descriptor, [stored], byte_offset)
                if whole and rows == chunk[0]:
                    target = buffer[at : at + rows].reshape(-1).view(np.uint8)
                    decode(stored, target, scratch)
                    continue
                target = scratch("chunk", chunk_nbytes)
                if decode is None:
                    target[:] = stored
                else:
                    decode(stored, target, scratch)
                part = target.view(dtype).reshape(chunk)[:rows]
                inside = tuple(slice(o, o + c) for o, c in zip(offset[1:], chunk[1:], strict=True))
                buffer[(slice(at, at + rows), *inside)] = part

    def start_window(executor: ThreadPoolExecutor, number: int) -> list:
        buffer, buffer_y = buffers[number % 2], buffers_y[number % 2]
        jobs = []
        for start, stop, dest in windows[number]:
            jobs.append(executor.submit(read, buffer, start, stop, dest))
            buffer_y[dest : dest + stop - start] = labels[start:stop]
        return jobs

    def run() -> int:
        done = 0
        with ThreadPoolExecutor(threads) as executor:
            pending = start_window(executor, 0)
            for number, pick in enumerate(picks):
                for job in pending:
                    job.result()
                if number + 1 < len(windows):
                    pending = start_window(executor, number + 1)
                buffer, buffer_y = buffers[number % 2], buffers_y[number % 2]
                for first in range(0, len(pick), BATCH):
                    chosen = pick[first : first + BATCH]
                    batch = buffer.take(chosen, 0, None, "clip")
                    labels_of = buffer_y.take(chosen, 0, None, "clip")
                    done += len(batch) if len(labels_of) else 0
        return done

    return run


def decoder_for(filters: list[str], itemsize: int) -> Callable | None:
    """Return the fastest known way to undo the filters, None if there are none."""
    codecs = {
        "gzip": imagecodecs.deflate_decode,
        "32004": imagecodecs.lz4h5_decode,
        "32015": imagecodecs.zstd_decode,
    }
    compressors = [codecs[name] for name in filters if name in codecs]
    if not compressors:
        return None
    (decompress,) = compressors

    def plain(stored: np.ndarray, target: np.ndarray, _scratch: Callable) -> None:
        decompress(stored, out=target)

    def shuffled(stored: np.ndarray, target: np.ndarray, scratch: Callable) -> None:
        frame = scratch("frame", FRAME_ROOM + target.nbytes)
        decompress(stored, out=frame[FRAME_ROOM:])
        unshuffle_framed(frame, target, (itemsize,))

    return shuffled if "shuffle" in filters else plain


# ------------------------------------------------------------------------- (b) h5stream


def make_stream(path: Path, threads: int | None = None) -> h5s.H5Stream:
    """Make the stream under test."""
    return h5s.H5Stream(path, ["x", "y"], batch_size=BATCH, shuffle=True, threads=threads)


def drain(stream: h5s.H5Stream) -> int:
    """Stream one epoch and count its rows."""
    return sum(len(batch["y"]) for batch in stream)


# -------------------------------------------------------------- (c), (d) what people use


class SampleBySample(Dataset):
    """The usual map-style dataset: opens lazily, reads one row at a time."""

    def __init__(self, path: Path) -> None:
        self.path, self.file = path, None
        with h5py.File(path) as file:
            self.n = len(file["x"])

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        if self.file is None:
            self.file = h5py.File(self.path)
        return torch.from_numpy(self.file["x"][row]), int(self.file["y"][row])


def sample_rate(path: Path, workers: int, seconds: float) -> float:
    """Rows a second of the map-style dataset, over at most `seconds` of an epoch."""
    loader = DataLoader(
        SampleBySample(path), BATCH, shuffle=True, num_workers=workers, multiprocessing_context=None
    )
    done = 0
    iterator = iter(loader)
    next(iterator)
    started = time.perf_counter()
    for batch in iterator:
        done += len(batch[1])
        if time.perf_counter() - started > seconds:
            break
    return done / (time.perf_counter() - started)


def h5py_chunks(path: Path) -> int:
    """Read whole chunks in order through h5py."""
    with h5py.File(path) as file:
        dataset = file["x"]
        step = dataset.chunks[0]
        return sum(len(dataset[row : row + step]) for row in range(0, len(dataset), step))


# ------------------------------------------------------------------------- measuring


def rate(run: Callable[[], int]) -> float:
    """Rows a second of one run."""
    started = time.perf_counter()
    return run() / (time.perf_counter() - started)


def spinning() -> Iterator[None]:
    """Keep a pure-Python loop busy in another thread while suspended."""
    stop = threading.Event()

    def spin() -> None:
        count = 0
        while not stop.is_set():
            for _ in range(10_000):
                count += 1

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def rate_beside_a_loop(run: Callable[[], int]) -> float:
    """Rows a second while another thread runs pure Python."""
    for _ in spinning():
        return rate(run)
    raise AssertionError("unreachable")


def first_batch_seconds(path: Path) -> float:
    """Seconds from nothing to the first batch, the scan included."""
    started = time.perf_counter()
    iterator = iter(make_stream(path))
    next(iterator)
    elapsed = time.perf_counter() - started
    iterator.close()
    return elapsed


def measure(case: Case, path: Path, *, repeats: int, seconds: float) -> None:
    """Print one case."""
    threads = len(os.sched_getaffinity(0))
    run_limit = limit(path, threads)
    stream = make_stream(path)
    drain(stream)
    run_limit()
    runs = (run_limit, lambda: drain(stream), lambda: h5py_chunks(path))
    rounds = [[rate(run) for run in runs] for _ in range(repeats)]
    a, b, d = (max(rates) for rates in zip(*rounds, strict=True))
    c = max(sample_rate(path, workers, seconds) for workers in (0, 2))
    beside = max(rate_beside_a_loop(lambda: drain(stream)) for _ in range(3))
    print(
        f"{case.name:34} {a:>11,.0f} {b:>11,.0f} {c:>9,.0f} {d:>11,.0f} "
        f"{b / a:>6.2f} {b / c:>7.0f} {b / d:>6.2f} {b / beside:>7.2f} "
        f"{first_batch_seconds(path) * 1e3:>8.0f}",
        flush=True,
    )


def main() -> None:
    """Write what is missing, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()) / "h5stream")
    parser.add_argument("--only", default="", help="measure only cases whose name contains this")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="less time for the slow ways")
    arguments = parser.parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    print(
        f"{len(os.sched_getaffinity(0))} cores, warm page cache, best of several; executor "
        f"{choose_executor()}; rows/s\n"
    )
    print(
        f"{'file':34} {'(a) limit':>11} {'(b) h5strm':>11} {'(c) smpl':>9} {'(d) h5py':>11} "
        f"{'b/a':>6} {'b/c':>7} {'b/d':>6} {'py-loop':>7} {'first ms':>8}"
    )
    for case in CASES:
        if arguments.only in case.name:
            path = write_case(case, arguments.directory)
            measure(
                case,
                path,
                repeats=arguments.repeats,
                seconds=1.0 if arguments.quick else 5.0,
            )
    print(
        "\npy-loop: how many times slower h5stream is while another thread runs pure Python; "
        "first ms: from nothing to the first batch"
    )


if __name__ == "__main__":
    main()
