"""Turns the pieces of a window into columns and the jobs that fill them.

1. One buffer for each dense field, from the pool, as long as the window; other kinds of column
   are planned by `assemble`.
2. For each file and dataset of the window: small datasets that chunks would serve badly are read
   once and stay in memory; others are read directly, or through h5py, each chunk once.
3. Every job fills its own part of the buffers, in any order, on any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from h5stream.columns import Column
from h5stream.decode import Scratch
from h5stream.fetch import DataFile
from h5stream.fetch.buffers import BufferPool
from h5stream.fields import DenseField, FileFields
from h5stream.plan import Pieces, expand_spans, row_seeds
from h5stream.reader.asking import Job, run_all
from h5stream.reader.assemble import Assembler, Rows, begins_at_random, group_names
from h5stream.reader.catalog import Catalog
from h5stream.reader.datasets import DatasetReads
from h5stream.reader.destination import Destination, Target
from h5stream.reader.direct import Spans
from h5stream.reader.resident import resident_fields
from h5stream.reader.stats import Stats

__all__ = ["ROW_NUMBERS", "Reader", "WindowReads", "stored_spans"]

_STARTS = 0x737461727473
"""Tells where slices begin from other numbers that are drawn for rows."""

ROW_NUMBERS = "_row"
"""Key of the numbers of rows, where a catalog asks for them."""


@dataclass(frozen=True, eq=False, slots=True)
class WindowReads:
    """The columns of a window, and the jobs that fill them.

    What the columns hold is good once all jobs are done and `check` passed.
    """

    columns: dict[str, Column]
    jobs: list[Job]
    files: list[DataFile]
    n_rows: int
    checks: list[Callable[[], None]]

    def check_unchanged(self) -> None:
        """Raise unless all files that the jobs read are still the ones that were scanned.

        Raises
        ------
        FetchError
            Naming the file that changed.
        """
        for file in self.files:
            file.check_unchanged()

    def check_values(self) -> None:
        """Raise if what was read cannot be right.

        Raises
        ------
        DecodeError
            Naming the dataset.
        """
        for check in self.checks:
            check()


class Reader:
    """Reads windows of one catalog, in one process, for any number of iterators.

    Buffers and what stays in memory outlive an epoch; files are opened when they are needed.

    Parameters
    ----------
    catalog : Catalog
        The files.
    stats : Stats
        Where bytes and seconds are counted.
    instances : int
        How many processes read the catalog together.
    """

    def __init__(self, catalog: Catalog, stats: Stats, *, instances: int = 1) -> None:
        self.catalog = catalog
        self.stats = stats
        self._pool = BufferPool()
        self._scratches = threading.local()
        self._reads = DatasetReads(catalog.routes, catalog.access, stats)
        self._assembler = Assembler(self._reads, self._pool, stats)
        self._groups = group_names(file.fields for file in catalog.files)
        self._moves = any(map(begins_at_random, catalog.files[0].fields.values()))
        self._resident_names = resident_fields(catalog, instances)
        self._resident: dict[tuple[int, str], np.ndarray] = {}
        self._loading = threading.Lock()

    def window(
        self,
        pieces: Pieces,
        places: np.ndarray | None = None,
        *,
        seed: int = 0,
        epoch: int = 0,
    ) -> WindowReads:
        """Prepare to read the pieces.

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
        buffers: dict[str, np.ndarray] = {}
        for name, field in self.catalog.files[0].fields.items():
            if isinstance(field, DenseField):
                buffers[name] = self._pool.array((n_rows, *field.row_shape), field.dtype)
        jobs: list[Job] = []
        files: list[DataFile] = []
        rows: list[Rows] = []
        seeds: np.ndarray | None = None
        if self._moves:
            seeds = row_seeds(self._numbers(pieces), seed=seed ^ _STARTS, epoch=epoch)
        for number in np.unique(located.file).tolist():
            of_file = located.file == number
            file = self.catalog.files[number]
            spans = (located.start[of_file], located.stop[of_file], first[of_file])
            files.extend(self._reads.file(*mark) for mark in file.fingerprints.items())
            jobs.extend(self._dense_jobs(number, stored_spans(file, spans), buffers, places))
            if len(buffers) < len(file.fields):
                listed = _rows_of(file, spans)
                own = None if seeds is None else seeds[listed.numbers]
                rows.append(replace(listed, seeds=own))
        order = None if places is None or not rows else _inverse(places)
        found: dict[str, Column] = {**buffers}
        checks: list[Callable[[], None]] = []
        for names in self._groups:
            if names[0] in buffers:
                continue
            planned = self._assembler.plan(names, rows, order)
            found |= planned.columns
            jobs.extend(planned.jobs)
            checks.extend(planned.checks)
        columns = {name: found[name] for name in self.catalog.files[0].fields}
        if self.catalog.numbered:
            columns[ROW_NUMBERS] = self._numbers(pieces, places)
        return WindowReads(columns, jobs, files, n_rows, checks)

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

    def run(self, job: Job) -> None:
        """Do one job with the calling thread's scratch memory."""
        scratch = getattr(self._scratches, "scratch", None)
        if scratch is None:
            scratch = self._scratches.scratch = Scratch()
        job(scratch)

    def release_files(self) -> None:
        """Let go of all files; a job that still needs one opens it again."""
        self._reads.release_files()

    def forget_buffers(self) -> None:
        """Give the memory of windows back to the system, once nobody holds it any more."""
        self._pool.forget()

    def _dense_jobs(
        self,
        number: int,
        spans: Spans,
        buffers: dict[str, np.ndarray],
        places: np.ndarray | None,
    ) -> Iterator[Job]:
        file = self.catalog.files[number]
        datasets: dict[tuple[str, str], list[Target]] = {}
        for name, field in file.fields.items():
            if not isinstance(field, DenseField):
                continue
            if name in self._resident_names:
                destination = Destination([(field, buffers[name])], places)
                yield partial(self._copy_resident, number, spans, destination)
            else:
                datasets.setdefault(field.layout.key, []).append((field, buffers[name]))
        for targets in datasets.values():
            yield from self._reads.jobs(file.fingerprints, spans, Destination(targets, places))

    def _copy_resident(
        self, number: int, spans: Spans, destination: Destination, scratch: Scratch
    ) -> None:
        (field, column) = destination.targets[0]
        with self._loading:
            resident = self._resident.get((number, field.name))
            if resident is None:
                resident = self._load(number, field, scratch)
                self._resident[number, field.name] = resident
        start, stop, first = spans
        rows, numbers = expand_spans(start, stop), expand_spans(first, first + (stop - start))
        places = destination.places
        column[numbers if places is None else places[numbers]] = resident[rows]

    def _load(self, number: int, field: DenseField, scratch: Scratch) -> np.ndarray:
        rows = np.empty((field.n_rows, *field.row_shape), field.dtype)
        whole = (np.array([0]), np.array([field.n_rows]), np.array([0]))
        marks = self.catalog.files[number].fingerprints
        run_all(self._reads.jobs(marks, whole, Destination([(field, rows)])), scratch)
        return rows


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


def stored_spans(file: FileFields, spans: Spans) -> Spans:
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
