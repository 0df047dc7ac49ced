"""Says what a stream will do and what that costs, before anything is read.

Everything here is arithmetic on the plan: which chunks serve each window, how often they are
decoded, and what memory the windows take.
"""

from __future__ import annotations

import html
import itertools
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from h5stream.conventions import find_convention
from h5stream.decode import describe_filter
from h5stream.fields import Field
from h5stream.layout import DatasetLayout
from h5stream.native import choose_executor
from h5stream.pipes.chain import Chain
from h5stream.pipes.draw_rows import DrawRows
from h5stream.pipes.early import reads_early
from h5stream.pipes.epoch import (
    count_items,
    cut_for,
    instance_of,
    ordered_chunks,
    plan_lanes,
    rows_of_epoch,
    threads_asked,
)
from h5stream.pipes.fuse import lane_stages
from h5stream.pipes.instance import Instance
from h5stream.pipes.mix import Mix
from h5stream.pipes.read_chunks import ReadChunks, ReadGroups
from h5stream.pipes.stage import Lane
from h5stream.plan import Pieces, RowChunks, dropped_rows
from h5stream.reader import Catalog, resident_fields
from h5stream.reader.planning import Costs, costs_of_windows
from h5stream.system import available_cores

__all__ = ["Explanation", "FieldReport", "explain", "format_bytes"]

_MOST_WINDOWS = 64
"""Amplification is computed on at most so many windows, spread over the epoch."""


_MOST_LEFT_OUT = 10

_JOB_BYTES = 4 * 2**20
"""What a thread reads at once."""

_PLACE_BYTES = 24
"""What planning takes for each row of a window."""

_SMALL, _MANY = 2**15, 1000
"""Chunks of fewer bytes, and rows or chunks that are more, are slow."""


@dataclass(frozen=True)
class FieldReport:
    """One field of a stream.

    Parameters
    ----------
    name, dataset : str
        Key of the column, and where it lies.
    kind : str
        Element type and shape of a row.
    chunks, filters, route : str
        How it is stored, and how it is read.
    amplification : float
        Bytes decoded for each byte used.
    """

    name: str
    dataset: str
    kind: str
    chunks: str
    filters: str
    route: str
    amplification: float


@dataclass(frozen=True)
class Explanation:
    """What `H5Stream.explain` tells: print it, or show it in a notebook.

    Parameters
    ----------
    facts : tuple of (str, str)
        Label and value.
    fields : tuple of FieldReport
        One for each field.
    amplification : float
        Bytes decoded for each byte used, over all fields.
    advice : tuple of str
        What would make the stream faster or better shuffled.
    parts : tuple of Explanation
        One for each stream that is mixed.
    """

    facts: tuple[tuple[str, str], ...]
    fields: tuple[FieldReport, ...] = ()
    amplification: float = 1.0
    advice: tuple[str, ...] = ()
    parts: tuple[Explanation, ...] = ()

    _HEADER = ("field", "dataset", "rows of", "chunks", "filters", "read", "amplification")

    def _table(self) -> list[tuple[str, ...]]:
        return [
            (
                f.name,
                f.dataset,
                f.kind,
                f.chunks,
                f.filters,
                f.route,
                f"{f.amplification:.2f}",
            )
            for f in self.fields
        ]

    def __str__(self) -> str:
        width = max(len(label) for label, _ in self.facts)
        lines = [f"{label:<{width}}  {value}" for label, value in self.facts]
        if self.fields:
            lines += ["", *_aligned([self._HEADER, *self._table()])]
        if self.advice:
            lines += ["", *(f"advice: {advice}" for advice in self.advice)]
        for number, part in enumerate(self.parts, 1):
            lines += ["", f"stream {number}", "", str(part)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        facts = "".join(
            f"<tr><th style='text-align:left'>{html.escape(label)}</th>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for label, value in self.facts
        )
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in self._HEADER)
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self._table()
        )
        advice = "".join(f"<li>{html.escape(advice)}</li>" for advice in self.advice)
        parts = "".join(
            f"<p>Stream {number}</p>{part._repr_html_()}"
            for number, part in enumerate(self.parts, 1)
        )
        return (
            f"<table>{facts}</table>"
            + (f"<table><tr>{head}</tr>{rows}</table>" if rows else "")
            + (f"<p>Advice</p><ul>{advice}</ul>" if advice else "")
            + parts
        )


