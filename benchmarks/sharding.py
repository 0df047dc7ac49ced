"""Bytes that 8 instances fetch for one epoch, divided by what one instance fetches.

Streams one shuffled epoch of each benchmark file alone, and as ranks 0 to 7 of 8, one after
another in this process. Lanes share only the row chunks at their edges, and fields that stay in
memory are read by every rank; the ratio should be at most 1.05.

Run ``python benchmarks/sharding.py [--directory DIR] [--only NAME]``; the files are those of
``local.py`` and ``shuffle.py`` and take 5 GB.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import local
import shuffle

import h5stream as h5s

BATCH, RANKS, TARGET = 128, 8, 1.05


def fetched_bytes(path: Path, rank: int, world_size: int) -> tuple[int, int]:
    """Stream one epoch as one rank, and return the bytes it fetched and the rows it gave."""
    stream = h5s.H5Stream(
        path, ["x", "y"], batch_size=BATCH, shuffle=True, rank=rank, world_size=world_size
    )
    rows = sum(len(batch["y"]) for batch in stream)
    return int(stream.stats()["fetched_bytes"]), rows


def measure(name: str, path: Path) -> None:
    """Print one file."""
    alone, all_rows = fetched_bytes(path, 0, 1)
    parts = [fetched_bytes(path, rank, RANKS) for rank in range(RANKS)]
    together, rows = (sum(column) for column in zip(*parts, strict=True))
    ratio = together / alone
    verdict = "" if ratio <= TARGET else f"more than {TARGET}"
    print(
        f"{name:34} {all_rows:>10,} {rows:>10,} {alone / 1e6:>9,.1f} {together / 1e6:>9,.1f} "
        f"{ratio:>7.3f} {verdict}",
        flush=True,
    )


def main() -> None:
    """Write what is missing, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()) / "h5stream")
    parser.add_argument("--only", default="", help="measure only cases whose name contains this")
    arguments = parser.parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    print(
        f"{'file':34} {'rows, 1':>10} {f'rows, {RANKS}':>10} {'MB, 1':>9} {f'MB, {RANKS}':>9} "
        f"{'ratio':>7}"
    )
    for module in (local, shuffle):
        for case in module.CASES:
            if arguments.only in case.name:
                measure(case.name, module.write_case(case, arguments.directory))


if __name__ == "__main__":
    main()
