"""Plans the columns of a window that are not dense: their values are read in file order. Pure.

1. For each file, the rows' regions are covered by the fewest ranges of elements.
2. The elements of all files go to one buffer for each part, in the order in which they lie in the
   files, so that long runs are read straight into place; overlapping rows share them.
   Slices of the same elements, as of an input and its shifted target, share one buffer.
3. Where each row begins is permuted in place of the values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import numpy as np

from h5stream.columns import Ragged, Slices, concat, take
from h5stream.fields import (
    Field,
    FileFields,
    GivenField,
    MaskField,
    MemoryField,
    Reading,
    RegionField,
    RepeatedField,
    StartField,
    VlenField,
)
from h5stream.fields.region import Form, PatchForm, RowForm
from h5stream.fields.regions import Steps
from h5stream.plan import Cover, cover_ranges, expand_spans
from h5stream.reader.columns import (
    ColumnPlan,
    ElementColumn,
    PatchColumn,
    RaggedColumn,
    ReadyColumn,
    StoredText,
)
from h5stream.reader.planning.datasets import DatasetPlans
from h5stream.reader.planning.heap import plan_heap
from h5stream.reader.tasks import Buffer, Copies, ReadTask

__all__ = ["ColumnPlanner", "Rows", "begins_at_random", "group_names"]


@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """Rows of one file, and where they come in the window.

    Parameters
    ----------
    file : FileFields
        The file.
    rows : numpy.ndarray
        int64: rows of its fields.
    numbers : numpy.ndarray
        int64: numbers of these rows in the window, before it is permuted.
    seeds : numpy.ndarray or None
        uint64: of what is drawn for each row, if slices begin at random.
    """

    file: FileFields
    rows: np.ndarray
    numbers: np.ndarray
    seeds: np.ndarray | None = None

    def field(self, name: str) -> tuple[Field, np.ndarray]:
        """Return a field and which of its rows these are; slices are where they were drawn."""
        found = self.file.fields[name]
        if self.seeds is None or not begins_at_random(found):
            return found, self.rows
        moved = found.regions.moved(self.rows, self.seeds)
        return replace(found, regions=moved), np.arange(len(self.rows))


_Moving = RegionField | MaskField | StartField


def begins_at_random(field_: Field) -> TypeGuard[Any]:
    """Tell fields of slices that begin elsewhere in every epoch."""
    regions = field_.regions if isinstance(field_, _Moving) else None
    return isinstance(regions, Steps) and regions.random


def group_names(files: Iterable[Mapping[str, Field]]) -> list[tuple[str, ...]]:
    """Group the fields that are read together: slices of the same elements, in every file.

    Parameters
    ----------
    files : iterable of mapping
        The fields of each file. Those of other kinds stay alone; their rows may be views, and
        whoever writes to one must not change another.
    """
    groups: dict[Any, list[str]] = {}
    different = list({id(fields): fields for fields in files}.values())
    for name in different[0]:
        shared = tuple(fields[name].shared_with for fields in different)
        groups.setdefault(shared if all(shared) else name, []).append(name)
    return [tuple(names) for names in groups.values()]


class ColumnPlanner:
    """Plans the columns of one window that are not dense.

    Parameters
    ----------
    datasets : DatasetPlans
        Makes the tasks.
    buffers : list of Buffer
        Those of the window; more are added.
    tasks : list of ReadTask
        Those of the window; more are added.
    """

    def __init__(
        self, datasets: DatasetPlans, buffers: list[Buffer], tasks: list[ReadTask]
    ) -> None:
        self._datasets = datasets
        self._buffers = buffers
        self._tasks = tasks

    def plan(
        self, names: tuple[str, ...], rows: list[Rows], order: np.ndarray | None
    ) -> dict[str, ColumnPlan]:
        """Plan the columns of one group.

        Parameters
        ----------
        names : tuple of str
            Keys of the columns; see `group_names`.
        rows : list of Rows
            Of each file in the window.
        order : numpy.ndarray or None
            int64: number of the row that comes first, second and so on; None: as they are.
        """
        kinds = {part.file.fields[names[0]].reading for part in rows}
        plan = self._plans[max(kinds, key=list(self._plans).index)]
        return plan(names, rows, order)

    @property
    def _plans(self) -> dict[Reading, Callable[..., dict[str, ColumnPlan]]]:
        """How each kind is planned, as the last one here if files differ in it."""
        return {
            Reading.REPEATED: self._repeated,
            Reading.MEMORY: self._given,
            Reading.VOLUMES: self._patches,
            Reading.LISTS: self._rows,
            Reading.HEAP: self._vlen,
            Reading.ELEMENTS: self._regions,
        }

    def _buffer(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
        """Ask for a buffer, and return its number."""
        self._buffers.append(Buffer(shape, dtype))
        return len(self._buffers) - 1

    def _given(
        self, names: tuple[str, ...], rows: list[Rows], order: np.ndarray | None
    ) -> dict[str, ColumnPlan]:
        (name,) = names
        parts: list[Any] = []
        for part in rows:
            given, own = part.field(name)
            assert isinstance(given, MemoryField), "files agree on fields"
            parts.append(given.of(own))
        numbers = np.concatenate([part.numbers for part in rows])
        places = np.empty(len(numbers), np.int64)
        places[numbers] = np.arange(len(numbers))
        whole = parts[0] if len(parts) == 1 else concat(parts)
        return {name: ReadyColumn(take(whole, places if order is None else places[order]))}

    def _repeated(
        self, names: tuple[str, ...], rows: list[Rows], order: np.ndarray | None
    ) -> dict[str, ColumnPlan]:
        """Say for each row which value it has; values are not copied."""
        (name,) = names
        fields = [_as_repeated(part.file, name) for part in rows]
        different = list({id(field_): field_ for field_ in fields}.values())
        begins = np.cumsum([0, *(len(field_.values) for field_ in different)])
        origin = {id(field_): int(at) for field_, at in zip(different, begins, strict=False)}
        placed: list[tuple[np.ndarray, ...]] = [
            (field_.at[part.rows] + origin[id(field_)],)
            for field_, part in zip(fields, rows, strict=True)
        ]
        (at,) = _arranged(placed, rows, order)
        values = concat([field_.values for field_ in different])
        column = Slices(values, at, None) if isinstance(values, np.ndarray) else values[at]
        return {name: ReadyColumn(column)}

    def _patches(
        self, names: tuple[str, ...], rows: list[Rows], order: np.ndarray | None
    ) -> dict[str, ColumnPlan]:
        """Read the volumes of files, as far as patches reach, each into a buffer of its own."""
        (name,) = names
        volumes: list[int] = []
        placed: list[tuple[np.ndarray, ...]] = []
        for number, part in enumerate(rows):
            field_ = _as_region(part.file, name)
            (sequence,) = field_.parts
            cover = cover_ranges(*field_.regions.of(part.rows))
            first = sequence.first
            volumes.append(self._buffer((cover.size, *first.row_shape), first.dtype))
            spans = (cover.start, cover.stop, cover.dest)
            marks = part.file.fingerprints
            self._tasks += self._datasets.elements(marks, sequence, spans, volumes[-1])
            which = np.full(len(part.rows), number)
            placed.append((which, *field_.form.place(field_.regions, part.rows, cover.at)))
        form = _form_of(rows[0], name)
        assert isinstance(form, PatchForm), "files agree on fields"
        which, *others = _arranged(placed, rows, order)
        return {name: PatchColumn(form, tuple(volumes), which, tuple(others))}

    def _rows(
        self, names: tuple[str, ...], rows: list[Rows], order: np.ndarray | None
    ) -> dict[str, ColumnPlan]:
        """Read rows of datasets that differ in shape into one buffer, one after the other."""
        (name,) = names
        fields = [_as_region(part.file, name) for part in rows]
        covers = [_cover([field_], part.rows) for field_, part in zip(fields, rows, strict=True)]
        (form,) = {field_.form for field_ in fields}
        assert isinstance(form, RowForm), "files agree on fields"
        first = fields[0].parts[0].first
        begins = [_row_begins(field_, cover) for field_, cover in zip(fields, covers, strict=True)]
        ends = np.cumsum([int(each[-1]) for each in begins])
        buffer = self._buffer((int(ends[-1]), *form.element_shape(first)), first.dtype)
        placed: list[tuple[np.ndarray, ...]] = []
        for field_, part, cover, each, end in zip(
            fields, rows, covers, begins, ends.tolist(), strict=True
        ):
            begin = each + (end - int(each[-1]))
            marks = part.file.fingerprints
            self._tasks += self._datasets.whole_rows(marks, field_.parts[0], cover, begin, buffer)
            placed.append((begin[cover.at], each[cover.at + 1] - each[cover.at]))
        starts, sizes = _arranged(placed, rows, order)
        return {name: RaggedColumn(buffer, starts, sizes)}

    def _regions(
        self, names: tuple[str, ...], rows: list[Rows], order: np.ndarray | None
    ) -> dict[str, ColumnPlan]:
        """Read what the rows of all fields need once."""
        fields = [[_settled(part, name)[0] for name in names] for part in rows]
        settled = [_settled(part, names[0])[1] for part in rows]
        covers = [_cover(some, own) for some, own in zip(fields, settled, strict=True)]
        ends = np.cumsum([cover.size for cover in covers])
        first = fields[0][0]
        buffers = tuple(
            self._buffer((int(ends[-1]), *part.first.row_shape), part.first.dtype)
            for part in first.parts
        )
        placed: dict[str, list[tuple[np.ndarray, ...]]] = {name: [] for name in names}
        for some, part, own, cover, end in zip(
            fields, rows, settled, covers, ends.tolist(), strict=True
        ):
            origin = end - cover.size
            spans = (cover.start, cover.stop, cover.dest + origin)
            for sequence, buffer in zip(some[0].parts, buffers, strict=True):
                marks = part.file.fingerprints
                self._tasks += self._datasets.elements(marks, sequence, spans, buffer)
            starts = np.split(cover.at + origin, len(names))
            for field_, name, at in zip(some, names, starts, strict=True):
                placed[name].append(field_.form.place(field_.regions, own, at))
        return {
            name: ElementColumn(
                fields[0][number].form,
                buffers,
                _arranged(placed[name], rows, order),
                tuple(some[number] for some in fields),
                ends,
            )
            for number, name in enumerate(names)
        }

    def _vlen(
        self, names: tuple[str, ...], rows: list[Rows], order: np.ndarray | None
    ) -> dict[str, ColumnPlan]:
        (name,) = names
        stored: list[StoredText] = []
        placed: list[tuple[np.ndarray, ...]] = []
        fields = [part.file.fields[name] for part in rows]
        lengths = [_lengths(field, part.rows) for field, part in zip(fields, rows, strict=True)]
        ends = np.cumsum([int(some.sum()) for some in lengths])
        buffer = self._buffer((int(ends[-1]),), fields[0].column.dtype)
        for field_, part, some, end in zip(fields, rows, lengths, ends.tolist(), strict=True):
            origin = end - int(some.sum())
            if isinstance(field_, VlenField):
                version = part.file.fingerprints[field_.layout.file]
                self._tasks += plan_heap(field_, part.rows, buffer, origin, version)
                if field_.text is True:
                    stored.append(StoredText(field_, part.rows, some, (origin, end)))
            else:
                copied = Copies(_as_ragged(field_)[part.rows], buffer, origin)
                self._tasks.append(ReadTask(copied))
            placed.append((origin + np.cumsum(some) - some, some))
        (text,) = {f.text if isinstance(f, VlenField) else _as_ragged(f).text for f in fields}
        starts, sizes = _arranged(placed, rows, order)
        return {name: RaggedColumn(buffer, starts, sizes, text, tuple(stored))}


def _settled(part: Rows, name: str) -> tuple[RegionField, np.ndarray]:
    """Return a field, and which of its rows are those of a part."""
    field_, own = part.field(name)
    assert isinstance(field_, RegionField), "files agree on fields"
    return field_, own


def _cover(fields: list[RegionField], rows: np.ndarray) -> Cover:
    """Cover the regions of all fields, those of one field after those of another."""
    regions = [field_.regions.of(rows) for field_ in fields]
    start, stop = (np.concatenate(bounds) for bounds in zip(*regions, strict=True))
    return cover_ranges(start, stop)


def _row_begins(field_: RegionField, cover: Cover) -> np.ndarray:
    """Say where each row of a cover begins among the elements of all, and where the last ends."""
    form, (sequence,) = field_.form, field_.parts
    assert isinstance(form, RowForm), "asked only of rows that differ in shape"
    lengths = np.array([form.length(each) for each in sequence.datasets], np.int64)
    number = np.searchsorted(sequence.bounds, expand_spans(cover.start, cover.stop), side="right")
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths[number - 1])])


def _lengths(field_: Field, rows: np.ndarray) -> np.ndarray:
    if isinstance(field_, VlenField):
        return field_.descriptors["length"][rows].astype(np.int64)
    return _as_ragged(field_).lengths[rows]


def _as_ragged(field_: Field) -> Ragged:
    assert isinstance(field_, GivenField), "files agree on fields"
    assert isinstance(field_.data, Ragged), "files agree on fields"
    return field_.data


def _form_of(part: Rows, name: str) -> Form | None:
    field_ = part.file.fields[name]
    return field_.form if isinstance(field_, RegionField) else None


def _as_repeated(file: FileFields, name: str) -> RepeatedField:
    field = file.fields[name]
    assert isinstance(field, RepeatedField), "files agree on fields"
    return field


def _as_region(file: FileFields, name: str) -> RegionField:
    field = file.fields[name]
    assert isinstance(field, RegionField), "files agree on fields"
    return field


def _arranged(
    placed: list[tuple[np.ndarray, ...]], rows: list[Rows], order: np.ndarray | None
) -> tuple[np.ndarray, ...]:
    """Put what was placed file by file into the order of the window."""
    n_rows = sum(len(part.rows) for part in rows)
    arranged = []
    for columns in zip(*placed, strict=True):
        all_rows = np.empty(n_rows, np.int64)
        for part, column in zip(rows, columns, strict=True):
            all_rows[part.numbers] = column
        arranged.append(all_rows if order is None else all_rows[order])
    return tuple(arranged)