def explain(pipe: Chain, instance: Instance | None = None) -> Explanation:
    """Explain what a pipe will do in its next epoch, on this rank.

    Parameters
    ----------
    pipe : Chain
        Any; of one that does not read yet only the files are told.
    instance : Instance, optional
        Whose part; by default that of this process.

    Examples
    --------
    >>> import h5stream as h5s
    >>> fields = {"noy": h5s.Dense("noy", decode_cf=True)}
    >>> stream = h5s.H5Stream(h5s.example_file("climate"), fields, batch_size=4)
    >>> print(stream.explain())
    files         1 (263.1 kB)
    convention    none
    executor      ...
    rows          12 of 22.5 kB
    row chunks    1 of at most 12 rows (269.6 kB)
    lanes         1 of 1
    read at once  at most 12 rows (269.6 kB)
    in memory     at most ...
    first batch   once 12 rows (269.6 kB) are read
    batches       3
    decoded       1.00 bytes for each byte used
    <BLANKLINE>
    field  dataset  rows of          chunks        filters  read    amplification
    noy    /noy     float32 39x144   (1, 39, 144)  shuffle, gzip  direct  1.00
    """
    source = pipe.stages[0]
    if isinstance(source, Mix):
        return _explain_mix(source, pipe)
    catalog, stages = pipe.catalog, pipe.stages
    if not any(isinstance(stage, ReadChunks) for stage in stages):
        return Explanation(tuple(_file_facts(catalog)))
    instance = instance or instance_of(stages)
    chunks = ordered_chunks(stages, catalog, 0)
    lanes = plan_lanes(stages, catalog, instance, 0)
    reading = lane_stages(stages)[0]
    assert isinstance(reading, ReadGroups), "a lane starts with a stage that reads"
    groups = [group for lane in lanes for group in _groups(reading, lane)]
    resident = resident_fields(catalog, instance.count)
    sample = _spread(groups, _MOST_WINDOWS)
    costs = costs_of_windows(catalog, sample, instances=instance.count)
    reports = tuple(_field_reports(catalog, resident, costs.amplification))
    row_bytes = [field.row_nbytes for field in catalog.files[0].fields.values()]
    used = sum(n * report.amplification for n, report in zip(row_bytes, reports, strict=True))
    amplification = used / sum(row_bytes) if sum(row_bytes) else 1.0
    facts = (
        *_file_facts(catalog),
        *_chunk_facts(catalog, chunks),
        *_draw_facts(pipe),
        *_lane_facts(pipe, lanes, reading, groups, instance),
        ("decoded", f"{amplification:.2f} bytes for each byte used"),
        *_request_facts(catalog, costs.total, len(groups) / max(1, len(sample))),
    )
    shuffles = bool(lanes) and reading.draw(lanes[0]) is not None
    mixed = max((len(group) for group in groups if shuffles), default=len(chunks))
    advice = (*_layout_advice(catalog, reports), *_shuffle_advice(mixed, len(chunks)))
    return Explanation(facts, reports, amplification, advice)


def _explain_mix(mix: Mix, pipe: Chain) -> Explanation:
    """Explain each of the streams that are mixed."""
    total = sum(mix.weights)
    shares = ", ".join(f"{weight / total:.0%}" for weight in mix.weights)
    items = count_items(pipe.stages, plan_lanes(pipe.stages, pipe.catalog, Instance(), 0))
    facts = (
        ("streams", f"{len(mix.parts)}, which give {shares} of the items"),
        ("ends", mix.stop_criteria.replace("_", " ")),
        ("items", "known only after a run" if items is None else str(sum(items))),
    )
    return Explanation(facts, parts=tuple(explain(Chain(part)) for part in mix.parts))


def _file_facts(catalog: Catalog) -> Iterator[tuple[str, str]]:
    marks = {path: mark for file in catalog.files for path, mark in file.fingerprints.items()}
    size = format_bytes(sum(mark.size_bytes for mark in marks.values()))
    yield "files", f"{len(catalog.files)} ({size})"
    yield "convention", _convention(catalog)
    unknown = [p for p, mark in marks.items() if catalog.access.is_remote(p) and not mark.version]
    if unknown:
        yield (
            "versions",
            f"unknown for {len(unknown)} files, {unknown[0]} first: their servers tell none, and "
            "only its length shows that a file was replaced",
        )
    yield "executor", str(choose_executor())
    yield "rows", f"{catalog.n_rows} of {format_bytes(catalog.row_nbytes)}"
    left_out = list(dict.fromkeys(told for file in catalog.files for told in file.left_out))
    for told in left_out[:_MOST_LEFT_OUT]:
        yield "left out", told
    if len(left_out) > _MOST_LEFT_OUT:
        yield "left out", f"and so on in {len(left_out) - _MOST_LEFT_OUT} more cases"


def _chunk_facts(catalog: Catalog, chunks: RowChunks) -> Iterator[tuple[str, str]]:
    largest = int(chunks.sizes.max(initial=0))
    yield (
        "row chunks",
        f"{len(chunks)} of at most {largest} rows ({format_bytes(largest * catalog.row_nbytes)})",
    )


