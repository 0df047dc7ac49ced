"""Peak memory of streaming a small and a ten times larger file.

Makes files of 0.5 GB and 5 GB (one stored chunk repeated; a hole for the unfiltered ones), streams
one shuffled epoch of each in a process of its own, and prints the peak resident memory, and what
of it came on top of the imports.

Run ``python benchmarks/memory.py [--directory DIR]``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import h5py
import numpy as np

ROWS_PER_GB = 81_920
ROW_SHAPE, CHUNK_ROWS = (3, 64, 64), 64
SIZES_GB = (0.5, 5.0)

CHILD = """
import json, resource, sys
import h5stream as h5s

def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

before = peak_mb()
stream = h5s.H5Stream(sys.argv[1], ["x"], batch_size=128, shuffle=True)
rows = sum(len(batch["x"]) for batch in stream)
print(json.dumps({"rows": rows, "before_mb": before, "peak_mb": peak_mb()}))
"""


def write(path: Path, gigabytes: float, filtered: bool) -> None:
    """Write a file whose decoded data takes `gigabytes`, and whose bytes take little."""
    rows = int(gigabytes * ROWS_PER_GB) // CHUNK_ROWS * CHUNK_ROWS
    with h5py.File(path, "w") as file:
        if not filtered:
            hole = file.create_dataset("x", (rows, *ROW_SHAPE), np.uint8)
            hole[-1] = 1
            return
        data = file.create_dataset(
            "x", (rows, *ROW_SHAPE), np.uint8, chunks=(CHUNK_ROWS, *ROW_SHAPE), compression="gzip"
        )
        noise = np.random.default_rng(0).integers(0, 4, (CHUNK_ROWS, *ROW_SHAPE), np.uint8)
        stored = zlib.compress(noise.tobytes(), 1)
        for row in range(0, rows, CHUNK_ROWS):
            data.id.write_direct_chunk((row, 0, 0, 0), stored)


def measure(path: Path) -> dict[str, float]:
    """Stream the file in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(path)], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


def main() -> None:
    """Write, measure and print every file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path, default=None, help="a folder with room for 2 GB")
    arguments = parser.parse_args()
    print(f"{'file':>24} {'rows':>9} {'peak MB':>9} {'over imports MB':>16}")
    with tempfile.TemporaryDirectory(dir=arguments.directory) as folder:
        for filtered in (True, False):
            kind = "gzip" if filtered else "no filter"
            peaks = []
            for gigabytes in SIZES_GB:
                path = Path(folder) / "data.h5"
                write(path, gigabytes, filtered)
                found = measure(path)
                peaks.append(found["peak_mb"])
                print(
                    f"{gigabytes:>11} GB, {kind:>9} {found['rows']:>9,.0f} {peaks[-1]:>9.0f} "
                    f"{peaks[-1] - found['before_mb']:>16.0f}",
                    flush=True,
                )
                path.unlink()
            print(f"{'large / small':>24} {'':>9} {peaks[1] / peaks[0]:>9.3f}")


if __name__ == "__main__":
    main()
