"""What planning an epoch costs each worker: the order of row chunks, and rows in an order given.

python benchmarks/plan.py [largest number of row chunks, default 10000000]
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

import h5stream as h5s
from h5stream.plan import spread_permutation

CHUNKS = (10**5, 10**6, 10**7, 10**8)


def print_order(n: int) -> None:
    """Print seconds and memory of one order; in a process of its own, whose peak is its own."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    spread_permutation(n, seed=0, epoch=0)
    seconds = time.perf_counter() - began
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"order of {n:12,} row chunks {seconds:8.2f} s {taken / 1024:8.0f} MiB", flush=True)


def print_subset(folder: Path) -> None:
    """Print how long 20,000 rows of 3 files take, in order of the files and in one given."""
    for number in range(3):
        rows = np.arange(10_000 * number, 10_000 * (number + 1))
        with h5py.File(folder / f"{number}.h5", "w") as file:
            file.create_dataset("x", data=rows.reshape(-1, 1).repeat(16, 1), chunks=(100, 16))
    chosen = np.random.default_rng(0).permutation(30_000)[:20_000]
    for label, subset in {"sorted": np.sort(chosen), "in random order": chosen}.items():
        stream = h5s.H5Stream(str(folder / "*.h5"), ["x"], batch_size=100, subset=subset)
        began = time.perf_counter()
        found = np.concatenate([batch["x"][:, 0].numpy() for batch in stream])
        assert (found == subset).all()
        print(f"20,000 rows of 3 files, {label:16} {time.perf_counter() - began:8.2f} s")


def main() -> None:
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 10**7
    for n in CHUNKS:
        if n <= most:
            subprocess.run([sys.executable, __file__, "one", str(n)], check=True)
    with tempfile.TemporaryDirectory() as folder:
        print_subset(Path(folder))


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        print_order(int(sys.argv[2]))
    else:
        main()
