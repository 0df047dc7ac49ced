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
from h5stream.fields.field import Field
from h5stream.fields.make import pick_rows
from h5stream.fields.region import Elements, Form, RaggedForm, RegionField, SliceForm, SparseForm
from h5stream.fields.regions import Bounds, Steps
from h5stream.fields.specs import Slices

__all__ = ["Reach", "check_counts", "common_reach", "make_slices", "repeat_for_slices"]


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
    """

    stride: int
    first: int
    elements: int


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
    strides = {spec.stride for spec in regular}
    if len(strides) > 1:
        raise ConfigError(
            f"slices of one stream need one stride, not {sorted(strides)}: row i must mean the same"
        )
    first = max(0, *(-spec.shift for spec in regular))
    return Reach(strides.pop(), first, first + max(spec.shift + _span(spec) for spec in regular))


def _check(spec: Slices) -> None:
    if spec.starts is None and spec.stops is not None:
        raise ConfigError("slices with stops need starts as well")
    if (spec.length is None) == (spec.stops is None):
        raise ConfigError("slices need a length, or starts and stops")
    if spec.stops is not None and spec.step != 1:
        raise ConfigError("slices with stops take every element; give a length to use a step")
    if spec.padding not in get_args(Padding):
        raise ConfigError(f"padding of slices is one of {get_args(Padding)}, not {spec.padding!r}")
    for name in ("length", "stride", "step", "shift"):
        value = getattr(spec, name)
        if value is None and name == "length":
            continue
        if not isinstance(value, int | np.integer) or (value < 1 and name != "shift"):
            least = "" if name == "shift" else "at least 1, and "
            raise ConfigError(f"{name} of slices must be {least}whole, not {value!r}")


def _span(spec: Slices) -> int:
    return ((spec.length or 1) - 1) * spec.step + 1


def make_slices(base: Field, spec: Slices, reach: Reach | None) -> RegionField:
    """Cut slices out of a field.

    Raises
    ------
    ConfigError
        If the field cannot be cut, or no sequence is long enough.
    LayoutError
        If explicit bounds lie outside it.
    """
    parts, low, high = _sequences(base)
    if spec.starts is not None:
        return _explicit(base, spec, parts)
    if spec.center:
        counts = -(-(high - low) // spec.stride)
        first = -(_span(spec) // 2)
        steps = Steps(low, high, counts, _span(spec), spec.stride, first, spec.shift)
        return RegionField(base.name, parts, steps, SliceForm(spec.length, spec.step, spec.padding))
    assert reach is not None, "slices at regular steps have a reach"
    lengths = high - low
    counts = np.where(lengths >= reach.elements, (lengths - reach.elements) // reach.stride + 1, 0)
    if not counts.any():
        longest = int(lengths.max(initial=0))
        raise ConfigError(
            f"field {base.name!r}: no slice fits: slices and their shifts need {reach.elements} "
            f"elements, but the longest sequence has {longest}"
        )
    steps = Steps(low, high, counts, _span(spec), reach.stride, reach.first, spec.shift)
    return RegionField(base.name, parts, steps, SliceForm(spec.length, spec.step))


def _sequences(base: Field) -> tuple[tuple[Elements, ...], np.ndarray, np.ndarray]:
    """Return the elements of a field, and where its sequences start and stop."""
    if isinstance(base, DenseField):
        return (Elements((base,)),), np.zeros(1, np.int64), np.array([base.n_rows])
    if isinstance(base, RegionField) and not isinstance(base.form, SparseForm):
        low, high = base.regions.of(np.arange(base.n_rows))
        return base.parts, low, high
    raise ConfigError(f"field {base.name!r} cannot be cut into slices; only dense or ragged can")


def _explicit(base: Field, spec: Slices, parts: tuple[Elements, ...]) -> RegionField:
    total = int(parts[0].bounds[-1])
    starts = _integers(base.name, spec.starts) + spec.shift
    stops = starts + _span(spec) if spec.stops is None else _integers(base.name, spec.stops)
    if spec.stops is not None:
        stops = stops + spec.shift
    if starts.shape != stops.shape:
        raise ConfigError(
            f"field {base.name!r}: {len(starts)} starts but {len(stops)} stops of slices"
        )
    wrong = np.flatnonzero((starts < 0) | (stops < starts) | (stops > total))
    if len(wrong):
        row = int(wrong[0])
        raise LayoutError(
            f"field {base.name!r}: slice {row} goes from {starts[row]} to {stops[row]}, but there "
            f"are {total} elements"
        )
    form: Form = RaggedForm() if spec.length is None else SliceForm(spec.length, spec.step)
    return RegionField(base.name, parts, Bounds(starts, stops), form)


def _integers(name: str, values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 1 or (len(array) and array.dtype.kind not in "iu"):
        raise ConfigError(f"field {name!r}: starts and stops of slices must be lists of integers")
    return array.astype(np.int64)


def check_counts(sliced: Mapping[str, RegionField]) -> None:
    """Check that fields have as many slices in every sequence, so that row i means the same.

    Raises
    ------
    ConfigError
        Naming two fields that have not.
    """
    steps = {key: field.regions for key, field in sliced.items()}
    counts = {key: some.counts for key, some in steps.items() if isinstance(some, Steps)}
    for first, key in pairwise(counts):
        if not np.array_equal(counts[first], counts[key]):
            raise ConfigError(
                f"fields {first!r} and {key!r} have unequal numbers of rows: "
                f"{counts[first].sum()} and {counts[key].sum()} slices, of {len(counts[first])} "
                f"and {len(counts[key])} sequences, which differ in length"
            )


def repeat_for_slices(field: Field, sliced: RegionField) -> Field:
    """Give every slice the row of its sequence, if a field has one row a sequence."""
    steps = sliced.regions
    if not isinstance(steps, Steps) or field.n_rows != len(steps.low) or (steps.counts == 1).all():
        return field
    return pick_rows(field, steps.parents(np.arange(len(steps))))
