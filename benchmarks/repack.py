"""What repack costs beside h5repack, what it gains, and how much memory it takes.

h5repack (Debian's hdf5-tools) gets the same chunks and filters; repack also reads both files again
and compares them, which is timed apart. Each line is one run of each, one after the other.

python benchmarks/repack.py [--big-gb 5]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

import h5stream as h5s

ROWS = 20_000


def write_images(path: Path) -> None:
    """One-row gzip chunks."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        made = file.create_dataset(
            "image", (ROWS, 3, 64, 64), "u1", chunks=(1, 3, 64, 64), compression="gzip"
        )
        for at in range(0, ROWS, 1000):
            smooth = rng.integers(0, 3, (1000, 3, 64, 64), np.uint8).cumsum(3, dtype=np.uint8)
            made[at : at + 1000] = smooth


def write_tokens(path: Path) -> None:
    """HDF5's own variable length."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        made = file.create_dataset("tokens", (5 * ROWS,), h5py.vlen_dtype("i4"))
        rows = np.empty(5 * ROWS, object)
        rows[:] = [rng.integers(0, 50_000, n, "i4") for n in rng.integers(50, 200, 5 * ROWS)]
        made[:] = rows


def write_samples(path: Path) -> None:
    """One dataset a sample."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for number in range(ROWS):
            file[f"sample_{number}"] = rng.standard_normal((32, 32), np.float32)


def rate(path: Path) -> float:
    """Stream rows shuffled for two seconds at most."""
    stream = h5s.H5Stream(path, shuffle=True, batch_size=64)
    iter(stream)
    len(stream)
    began, rows = time.perf_counter(), 0
    for _batch in stream:
        rows += 64
        if time.perf_counter() - began > 2:
            break
    return rows / (time.perf_counter() - began)


def timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def compare(folder: Path) -> None:
    """Print seconds beside h5repack, and rows per second before and after."""
    print(
        f"{'':18}{'h5repack':>10}{'repack':>9}{'ratio':>7}{'check':>8}{'before':>12}{'after':>12}"
    )
    for name, write in {
        "one-row gzip": write_images,
        "vlen tokens": write_tokens,
        "dataset a sample": write_samples,
    }.items():
        path, out = folder / "in.h5", folder / "out.h5"
        write(path)
        theirs = float("nan")
        if name == "one-row gzip":
            options = ["-f", "image:SHUF", "-f", "image:GZIP=4", "-l", "image:CHUNK=85x3x64x64"]
            command = ["h5repack", *options, str(path), str(folder / "theirs.h5")]
            theirs = timed(lambda: subprocess.run(command, check=True))  # noqa: B023
        ours = timed(
            lambda: h5s.repack(path, out, compression="gzip", level=4, check=False, overwrite=True)  # noqa: B023
        )
        check = timed(lambda: h5s.verify(path, out))  # noqa: B023
        print(
            f"{name:18}{theirs:9.2f}s{ours:8.2f}s{theirs / ours:7.2f}{check:7.2f}s"
            f"{rate(path):8,.0f} r/s{rate(out):8,.0f} r/s",
            flush=True,
        )
        path.unlink()


BIG = """
import resource, sys
import h5stream as h5s
shuffle = int(sys.argv[3]) if sys.argv[3] else None
h5s.repack(sys.argv[1], sys.argv[2], shuffle=shuffle, memory_bytes=700 * 2**20, overwrite=True)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def measure_memory(folder: Path, gigabytes: float) -> None:
    """Print the peak memory of repacking a large file."""
    path = folder / "big.h5"
    rows = np.random.default_rng(0).integers(0, 256, (10_000, 12_288), np.uint8)
    count = int(gigabytes * 1e9 / rows.nbytes)
    with h5py.File(path, "w") as file:
        made = file.create_dataset("x", (count * len(rows), 12_288), "u1", chunks=(85, 12_288))
        for at in range(count):
            made[at * len(rows) : (at + 1) * len(rows)] = rows
    for shuffle in ("", "1"):
        command = [sys.executable, "-c", BIG, str(path), str(folder / "out.h5"), shuffle]
        began = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        what = "shuffled" if shuffle else "in order"
        seconds = time.perf_counter() - began
        size = path.stat().st_size / 1e9
        print(f"{size:.1f} GB {what}: peak {done.stdout.strip()} MiB, {seconds:.0f} s, compared")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--big-gb", type=float, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder))
        if options.big_gb:
            measure_memory(Path(folder), options.big_gb)


if __name__ == "__main__":
    main()
