"""Rows a second by number of threads: how far reading scales on this machine, and where it stops.

For seeded files of several chunk sizes, measured in turns in this process and by the median:

(a) h5stream: shuffled, batches of 128, with so many threads;
(b) limit: the same chunks by pread and decode on as many threads of a pool, thrown away;
(c) h5py: slices in order, one thread.

Run ``python benchmarks/threads.py [--most N] [--rounds N]``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import imagecodecs
import numpy as np

import h5stream as h5s

CASES: dict[str, tuple[tuple[int, ...], int, dict[str, object]]] = {
    "images, no filter": ((20_000, 3, 64, 64), 64, {}),
    "images, gzip-4": ((20_000, 3, 64, 64), 64, {"compression": "gzip"}),
    "rows of 4 kB, gzip-1, 16 a chunk": ((60_000, 4096), 16, {"compression": 1}),
    "rows of 4 kB, gzip-1, one a chunk": ((60_000, 4096), 1, {"compression": 1}),
}


def write(path: Path, shape: tuple[int, ...], chunk_rows: int, options: dict[str, object]) -> None:
    """Write smooth bytes, which compress about twofold."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w", libver="latest") as file:
        data = file.create_dataset("x", shape, np.uint8, chunks=(chunk_rows, *shape[1:]), **options)
        for start in range(0, shape[0], 4000):
            coarse = rng.integers(0, 200, (4000, int(np.prod(shape[1:])) // 8), np.uint8)
            coarse[coarse < 100] = 0
            fine = coarse.repeat(8, axis=1)
            fine += (fine > 0) * rng.integers(0, 8, fine.shape, np.uint8)
            data[start : start + 4000] = fine.reshape(-1, *shape[1:])[: shape[0] - start]


def stream(path: Path, threads: int) -> Callable[[], int]:
    pipe = h5s.H5Stream(path, ["x"], batch_size=128, shuffle=True, threads=threads)
    return lambda: sum(len(batch["x"]) for batch in pipe)


def limit(path: Path, threads: int, pool: ThreadPoolExecutor) -> Callable[[], int]:
    """Prepare tasks of about a megabyte: chunks that lie together come with one read."""
    with h5py.File(path) as file:
        data = file["x"]
        is_gzip, n_rows, chunk_rows = data.compression is not None, len(data), data.chunks[0]
        chunks = [(c.byte_offset, c.size) for c in chunks_of(data)]
        chunk_nbytes = chunk_rows * data.dtype.itemsize * int(np.prod(data.shape[1:]))
    chunks.sort()
    together = max(1, 2**20 // chunk_nbytes)
    tasks = [chunks[start : start + together] for start in range(0, len(chunks), together)]
    descriptor = os.open(path, os.O_RDONLY)

    def read(task: list[tuple[int, int]]) -> None:
        begin, end = task[0][0], task[-1][0] + task[-1][1]
        data = memoryview(os.pread(descriptor, end - begin, begin))
        for offset, size in task if is_gzip else ():
            imagecodecs.deflate_decode(
                data[offset - begin : offset - begin + size], out=chunk_nbytes
            )

    def read_all(mine: list[list[tuple[int, int]]]) -> None:
        for task in mine:
            read(task)

    def run() -> int:
        parts = [pool.submit(read_all, tasks[number::threads]) for number in range(threads)]
        for part in parts:
            part.result()
        return n_rows

    return run


def chunks_of(data: h5py.Dataset) -> list:
    found: list = []
    data.id.chunk_iter(found.append)
    return found


def h5py_slices(path: Path) -> Callable[[], int]:
    def run() -> int:
        with h5py.File(path) as file:
            data = file["x"]
            return sum(len(data[start : start + 512]) for start in range(0, len(data), 512))

    return run


def rate(run: Callable[[], int]) -> float:
    begin = time.perf_counter()
    rows = run()
    return rows / (time.perf_counter() - begin)


def doublings(most: int) -> Iterator[int]:
    threads = 1
    while threads < most:
        yield threads
        threads *= 2
    yield most


def measure(path: Path, most: int, rounds: int) -> None:
    with ThreadPoolExecutor(most) as pool:
        ways = {("h5py", 1): h5py_slices(path)}
        for threads in doublings(most):
            ways["h5stream", threads] = stream(path, threads)
            ways["limit", threads] = limit(path, threads, pool)
        rates = {way: [] for way in ways}
        for _ in range(rounds + 1):
            for way, run in ways.items():
                rates[way].append(rate(run))
    found = {way: statistics.median(values[1:]) for way, values in rates.items()}
    for threads in doublings(most):
        mine, bound = found["h5stream", threads], found["limit", threads]
        print(
            f"  {threads:3} threads {mine:12,.0f} rows/s; {mine / found['h5stream', 1]:5.2f} of "
            f"one thread, {mine / bound:5.2f} of the limit, {mine / found['h5py', 1]:6.2f} of h5py"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--most", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        for name, (shape, chunk_rows, filters) in CASES.items():
            if options.only in name:
                path = Path(directory) / "case.h5"
                write(path, shape, chunk_rows, filters)
                print(name, flush=True)
                measure(path, options.most, options.rounds)
                path.unlink()


if __name__ == "__main__":
    main()
