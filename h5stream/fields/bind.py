"""Checks the fields that were asked for against the files, and against each other."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeGuard, get_args

import numpy as np

from h5stream.columns import Ragged
from h5stream.errors import ConfigError
from h5stream.fields.computed import Begins, FileRows, compute_fields, is_computed, with_ids
from h5stream.fields.dense import DenseField
from h5stream.fields.field import ColumnType, Field
from h5stream.fields.given import GivenField, RepeatedField
from h5stream.fields.join import Joined, Missing, join_groups
from h5stream.fields.make import Read, make_field, pick_rows
from h5stream.fields.meanings import check_columns, join_categories, recoded
from h5stream.fields.names import RowNames
from h5stream.fields.over_files import share_bounds, share_column, share_times
from h5stream.fields.region import RaggedForm, RegionField, SliceForm
from h5stream.fields.regions import Bounds, Grid, Offsets, Placed, Regions, Spans, Steps
from h5stream.fields.resolve import FileSlices, Known, MaskSlices, Meaning, Members, Sequences
from h5stream.fields.sliced import (
    Cut,
    Reach,
    check_alike,
    common_reach,
    follow_slices,
    make_mask,
    make_slices,
    n_elements,
)
from h5stream.fields.specs import Given, Origin, Picked, Slices, TimeSlices
from h5stream.fields.timed import Timed, find_slices
from h5stream.layout import DatasetLayout, FileLayout, Fingerprint
from h5stream.layout.names import find_named
from h5stream.layout.stacked import stacked

__all__ = ["FileFields", "Unbound", "bind", "default_names", "omitted_by_default"]


_SHOWN = 5


@dataclass(frozen=True, eq=False)
class FileFields:
    """The chosen fields of one file, all with the same number of rows.

    Parameters
    ----------
    path : str
        The file.
    fields : dict
        Key of the column -> field.
    fingerprints : dict
        Path -> fingerprint of every file that holds data of them.
    rows : numpy.ndarray or None
        int64: the chosen rows, in the order in which they count; None: all.
    convention : str or None
        Name of the convention that chose the fields.
    names : RowNames or None
        Which group each row comes from, if they come from groups.
    left_out : tuple of str
        What of the file is not streamed, a sentence each.
    categories : mapping
        Key of a column of codes -> what they stand for, in all files.
    lacking : tuple of str
        Which rows of the file lack what a table should say of them.
    begins : Begins
        Where slices begin, or when windows do.
    """

    path: str
    fields: Mapping[str, Field]
    fingerprints: dict[str, Fingerprint]
    rows: np.ndarray | None = None
    convention: str | None = None
    names: RowNames | None = None
    left_out: tuple[str, ...] = ()
    categories: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    lacking: tuple[str, ...] = ()
    begins: Begins = None

    @property
    def n_rows(self) -> int:
        """Rows that are streamed."""
        return self.n_stored_rows if self.rows is None else len(self.rows)

    @property
    def n_stored_rows(self) -> int:
        """Rows of every field of this file."""
        return next(iter(self.fields.values())).n_rows

    @property
    def numbers(self) -> np.ndarray:
        """int64: the rows that are streamed, as the file numbers them."""
        return np.arange(self.n_rows) if self.rows is None else self.rows

    def group_names(self) -> list[str]:
        """Name the group of each row that is streamed."""
        assert self.names is not None, "asked only of files whose rows come from groups"
        return self.names.of(self.numbers)

    @cached_property
    def chosen(self) -> int | str:
        """How many rows, and which unless all are chosen: a digest."""
        if self.rows is None:
            return self.n_rows
        return f"{self.n_rows} {hashlib.blake2b(self.rows.tobytes(), digest_size=8).hexdigest()}"

    @cached_property
    def tables(self) -> str:
        """What tables beside the file say of its rows: a digest, empty if there are none."""
        fields = (each for each in self.fields.values() if isinstance(each, RepeatedField))
        return " ".join(each.digest for each in fields if each.from_table)

    @cached_property
    def heaviest(self) -> Field:
        """The field with the most bytes a row: its chunks cut the file."""
        return max(self.fields.values(), key=lambda field: field.row_nbytes)

    def cut(self, target_bytes: int) -> np.ndarray:
        """Cut the rows that are streamed into row chunks; see `Field.cut`."""
        bounds = self.heaviest.cut(target_bytes)
        if self.rows is None:
            return bounds
        if not self._in_order:
            step = int(np.diff(bounds).max(initial=1))
            return np.append(np.arange(0, self.n_rows, step), self.n_rows)
        return np.unique(np.searchsorted(self.rows, bounds))

    @cached_property
    def _in_order(self) -> bool:
        return self.rows is None or bool((np.diff(self.rows) >= 0).all())


_MOST_DEFAULT = 32
"""More datasets than that are no fields by default: somebody should say which are."""


def default_names(layouts: Mapping[str, DatasetLayout]) -> list[str]:
    """Choose the datasets that share the leading length of the largest one.

    Datasets that cannot be streamed, and HDF5's dimension scales, are left out.

    Raises
    ------
    ConfigError
        If no dataset can be streamed, there are too many to be columns, or groups that look like
        samples hold them; the message has a line to write instead.
    """
    streamable = {
        name: layout
        for name, layout in layouts.items()
        if not layout.refused and not layout.is_scale
    }
    if not streamable:
        raise ConfigError("no dataset has one row of plain elements per sample; name the fields")
    largest = max(streamable.values(), key=lambda layout: layout.nbytes)
    names = [name for name, layout in streamable.items() if layout.n_rows == largest.n_rows]
    _refuse_siblings(streamable, names)
    if len(names) > _MOST_DEFAULT:
        raise ConfigError(
            f"{largest.file}: {len(names)} datasets are as long as the largest, too many to be "
            f"fields by default; name those that are wanted, fields=[{names[0]!r}, ...], or, if "
            f"each is a sample, fields={{'x': h5stream.Grouped({_pattern_of(names)!r})}}"
        )
    return names


def _refuse_siblings(streamable: Mapping[str, DatasetLayout], names: Sequence[str]) -> None:
    """Refuse groups side by side with the same names inside: they may well be samples."""
    inside: dict[tuple[str, str], set[str]] = {}
    for name in streamable:
        parts = name.strip("/").split("/")
        for depth in range(len(parts) - 1):
            above, rest = "/".join(parts[:depth]), "/".join(parts[depth + 1 :])
            inside.setdefault((above, rest), set()).add(parts[depth])
    for (above, rest), groups in inside.items():
        ways = {"/".join(filter(None, [above, group, rest])) for group in groups}
        if len(groups) > 1 and ways & {name.strip("/") for name in names}:
            pattern = "/".join(filter(None, [above, "*", rest]))
            first, second, *_others = sorted(ways)
            raise ConfigError(
                f"{streamable[names[0]].file}: {len(groups)} groups hold {rest!r}, and they may be "
                f"samples or parts; for one sample a group write fields={{{rest!r}: "
                f"h5stream.Grouped({pattern!r})}}, for rows of some of them "
                f"fields=[{first!r}, ...] ({second!r} is another)"
            )


def _pattern_of(names: Sequence[str]) -> str:
    above = {name.strip("/").rpartition("/")[0] for name in names}
    return f"{above.pop()}/*".lstrip("/") if len(above) == 1 else "*/..."


def omitted_by_default(layouts: Mapping[str, DatasetLayout], names: Sequence[str]) -> list[str]:
    """Say which datasets are no fields by default, and why."""
    chosen, told = set(names), []
    for name, layout in layouts.items():
        if name in chosen:
            continue
        reason = layout.refused or ("it is a dimension scale" if layout.is_scale else "")
        reason = reason or f"it has {layout.n_rows} rows, not {layouts[names[0]].n_rows}"
        told.append(f"{layout.file}: {name!r} is no field by default: {reason}")
    return told


@dataclass(frozen=True, eq=False)
class Unbound:
    """What is known of one file before its fields are checked.

    Parameters
    ----------
    layout : FileLayout
        The file, scanned for all datasets that the specs name.
    specs : mapping
        Key of the column -> concrete spec, or the path of a dataset of plain elements.
    read : callable, optional
        Reads a whole dataset; for fields that need offsets, lengths or descriptors.
    convention : str or None
        Name of the convention that chose the fields.
    left_out : tuple of str
        What was left out by default, a sentence each.
    meanings : mapping
        Key of the column -> what its numbers mean in this file.
    beside : mapping
        Key of the column -> another file that it lies in, where fields of the same rows lie in
        files of their own.
    """

    layout: FileLayout
    specs: Mapping[str, Any]
    read: Read | None = None
    convention: str | None = None
    left_out: tuple[str, ...] = ()
    meanings: Mapping[str, Meaning] = field(default_factory=dict)
    beside: Mapping[str, Unbound] = field(default_factory=dict)

    @classmethod
    def together(cls, parts: Mapping[str, Unbound]) -> Unbound:
        """Take files that hold the fields of the same rows as one; the first gives its name."""
        first = next(iter(parts.values()))
        return replace(
            first,
            specs={key: spec for part in parts.values() for key, spec in part.specs.items()},
            left_out=tuple(told for part in parts.values() for told in part.left_out),
            meanings={key: some for part in parts.values() for key, some in part.meanings.items()},
            beside=parts,
        )

    def holder(self, key: str) -> Unbound:
        """Return the file that a field lies in."""
        return self.beside.get(key, self)

    @property
    def fingerprints(self) -> dict[str, Fingerprint]:
        """Those of all files that hold data of its fields."""
        files = (self, *self.beside.values())
        return {path: mark for file in files for path, mark in file.layout.fingerprints.items()}


def bind(files: Sequence[Unbound], missing: Missing = "error") -> tuple[FileFields, ...]:
    """Make the fields of files, so that row i means the same in all fields of a file.

    Datasets that are rows, alike in shape within each file but not across files, become ragged.

    Parameters
    ----------
    files : sequence of Unbound
        In the order in which their rows count.
    missing : {"error", "drop"}
        What to do with a group that lacks a field.

    Raises
    ------
    ConfigError
        If fields of a file do not belong together, or files do not agree on the type and row
        shape of every field.
    """
    if missing not in get_args(Missing):
        raise ConfigError(f"missing must be one of {get_args(Missing)}, not {missing!r}")
    files = [_with_ids(file) for file in _side_by_side(_with_fields_of_first(files))]
    meanings = [file.meanings for file in files]
    check_columns([file.layout.path for file in files], meanings)
    categories = join_categories(meanings)
    differing = {
        key: joined
        for key, joined in categories.items()
        if any(found[key].categories != joined for found in meanings if key in found)
    }
    joined = [join_groups(file.layout.path, file.specs, missing) for file in files]
    _refuse_doubt(files, joined)
    bases = [_make_bases(file, join, differing) for file, join in zip(files, joined, strict=True)]
    bounds = _share_explicit(files, joined, bases)
    bound = [
        _bind_one(file, join, fields, own)
        for file, join, fields, own in zip(files, joined, bases, bounds, strict=True)
    ]
    told = [sentence for file in bound for sentence in file.left_out]
    if told and not any(file.n_rows for file in bound):
        raise ConfigError(f"nothing is left to stream: {'; '.join(told[:_SHOWN])}")
    agreed = _agreed(_without_unknown(files, _with_given(files, bound), missing))
    return tuple(replace(file, categories=categories) for file in agreed)


def _refuse_doubt(files: Sequence[Unbound], joined: Sequence[Joined]) -> None:
    """Refuse positions of groups that h5py lists in another order than that of the rows."""
    doubt = next(((f, j.in_doubt) for f, j in zip(files, joined, strict=True) if j.in_doubt), None)
    by_place = [key for key, spec in joined[0].specs.items() if _counts_places(spec)]
    if doubt is None or not by_place:
        return
    file, pattern = doubt
    raise ConfigError(
        f"{file.layout.path}: field {by_place[0]!r} is given by position, but rows of {pattern!r} "
        "are in natural order (2 before 10), and h5py lists their groups in another; pass "
        f'Grouped({pattern!r}, order="natural") or order="listed" to say which one the positions '
        'count, or give values by name: Given({name: value}, by="name")'
    )


def _counts_places(spec: Any) -> bool:
    """Tell what a user counted along the rows, or along the elements of all groups."""
    if isinstance(spec, Given):
        return spec.by != "name"
    return _is_explicit(spec) and isinstance(spec.base, Members)


def _is_explicit(spec: Any) -> TypeGuard[Slices]:
    return isinstance(spec, Slices) and spec.starts is not None and not isinstance(spec, FileSlices)


def _with_fields_of_first(files: Sequence[Unbound]) -> list[Unbound]:
    """Leave out what only later files have, where a convention chose their fields."""
    first, kept = files[0].specs, [files[0]]
    for file in files[1:]:
        more = [key for key in file.specs if key not in first]
        told = tuple(
            f"{file.layout.path}: {key!r} is not in {files[0].layout.path}" for key in more
        )
        specs = {key: spec for key, spec in file.specs.items() if key in first}
        lacking = [key for key in first if key not in specs]
        if lacking:
            raise ConfigError(
                f"{file.layout.path}: there is no field {lacking[0]!r}, which "
                f"{files[0].layout.path} has; all files must agree: name the fields to stream"
            )
        kept.append(replace(file, specs=specs, left_out=(*file.left_out, *told)))
    return kept


def _recode(file: Unbound, key: str, made: Field, joined: Sequence[Any]) -> Field:
    """Give the codes of a field the numbers that they have over all files."""
    own = file.meanings[key].categories
    assert own is not None, "only codes are made anew"
    assert isinstance(made, DenseField), "codes lie in a dataset of their own"
    read = file.holder(key).read
    assert read is not None, "codes are bound with a way to read"
    codes = read(made.layout)
    for member in made.members:
        codes = codes[member]
    found = recoded(key, codes, own, joined, file.layout.path)
    return GivenField(key, found)


def _make_bases(
    file: Unbound, joined: Joined, categories: Mapping[str, Sequence[Any]]
) -> dict[str, Field]:
    """Make all fields but those that are given, slices not cut yet."""
    bases = {
        key: spec.base if isinstance(spec, Slices | TimeSlices) else spec
        for key, spec in joined.specs.items()
    }
    made = {
        key: _make_base(key, spec, file.holder(key))
        for key, spec in bases.items()
        if not isinstance(spec, Given) and not is_computed(spec)
    }
    coded = {
        key: _recode(file, key, made[key], categories[key]) for key in categories if key in made
    }
    return {**made, **coded}


def _make_base(key: str, spec: Any, holder: Unbound) -> Field:
    """Make a field; the sequences that slices are cut from may be slices themselves."""
    if isinstance(spec, Slices | TimeSlices):
        base = make_field(key, spec.base, holder.layout, holder.read)
        if isinstance(spec, TimeSlices):
            timed = {key: _with_times(key, spec, base.n_rows, holder)}
            spec = find_slices(timed)[key][0]
        if not isinstance(spec, FileSlices):
            raise ConfigError(
                f"field {key!r} is cut into slices twice: the bounds of the first ones are read "
                "from the files, Slices(base, starts=path, stops=path), or are TimeSlices"
            )
        return make_slices(base, spec, None).field
    return make_field(key, spec, holder.layout, holder.read)


def _share_explicit(
    files: Sequence[Unbound], joined: Sequence[Joined], bases: Sequence[Mapping[str, Field]]
) -> list[dict[str, Any]]:
    paths = [file.layout.path for file in files]
    shared: list[dict[str, Any]] = [{} for _ in files]
    for key, spec in joined[0].specs.items():
        if isinstance(spec, TimeSlices):
            own_specs = [join.specs[key] for join in joined]
            for own, timed in zip(shared, share_times(key, own_specs, paths), strict=True):
                own[key] = timed
        if _is_explicit(spec):
            totals = [n_elements(fields[key]) for fields in bases]
            for own, slices in zip(shared, share_bounds(key, spec, paths, totals), strict=True):
                own[key] = slices
    return shared


def _bind_one(
    file: Unbound, joined: Joined, fields: dict[str, Field], explicit: Mapping[str, Any]
) -> FileFields:
    path, left_out = file.layout.path, [*file.left_out, *joined.left_out]
    specs = {**joined.specs, **explicit}
    timed = find_slices(_timed(file, fields, specs))
    specs |= {key: slices for key, (slices, _starts) in timed.items()}
    sliced = {key: spec for key, spec in specs.items() if isinstance(spec, Slices)}
    leader: Cut | None = None
    if sliced:
        reach = common_reach(sliced.values())
        cuts = {key: make_slices(fields[key], spec, reach) for key, spec in sliced.items()}
        check_alike(path, cuts)
        leader = next(iter(cuts.values()))
        left_out += _too_short(path, cuts, joined.names, reach)
        fields = {
            key: _sliced(sliced[key], cuts[key])
            if key in cuts
            else _follow(path, field, specs[key], leader)
            for key, field in fields.items()
        }
    _check_lengths(file, fields)
    _check_grids(path, fields)
    if not fields:
        raise ConfigError(
            f"{path}: {next(iter(specs))!r} does not tell how many rows there are; ask for a field "
            "of the files too"
        )
    slices = None if leader is None else leader.field.regions
    names = None if joined.names is None else RowNames(joined.names, slices)
    begins: Begins = next((starts for _slices, starts in timed.values()), None)
    if begins is not None and not len(begins):
        left_out.append(f"{path}: no window in time fits into its timestamps, or none is asked for")
    if begins is None and sliced:
        begins = _begins(next(iter(sliced.values())), slices)
    return FileFields(
        path,
        {key: fields[key] for key in specs if key in fields},
        file.fingerprints,
        convention=file.convention,
        names=names,
        left_out=tuple(left_out),
        begins=begins,
    )


def _timed(
    file: Unbound, fields: Mapping[str, Field], specs: Mapping[str, Any]
) -> dict[str, Timed]:
    """Read the timestamps of windows in time."""
    return {
        key: _with_times(key, spec, fields[key].n_rows, file.holder(key))
        for key, spec in specs.items()
        if isinstance(spec, TimeSlices)
    }


def _with_times(key: str, spec: TimeSlices, n_rows: int, holder: Unbound) -> Timed:
    layout = holder.layout.datasets[spec.time]
    made = make_field(key, spec.time, holder.layout, holder.read)
    assert isinstance(made, DenseField), "a path of plain elements makes a dense field"
    where = f"{layout.file}: {spec.time!r}"
    if made.row_shape or made.n_rows != n_rows:
        raise ConfigError(
            f"{where} of shape {(made.n_rows, *made.row_shape)} should have one timestamp for "
            f"each of {n_rows} elements of field {key!r}"
        )
    assert holder.read is not None, "windows in time are bound with a way to read"
    return Timed(spec, np.asarray(made.select(holder.read(layout))), where)


def _begins(spec: Slices, regions: Regions | None) -> Begins:
    """Say where slices begin: as was given, or at which element of their sequence."""
    if isinstance(regions, Placed):
        return regions.starts - spec.shift
    if isinstance(regions, Steps):
        return replace(
            regions, high=regions.high - regions.low, low=np.zeros_like(regions.low), shift=0
        )
    assert isinstance(regions, Bounds), "slices are at regular steps or explicit"
    return regions.starts - spec.shift


def _sliced(spec: Slices, cut: Cut) -> Field:
    """Return the slices, or what of them lies in their sequences."""
    return make_mask(cut.field, spec) if isinstance(spec, MaskSlices) else cut.field


def _follow(path: str, field: Field, spec: Any, leader: Cut) -> Field:
    """Give slices their rows of another field, unless it was said which row each has."""
    if isinstance(spec, Picked) and field.n_rows == len(leader.field.regions):
        return field
    of_groups = isinstance(spec, Members | Known) and spec.groups is not None
    return follow_slices(path, field, leader, of_groups=of_groups)


def _too_short(
    path: str, cuts: Mapping[str, Cut], names: Sequence[str] | None, reach: Reach | None
) -> list[str]:
    """Say which sequences are left out because no slice fits into them."""
    cut = next(iter(cuts.values()))
    if not len(cut.short) or reach is None:
        return []
    which = f"{len(cut.short)} of {cut.n_sequences} sequences"
    if names is not None:
        shown = ", ".join(names[number] for number in cut.short[:_SHOWN])
        which += f" ({shown}{', …' if len(cut.short) > _SHOWN else ''})"
    return [
        f"{path}: no slice fits into {which}: slices of {next(iter(cuts))!r} and their shifts need "
        f"{reach.elements} elements"
    ]


def _check_lengths(file: Unbound, fields: Mapping[str, Field]) -> None:
    lengths = {key: field.n_rows for key, field in fields.items()}
    if len(set(lengths.values())) > 1:
        where = {key: f" in {part.layout.path}" for key, part in file.beside.items()}
        found = ", ".join(
            f"{key!r} has {rows} rows{where.get(key, '')}" for key, rows in lengths.items()
        )
        raise ConfigError(
            f"{file.layout.path}: the fields have unequal numbers of rows: {found}; choose fields "
            f"that share the sample axis{_advice_for(lengths)}"
        )


def _check_grids(path: str, fields: Mapping[str, Field]) -> None:
    """Check that patches of all fields begin at the same places."""
    grids: dict[str, list[list[int]]] = {}
    for key, made in fields.items():
        if isinstance(made, RegionField) and isinstance(made.regions, Grid):
            grids[key] = [some.tolist() for some in made.regions.places if len(some) > 1]
    for key, found in grids.items():
        first = next(iter(grids))
        if found != grids[first]:
            raise ConfigError(
                f"{path}: patches of {first!r} and {key!r} begin at different places; volumes of "
                "one stream have the same size along the axes of the patches"
            )


def _advice_for(lengths: Mapping[str, int]) -> str:
    """Say what to write for a field with one row beside others."""
    alone = [key for key, rows in lengths.items() if rows == 1]
    if not alone or len(alone) == len(lengths):
        return ""
    return f"; if all rows share {alone[0]!r}, ask for it with Constant(path)"


def _with_given(files: Sequence[Unbound], bound: Sequence[FileFields]) -> list[FileFields]:
    """Add the columns that are given for rows, and those that follow from what rows are."""
    given = {key: spec for key, spec in files[0].specs.items() if isinstance(spec, Given)}
    given = {key: spec for key, spec in given.items() if spec.by != "name"}
    if not given and not any(map(is_computed, files[0].specs.values())):
        return list(bound)
    for key, spec in given.items():
        if spec.by not in ("row", "file"):
            raise ConfigError(
                f'field {key!r}: values are given by "row", "name" or "file", not {spec.by!r}'
            )
    paths = [file.path for file in bound]
    n_rows = [file.n_rows for file in bound]
    columns = {key: share_column(key, spec, paths, n_rows) for key, spec in given.items()}
    added: list[FileFields] = []
    for number, file in enumerate(bound):
        own = {key: GivenField(key, columns[key][number]) for key in given}
        first = sum(n_rows[:number])
        rows = FileRows(file.path, number, first, file.n_rows, file.names, file.begins)
        found = compute_fields(files[number].specs, {**file.fields, **own}, rows)
        added.append(replace(file, fields=found.fields, rows=found.kept, lacking=found.told))
    return added


def _side_by_side(files: Sequence[Unbound]) -> list[Unbound]:
    """Keep sequences apart that lie beside each other in the chunks of some files only."""
    found = list(files)
    for key in files[0].specs:
        lanes = [_lanes_of(file, key) for file in files]
        if len(set(lanes)) < 2:
            continue
        for number, (file, own) in enumerate(zip(files, lanes, strict=True)):
            spec = file.specs[key]
            if own > 1:
                reason = "its chunks hold parts of several sequences, and those of other files not"
                base = replace(spec.base, alone=reason)
                specs = {**found[number].specs, key: replace(spec, base=base)}
                found[number] = replace(found[number], specs=specs)
    return found


def _lanes_of(file: Unbound, key: str) -> int:
    """Count the sequences that lie beside each other in what is read."""
    spec = file.specs[key]
    if not isinstance(spec, Slices) or not isinstance(spec.base, Sequences):
        return 1
    layout = find_named(file.holder(key).layout.datasets, spec.base.base.path)
    if layout is None or spec.base.axis >= len(layout.shape):
        return 1
    stacking = stacked(layout, spec.base.axis).stacking
    return 1 if stacking is None else stacking.lanes


def _with_ids(file: Unbound) -> Unbound:
    """Add the fields that rows of tables are found by; they lie where the table's field does."""
    specs = with_ids(file.specs)
    beside = {key: file.holder(key.rpartition(" by ")[0]) for key in specs if key not in file.specs}
    return replace(file, specs=specs, beside={**file.beside, **beside} if file.beside else {})


