"""What windows cost, added up over their tasks. Pure: no file is opened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from h5stream.fetch import Access
from h5stream.fetch.coalesce import join_ranges
from h5stream.plan import Pieces
from h5stream.reader.catalog import Catalog
from h5stream.reader.planning.window import WindowPlanner
from h5stream.reader.tasks import ReadTask

__all__ = ["Costs", "costs_of", "count_requests"]


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


def count_requests(
    catalog: Catalog, groups: Sequence[Pieces], *, instances: int = 1
) -> tuple[int, int]:
    """Count requests and bytes that serve groups of pieces, each read together.

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
    costs = (costs_of(planner.plan(group).tasks, catalog.access) for group in groups)
    total = sum(costs, Costs())
    return total.requests, total.remote_bytes
