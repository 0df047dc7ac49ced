"""What a file streams at on this machine: in several ways, beside the limit and beside h5py.

1. The limit: the file's bytes read in large pieces by all threads and thrown away; and decoding, if
   threads did nothing else.
2. h5stream, with several settings; and the usual `Dataset` that reads sample by sample with h5py.
3. All ways take turns, so that what else runs on the machine meets all of them; of the rounds the
   median counts, and the slowest and fastest are told.
"""

from __future__ import annotations

import itertools
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler

from h5stream.arguments import a_count
from h5stream.errors import ConfigError
from h5stream.fields import Asked
from h5stream.fields.field import Reading
from h5stream.loader import Loader
from h5stream.opening import Sources
from h5stream.reader import Catalog
from h5stream.stream import H5Stream
from h5stream.system import available_cores

__all__ = ["Measured", "Measurement", "SampleBySample", "as_svg", "measure"]

_PIECE = 8 * 2**20
_MOST_READ = 2**30
_BEST = "h5stream, shuffled"


@dataclass(frozen=True)
class Measured:
    """One way, measured.

    Parameters
    ----------
    name : str
        Which.
    rates : tuple of float
        Rows a second, in each round.
    busy : float
        Part of the time that the simulated step took: what an accelerator would be used; 0
        without a step.
    """

    name: str
    rates: tuple[float, ...]
    busy: float = 0.0

    @property
    def median(self) -> float:
        """Rows a second in the middle round."""
        return statistics.median(self.rates)


