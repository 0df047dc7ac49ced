"""Cuts slices out of longer fields: at regular steps, centred, or between explicit bounds.

Slices of several fields belong together: slice i starts at the same element in all of them, but
for each one's shift, and none leaves its sequence. So their common reach decides how many there
are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, get_args

import numpy as np

from h5stream.columns import Padding
from h5stream.errors import ConfigError, LayoutError
from h5stream.fields.dense import DenseField
from h5stream.fields.field import ColumnType, Field
from h5stream.fields.given import GivenField, MemoryField
from h5stream.fields.make import pick_rows
from h5stream.fields.over_files import integers
from h5stream.fields.region import (
    Elements,
    Form,
    LaneForm,
    RaggedForm,
    RegionField,
    RowForm,
    SliceForm,
    SparseForm,
)
from h5stream.fields.regions import Bounds, Placed, Steps
from h5stream.fields.resolve import SingleSlices
from h5stream.fields.specs import Slices

__all__ = [
    "Cut",
    "MaskField",
    "Reach",
    "StartField",
    "check_alike",
    "common_reach",
    "follow_slices",
    "make_mask",
    "make_slices",
    "n_elements",
]


_WHOLE = 2**40
"""From one slice to the next, where each sequence has one: farther than any is long."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What all slices of a stream have in common.

    Parameters
    ----------
    stride : int
        From one slice to the next.
    first : int
        Element of a sequence at which the slices without shift begin.
    elements : int
        Length that a sequence needs for one slice.
    random : bool
        Slices begin anywhere in their stretches.
    """

    stride: int
    first: int
    elements: int
    random: bool = False


def common_reach(specs: Collection[Slices]) -> Reach | None:
    """Find the reach of the slices at regular steps, None if there are none.

    Raises
    ------
    ConfigError
        If a length or step is below one, or strides differ.
    """
    for spec in specs:
        _check(spec)
    regular = [spec for spec in specs if spec.starts is None and not spec.center]
    if not regular:
        return None
    strides = {spec.stride or _WHOLE for spec in regular}
    if len(strides) > 1:
        raise ConfigError(
            f"slices of one stream need one stride, not {sorted(strides)}: row i must mean the same"
        )
    randoms = {spec.random for spec in regular}
    if len(randoms) > 1:
        raise ConfigError(
            "slices of one stream begin at random in all fields or in none; pass random=True to all"
        )
    least = -max(spec.before for spec in regular)
    first = max(least, *(-spec.shift - spec.before for spec in regular))
    beyond = max(spec.shift + _span(spec) - spec.after for spec in regular)
    return Reach(strides.pop(), first, first + beyond, randoms.pop())


def _check(spec: Slices) -> None:
    if spec.stops is None and spec.inclusive:
        raise ConfigError("inclusive=True is for slices with stops")
    if spec.starts is None and spec.counts_from:
        raise ConfigError("counts_from= is for slices with starts")
    if spec.starts is None and spec.stops is not None:
        raise ConfigError("slices with stops need starts as well")
    if (spec.length is None) == (spec.stops is None):
        raise ConfigError("slices need a length, or starts and stops")
    if spec.stops is not None and spec.step != 1:
        raise ConfigError("slices with stops take every element; give a length to use a step")
    if spec.padding not in get_args(Padding):
        raise ConfigError(f"padding of slices is one of {get_args(Padding)}, not {spec.padding!r}")
    _check_padding(spec)
    if spec.random and (spec.center or spec.starts is not None):
        raise ConfigError("random=True is for slices at regular steps that are not centred")
    for name in ("length", "stride", "step", "shift"):
        value = getattr(spec, name)
        if value is None and name in ("length", "stride"):
            continue
        if not isinstance(value, int | np.integer) or (value < 1 and name != "shift"):
            least = "" if name == "shift" else "at least 1, and "
            raise ConfigError(f"{name} of slices must be {least}whole, not {value!r}")


def _check_padding(spec: Slices) -> None:
    padded = spec.before or spec.after
    if spec.padding != "constant" and not spec.center and not padded:
        raise ConfigError(
            f"padding={spec.padding!r} of slices pads those that leave their sequence; pass "
            "center=True as well, or before= and after="
        )
    if padded and (spec.center or spec.stops is not None):
        raise ConfigError(
            "before= and after= are for slices of one length that are not centred: around events "
            "write Slices(field, 200, starts=..., shift=-100, before=100, after=100)"
        )
    most = (spec.length or 1) * spec.step + abs(spec.shift)
    given: dict[str, Any] = {"before": spec.before, "after": spec.after}
    for name, value in given.items():
        if not isinstance(value, int | np.integer) or not 0 <= value < most:
            raise ConfigError(
                f"{name}={value!r} of slices should be from 0 to less than their length: a slice "
                "has something of its sequence"
            )


def _span(spec: Slices) -> int:
    return ((spec.length or 1) - 1) * spec.step + 1


@dataclass(frozen=True, eq=False)
class Cut:
    """A field that was cut into slices.

    Parameters
    ----------
    field : RegionField
        Its rows are the slices.
    n_sequences : int
        Sequences that it was cut from.
    short : numpy.ndarray
        int64: sequences that no slice fits into.
    """

    field: RegionField
    n_sequences: int
    short: np.ndarray

    @property
    def sequences(self) -> np.ndarray:
        """int64: the sequence of each slice."""
        regions = self.field.regions
        assert isinstance(regions, Steps | Bounds), "slices are at regular steps or explicit"
        return regions.parents(np.arange(len(regions)))


def make_slices(base: Field, spec: Slices, reach: Reach | None) -> Cut:
    """Cut slices out of a field.

    Raises
    ------
    ConfigError
        If the field cannot be cut.
    LayoutError
        If explicit bounds lie outside it, or a slice leaves its sequence.
    """
    parts, low, high = _sequences(base, single=isinstance(spec, SingleSlices))
    none = np.empty(0, np.int64)
    if spec.starts is not None:
        return Cut(_explicit(base, spec, parts, low, high), len(low), none)
    if spec.center:
        stride = spec.stride or _WHOLE
        counts = -(-(high - low) // stride)
        first = -(_span(spec) // 2)
        steps = Steps(low, high, counts, _span(spec), stride, first, spec.shift)
        form = _form(base, spec, spec.padding)
        return Cut(RegionField(base.name, parts, steps, form), len(low), none)
    assert reach is not None, "slices at regular steps have a reach"
    lengths = high - low
    fits = (lengths >= reach.elements) & (lengths > 0)
    counts = np.where(fits, (lengths - reach.elements) // reach.stride + 1, 0)
    steps = Steps(
        low,
        high,
        counts,
        _span(spec),
        reach.stride,
        reach.first,
        spec.shift,
        reach.elements,
        reach.random,
    )
    padding = spec.padding if spec.before or spec.after else None
    field = RegionField(base.name, parts, steps, _form(base, spec, padding))
    return Cut(field, len(low), np.flatnonzero(counts == 0))


@dataclass(frozen=True, eq=False)
class StartField(MemoryField):
    """Where slices begin in their sequences.

    Parameters
    ----------
    name : str
        Key of the column in blocks and batches.
    regions : Steps
        Of the slices, each sequence from zero on.
    """

    name: str
    regions: Steps

    @property
    def n_rows(self) -> int:
        """Count the slices."""
        return len(self.regions)

    @property
    def column(self) -> ColumnType:
        """Eight-byte integers."""
        return ColumnType("dense", np.dtype(np.int64), ())

    @property
    def nbytes(self) -> int:
        """Eight for each slice."""
        return 8 * self.n_rows

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Look where they begin."""
        return self.regions.nominal(rows)

    def picked(self, at: np.ndarray) -> GivenField:
        """Write them down."""
        return GivenField(self.name, self.of(at))