def _without_unknown(
    files: Sequence[Unbound], bound: Sequence[FileFields], missing: Missing
) -> list[FileFields]:
    """Leave out the rows that a table does not know, or refuse them."""
    told = [why for file in bound for why in file.lacking]
    if not told:
        return list(bound)
    if missing == "error":
        raise ConfigError(f'{told[0]}; add them, or leave such rows out with missing="drop"')
    if not any(file.n_rows for file in bound):
        raise ConfigError(f"nothing is left to stream: {'; '.join(told[:_SHOWN])}")
    by_row = [key for key, spec in files[0].specs.items() if _is_by_row(spec)]
    if by_row:
        raise ConfigError(
            f"field {by_row[0]!r} is given one value a row, but rows are left out: {told[0]}; give "
            "its values by a key as well: Table({key: value}, by=...)"
        )
    kept: list[FileFields] = []
    first = 0
    for file, made in zip(bound, files, strict=True):
        numbers = np.full(file.n_stored_rows, -1, np.int64)
        numbers[file.numbers] = first + np.arange(file.n_rows)
        first += file.n_rows
        counted = {
            key: GivenField(key, numbers)
            for key, spec in made.specs.items()
            if isinstance(spec, Origin) and spec.what == "index"
        }
        left_out = (*file.left_out, *file.lacking)
        kept.append(replace(file, fields={**file.fields, **counted}, left_out=left_out))
    return kept


