"""The files and streams that the tests here and the processes they start have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

import h5stream as h5s
from h5stream.pipes.epoch import pin_cut
from h5stream.plan import Cut
from tests.streams import write_columns, write_rows

N_ROWS = 203
"""A prime divided by no number of lanes: every way of cutting it leaves a rest."""

PART_SIZES = (40, 1, 33, 57, 0, 29, 43)
"""Files so small that each is one row chunk."""

Batches = list[list[int]]
"""The row numbers of batches, in the order in which they came."""

_SHUFFLED = {"shuffle": True, "buffer_size": 20, "seed": 3}

CASES: dict[str, dict[str, Any]] = {
    "lanes": {"files": "part-*.h5", "lanes": 8, **_SHUFFLED},
    "lanes, keep": {"files": "part-*.h5", "lanes": 8, "uneven": "keep", **_SHUFFLED},
    "lanes, pad": {"files": "part-*.h5", "lanes": 8, "uneven": "pad", **_SHUFFLED},
    "lanes, in order": {"files": "part-*.h5", "lanes": 8, "uneven": "keep"},
    "default": {"files": "part-*.h5", **_SHUFFLED},
    "keep": {"files": "part-*.h5", "uneven": "keep", **_SHUFFLED},
    "pad": {"files": "part-*.h5", "uneven": "pad", **_SHUFFLED},
    "in order": {"files": "part-*.h5"},
    "one file": {"files": "wide.h5", "uneven": "keep", **_SHUFFLED},
    "two row chunks": {"files": "half-*.h5", "uneven": "keep", **_SHUFFLED},
    "two row chunks, equal": {"files": "half-*.h5", **_SHUFFLED},
}
"""Arguments of `H5Stream`; ``files`` is a pattern. Without ``uneven``, several ranks drop rows."""


def write_files(folder: Path) -> Path:
    """Write seven files of a row chunk each, two larger ones, and one of many row chunks."""
    for name, sizes in (("part", PART_SIZES), ("half", (100, N_ROWS - 100))):
        first = 0
        for number, size in enumerate(sizes):
            write_rows(folder / f"{name}-{number}.h5", size, first=first, chunk_rows=16)
            first += size
    row = np.arange(N_ROWS)
    x = np.broadcast_to(row[:, None].astype(np.float32), (N_ROWS, 2**14))
    write_columns(folder / "wide.h5", {"row": row, "x": x}, chunk_rows=8)
    return folder


def make_stream(case: str, folder: Path, **options: Any) -> h5s.H5Stream:
    """Make the stream of a case, with some of its arguments replaced."""
    arguments = {"batch_size": 5, **CASES[case], **options}
    return h5s.H5Stream(folder / arguments.pop("files"), ["row", "x"], **arguments)


@dataclass(frozen=True)
class Run:
    """What all ranks do together: iterate a case for some epochs.

    Parameters
    ----------
    case : str
        Which stream.
    workers : int
        Of each rank.
    method : str or None
        How they start.
    loader : {"DataLoader", "Loader"}
        Torch's or ours.
    epochs : int
        The last one may be interrupted.
    stop_after : int or None
        Leave the last epoch after so many batches of each rank.
    resume_from : str or None
        A JSON file with the state to begin with.
    """

    case: str
    workers: int = 0
    method: str | None = None
    loader: str = "DataLoader"
    epochs: int = 2
    stop_after: int | None = None
    resume_from: str | None = None

    def __str__(self) -> str:
        return f"{self.case}; {self.workers} workers; {self.method}; {self.loader}"

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return asdict(self)


@dataclass(frozen=True)
class Result:
    """What one rank got in one run.

    Parameters
    ----------
    epochs : list of Batches
        For each epoch.
    length : int
        ``len()`` of what was iterated, before the first epoch.
    weights : list of float
        Of the model after all training steps; empty without a process group.
    error : str
        Name and message of a `StateError` that ended the run.
    state : dict
        The loader's state after the last batch; empty for torch's.
    """

    epochs: list[Batches]
    length: int
    weights: list[float]
    error: str
    state: dict[str, Any]


def gather(ranks: Iterable[Batches]) -> Batches:
    """Put the batches of all ranks in order: batch k of rank r is global batch r + world * k."""
    rounds = zip_longest(*ranks)
    return [batch for batches in rounds for batch in batches if batch is not None]


def rows(batches: Batches) -> list[int]:
    """Join the batches."""
    return list(chain.from_iterable(batches))


def gathered_epochs(results: Iterable[Result]) -> list[Batches]:
    """Gather every epoch of a run."""
    return [gather(ranks) for ranks in zip(*(r.epochs for r in results), strict=True)]


def alone(case: str, folder: Path, cut: Cut, epochs: int = 2) -> list[Batches]:
    """Iterate a case in this process, with its epochs cut as several ranks would cut them."""
    stages = pin_cut(make_stream(case, folder, rank=0, world_size=1).stages, cut)
    pipe = h5s.Pipe(stages)
    return [[batch["row"].tolist() for batch in pipe] for _ in range(epochs)]


def cut_of(case: str, ranks: int, workers: int) -> Cut:
    """Say how several ranks of a case cut an epoch: by its lanes, else a part for each rank."""
    lanes = CASES[case].get("lanes")
    uneven = CASES[case].get("uneven", "drop")
    return Cut(lanes or ranks * max(1, workers), lanes or ranks, uneven)


def every_run(methods: Iterable[str], counts: Iterable[int], **of_run: Any) -> Iterator[Run]:
    """Combine numbers of workers with ways to start them; without workers there is only one."""
    for workers in counts:
        for method in methods if workers else [None]:
            yield Run(workers=workers, method=method, **of_run)