@dataclass(frozen=True, eq=False)
class MaskField(MemoryField):
    """Which elements of slices lie in their sequence.

    Parameters
    ----------
    name : str
        Key of the column in blocks and batches.
    regions : Steps
        Of the slices.
    length, step : int
        Of each.
    """

    name: str
    regions: Steps
    length: int
    step: int

    @property
    def n_rows(self) -> int:
        """Count the slices."""
        return len(self.regions)

    @property
    def column(self) -> ColumnType:
        """Booleans."""
        return ColumnType("dense", np.dtype(np.bool_), (self.length,))

    @property
    def nbytes(self) -> int:
        """One for each element."""
        return self.n_rows * self.length

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Compare places with the bounds of sequences."""
        at = self.regions.nominal(rows)[:, None] + np.arange(self.length) * self.step
        parent = self.regions.parents(rows)
        low, high = self.regions.low[parent], self.regions.high[parent]
        return (at >= low[:, None]) & (at < high[:, None])

    def picked(self, at: np.ndarray) -> GivenField:
        """Write them down."""
        return GivenField(self.name, self.of(at))


def make_mask(sliced: RegionField, spec: Slices) -> MaskField:
    """Say which elements of slices lie in their sequence."""
    assert isinstance(sliced.regions, Steps), "only slices that may leave their sequence are padded"
    assert spec.length is not None, "slices that are padded have a length"
    return MaskField(sliced.name, sliced.regions, spec.length, spec.step)


def _form(base: Field, spec: Slices, padding: Padding | None = None) -> Form:
    """Say what a slice is made of; sequences may lie beside each other."""
    if isinstance(base, RegionField) and isinstance(base.form, RowForm):
        return base.form
    if isinstance(base, RegionField) and isinstance(base.form, LaneForm):
        return LaneForm(spec.length, spec.step, padding, lanes=base.form.lanes)
    length = None if isinstance(spec, SingleSlices) else spec.length
    return SliceForm(length, spec.step, padding)


def _sequences(
    base: Field, *, single: bool = False
) -> tuple[tuple[Elements, ...], np.ndarray, np.ndarray]:
    """Return the elements of a field, and where its sequences start and stop."""
    if isinstance(base, DenseField):
        return (Elements((base,)),), np.zeros(1, np.int64), np.array([base.n_rows])
    whole = SparseForm if single else (SparseForm, RowForm)
    if isinstance(base, RegionField) and not isinstance(base.form, whole):
        low, high = base.regions.of(np.arange(base.n_rows))
        return base.parts, low, high
    raise ConfigError(f"field {base.name!r} cannot be cut into slices; only dense or ragged can")


def n_elements(base: Field) -> int:
    """Count the elements that explicit bounds of slices count."""
    return int(_sequences(base)[0][0].bounds[-1])


def _explicit(
    base: Field, spec: Slices, parts: tuple[Elements, ...], low: np.ndarray, high: np.ndarray
) -> RegionField:
    offset = spec.shift - spec.counts_from
    starts = integers(base.name, spec.starts) + offset
    stops = starts + _span(spec) if spec.stops is None else integers(base.name, spec.stops)
    if spec.stops is not None:
        stops = stops + offset + spec.inclusive
    if starts.shape != stops.shape:
        raise ConfigError(
            f"field {base.name!r}: {len(starts)} starts but {len(stops)} stops of slices"
        )
    sequence = _sequence_of(base, starts - spec.shift, high)
    begin, end = (bounds[sequence] if len(bounds) else starts[:0] for bounds in (low, high))
    outside = (starts < begin - spec.before) | (stops > end + spec.after)
    wrong = np.flatnonzero(outside | (stops < starts))
    if len(wrong):
        row = int(wrong[0])
        raise LayoutError(
            f"field {base.name!r}: slice {row} goes from {starts[row]} to {stops[row]}, but its "
            f"sequence, number {sequence[row]}, has the elements from {begin[row]} to {end[row]}"
            + ("; before= and after= pad those that leave it" if spec.stops is None else "")
        )
    if spec.before or spec.after:
        none = np.zeros_like(low)
        placed = Placed(low, high, none, _span(spec), 1, starts=starts, sequence=sequence)
        return RegionField(
            base.name, parts, placed, SliceForm(spec.length, spec.step, spec.padding)
        )
    form: Form = RaggedForm() if spec.length is None else SliceForm(spec.length, spec.step)
    return RegionField(base.name, parts, Bounds(starts, stops, sequence), form)


def _sequence_of(base: Field, starts: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Find the sequence that each start lies in."""
    if len(starts) and not len(high):
        raise LayoutError(f"field {base.name!r} has no sequences, but {len(starts)} slices")
    if (np.diff(high) < 0).any():
        raise ConfigError(
            f"field {base.name!r}: explicit slices need sequences that lie one after the other"
        )
    return np.minimum(np.searchsorted(high, starts, side="right"), len(high) - 1)


