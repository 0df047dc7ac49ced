"""Rows a second of one shuffled stream through different loaders.

Makes the files of ``local.py``, then prints for some of them, measured side by side:

(a) bare: the stream itself, in this process, on threads;
(b) Loader 0: `h5stream.Loader` without workers;
(c) Loader 2: `h5stream.Loader` with two workers;
(d) DataLoader 2: torch's `DataLoader` with two workers;
(e) Stateful 2: torchdata's `StatefulDataLoader` with two workers.

Workers persist, and the first epoch does not count. The ways take turns, and the best of several
rounds counts for each. Below the rates stand their ratios to the bare stream, and the time from
nothing to the first batch, which includes the start of workers.

Run ``python benchmarks/loaders.py [--directory DIR] [--only NAME] [--repeats N]``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from local import CASES, Case, drain, make_stream, rate, write_case
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

import h5stream as h5s

NAMES = ("images, no filter", "images, gzip-4", "table, gzip + shuffle")
TWO = {"num_workers": 2, "persistent_workers": True}

WAYS: dict[str, Callable[[h5s.H5Stream], Iterable[Any]]] = {
    "bare": lambda stream: stream,
    "Loader 0": lambda stream: h5s.Loader(stream),
    "Loader 2": lambda stream: h5s.Loader(stream, **TWO),
    "DataLoader 2": lambda stream: DataLoader(stream, batch_size=None, **TWO),
    "Stateful 2": lambda stream: StatefulDataLoader(stream, batch_size=None, **TWO),
}


def first_batch_seconds(make: Callable[[h5s.H5Stream], Iterable[Any]], path: Path) -> float:
    """Seconds from nothing to the first batch, the scan included."""
    started = time.perf_counter()
    iterator = iter(make(make_stream(path)))
    next(iterator)
    return time.perf_counter() - started


def measure(case: Case, path: Path, *, repeats: int) -> None:
    """Print one case."""
    firsts = [first_batch_seconds(make, path) for make in WAYS.values()]
    loaders = [make(make_stream(path)) for make in WAYS.values()]
    for loader in loaders:
        drain(loader)
    rounds = [[rate(lambda: drain(loader)) for loader in loaders] for _ in range(repeats)]  # noqa: B023
    rates = [max(found) for found in zip(*rounds, strict=True)]
    print(f"{case.name:24}" + "".join(f"{value:>14,.0f}" for value in rates))
    print(f"{'  ratio to bare':24}" + "".join(f"{value / rates[0]:>14.2f}" for value in rates))
    print(
        f"{'  first batch, ms':24}" + "".join(f"{value * 1e3:>14.0f}" for value in firsts),
        flush=True,
    )


def main() -> None:
    """Write what is missing, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()) / "h5stream")
    parser.add_argument("--only", default="", help="measure only cases whose name contains this")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore", "'set_vital' is deprecated")
    print(f"{len(os.sched_getaffinity(0))} cores, warm page cache, best of several; rows/s\n")
    print(" " * 24 + "".join(f"{name:>14}" for name in WAYS))
    for case in CASES:
        if case.name in NAMES and arguments.only in case.name:
            measure(case, write_case(case, arguments.directory), repeats=arguments.repeats)


if __name__ == "__main__":
    main()
