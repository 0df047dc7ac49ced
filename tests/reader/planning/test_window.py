"""Windows are planned of catalogs that no file stands behind, and what they cost is added up."""

from __future__ import annotations

import numpy as np
import pytest

from h5stream.columns import Ragged
from h5stream.fetch import Access
from h5stream.fields import DenseField, Field, FileFields, GivenField
from h5stream.layout import ChunkTable, DatasetLayout, FilterSpec, Fingerprint, Storage
from h5stream.plan import Pieces
from h5stream.reader import Catalog, Route
from h5stream.reader.planning import (
    Costs,
    WindowPlan,
    WindowPlanner,
    costs_of,
    costs_of_windows,
)
from h5stream.reader.tasks import Buffer, Chunks, Copies, RawRows, Resident, ThroughHDF5

MiB = 2**20
GZIP = (FilterSpec(1, "deflate", (4,)),)


def images(file: str, n_chunks: int = 4) -> DatasetLayout:
    """Describe chunks of 8 rows of 1 MiB, each stored in 100,000 bytes and as far apart."""
    at = np.arange(n_chunks, dtype=np.int64)
    stored = ChunkTable(at, 2 * 10**5 * at, np.full(n_chunks, 10**5), np.zeros(n_chunks, "u4"))
    shape, chunks = (8 * n_chunks, MiB), (8, MiB)
    return DatasetLayout(
        file, "/images", shape, np.dtype("u1"), Storage.CHUNKED, chunks, GZIP, table=stored
    )


def plain(file: str, name: str, width: int, n_rows: int = 32, at: int = 10**7) -> DatasetLayout:
    shape = (n_rows, width)
    return DatasetLayout(
        file, f"/{name}", shape, np.dtype("<f4"), Storage.CONTIGUOUS, byte_offset=at
    )


def catalog(
    *layouts: DatasetLayout,
    access: Access | None = None,
    file: str = "a.h5",
    more: dict[str, Field] | None = None,
    through_h5py: str = "",
) -> Catalog:
    fields: dict[str, Field] = {
        layout.path[1:]: DenseField(layout.path[1:], layout) for layout in layouts
    }
    routes = {
        layout.key: Route("it is odd" if layout.path == through_h5py else None)
        for layout in layouts
    }
    files = (FileFields(file, {**fields, **(more or {})}, {file: Fingerprint(10**8)}),)
    return Catalog(files, routes, access or Access())


def pieces(*ranges: tuple[int, int]) -> Pieces:
    start, stop = np.array(ranges, np.int64).T
    return Pieces(np.zeros(len(ranges), np.int64), start, stop)


def kinds(plan: WindowPlan) -> list[type]:
    return [type(task.body) for task in plan.tasks]


def test_a_window_is_buffers_tasks_and_columns() -> None:
    found = catalog(images("a.h5"), plain("a.h5", "wide", 2**20))
    plan = WindowPlanner(found).plan(pieces((8, 16), (0, 4)))
    assert plan.n_rows == 12
    assert plan.buffers == (
        Buffer((12, MiB), np.dtype("u1")),
        Buffer((12, MiB), np.dtype("f4")),
    )
    assert kinds(plan) == [Chunks, Chunks, *[RawRows] * 12]
    assert [task.offset.tolist() for task in plan.tasks[:2]] == [[0], [2 * 10**5]]
    assert sum(task.nbytes for task in plan.tasks[2:]) == 12 * 4 * MiB
    assert plan.files == {"a.h5": Fingerprint(10**8)}
    assert str(plan).splitlines()[3] == "Chunks of a.h5: 1 ranges, 100000 bytes"


def test_the_same_window_is_the_same_plan() -> None:
    planner = WindowPlanner(catalog(images("a.h5"), plain("a.h5", "small", 3)))
    places = np.random.default_rng(0).permutation(12)
    one, other = (planner.plan(pieces((8, 16), (0, 4)), places) for _ in range(2))
    assert one == other
    assert one != planner.plan(pieces((8, 16), (0, 4)))
    assert one != planner.plan(pieces((0, 4), (8, 16)), places)


def test_small_fields_stay_in_memory_and_cost_nothing() -> None:
    found = catalog(images("a.h5"), plain("a.h5", "small", 3))
    plan = WindowPlanner(found).plan(pieces((8, 16)))
    assert kinds(plan) == [Resident, Chunks]
    assert costs_of(plan.tasks[:1], found.access) == Costs()


def test_what_h5py_reads_says_which_ranges_serve_it() -> None:
    found = catalog(images("a.h5"), through_h5py="/images")
    plan = WindowPlanner(found).plan(pieces((4, 20)))
    assert kinds(plan) == [ThroughHDF5] * 3
    assert [task.offset.tolist() for task in plan.tasks] == [[0], [200_000], [400_000]]
    extents = [task.body.extent for task in plan.tasks if isinstance(task.body, ThroughHDF5)]
    assert extents == [(4, 8), (8, 16), (16, 20)]


def test_values_in_memory_become_columns_without_tasks() -> None:
    given = GivenField("given", Ragged.from_rows([np.arange(n) for n in range(32)]))
    plan = WindowPlanner(catalog(images("a.h5"), more={"given": given})).plan(pieces((3, 5)))
    assert kinds(plan) == [Chunks]
    assert [row.tolist() for row in plan.columns["given"].make([])] == [[0, 1, 2], [0, 1, 2, 3]]
    assert Copies not in kinds(plan)


@pytest.mark.parametrize("gzipped", [True, False])
def test_requests_of_remote_files_are_sums_over_the_tasks(gzipped: bool) -> None:
    access = Access()
    url = access.name("https://host/a.h5")
    layout = images(url) if gzipped else plain(url, "images", MiB // 4)
    found = catalog(layout, access=access, file=url)
    windows = [pieces((0, 8), (24, 32)), pieces((8, 16))]
    plans = [WindowPlanner(found).plan(window) for window in windows]
    costs = sum((costs_of(plan.tasks, access) for plan in plans), Costs())
    assert costs.local_bytes == 0
    assert costs.decoded_bytes == 24 * MiB
    assert costs == costs_of_windows(found, windows).total
    assert costs.remote_bytes == (3 * 10**5 if gzipped else 24 * MiB)
    assert costs.requests == (3 if gzipped else 6)


def test_local_files_cost_bytes_and_no_requests() -> None:
    found = catalog(images("a.h5"))
    costs = costs_of(WindowPlanner(found).plan(pieces((0, 8))).tasks, found.access)
    assert costs == Costs(0, 0, 10**5, 8 * MiB)


def test_rows_that_are_decoded_in_vain_are_told_for_each_field() -> None:
    found = catalog(images("a.h5"), plain("a.h5", "wide", 2**20), plain("a.h5", "small", 3))
    windows = [pieces((0, 2), (9, 11)), pieces((30, 32))]
    amplification = costs_of_windows(found, windows).amplification
    assert amplification == {"images": 24 / 6, "wide": 1, "small": 1}
    whole = catalog(images("a.h5"), through_h5py="/images")
    assert costs_of_windows(whole, windows).amplification == {"images": 24 / 6}
