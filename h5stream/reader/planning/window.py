"""Plans a window: the pieces of a lane become buffers, tasks that fill them, and columns. Pure.

1. One buffer for each dense field, as long as the window; other kinds of column are planned by
   `columns`.
2. For each file and dataset of the window: small datasets that chunks would serve badly are read
   once and stay in memory; others are read directly, or through h5py, each chunk once.
3. Every task fills its own part of the buffers, in any order, on any thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from h5stream.fields import DenseField, FileFields
from h5stream.layout import Fingerprint
from h5stream.plan import Pieces, expand_spans, row_seeds
from h5stream.reader.catalog import Catalog
from h5stream.reader.columns import BufferColumn, ColumnPlan, ReadyColumn
from h5stream.reader.planning.columns import ColumnPlanner, Rows, begins_at_random, group_names
from h5stream.reader.planning.datasets import DatasetPlans
from h5stream.reader.planning.direct import Spans
from h5stream.reader.planning.resident import resident_fields
from h5stream.reader.tasks import Buffer, Destination, ReadTask, Resident, Target, Value

__all__ = ["ROW_NUMBERS", "WindowPlan", "WindowPlanner"]

_STARTS = 0x737461727473
"""Tells where slices begin from other numbers that are drawn for rows."""

ROW_NUMBERS = "_row"
"""Key of the numbers of rows, where a catalog asks for them."""


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class WindowPlan(Value):
    """What it takes to read a window.

    Parameters
    ----------
    n_rows : int
        Rows of the window.
    buffers : tuple of Buffer
        Memory that it needs; tasks and columns know it by its number.
    tasks : tuple of ReadTask
        They fill the buffers, in any order.
    columns : dict
        Key -> what is made of the buffers.
    files : dict
        Path -> version, of all files that hold the rows.
    """

    n_rows: int
    buffers: tuple[Buffer, ...]
    tasks: tuple[ReadTask, ...]
    columns: dict[str, ColumnPlan]
    files: dict[str, Fingerprint]

    def __str__(self) -> str:
        return "\n".join([f"{self.n_rows} rows", *map(str, self.buffers), *map(str, self.tasks)])


class WindowPlanner:
    """Plans windows of one catalog.

    Parameters
    ----------
    catalog : Catalog
        The files; none is opened.
    instances : int
        How many processes read the catalog together.
    """

    def __init__(self, catalog: Catalog, *, instances: int = 1) -> None:
        self.catalog = catalog
        self.datasets = DatasetPlans(catalog.routes, catalog.access)
        self._groups = group_names(file.fields for file in catalog.files)
        self._moves = any(map(begins_at_random, catalog.files[0].fields.values()))
        self._resident = resident_fields(catalog, instances)

    def plan(
        self,
        pieces: Pieces,
        places: np.ndarray | None = None,
        *,
        seed: int = 0,
        epoch: int = 0,
    ) -> WindowPlan:
        """Plan to read the pieces.

        Parameters
        ----------
        pieces : Pieces
            Their rows are counted one after the other.
        places : numpy.ndarray, optional
            int64 permutation: row i goes to ``places[i]``; by default all stay in order.
        seed, epoch : int
            Keys of where slices begin that do so at random.
        """
        located, first = self.catalog.locate(pieces)
        n_rows = int(pieces.sizes.sum())
        buffers: list[Buffer] = []
        columns: dict[str, ColumnPlan] = {}
        dense: dict[str, int] = {}
        for name, field in self.catalog.files[0].fields.items():
            if isinstance(field, DenseField):
                dense[name] = len(buffers)
                columns[name] = BufferColumn(len(buffers))
                buffers.append(Buffer((n_rows, *field.row_shape), field.dtype))
        tasks: list[ReadTask] = []
        files: dict[str, Fingerprint] = {}
        rows: list[Rows] = []
        seeds: np.ndarray | None = None
        if self._moves:
            seeds = row_seeds(self._numbers(pieces), seed=seed ^ _STARTS, epoch=epoch)
        for number in np.unique(located.file).tolist():
            of_file = located.file == number
            file = self.catalog.files[number]
            spans = (located.start[of_file], located.stop[of_file], first[of_file])
            files.update(file.fingerprints)
            tasks.extend(self._dense(file, _stored_spans(file, spans), dense, places))
            if len(dense) < len(file.fields):
                listed = _rows_of(file, spans)
                own = None if seeds is None else seeds[listed.numbers]
                rows.append(replace(listed, seeds=own))
        planner = ColumnPlanner(self.datasets, buffers, tasks)
        order = None if places is None or not rows else _inverse(places)
        for names in self._groups:
            if names[0] not in dense:
                columns |= planner.plan(names, rows, order)
        columns = {name: columns[name] for name in self.catalog.files[0].fields}
        if self.catalog.numbered:
            columns[ROW_NUMBERS] = ReadyColumn(self._numbers(pieces, places))
        return WindowPlan(n_rows, tuple(buffers), tuple(tasks), columns, files)

    def _numbers(self, pieces: Pieces, places: np.ndarray | None = None) -> np.ndarray:
        """Return the numbers of rows of pieces over all files; those drawn again count on."""
        n_rows = np.array([file.n_rows for file in self.catalog.files], np.int64)
        first = np.append(np.cumsum(n_rows) - n_rows, 0)[pieces.file]  # an order begins at 0
        numbers = expand_spans(first + pieces.start, first + pieces.stop)
        if pieces.turns is not None:
            numbers += np.repeat(pieces.turns, pieces.sizes) * int(n_rows.sum())
        if places is None:
            return numbers
        placed = np.empty_like(numbers)
        placed[places] = numbers
        return placed

    def _dense(
        self, file: FileFields, spans: Spans, buffers: dict[str, int], places: np.ndarray | None
    ) -> Iterator[ReadTask]:
        datasets: dict[tuple[str, str], list[Target]] = {}
        for name, field in file.fields.items():
            if not isinstance(field, DenseField):
                continue
            target = Target(field, buffers[name])
            if name in self._resident:
                version = file.fingerprints[field.layout.file]
                body = Resident(field, Destination((target,), places), version, *spans)
                yield ReadTask(body)
            else:
                datasets.setdefault(field.layout.key, []).append(target)
        for targets in datasets.values():
            destination = Destination(tuple(targets), places)
            yield from self.datasets.rows(file.fingerprints, spans, destination)


def _inverse(places: np.ndarray) -> np.ndarray:
    """Say which row comes to each place."""
    rows = np.empty_like(places)
    rows[places] = np.arange(len(places))
    return rows


def _rows_of(file: FileFields, spans: Spans) -> Rows:
    """List the rows of spans, and their numbers in the window."""
    start, stop, first = spans
    rows = expand_spans(start, stop)
    numbers = expand_spans(first, first + stop - start)
    return Rows(file, rows if file.rows is None else file.rows[rows], numbers)


def _stored_spans(file: FileFields, spans: Spans) -> Spans:
    """Turn spans of chosen rows into spans that are consecutive in the file and in the window.

    Parameters
    ----------
    file : FileFields
        Where rows may be chosen.
    spans : Spans
        Of the chosen rows, by their number among these.
    """
    if file.rows is None:
        return spans
    listed = _rows_of(file, spans)
    breaks = (np.diff(listed.rows) != 1) | (np.diff(listed.numbers) != 1)
    first = np.flatnonzero(np.concatenate([[True], breaks])[: len(listed.rows)])
    start = listed.rows[first]
    return start, start + np.diff(np.append(first, len(listed.rows))), listed.numbers[first]
