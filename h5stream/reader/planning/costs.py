"""What windows cost, added up over their tasks. Pure: no file is opened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from h5stream.fetch import Access
from h5stream.fetch.coalesce import join_ranges
from h5stream.plan import Pieces
from h5stream.reader.catalog import Catalog
from h5stream.reader.planning.window import WindowPlan, WindowPlanner
from h5stream.reader.tasks import ReadTask

__all__ = ["Costs", "WindowCosts", "costs_of", "costs_of_windows"]


@dataclass(frozen=True, slots=True)
class Costs:
    """What tasks cost.

    Parameters
    ----------
    requests, remote_bytes : int
        Of remote files: requests, and the bytes that they bring.
    local_bytes : int
        Bytes of ranges of local files.
    decoded_bytes : int
        Bytes of rows and chunks, decoded.
    """

    requests: int = 0
    remote_bytes: int = 0
    local_bytes: int = 0
    decoded_bytes: int = 0

    def __add__(self, other: Costs) -> Costs:
        return Costs(
            self.requests + other.requests,
            self.remote_bytes + other.remote_bytes,
            self.local_bytes + other.local_bytes,
            self.decoded_bytes + other.decoded_bytes,
        )


def costs_of(tasks: Iterable[ReadTask], access: Access) -> Costs:
    """Add up what tasks cost; those that read what stays in memory cost nothing.

    Parameters
    ----------
    tasks : iterable of ReadTask
        Of a window, or of several.
    access : Access
        Tells which files are remote.
    """
    return sum((_cost_of(task, access) for task in tasks), Costs())


def _cost_of(task: ReadTask, access: Access) -> Costs:
    decoded = task.body.decoded_bytes
    if task.file is None or not access.is_remote(task.file):
        return Costs(local_bytes=task.nbytes, decoded_bytes=decoded)
    joined = join_ranges(task.offset, task.size)
    return Costs(len(joined), sum(stop - start for start, stop in joined), 0, decoded)


@dataclass(frozen=True, slots=True)
class WindowCosts:
    """What windows cost together.

    Parameters
    ----------
    total : Costs
        Of all tasks.
    amplification : dict
        Field -> rows that are decoded for each row that is used.
    """

    total: Costs
    amplification: dict[str, float]


def costs_of_windows(
    catalog: Catalog, groups: Sequence[Pieces], *, instances: int = 1
) -> WindowCosts:
    """Plan windows, and add up what they cost.

    Parameters
    ----------
    catalog : Catalog
        The files.
    groups : sequence of Pieces
        Windows, or single row chunks.
    instances : int
        How many share an epoch.
    """
    planner = WindowPlanner(catalog, instances=instances)
    total = Costs()
    wanted: Counter[str] = Counter()
    spanned: Counter[str] = Counter()
    for group in groups:
        plan = planner.plan(group)
        total += costs_of(plan.tasks, catalog.access)
        names = _names_by_buffer(plan)
        for task in plan.tasks:
            for name in {name for buffer in task.buffers for name in names[buffer]}:
                wanted[name] += task.body.wanted_rows
                spanned[name] += task.body.spanned_rows
    amplification = {
        name: spanned[name] / wanted[name] if wanted[name] else 1.0
        for name in catalog.files[0].fields
    }
    return WindowCosts(total, amplification)


def _names_by_buffer(plan: WindowPlan) -> list[list[str]]:
    """Say which columns are made of each buffer."""
    names: list[list[str]] = [[] for _buffer in plan.buffers]
    for name, column in plan.columns.items():
        for buffer in column.buffers:
            names[buffer].append(name)
    return names
