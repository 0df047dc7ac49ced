"""Plans the reads of datasets: directly or through h5py, one dataset or many in a row.

Knows files, routes and datasets, but not windows: whoever asks says which rows go where.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np

from h5stream.decode import Scratch
from h5stream.fetch import Access, DataFile, Request
from h5stream.fields import DenseField, Elements
from h5stream.layout import DatasetLayout, Fingerprint, Storage
from h5stream.plan import Cover, Segments, cut_by_weight, split_at_bounds, split_at_chunks
from h5stream.reader.asking import AskingJob, Job, can_ask, run_all
from h5stream.reader.catalog import Route
from h5stream.reader.destination import Destination
from h5stream.reader.direct import DirectDataset, Spans
from h5stream.reader.fallback import FallbackFile
from h5stream.reader.ranges import ranges_of_rows
from h5stream.reader.stats import Stats

__all__ = ["DatasetReads"]

_FALLBACK_JOB_BYTES = 4 * 2**20
_JOB_BYTES = 4 * 2**20
_DATASETS_PER_JOB = 16


class DatasetReads:
    """Makes the jobs that read datasets, and keeps what they need open.

    Parameters
    ----------
    routes : mapping
        Key of a layout -> how it is read.
    access : Access
        The way to the files.
    stats : Stats
        Where bytes and seconds are counted.
    """

    def __init__(
        self, routes: Mapping[tuple[str, str], Route], access: Access, stats: Stats
    ) -> None:
        self._routes = routes
        self._access = access
        self._stats = stats
        self._files: dict[str, DataFile] = {}
        self._fallbacks: dict[str, FallbackFile] = {}
        self._direct: dict[tuple[str, str], DirectDataset] = {}

    def file(self, path: str, fingerprint: Fingerprint) -> DataFile:
        """Return the file of this name, which is opened at its first read."""
        found = self._files.get(path)
        if found is None:
            made = self._access.data_file(path, fingerprint, self._count_retry)
            found = self._files.setdefault(path, made)
        return found

    def _count_retry(self) -> None:
        self._stats.add(retries=1)

    def _fallback(self, path: str, fingerprint: Fingerprint) -> FallbackFile:
        found = self._fallbacks.get(path)
        if found is None:
            made = FallbackFile(path, self._access.reopen(path, fingerprint))
            found = self._fallbacks.setdefault(path, made)
        return found

    def release_files(self) -> None:
        """Let go of all files; a job that still needs one opens it again."""
        for fallback in list(self._fallbacks.values()):
            fallback.close()
        self._direct.clear()
        self._files.clear()

    def jobs(
        self, marks: Mapping[str, Fingerprint], spans: Spans, destination: Destination
    ) -> Iterator[Job]:
        """Yield the jobs that read rows of the dataset of a destination."""
        layout = destination.targets[0][0].layout
        if not layout.nbytes:
            return
        if self._routes[layout.key].direct:
            yield from self._direct_dataset(marks, layout).jobs(spans, destination)
            return
        per_job = max(1, _FALLBACK_JOB_BYTES // max(1, layout.row_nbytes))
        segments = split_at_chunks(*spans, chunk_rows=layout.chunk_rows or per_job)
        mark = marks[layout.file]
        fallback, data = self._fallback(layout.file, mark), self.file(layout.file, mark)
        for part in segments.jobs(chunk_rows_per_job=1):
            if not can_ask(data):
                yield partial(self._read_fallback, fallback, part, destination, None)
                continue
            rows = (int(part.start.min()), int(part.stop.max()))
            work = partial(self._read_fallback, fallback, part, destination)
            yield AskingJob(data, *ranges_of_rows(layout, *rows), work, self._stats)

    def part_jobs(
        self, marks: Mapping[str, Fingerprint], part: Elements, spans: Spans, buffer: np.ndarray
    ) -> Iterator[Job]:
        """Yield the jobs that read elements of a part into a buffer."""
        if len(part.datasets) == 1:
            yield from self.jobs(marks, spans, Destination([(part.first, buffer)]))
            return
        pieces = split_at_bounds(*spans, bounds=part.bounds)
        offsets = np.array([self._place(field, part.first) for field in part.datasets], np.int64)
        simple = offsets[pieces.chunk_row] >= 0
        raw = pieces.chosen(simple)
        if len(raw):
            yield from self._raw_jobs(marks, part, raw, offsets, buffer)
        others = pieces.chosen(~simple)
        for some in others.jobs(chunk_rows_per_job=_DATASETS_PER_JOB):
            yield partial(self._read_datasets, marks, part, some, buffer)

    def row_jobs(
        self,
        marks: Mapping[str, Fingerprint],
        part: Elements,
        cover: Cover,
        begins: np.ndarray,
        buffer: np.ndarray,
    ) -> Iterator[Job]:
        """Yield the jobs that read rows of datasets that differ in shape into a buffer.

        Parameters
        ----------
        marks : mapping
            Path -> fingerprint.
        part : Elements
            The datasets.
        cover : Cover
            Rows, counted over all datasets.
        begins : numpy.ndarray
            int64: where each row of the cover begins in the buffer, and where the last ends.
        buffer : numpy.ndarray
            Elements of the rows.
        """
        pieces = split_at_bounds(cover.start, cover.stop, cover.dest, bounds=part.bounds)
        numbers, bounds = pieces.groups()
        for number, first, last in zip(numbers.tolist(), bounds, bounds[1:], strict=False):
            some, field = pieces[int(first) : int(last)], part.datasets[number]
            origin, low = int(part.bounds[number]), int(some.dest[0])
            rows = int((some.stop - some.start).sum())
            own = buffer[begins[low] : begins[low + rows]].reshape(rows, *field.row_shape)
            spans = (some.start - origin, some.stop - origin, some.dest - low)
            yield from self.jobs(marks, spans, Destination([(field, own)]))

    def _place(self, field: DenseField, first: DenseField) -> int:
        """Return where a dataset lies if it can be read as the first one is, else -1."""
        layout = field.layout
        direct = self._routes[layout.key].direct and layout.storage is Storage.CONTIGUOUS
        if not direct or field.members or layout.byte_offset is None:
            return -1
        kind, expected = (
            (each.layout.file, each.layout.dtype, each.layout.row_shape, each.inner)
            for each in (field, first)
        )
        alike = kind == expected
        return layout.byte_offset if alike and field.packing == first.packing else -1

    def _raw_jobs(
        self,
        marks: Mapping[str, Fingerprint],
        part: Elements,
        pieces: Segments,
        offsets: np.ndarray,
        buffer: np.ndarray,
    ) -> Iterator[Job]:
        """Read datasets that lie in one piece: many with one job."""
        row_nbytes = part.first.layout.row_nbytes
        within = (pieces.start - part.bounds[pieces.chunk_row]) * row_nbytes
        where = offsets[pieces.chunk_row] + within
        reader = self._direct_dataset(marks, part.first.layout)
        destination = Destination([(part.first, buffer)])
        ends = np.cumsum((pieces.stop - pieces.start) * row_nbytes)
        for first, last in itertools.pairwise(cut_by_weight(ends, target=_JOB_BYTES).tolist()):
            some = slice(first, last)
            yield reader.rows_job(pieces[some], where[some], destination)

    def _read_datasets(
        self,
        marks: Mapping[str, Fingerprint],
        part: Elements,
        pieces: Segments,
        buffer: np.ndarray,
        scratch: Scratch,
    ) -> None:
        """Read from datasets one after the other."""
        numbers, bounds = pieces.groups()
        for number, first, last in zip(numbers.tolist(), bounds, bounds[1:], strict=False):
            some = pieces[int(first) : int(last)]
            origin = int(part.bounds[number])
            spans = (some.start - origin, some.stop - origin, some.dest)
            destination = Destination([(part.datasets[number], buffer)])
            run_all(self.jobs(marks, spans, destination), scratch)

    def _direct_dataset(
        self, marks: Mapping[str, Fingerprint], layout: DatasetLayout
    ) -> DirectDataset:
        direct = self._direct.get(layout.key)
        if direct is None:
            file = self.file(layout.file, marks[layout.file])
            direct = self._direct[layout.key] = DirectDataset(layout, file, self._stats)
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
        self._stats.add(decode_s=time.perf_counter() - started, decoded_bytes=rows.nbytes)