@dataclass(frozen=True)
class Measurement:
    """What `measure` found.

    Parameters
    ----------
    ways : tuple of Measured
        Limits first.
    verdict : str
        What bounds the shuffled stream; see `Pipe.stats`.
    advice : tuple of str
        Which settings to use, and what `explain` advises.
    about : dict
        Rows, bytes, machine and versions.
    """

    ways: tuple[Measured, ...]
    verdict: str
    advice: tuple[str, ...]
    about: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain numbers, text, lists and dicts."""
        ways = [{**asdict(way), "median": way.median} for way in self.ways]
        return {
            "about": self.about,
            "ways": ways,
            "verdict": self.verdict,
            "advice": list(self.advice),
        }


Tell = Callable[[str, int, int], None]
"""Told what is measured, how many measurements are done, and of how many."""


def measure(
    sources: Sources,
    fields: Mapping[str, Asked] | Sequence[str] | None = None,
    *,
    batch_size: int = 128,
    step_s: float = 0.0,
    seconds: float = 2.0,
    rounds: int = 3,
    num_workers: int = 2,
    progress: Tell = lambda name, done, total: None,
    **options: Any,
) -> Measurement:
    """Measure how fast files stream here, and what bounds that.

    Parameters
    ----------
    sources, fields
        See `H5Stream`.
    batch_size : int
        Rows of a batch.
    step_s : float
        Seconds that a training step takes, simulated by sleeping.
    seconds : float
        How long each way runs in each round, after its first batch.
    rounds : int
        How often each way is measured.
    num_workers : int
        Of the ways with worker processes.
    progress : callable
        Told how far it is.
    **options
        Of `H5Stream`.

    Raises
    ------
    ConfigError
        If there are too few rows to measure, or an argument is wrong.
    """
    a_count("batch_size", batch_size)
    a_count("rounds", rounds)
    if not (step_s >= 0 and seconds > 0):
        raise ConfigError(f"step_s={step_s} must be 0 or more, and seconds={seconds} more than 0")

    def stream(**more: Any) -> H5Stream:
        return H5Stream(sources, fields, batch_size=batch_size, **{**options, **more})

    shuffled = stream(shuffle=True)
    catalog = shuffled.catalog
    if len(shuffled) < 3:
        raise ConfigError(
            f"{catalog.n_rows} rows are too few to measure in batches of {batch_size}"
        )
    ways: dict[str, Iterable[Any]] = {
        _BEST: shuffled,
        "h5stream, in file order": stream(),
        "h5stream, shuffled, 1 thread": stream(shuffle=True, threads=1),
        f"h5stream, shuffled, {num_workers} workers": Loader(
            stream(shuffle=True), num_workers=num_workers
        ),
    }
    ways |= _sample_by_sample(catalog, batch_size, num_workers)
    rates, busy = _in_turns(ways, batch_size, step_s, seconds, rounds, progress)
    stats = shuffled.stats()
    limits = _limits(catalog, stats, min(seconds, 2.0), rounds)
    found = [Measured(name, tuple(rates[name]), busy[name]) for name in ways]
    return Measurement(
        (*limits, *found),
        stats.verdict,
        (*_settings(found, step_s), *shuffled.explain().advice),
        _about(catalog, batch_size, step_s),
    )


def _in_turns(
    ways: Mapping[str, Iterable[Any]],
    batch_size: int,
    step_s: float,
    seconds: float,
    rounds: int,
    progress: Tell,
) -> tuple[dict[str, list[float]], dict[str, float]]:
    rates: dict[str, list[float]] = {name: [] for name in ways}
    stepped: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for at, (name, loader) in enumerate(ways.items()):
            progress(name, number * len(ways) + at, rounds * len(ways))
            batches, took = _run(loader, step_s, seconds)
            rates[name].append(batches * batch_size / took)
            stepped[name].append(batches * step_s / took)
    progress("", rounds * len(ways), rounds * len(ways))
    return rates, {name: statistics.median(each) for name, each in stepped.items()}


def _run(loader: Iterable[Any], step_s: float, seconds: float) -> tuple[int, float]:
    """Iterate for some seconds after the first batch, over several epochs if need be."""
    epochs = itertools.chain.from_iterable(itertools.repeat(loader))
    next(epochs)
    began, count = time.perf_counter(), 0
    while (took := time.perf_counter() - began) < seconds or not count:
        next(epochs)
        count += 1
        if step_s:
            time.sleep(step_s)
    return count, took


def _limits(
    catalog: Catalog, stats: Mapping[str, float], seconds: float, rounds: int
) -> Iterator[Measured]:
    paths = list(dict.fromkeys(path for file in catalog.files for path in file.fingerprints))
    if stats["rows"] and stats["fetched_bytes"] and not any(map(catalog.access.is_remote, paths)):
        row_bytes = stats["fetched_bytes"] / stats["rows"]
        read = tuple(_bytes_per_s(paths, seconds) / row_bytes for _round in range(rounds))
        yield Measured("limit: reading alone", read)
    if stats["decode_s"]:
        threads = stats["thread_s"] / stats["process_s"]
        yield Measured("limit: decoding alone", (stats["rows"] * threads / stats["decode_s"],))


def _bytes_per_s(paths: Sequence[str], seconds: float) -> float:
    """Read files, or their first part, in large pieces on all threads; again until time is up."""
    pieces: list[tuple[str, int]] = []
    for path in paths:
        size = Path(path).stat().st_size
        pieces += [(path, offset) for offset in range(0, size, _PIECE)]
        if len(pieces) * _PIECE > _MOST_READ:
            break
    until = time.perf_counter() + seconds

    def read(number: int) -> int:
        count, buffer = 0, memoryview(bytearray(_PIECE))
        for path, offset in itertools.cycle(pieces[number::threads] or pieces):
            with Path(path).open("rb", buffering=0) as file:
                file.seek(offset)
                count += file.readinto(buffer) or 0
            if time.perf_counter() > until:
                return count
        raise AssertionError("a cycle has no end")

    threads = available_cores()
    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as executor:
        total = sum(executor.map(read, range(threads)))
    return total / (time.perf_counter() - began)


def _sample_by_sample(
    catalog: Catalog, batch_size: int, num_workers: int
) -> dict[str, Iterable[Any]]:
    """Make the usual loaders over h5py, if the fields are plain datasets of local files."""
    places: list[dict[str, tuple[str, str]]] = []
    for file in catalog.files:
        for each in file.fields.values():
            plain = each.reading is Reading.PLACED and len(each.layouts) == 1
            if not plain or each.layouts[0].n_rows != each.n_rows:
                return {}
        places.append({n: (f.layouts[0].file, f.layouts[0].path) for n, f in file.fields.items()})
        if any(catalog.access.is_remote(path) for path, _name in places[-1].values()):
            return {}
    dataset = SampleBySample(places, [file.n_rows for file in catalog.files])

    def loader(workers: int) -> DataLoader[Any]:
        sampler = RandomSampler(dataset)
        return DataLoader(dataset, batch_size, sampler=sampler, num_workers=workers)

    return {
        "Dataset over h5py, shuffled": loader(0),
        f"Dataset over h5py, shuffled, {num_workers} workers": loader(num_workers),
    }


class SampleBySample(Dataset[dict[str, Any]]):
    """The usual map-style dataset: each row is read with h5py when it is asked for.

    Parameters
    ----------
    places : sequence of dict
        For each file: field -> file and dataset.
    n_rows : sequence of int
        Of each file.
    """

    def __init__(
        self, places: Sequence[Mapping[str, tuple[str, str]]], n_rows: Sequence[int]
    ) -> None:
        self._places = places
        self._ends = np.cumsum(n_rows)
        self._open: dict[tuple[int, str], Any] = {}

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, row: int) -> dict[str, Any]:
        file = int(np.searchsorted(self._ends, row, side="right"))
        first = int(self._ends[file - 1]) if file else 0
        return {
            name: self._dataset(*place)[row - first] for name, place in self._places[file].items()
        }

    def _dataset(self, path: str, name: str) -> Any:
        key = os.getpid(), path
        if key not in self._open:
            self._open[key] = h5py.File(path)
        return self._open[key][name]


def _settings(found: Sequence[Measured], step_s: float) -> Iterator[str]:
    """Say which settings were best, where it matters."""
    shuffled = [way for way in found if way.name.startswith(_BEST)]
    plain = shuffled[0]
    best = max(shuffled, key=lambda way: way.median)
    if step_s and plain.busy >= 0.9:
        yield f"use the defaults: a step of {step_s * 1000:g} ms is {plain.busy:.0%} of the time"
    elif best.median > 1.2 * plain.median:
        yield f"use {best.name.removeprefix(_BEST + ', ')}: {best.median / plain.median:.1f}x"
    else:
        yield "use the defaults: no other setting is faster by more than a fifth"


def _about(catalog: Catalog, batch_size: int, step_s: float) -> dict[str, Any]:
    return {
        "rows": catalog.n_rows,
        "row_bytes": catalog.row_nbytes,
        "batch_size": batch_size,
        "step_s": step_s,
        "cores": available_cores(),
        "machine": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("h5py", "numpy", "torch")},
        "threads_of_torch": torch.get_num_threads(),
    }


_LINE, _LEFT, _WIDTH = 26, 330, 420


def as_svg(title: str, ways: Sequence[Measured]) -> str:
    """Draw bars of rows a second, with a line from the slowest to the fastest round.

    Examples
    --------
    >>> as_svg("a.h5", [Measured("one", (1.0, 2.0, 3.0))]).count("<rect")
    2
    """
    most = max(max(way.rates) for way in ways)
    width, height = _LEFT + _WIDTH + 110, _LINE * (len(ways) + 2)
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="8" y="20" font-weight="bold">{_escaped(title)}: rows a second</text>',
    ]
    for number, way in enumerate(ways, 1):
        y = _LINE * number + 8
        low, middle, high = (
            _LEFT + _WIDTH * rate / most for rate in (min(way.rates), way.median, max(way.rates))
        )
        colour = "#bbb" if way.name.startswith("limit") else "#3b6ea5"
        drawn += [
            f'<text x="{_LEFT - 8}" y="{y + 14}" text-anchor="end">{_escaped(way.name)}</text>',
            f'<rect x="{_LEFT}" y="{y}" width="{middle - _LEFT:.1f}" height="18" fill="{colour}"/>',
            f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y + 9}" y2="{y + 9}" stroke="black"/>',
            f'<text x="{high + 6:.1f}" y="{y + 14}">{way.median:,.0f}</text>',
        ]
    return "\n".join([*drawn, "</svg>", ""])


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