def check_alike(path: str, cuts: Mapping[str, Cut]) -> None:
    """Check that fields have as many slices in every sequence, so that row i means the same.

    Raises
    ------
    ConfigError
        Naming two fields that have not.
    """
    for (first, one), (key, other) in pairwise(cuts.items()):
        kinds = {Bounds if _is_explicit(cut) else Steps for cut in (one, other)}
        if len(kinds) > 1:
            raise ConfigError(
                f"{path}: slices of {first!r} and {key!r} are explicit in one and at regular steps "
                "in the other; row i must mean the same"
            )
        same = len(one.field.regions) == len(other.field.regions)
        if same and (one.n_sequences == other.n_sequences or kinds == {Steps}):
            same = np.array_equal(one.sequences, other.sequences)
        if not same:
            raise ConfigError(
                f"{path}: fields {first!r} and {key!r} have unequal numbers of rows: "
                f"{len(one.field.regions)} and {len(other.field.regions)} slices, of "
                f"{one.n_sequences} and {other.n_sequences} sequences, which differ in length"
            )


def _is_explicit(cut: Cut) -> bool:
    return isinstance(cut.field.regions, Bounds | Placed)


def follow_slices(path: str, field: Field, leader: Cut, *, of_groups: bool) -> Field:
    """Give every slice its row of a field that is not sliced.

    Parameters
    ----------
    path : str
        The file, for messages.
    field : Field
        With one row a sequence, or one a slice.
    leader : Cut
        The slices.
    of_groups : bool
        Whether its rows are groups with names: such a field has one row a sequence.

    Raises
    ------
    ConfigError
        If rows could be meant for slices as well as for sequences.
    """
    sequences = leader.sequences
    if field.n_rows != leader.n_sequences:
        if of_groups:
            raise ConfigError(
                f"{path}: field {field.name!r} has {field.n_rows} rows, one a group, but there are "
                f"{leader.n_sequences} sequences to slice; slice Grouped(...) of the same groups"
            )
        return field
    same = np.array_equal(sequences, np.arange(leader.n_sequences))
    explicit = _is_explicit(leader)
    if explicit and field.n_rows == len(sequences) and not same and not of_groups:
        raise ConfigError(
            f"{path}: field {field.name!r} has {field.n_rows} rows, as many as there are slices "
            "and as many as there are sequences; say which rows are meant: Given(values) for one a "
            "slice, Picked(path, at=sequence_of_each_slice) for one a sequence"
        )
    return field if same else pick_rows(field, sequences)
