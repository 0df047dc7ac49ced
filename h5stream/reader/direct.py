"""Reads one dataset without HDF5: finds chunks, fetches them together, decodes into place.

Rows that are stored as they are in memory are read straight to where they belong. Other chunks
are fetched in coalesced reads. A chunk whose rows stay together is decoded where they belong; any
other is decoded into scratch memory, and its rows are copied to their places.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from h5stream.decode import Pipeline, Scratch
from h5stream.errors import DecodeError
from h5stream.fetch import DataFile
from h5stream.fetch.coalesce import affordable_gap
from h5stream.layout import ChunkTable, DatasetLayout
from h5stream.native import NativeRows, Window, can_call_native
from h5stream.plan import (
    Runs,
    Segments,
    expand_spans,
    join_runs,
    join_stretches,
    split_at_chunks,
)
from h5stream.reader.asking import AskingJob, Job, can_ask, is_in_memory
from h5stream.reader.destination import Destination
from h5stream.reader.pieces import fetch_pieces, read_counted
from h5stream.reader.ranges import entries_of, stored_ranges
from h5stream.reader.stats import Stats

__all__ = ["DirectDataset", "Spans"]

Spans = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Row ranges: first row, one past the last row, and number of the first in the window; int64."""

_JOB_BYTES = 4 * 2**20
_RUN_BYTES = 2**20
_MOST_READS_AGAIN = 4
_FEW = 4
"""More segments of a chunk are put to their places together."""

_SHORT_RUN_BYTES = 64 * 2**10
"""Shorter runs are read together with what lies between them."""

_GAP_BYTES = 2**17
"""Bytes between short runs that are read sooner than a read of its own is made."""

_REMOTE_GAP_BYTES = 2**16
_MOST_WASTE = 3
"""Of remote files at most so many times the bytes of short runs are read in vain."""

_LONG_ROW_BYTES = 2048
"""From this on, a row is worth an entry of its own in a vectored read."""


