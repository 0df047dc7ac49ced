"""Turns the pieces of a window into buffers and the jobs that fill them.

1. One buffer for each field, from the pool, as long as the window.
2. For each file and dataset of the window: small datasets that chunks would serve badly are read
   once and stay in memory; others are read directly, or through h5py, each chunk once.
3. Every job fills its own part of the buffers, in any order, on any thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from h5stream.decode import Scratch
from h5stream.fetch import DataFile, Request
from h5stream.fetch.buffers import BufferPool
from h5stream.fields import DenseField, FileFields
from h5stream.layout import DatasetLayout
from h5stream.plan import Pieces, Segments, split_at_chunks
from h5stream.reader.asking import AskingJob, Job, ask_for, can_ask
from h5stream.reader.catalog import Catalog
from h5stream.reader.destination import Destination, Target
from h5stream.reader.direct import DirectDataset, Spans
from h5stream.reader.fallback import FallbackFile
from h5stream.reader.ranges import ranges_of_rows
from h5stream.reader.stats import Stats

__all__ = ["Reader", "WindowReads", "resident_fields"]

_RESIDENT_BYTES = 16 * 2**20
"""What a field may take over all files to stay in memory."""

_FALLBACK_JOB_BYTES = 4 * 2**20


@dataclass(frozen=True, eq=False, slots=True)
class WindowReads:
    """The buffers of a window, and the jobs that fill them.

    What the buffers hold is good once all jobs are done and `check_unchanged` passed.
    """

    columns: dict[str, np.ndarray]
    jobs: list[Job]
    files: list[DataFile]
    n_rows: int

    def check_unchanged(self) -> None:
        """Raise unless all files that the jobs read are still the ones that were scanned.

        Raises
        ------
        FetchError
            Naming the file that changed.
        """
        for file in self.files:
            file.check_unchanged()


def resident_fields(catalog: Catalog) -> frozenset[str]:
    """Choose the fields that are read once and stay in memory.

    A field that is small over all files stays, unless it is the one whose chunks cut the rows.
    """
    chosen = []
    for name in catalog.files[0].fields:
        layouts = [file.fields[name].layout for file in catalog.files]
        small = sum(layout.nbytes for layout in layouts) <= _RESIDENT_BYTES
        if small and all(
            file.heaviest.layout is not file.fields[name].layout for file in catalog.files
        ):
            chosen.append(name)
    return frozenset(chosen)


class Reader:
    """Reads windows of one catalog, in one process, for any number of iterators.

    Buffers and what stays in memory outlive an epoch; files are opened when they are needed.

    Parameters
    ----------
    catalog : Catalog
        The files.
    stats : Stats
        Where bytes and seconds are counted.
    """

    def __init__(self, catalog: Catalog, stats: Stats) -> None:
        self.catalog = catalog
        self.stats = stats
        self._pool = BufferPool()
        self._scratches = threading.local()
        self._files: dict[str, DataFile] = {}
        self._fallbacks: dict[str, FallbackFile] = {}
        self._direct: dict[tuple[str, str], DirectDataset] = {}
        self._resident_names = resident_fields(catalog)
        self._resident: dict[tuple[int, str], np.ndarray] = {}
        self._loading = threading.Lock()

    def window(self, pieces: Pieces, places: np.ndarray | None = None) -> WindowReads:
        """Prepare to read the pieces.

        Parameters
        ----------
        pieces : Pieces
            Their rows are counted one after the other.
        places : numpy.ndarray, optional
            int64 permutation: row i goes to ``places[i]``; by default all stay in order.
        """
        sizes = pieces.sizes
        first = np.cumsum(sizes) - sizes
        n_rows = int(sizes.sum())
        columns = {
            name: self._pool.array((n_rows, *row_shape), dtype)
            for name, (dtype, row_shape) in self.catalog.columns.items()
        }
        jobs: list[Job] = []
        files: list[DataFile] = []
        for number in sorted(set(pieces.file.tolist())):
            holders = {f.layout.file for f in self.catalog.files[number].fields.values()}
            files.extend(self._file(self.catalog.files[number], path) for path in holders)
            of_file = pieces.file == number
            spans = (pieces.start[of_file], pieces.stop[of_file], first[of_file])
            jobs.extend(self._file_jobs(number, spans, columns, places))
        return WindowReads(columns, jobs, files, n_rows)

    def run(self, job: Job) -> None:
        """Do one job with the calling thread's scratch memory."""
        scratch = getattr(self._scratches, "scratch", None)
        if scratch is None:
            scratch = self._scratches.scratch = Scratch()
        job(scratch)

    def release_files(self) -> None:
        """Let go of all files; a job that still needs one opens it again."""
        for fallback in list(self._fallbacks.values()):
            fallback.close()
        self._direct.clear()
        self._files.clear()

    def _file_jobs(
        self,
        number: int,
        spans: Spans,
        columns: dict[str, np.ndarray],
        places: np.ndarray | None,
    ) -> Iterator[Job]:
        file = self.catalog.files[number]
        datasets: dict[tuple[str, str], list[Target]] = {}
        for name, field in file.fields.items():
            if name in self._resident_names:
                destination = Destination([(field, columns[name])], places)
                yield partial(self._copy_resident, number, spans, destination)
            else:
                dataset = (field.layout.file, field.layout.path)
                datasets.setdefault(dataset, []).append((field, columns[name]))
        for targets in datasets.values():
            yield from self._dataset_jobs(number, spans, Destination(targets, places))

    def _dataset_jobs(self, number: int, spans: Spans, destination: Destination) -> Iterator[Job]:
        file, layout = self.catalog.files[number], destination.targets[0][0].layout
        if not layout.nbytes:
            return
        if self.catalog.routes[layout.file, layout.path].direct:
            yield from self._direct_dataset(file, layout).jobs(spans, destination)
            return
        per_job = max(1, _FALLBACK_JOB_BYTES // max(1, layout.row_nbytes))
        segments = split_at_chunks(*spans, chunk_rows=layout.chunk_rows or per_job)
        fallback, data = self._fallback(file, layout.file), self._file(file, layout.file)
        for part in segments.jobs(chunk_rows_per_job=1):
            if not can_ask(data):
                yield partial(self._read_fallback, fallback, part, destination, None)
                continue
            rows = (int(part.start.min()), int(part.stop.max()))
            work = partial(self._read_fallback, fallback, part, destination)
            yield AskingJob(data, *ranges_of_rows(layout, *rows), work, self.stats)

    def _fallback(self, file: FileFields, path: str) -> FallbackFile:
        found = self._fallbacks.get(path)
        if found is None:
            made = FallbackFile(path, self.catalog.access.reopen(path, file.fingerprints[path]))
            found = self._fallbacks.setdefault(path, made)
        return found

    def _direct_dataset(self, file: FileFields, layout: DatasetLayout) -> DirectDataset:
        key = (layout.file, layout.path)
        direct = self._direct.get(key)
        if direct is None:
            direct = DirectDataset(layout, self._file(file, layout.file), self.stats)
            self._direct[key] = direct
        return direct

    def _read_fallback(
        self,
        fallback: FallbackFile,
        segments: Segments,
        destination: Destination,
        arrived: Request | None,
        _scratch: Scratch,
    ) -> None:
        layout = destination.targets[0][0].layout
        first, last = int(segments.start.min()), int(segments.stop.max())
        started = time.perf_counter()
        rows = fallback.read(layout, first, last, None if arrived is None else arrived.extents())
        for start, stop, dest in segments.spans():
            destination.put(rows[start - first : stop - first], dest)
        self.stats.add(decode_s=time.perf_counter() - started, decoded_bytes=rows.nbytes)

    def _copy_resident(
        self, number: int, spans: Spans, destination: Destination, scratch: Scratch
    ) -> None:
        (field, column) = destination.targets[0]
        with self._loading:
            resident = self._resident.get((number, field.name))
            if resident is None:
                resident = self._load(number, field, scratch)
                self._resident[number, field.name] = resident
        places = destination.places
        for start, stop, first in zip(*(span.tolist() for span in spans), strict=True):
            last = first + stop - start
            column[slice(first, last) if places is None else places[first:last]] = resident[
                start:stop
            ]

    def _load(self, number: int, field: DenseField, scratch: Scratch) -> np.ndarray:
        rows = np.empty((field.n_rows, *field.row_shape), field.dtype)
        whole = (np.array([0]), np.array([field.n_rows]), np.array([0]))
        jobs = self._dataset_jobs(number, whole, Destination([(field, rows)]))
        for job in [ask_for(job) for job in jobs]:
            job(scratch)
        return rows

    def _file(self, file: FileFields, path: str) -> DataFile:
        found = self._files.get(path)
        if found is None:
            made = self.catalog.access.data_file(path, file.fingerprints[path], self._count_retry)
            found = self._files.setdefault(path, made)
        return found

    def _count_retry(self) -> None:
        self.stats.add(retries=1)