def _draw_facts(pipe: Chain) -> Iterator[tuple[str, str]]:
    """Tell how rows are drawn, if they are."""
    weights = pipe.catalog.weights
    for stage in pipe.stages:
        if isinstance(stage, DrawRows) and weights is not None:
            again = "with" if stage.replacement else "without"
            yield (
                "drawn",
                f"{stage.n_rows(pipe.catalog)} rows in each epoch, by weight, {again} replacement, "
                f"from {int(np.count_nonzero(weights))} of {pipe.catalog.n_rows}",
            )


def _convention(catalog: Catalog) -> str:
    """Name the convention in which the files were written, and how to ask for something else."""
    known = find_convention(catalog.files[0].convention)
    return "none" if known is None else f"{known.name} ({known.override})"


def _lane_facts(
    pipe: Chain,
    lanes: Sequence[Lane],
    reading: ReadGroups,
    groups: Sequence[Pieces],
    instance: Instance,
) -> Iterator[tuple[str, str]]:
    catalog, stages = pipe.catalog, pipe.stages
    rows = max((int(group.sizes.sum()) for group in groups), default=0)
    nbytes = rows * catalog.row_nbytes
    windows = sum(_most_in_memory(reading, lane) for lane in lanes)
    held = windows * nbytes
    held += sum(
        min(stage.held_rows(lane), int(lane.pieces.sizes.sum())) * catalog.row_nbytes
        for stage in lane_stages(stages)
        for lane in lanes
    )
    held += _working_bytes(pipe, windows * rows, nbytes, instance)
    items = count_items(stages, lanes)
    cut = cut_for(stages, instance)
    if dropped := dropped_rows(rows_of_epoch(stages, catalog), cut):
        yield (
            "left out",
            f"{dropped} rows in each epoch, so that {cut.groups} ranks get equally many; with "
            'uneven="keep" or "pad" all come',
        )
    yield "lanes", f"{len(lanes)} of {lanes[0].lanes if lanes else 0}"
    if instance.num_workers > 1:
        yield "workers", f"{instance.num_workers}; what follows is of the first"
    yield "read at once", f"at most {rows} rows ({format_bytes(nbytes)})"
    yield "in memory", f"at most {format_bytes(held)}"
    if groups:
        first = int(groups[0].sizes.sum())
        size = format_bytes(first * catalog.row_nbytes)
        yield "first batch", f"once {first} rows ({size}) are read"
    yield "batches", "known only after a run" if items is None else str(sum(items))


def _most_in_memory(reading: ReadGroups, lane: Lane) -> int:
    """Count the groups of a lane in memory: given, read, or read of the next epoch."""
    ahead, groups = reading.ahead(lane), len(reading.bounds(lane)) - 1
    return 1 + min(ahead, groups if reads_early(reading.epochs, 0) else groups - 1)


def _working_bytes(pipe: Chain, rows: int, window_bytes: int, instance: Instance) -> int:
    """Count what is in memory beside windows: threads' scratch memory, places, small fields."""
    catalog = pipe.catalog
    fields = catalog.files[0].fields
    threads = threads_asked(pipe.stages) or available_cores(instance.num_workers)
    layouts = [layout for field in fields.values() for layout in field.layouts[:1]]
    chunk = max((layout.chunk_nbytes for layout in layouts), default=0)
    resident = resident_fields(catalog, instance.count)
    kept = sum(file.fields[name].nbytes for file in catalog.files for name in resident)
    return threads * (min(_JOB_BYTES, window_bytes) + chunk) + _PLACE_BYTES * rows + kept


def _request_facts(catalog: Catalog, costs: Costs, scale: float) -> Iterator[tuple[str, str]]:
    """Tell what an epoch of remote files costs, from some of what is read together."""
    if not any(map(catalog.access.is_remote, (file.path for file in catalog.files))):
        return
    yield (
        "requests",
        f"{costs.requests * scale:.0f} an epoch on this rank, for "
        f"{format_bytes(costs.remote_bytes * scale)}",
    )


def _groups(reading: ReadGroups, lane: Lane) -> Iterator[Pieces]:
    """Yield what is read together: windows, or single row chunks."""
    for start, stop in pairwise(reading.bounds(lane).tolist()):
        yield lane.rows(lane.pieces[start:stop])