def _is_by_row(spec: Any) -> bool:
    return isinstance(spec, Given) and spec.by == "row"


def _agreed(files: Sequence[FileFields]) -> tuple[FileFields, ...]:
    files = _agree_on_missing(_agree_on_kinds(_agree_on_lengths(files)))
    first = files[0]
    for file in files[1:]:
        for name in first.fields:
            if name not in file.fields:
                raise ConfigError(
                    f"{file.path}: there is no field {name!r}, which {first.path} has; all files "
                    "must agree"
                )
            found, expected = file.fields[name].column, first.fields[name].column
            if found != expected:
                raise ConfigError(
                    f"{file.path}: field {name!r} has rows of {found.described}, but "
                    f"{first.path} has {expected.described}; all files must agree: "
                    f"{_way_out(first.fields[name], found, expected)}"
                )
            _check_kind(name, file, first)
    return tuple(files)


def _way_out(field: Field, found: ColumnType, expected: ColumnType) -> str:
    """Say what to write where files differ."""
    if (found.kind, found.row_shape) == (expected.kind, expected.row_shape):
        if isinstance(field, DenseField) and {found.dtype.kind, expected.dtype.kind} <= set(
            "biufc"
        ):
            common = np.promote_types(found.dtype, expected.dtype)
            return f'ask for Dense({field.layout.path.strip("/")!r}, dtype="{common}")'
        return "ask for one type with dtype=..."
    if isinstance(field, DenseField) and found.dtype == expected.dtype and found.row_shape:
        path = field.layout.path.strip("/")
        options = "ragged=True" if found.row_shape[1:] == expected.row_shape[1:] else "flat=True"
        return (
            f"for rows of unequal length ask for Dense({path!r}, {options}), with Shape({path!r}) "
            "beside; or open files that differ as streams of their own, and draw from them with "
            "mix()"
        )
    if _has_rows_of_datasets(field) and found.kind != "dense" and field.n_rows == 1:
        path = field.layouts[0].path.strip("/")
        return (
            f"flatten them, with their shapes beside: Whole({path!r}, flat=True), Shape({path!r})"
        )
    return "open files that differ as streams of their own, and draw from them with mix()"


