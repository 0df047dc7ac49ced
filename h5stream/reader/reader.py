"""Turns the pieces of a window into buffers and the jobs that fill them.

1. One buffer for each field, from the pool, as long as the window.
2. For each file and dataset of the window: small datasets that chunks would serve badly are read
   once and stay in memory; others are read directly, or through h5py, each chunk once.
3. Every job fills its own part of the buffers, in any order, on any thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from h5stream.decode import Scratch
from h5stream.fetch import LocalFile
from h5stream.fields import DenseField, FileFields
from h5stream.plan import Pieces, split_at_chunks
from h5stream.reader.buffers import BufferPool
from h5stream.reader.catalog import Catalog
from h5stream.reader.direct import DirectDataset, Job, Target, place_rows
from h5stream.reader.fallback import FallbackFile
from h5stream.reader.stats import Stats

__all__ = ["Reader", "WindowReads", "resident_fields"]

_RESIDENT_BYTES = 16 * 2**20
"""What a field may take over all files to stay in memory."""

_FALLBACK_JOB_BYTES = 4 * 2**20


@dataclass(frozen=True, eq=False, slots=True)
class WindowReads:
    """The buffers of a window, and the jobs that fill them."""

    columns: dict[str, np.ndarray]
    jobs: list[Job]
    n_rows: int


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
        self.allocate = BufferPool().array
        self._scratches = threading.local()
        self._files: dict[str, LocalFile] = {}
        self._fallbacks: dict[str, FallbackFile] = {}
        self._direct: dict[tuple[int, str], DirectDataset] = {}
        self._resident_names = resident_fields(catalog)
        self._resident: dict[tuple[int, str], np.ndarray] = {}
        self._loading = threading.Lock()

    def window(self, pieces: Pieces) -> WindowReads:
        """Prepare to read the pieces, one after the other."""
        sizes = pieces.sizes
        dest = np.cumsum(sizes) - sizes
        n_rows = int(sizes.sum())
        columns = {
            name: self.allocate((n_rows, *row_shape), dtype)
            for name, (dtype, row_shape) in self.catalog.columns.items()
        }
        jobs: list[Job] = []
        for number in sorted(set(pieces.file.tolist())):
            of_file = pieces.file == number
            spans = (pieces.start[of_file], pieces.stop[of_file], dest[of_file])
            jobs.extend(self._file_jobs(number, spans, columns))
        return WindowReads(columns, jobs, n_rows)

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
        spans: tuple[np.ndarray, np.ndarray, np.ndarray],
        columns: dict[str, np.ndarray],
    ) -> Iterator[Job]:
        file = self.catalog.files[number]
        datasets: dict[str, list[Target]] = {}
        for name, field in file.fields.items():
            if name in self._resident_names:
                yield partial(self._copy_resident, number, field, spans, columns[name])
            else:
                datasets.setdefault(field.layout.path, []).append((field, columns[name]))
        for targets in datasets.values():
            yield from self._dataset_jobs(number, spans, targets)

    def _dataset_jobs(
        self,
        number: int,
        spans: tuple[np.ndarray, np.ndarray, np.ndarray],
        targets: Sequence[Target],
    ) -> Iterator[Job]:
        file, layout = self.catalog.files[number], targets[0][0].layout
        if not layout.nbytes:
            return
        if self.catalog.routes[number, layout.path].direct:
            direct = self._direct.get((number, layout.path))
            if direct is None:
                local = self._file(file, layout.file)
                direct = DirectDataset(layout, local, self.stats)
                self._direct[number, layout.path] = direct
            yield from direct.jobs(*spans, targets=targets)
            return
        per_job = max(1, _FALLBACK_JOB_BYTES // max(1, layout.row_nbytes))
        segments = split_at_chunks(*spans, chunk_rows=layout.chunk_rows or per_job)
        for part in segments.jobs(chunk_rows_per_job=1):
            yield partial(
                self._read_fallback,
                file,
                (part.start, part.stop, part.dest),
                targets,
            )

    def _read_fallback(
        self,
        file: FileFields,
        spans: tuple[np.ndarray, np.ndarray, np.ndarray],
        targets: Sequence[Target],
        _scratch: Scratch,
    ) -> None:
        layout = targets[0][0].layout
        fallback = self._fallbacks.setdefault(layout.file, FallbackFile(layout.file))
        start, stop, dest = spans
        first, last = int(start.min()), int(stop.max())
        started = time.perf_counter()
        rows = fallback.read(layout, first, last)
        self.stats.add(decode_s=time.perf_counter() - started, decoded_bytes=rows.nbytes)
        for a, b, d in zip(start.tolist(), stop.tolist(), dest.tolist(), strict=True):
            place_rows(rows[a - first : b - first], slice(d, d + b - a), targets)
        self._file(file, layout.file).check_unchanged()

    def _copy_resident(
        self,
        number: int,
        field: DenseField,
        spans: tuple[np.ndarray, np.ndarray, np.ndarray],
        column: np.ndarray,
        scratch: Scratch,
    ) -> None:
        with self._loading:
            resident = self._resident.get((number, field.name))
            if resident is None:
                resident = self._load(number, field, scratch)
                self._resident[number, field.name] = resident
        for start, stop, dest in zip(*(span.tolist() for span in spans), strict=True):
            column[dest : dest + stop - start] = resident[start:stop]

    def _load(self, number: int, field: DenseField, scratch: Scratch) -> np.ndarray:
        rows = np.empty((field.n_rows, *field.row_shape), field.dtype)
        whole = (np.array([0]), np.array([field.n_rows]), np.array([0]))
        for job in self._dataset_jobs(number, whole, [(field, rows)]):
            job(scratch)
        return rows

    def _file(self, file: FileFields, path: str) -> LocalFile:
        return self._files.setdefault(path, LocalFile(path, file.fingerprints[path]))