def _spread(groups: Sequence[Pieces], most: int) -> list[Pieces]:
    step = -(-len(groups) // most) or 1
    return list(groups[::step])


def _field_reports(
    catalog: Catalog, resident: frozenset[str], amplification: Mapping[str, float]
) -> Iterator[FieldReport]:
    for name, field in catalog.files[0].fields.items():
        yield FieldReport(
            name=name,
            dataset=", ".join(_few([layout.path for layout in field.layouts])) or "-",
            kind=str(field.column),
            chunks=" ".join(_few([_storage(layout) for layout in field.layouts])) or "-",
            filters=_filters(field),
            route=_route(catalog, field, name in resident),
            amplification=amplification[name],
        )


def _few(names: Sequence[str]) -> list[str]:
    """Return different names, most left out if there are many."""
    different = list(dict.fromkeys(names))
    return different if len(different) <= 3 else [different[0], "...", different[-1]]


def _storage(layout: DatasetLayout) -> str:
    return str(layout.chunks) if layout.chunks else str(layout.storage)


def _filters(field: Field) -> str:
    specs = field.layouts[0].filters if field.layouts else ()
    return ", ".join(describe_filter(s.id, s.name).split(" (")[0] for s in specs) or "none"


def _route(catalog: Catalog, field: Field, resident: bool) -> str:
    if not field.layouts:
        return "read with the layout"
    routes = _few([str(catalog.routes[layout.key]) for layout in field.layouts])
    return ", ".join([*routes, "kept in memory"] if resident else routes)


def _layout_advice(catalog: Catalog, reports: Sequence[FieldReport]) -> Iterator[str]:
    """Say what is slow because of how it is stored, and how to store it otherwise."""
    for report in reports:
        yield from _packing_advice(catalog, report.name)
    slow = list(_slow_layouts(catalog, reports))
    yield from slow
    if slow:
        paths = list(dict.fromkeys(file.path for file in catalog.files))
        shown = shlex.join(paths[:3]) + (" ..." if len(paths) > 3 else "")
        yield (
            f"`h5stream repack {shown} fast.h5` stores it so; with --dry-run it says, measured on "
            "a part, what that gains"
        )


def _slow_layouts(catalog: Catalog, reports: Sequence[FieldReport]) -> Iterator[str]:
    for report in reports:
        layouts = catalog.files[0].fields[report.name].layouts
        if not layouts:
            continue
        layout = layouts[0]
        route = catalog.routes[layout.key]
        if not route.direct:
            yield (
                f"{report.name!r} goes through h5py, behind one lock ({route.reason}); rewritten "
                "with gzip, lz4 or zstd, or unfiltered, it would be read directly"
            )
        if report.amplification >= 1.5:
            yield (
                f"{report.name!r} is decoded {report.amplification:.1f} times over: its chunks of "
                f"{layout.chunk_rows} rows are larger than what is read together; a larger "
                "buffer_size, or smaller chunks, would help"
            )
        if layout.vlen is not None and layout.n_rows >= _MANY:
            yield (
                f"{report.name!r} has variable length, and each row is a look-up in a heap; as "
                "values and offsets it is read in long runs"
            )
        elif layout.chunks and layout.chunk_nbytes < _SMALL and math.prod(layout.grid) >= _MANY:
            yield (
                f"{report.name!r} has {math.prod(layout.grid)} chunks of "
                f"{format_bytes(layout.chunk_nbytes)}, each decoded by itself; chunks of about "
                f"1 MB, like {_better_chunks(layout)}, cost a fraction"
            )
        as_stored = layout.stacking is None and layout.inner is None
        if layout.chunks and layout.chunks_per_chunk_row > 8 and as_stored:
            yield (
                f"{report.name!r} is cut into {layout.chunks_per_chunk_row} chunks across each "
                f"row; chunks of whole rows, like {_better_chunks(layout)}, decode faster"
            )
        if layout.chunk_nbytes > 64 * 2**20:
            yield (
                f"{report.name!r} has chunks of {format_bytes(layout.chunk_nbytes)}; chunks of "
                f"about 1 MB, like {_better_chunks(layout)}, need less memory and shuffle better"
            )


def _packing_advice(catalog: Catalog, name: str) -> Iterator[str]:
    """Say that numbers come out packed, for the first dataset where they do."""
    packed = (layout for file in catalog.files for layout in file.fields[name].packed)
    for layout in itertools.islice(packed, 1):
        assert layout.packing is not None, "only datasets with such attributes are packed"
        yield f"{name!r} comes out as it is stored, " + (
            f"for {layout.packing.trouble} in {layout.path!r}"
            if layout.packing.trouble
            else f"but {layout.path!r} has {layout.packing}: decode_cf=True in its Dense, Ragged "
            "or Grouped decodes it"
        )


def _better_chunks(layout: DatasetLayout) -> tuple[int, ...]:
    return (max(1, 2**20 // max(1, layout.row_nbytes)), *layout.row_shape)


def _shuffle_advice(mixed: int, total: int) -> Iterator[str]:
    if mixed < min(16, total):
        yield (
            f"a window mixes only {mixed} of {total} row chunks; a larger buffer_size shuffles "
            "better"
        )


def format_bytes(count: float) -> str:
    """Write a number of bytes for people.

    Examples
    --------
    >>> format_bytes(1_234_567)
    '1.2 MB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