def _check_kind(name: str, file: FileFields, first: FileFields) -> None:
    """Refuse one field that is read in two ways; in-memory columns stand for vlen datasets."""
    kinds = {type(some.fields[name]) for some in (file, first)}
    if len(kinds - {GivenField}) > 1 or kinds == {RegionField, GivenField}:
        found, expected = (type(some.fields[name]).__name__ for some in (file, first))
        raise ConfigError(
            f"{file.path}: field {name!r} is laid out as a {found}, but in {first.path} as a "
            f"{expected}; all files must agree"
        )


def _agree_on_missing(files: Sequence[FileFields]) -> Sequence[FileFields]:
    """Make text of all files lists of `str`, where some file has `None` among it."""
    agreed = list(files)
    for name in files[0].fields:
        columns = [file.fields[name].column for file in agreed if name in file.fields]
        kinds = {"text" if each.kind == "text" else each.dtype.kind for each in columns}
        if kinds != {"text", "O"}:
            continue
        for number, file in enumerate(agreed):
            made = file.fields[name]
            if isinstance(made, GivenField) and isinstance(made.data, Ragged):
                strings = np.array([*made.data, None], object)[:-1]
                fixed = {**file.fields, name: GivenField(name, strings)}
                agreed[number] = replace(file, fields=fixed)
    return agreed