@dataclass(frozen=True, slots=True)
class _ChunkRow:
    """The wanted rows of one chunk row.

    Parameters
    ----------
    origin : int
        Its first row in the dataset.
    segments : Segments
        Rows, and numbers in the window.
    """

    origin: int
    segments: Segments

    @property
    def is_scattered(self) -> bool:
        """Whether the rows are many that do not stay together."""
        return len(self.segments) > _FEW

    @property
    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Which rows of the chunk row, and their numbers in the window."""
        start, stop, dest = self.segments.start, self.segments.stop, self.segments.dest
        within = expand_spans(start - self.origin, stop - self.origin)
        return within, expand_spans(dest, dest + (stop - start))


class DirectDataset:
    """Plans and does the direct reads of one dataset.

    Parameters
    ----------
    layout : DatasetLayout
        Chunked with a table, or contiguous.
    file : DataFile
        The file that holds the bytes.
    stats : Stats
        Where bytes and seconds are counted.
    """

    def __init__(self, layout: DatasetLayout, file: DataFile, stats: Stats) -> None:
        self.layout = layout
        self._file = file
        self._stats = stats
        self._pipeline = Pipeline(layout.filters, layout.chunk_nbytes)
        self._whole_rows = layout.chunks is None or layout.chunks[1:] == layout.row_shape
        self._native: NativeRows | None = None
        if NativeRows.misfit(layout) is None:
            self._native = NativeRows(layout, self._pipeline, stats)
        self._as_in_memory = self._whole_rows and not layout.filters and not layout.axis

    def jobs(self, spans: Spans, destination: Destination) -> Iterator[Job]:
        """Yield the jobs that bring row ranges to their destination.

        Raises
        ------
        DecodeError
            If a chunk that should be stored as it is in memory has another size.
        """
        if not self._as_in_memory:
            for part in self.parts(spans):
                yield self._chunks_job(part, destination)
            return
        for part in self.parts(spans):
            yield self.rows_job(part, self._row_offsets(part), destination)

    def parts(self, spans: Spans) -> Iterator[Segments]:
        """Cut row ranges into what one job reads."""
        layout = self.layout
        per_job = max(1, _JOB_BYTES // max(1, layout.row_nbytes))
        segments = split_at_chunks(*spans, chunk_rows=layout.chunk_rows or per_job)
        chunk_rows_per_job = max(1, per_job // (layout.chunk_rows or per_job))
        return segments.jobs(chunk_rows_per_job=chunk_rows_per_job)

    def ranges(self, part: Segments) -> tuple[np.ndarray, np.ndarray]:
        """Return offset and size of what a job reads."""
        return stored_ranges(self.layout, part, whole_chunks=not self._as_in_memory)

    def rows_job(self, part: Segments, offsets: np.ndarray, destination: Destination) -> Job:
        """Make the job that reads rows that are stored as they are in memory.

        Parameters
        ----------
        part : Segments
            Which rows, and where they go.
        offsets : numpy.ndarray
            int64: byte in the file at which each segment begins; below zero: fill it.
        destination : Destination
            The column.
        """
        if not can_ask(self._file):
            return partial(self._read_rows, part, offsets, destination)
        read = partial(self._read_arrived, DirectDataset._read_rows, part, offsets, destination)
        row_nbytes = self.layout.row_nbytes
        runs = self._runs(part, offsets)
        runs = runs[int(np.searchsorted(runs.offset, 0)) :]
        offset, size = runs.offset, runs.rows * row_nbytes
        if self._are_short(runs):
            bounds = self._stretches(runs)
            reached = np.maximum.accumulate(offset + size)
            offset = offset[bounds[:-1]]
            size = reached[bounds[1:] - 1] - offset
        return AskingJob(self._file, offset, size, read, self._stats)

    def _runs(self, part: Segments, offsets: np.ndarray) -> Runs:
        return join_runs(
            offsets,
            part.dest,
            part.stop - part.start,
            row_nbytes=self.layout.row_nbytes,
            most_bytes=_RUN_BYTES,
        )

    def _are_short(self, runs: Runs) -> bool:
        """Whether runs are so many and short that reading each by itself would take longest."""
        nbytes = int(runs.rows.sum()) * self.layout.row_nbytes
        return len(runs) > _FEW and nbytes < _SHORT_RUN_BYTES * len(runs)

    def _stretches(self, runs: Runs) -> np.ndarray:
        row_nbytes, gap = self.layout.row_nbytes, _GAP_BYTES
        if can_ask(self._file) or is_in_memory(self._file):
            size = runs.rows * row_nbytes
            gap = affordable_gap(
                runs.offset, size, max_gap_bytes=_REMOTE_GAP_BYTES, max_waste=_MOST_WASTE
            )
        return join_stretches(runs, row_nbytes=row_nbytes, max_gap_bytes=gap, most_bytes=_RUN_BYTES)

    def _chunks_job(self, part: Segments, destination: Destination) -> Job:
        """Make the job that reads chunks; where bytes take long, it asks for them first."""
        if not can_ask(self._file):
            return partial(self._read_chunks, part, destination)
        read = partial(self._read_arrived, DirectDataset._read_chunks, part, destination)
        return AskingJob(self._file, *self.ranges(part), read, self._stats)

    def _read_arrived(self, read: Callable[..., None], *arguments: Any) -> None:
        """Read from what has arrived: the last argument but one."""
        *given, arrived, scratch = arguments
        read(self._over(arrived), *given, scratch)

    def _over(self, file: DataFile) -> DirectDataset:
        """Return the same dataset, read from what has arrived."""
        other = copy(self)
        other._file = file
        return other

    def _read_rows(
        self,
        segments: Segments,
        offsets: np.ndarray,
        destination: Destination,
        scratch: Scratch,
    ) -> None:
        """Read rows that are stored as they are in memory, neighbours in the file together.

        Parameters
        ----------
        segments : Segments
            Which rows, and where they go.
        offsets : numpy.ndarray
            int64: byte in the file at which each segment begins; below zero: fill it.
        destination : Destination
            The column.
        scratch : Scratch
            Working memory of the calling thread.
        """
        runs = self._runs(segments, offsets)
        if self._native is not None and can_call_native(self._file):
            runs = self._native.read_runs(
                self._file,
                runs,
                self._native_window(destination),
                partial(self._put_numbered, destination),
                scratch,
                max_gap_bytes=_GAP_BYTES if self._are_short(runs) else 0,
            )
        stored = int(np.searchsorted(runs.offset, 0))
        for _nowhere, first, rows in runs[:stored]:
            self._fill(destination, first, rows)
        runs = runs[stored:]
        if self._are_short(runs):
            self._read_short(runs, destination, scratch)
        else:
            self._read_long(runs, destination, scratch)

    def _read_short(self, runs: Runs, destination: Destination, scratch: Scratch) -> None:
        """Read runs with what lies between them, and put all rows to their places together."""
        layout = self.layout
        for first, last in pairwise(self._stretches(runs).tolist()):
            some = runs[first:last]
            origin = int(some.offset[0])
            start = (some.offset - origin) // layout.row_nbytes
            elements = self._stored_rows(origin, int((start + some.rows).max()), scratch)
            rows = expand_spans(start, start + some.rows)
            numbers = expand_spans(some.dest, some.dest + some.rows)
            self._put_scattered(elements, rows, numbers, destination, scratch)

    def _read_long(self, runs: Runs, destination: Destination, scratch: Scratch) -> None:
        in_place = self._fits(destination) and self.layout.dtype.isnative
        if destination.places is not None:
            in_place = in_place and self.layout.row_nbytes >= _LONG_ROW_BYTES
        run: list[np.ndarray] = []
        run_start = run_end = -1
        for offset, first, rows in runs:
            if not in_place:
                self._put(self._stored_rows(offset, rows, scratch), first, destination)
                continue
            if offset != run_end and run:
                self._fetch(run_start, run)
                run = []
            if not run:
                run_start = offset
            run.extend(destination.raw_rows(first, rows))
            run_end = offset + rows * self.layout.row_nbytes
        if run:
            self._fetch(run_start, run)

    def _stored_rows(self, offset: int, rows: int, scratch: Scratch) -> np.ndarray:
        """Return rows that lie one after the other, good until the next are asked for."""
        layout = self.layout
        nbytes = rows * layout.row_nbytes
        if is_in_memory(self._file):
            stored = np.frombuffer(self._file.view(offset, nbytes), np.uint8)
        else:
            stored = scratch.take("fetch", nbytes)
            self._fetch(offset, [stored])
        return stored.view(layout.dtype).reshape(rows, *layout.row_shape)

    def _row_offsets(self, segments: Segments) -> np.ndarray:
        """Byte offset of each segment's first row, -1 where nothing is stored."""
        layout = self.layout
        if layout.chunk_rows is None:
            if layout.byte_offset is None:
                return np.full(len(segments), -1, np.int64)
            return layout.byte_offset + segments.start * layout.row_nbytes
        table = self._table
        if not len(table):
            return np.full(len(segments), -1, np.int64)
        at = np.searchsorted(table.index, segments.chunk_row)
        at = np.minimum(at, len(table) - 1)
        stored = table.index[at] == segments.chunk_row
        wrong = stored & (table.size[at] != layout.chunk_nbytes)
        if wrong.any():
            entry = int(at[wrong][0])
            raise self._damaged(
                entry,
                f"{int(table.size[entry])} bytes are stored, expected {layout.chunk_nbytes}",
            )
        within = (segments.start - segments.chunk_row * layout.chunk_rows) * layout.row_nbytes
        return np.where(stored, table.byte_offset[at] + within, -1)

    def _read_chunks(self, segments: Segments, destination: Destination, scratch: Scratch) -> None:
        """Fetch and decode every chunk of the segments' chunk rows."""
        if self._native is not None and can_call_native(self._file):
            segments = self._native.read_chunks(
                self._file,
                segments,
                entries_of(self.layout, segments.groups()[0]),
                self._native_window(destination),
                partial(self._put_numbered, destination),
                scratch,
            )
        if len(segments):
            self._decode_chunks(segments, destination, scratch)

    def _decode_chunks(
        self, segments: Segments, destination: Destination, scratch: Scratch
    ) -> None:
        """Fetch and decode in Python, or raise what is wrong."""
        layout, table = self.layout, self._table
        per_row = layout.chunks_per_chunk_row
        rows, bounds = segments.groups()
        begin, end = entries_of(layout, rows)
        origins = (rows * (layout.chunk_rows or 1)).tolist()
        parts = [
            _ChunkRow(origin, segments[a:b])
            for origin, (a, b) in zip(origins, pairwise(bounds.tolist()), strict=True)
        ]
        if self._whole_rows:
            self._read_whole_rows(parts, begin, end > begin, destination, scratch)
            return
        for part, first, last in zip(parts, begin.tolist(), end.tolist(), strict=True):
            entries = np.arange(first, last)
            entries = entries[np.argsort(table.byte_offset[entries], kind="stable")]
            if len(entries) < per_row:
                self._fill_all(part, destination)
            self._read_split_rows(entries, part, destination, scratch)

    def _read_whole_rows(
        self,
        parts: Sequence[_ChunkRow],
        entries: np.ndarray,
        stored: np.ndarray,
        destination: Destination,
        scratch: Scratch,
    ) -> None:
        """Fetch and decode chunks of whole rows: one table entry for each chunk row."""
        for at in np.flatnonzero(~stored).tolist():
            self._fill_all(parts[at], destination)
        owners = np.flatnonzero(stored)
        owners = owners[np.argsort(self._table.byte_offset[entries[owners]], kind="stable")]
        fetched = self._fetch_chunks(entries[owners], scratch)
        for (entry, data), owner in zip(fetched, owners.tolist(), strict=True):
            self._decode_rows(entry, data, parts[owner], destination, scratch)

    def _fetch_chunks(
        self, entries: np.ndarray, scratch: Scratch
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Give table entries, sorted by offset, with their stored bytes."""
        offsets, sizes = self._table.byte_offset[entries], self._table.size[entries]
        pieces = fetch_pieces(self._file, offsets, sizes, scratch, self._stats)
        return zip(entries.tolist(), pieces, strict=True)

    def _decode_rows(
        self,
        entry: int,
        data: np.ndarray,
        part: _ChunkRow,
        destination: Destination,
        scratch: Scratch,
    ) -> None:
        """Decode a chunk of whole rows, straight to their place if they stay together."""
        layout = self.layout
        chunk_rows = layout.chunk_rows or 1
        start, stop, first = part.segments[:1].spans()[0]
        whole = len(part.segments) == 1 and stop - start == chunk_rows
        if whole and destination.places is None and self._fits(destination):
            (decoded,) = destination.raw_rows(first, chunk_rows)
            self._decode(entry, data, decoded, scratch)
            if not layout.dtype.isnative:
                destination.targets[0][1][first : first + chunk_rows].byteswap(inplace=True)
            return
        decoded = scratch.take("chunk", layout.chunk_nbytes)
        self._decode(entry, data, decoded, scratch)
        elements = self._elements(decoded)
        self._put_rows(elements, part, destination, scratch)

    def _read_split_rows(
        self, entries: np.ndarray, part: _ChunkRow, destination: Destination, scratch: Scratch
    ) -> None:
        """Decode chunks that split rows; rows to be scattered are put together first."""
        layout = self.layout
        rows = min(layout.chunk_rows or 1, layout.n_rows - part.origin)
        whole: np.ndarray | None = None
        if destination.places is not None:
            memory = scratch.take("rows", rows * layout.row_nbytes)
            whole = memory.view(layout.dtype).reshape(rows, *layout.row_shape)
            if len(entries) < layout.chunks_per_chunk_row:
                whole[...] = layout.fill
        for entry, data in self._fetch_chunks(entries, scratch):
            decoded = scratch.take("chunk", layout.chunk_nbytes)
            self._decode(entry, data, decoded, scratch)
            elements = self._elements(decoded)
            inside, kept = self._part_of_row(entry)
            piece = elements[(slice(0, rows), *kept)]
            if whole is not None:
                whole[(slice(None), *inside)] = piece
            else:
                self._put_rows(piece, part, destination, scratch, inside)
        if whole is not None:
            self._put_rows(whole, part, destination, scratch)

    def _elements(self, decoded: np.ndarray) -> np.ndarray:
        """View a decoded chunk with the sample axis in front."""
        elements = decoded.view(self.layout.dtype).reshape(self.layout.stored_chunks)
        return np.moveaxis(elements, self.layout.axis, 0)

    def _part_of_row(self, entry: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Say which part of a row a chunk holds, and which part of the chunk that is."""
        layout = self.layout
        offset = layout.chunk_offset(int(self._table.index[entry]))
        sizes = zip(offset[1:], (layout.chunks or ())[1:], layout.row_shape, strict=True)
        inside = tuple(slice(o, min(o + c, n)) for o, c, n in sizes)
        return inside, tuple(slice(0, part.stop - part.start) for part in inside)

    def _put_rows(
        self,
        elements: np.ndarray,
        part: _ChunkRow,
        destination: Destination,
        scratch: Scratch,
        inside: tuple[slice, ...] = (),
    ) -> None:
        """Copy the wanted rows of one decoded chunk row."""
        if part.is_scattered and not inside:
            self._put_scattered(elements, *part.rows, destination, scratch)
            return
        for start, stop, first in part.segments.spans():
            rows = elements[start - part.origin : stop - part.origin]
            self._put(rows, first, destination, inside)

    def _put(
        self,
        elements: np.ndarray,
        first: int,
        destination: Destination,
        inside: tuple[slice, ...] = (),
    ) -> None:
        started = time.perf_counter()
        destination.put(elements, first, inside)
        self._stats.add(gather_s=time.perf_counter() - started)

    def _put_scattered(
        self,
        elements: np.ndarray,
        rows: np.ndarray,
        numbers: np.ndarray,
        destination: Destination,
        scratch: Scratch,
    ) -> None:
        """Copy some rows out of many to their numbers in the window."""
        started = time.perf_counter()
        destination.put_scattered(elements, rows, numbers, scratch)
        self._stats.add(gather_s=time.perf_counter() - started)

    def _decode(self, entry: int, data: np.ndarray, out: np.ndarray, scratch: Scratch) -> None:
        started = time.perf_counter()
        mask = int(self._table.filter_mask[entry])
        for reads_again in range(_MOST_READS_AGAIN + 1):
            try:
                self._pipeline.decode(data, mask, out, scratch)
                break
            except DecodeError as error:
                again = None
                if reads_again < _MOST_READS_AGAIN:
                    again = self._read_again(entry)
                if again is None:
                    raise self._damaged(entry, str(error)) from error
                data = again
        self._stats.add(decode_s=time.perf_counter() - started, decoded_bytes=out.nbytes)

    def _read_again(self, entry: int) -> np.ndarray | None:
        """Fetch a damaged chunk anew, if it may have been damaged on its way."""
        offset, size = int(self._table.byte_offset[entry]), int(self._table.size[entry])
        data = self._file.read_again(offset, size)
        if data is None:
            return None
        self._stats.add(requests=1, retries=1, fetched_bytes=size)
        return np.frombuffer(data, np.uint8)

    @property
    def _table(self) -> ChunkTable:
        table = self.layout.table
        assert table is not None, "direct reads of chunks need a table"
        return table

    def _native_window(self, destination: Destination) -> Window | None:
        """Return where rows go as they are stored, None if they are converted or split up."""
        assert self._native is not None, "asked only of what is read natively"
        if not self._fits(destination):
            return None
        return self._native.window_of(destination.targets[0][1], destination.places)

    def _put_numbered(
        self, destination: Destination, elements: np.ndarray, numbers: np.ndarray
    ) -> None:
        started = time.perf_counter()
        destination.put_numbered(elements, numbers)
        self._stats.add(gather_s=time.perf_counter() - started)

    def _fits(self, destination: Destination) -> bool:
        """Whether stored elements, at most byte-swapped, are the elements of the one column."""
        layout = self.layout
        return (
            len(destination.targets) == 1
            and not layout.axis
            and destination.targets[0][0].as_stored
            and (layout.dtype.isnative or layout.dtype.names is None)
        )

    def _fill_all(self, part: _ChunkRow, destination: Destination) -> None:
        for start, stop, first in part.segments.spans():
            self._fill(destination, first, stop - start)

    def _fill(self, destination: Destination, first: int, rows: int) -> None:
        fill = self.layout.fill
        assert fill is not None, "direct reads need a fill value"
        destination.fill(fill, first, rows)

    def _fetch(self, offset: int, buffers: Sequence[np.ndarray]) -> None:
        read_counted(self._file, offset, buffers, self._stats)

    def _damaged(self, entry: int, what: str) -> DecodeError:
        layout, table = self.layout, self._table
        place = layout.chunk_offset(int(table.index[entry]))
        return DecodeError(
            f"{layout.file}: the chunk of {layout.path!r} at {place} (byte "
            f"{int(table.byte_offset[entry])}) is damaged: {what}; restore the file from a copy",
            url=layout.file,
            dataset=layout.path,
            chunk_offset=place,
        )