def _agree_on_lengths(files: Sequence[FileFields]) -> list[FileFields]:
    agreed = list(files)
    for name in files[0].fields:
        fields = [file.fields.get(name) for file in agreed]
        forms = {field.form for field in fields if _has_rows_of_datasets(field)}
        if len(forms) < 2:
            continue
        for number, each in enumerate(fields):
            if _has_rows_of_datasets(each):
                ragged = replace(each, form=RaggedForm())
                fixed = {**agreed[number].fields, name: ragged}
                agreed[number] = replace(agreed[number], fields=fixed)
    return agreed


def _agree_on_kinds(files: Sequence[FileFields]) -> list[FileFields]:
    """Pick the rows of a dataset in all files, where slices of some files pick theirs."""
    agreed = list(files)
    for name in files[0].fields:
        fields = [file.fields.get(name) for file in agreed]
        if {type(field) for field in fields} != {DenseField, RegionField}:
            continue
        for number, each in enumerate(fields):
            if isinstance(each, DenseField):
                picked = pick_rows(each, np.arange(each.n_rows))
                fixed = {**agreed[number].fields, name: picked}
                agreed[number] = replace(agreed[number], fields=fixed)
    return agreed


def _has_rows_of_datasets(field: Field | None) -> TypeGuard[RegionField]:
    return (
        isinstance(field, RegionField)
        and isinstance(field.regions, Offsets | Spans)
        and type(field.form) in (SliceForm, RaggedForm)
    )
