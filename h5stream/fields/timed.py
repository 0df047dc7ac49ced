"""Finds the elements of windows that are said in time, by a column of timestamps. Pure.

Windows become explicit slices: from the first element at or after their start to the first at or
after their stop. Those at regular steps begin together in all fields of a file: the first at the
latest of their first timestamps, and none goes beyond the earliest of their last ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from h5stream.errors import ConfigError, LayoutError
from h5stream.fields.resolve import FileSlices
from h5stream.fields.specs import TimeSlices

__all__ = ["Timed", "find_slices"]


@dataclass(frozen=True, eq=False)
class Timed:
    """One field of windows in time, and the timestamps of its elements.

    Parameters
    ----------
    spec : TimeSlices
        With bounds as arrays, if it has any.
    times : numpy.ndarray
        One for each element.
    where : str
        File and dataset of the timestamps, for messages.
    """

    spec: TimeSlices
    times: np.ndarray
    where: str


def find_slices(timed: Mapping[str, Timed]) -> dict[str, tuple[FileSlices, np.ndarray]]:
    """Turn windows in time into slices of elements.

    Parameters
    ----------
    timed : mapping
        Key of the column -> one field of a file.

    Returns
    -------
    dict
        Key -> slices, and when each window starts.

    Raises
    ------
    ConfigError
        If a window is not said well.
    LayoutError
        If timestamps decrease or are not finite.

    Examples
    --------
    >>> times = np.array([0.0, 0.4, 0.5, 1.1, 1.9])
    >>> spec = TimeSlices("spikes", "t", length=1.0, stride=0.5)
    >>> ((slices, starts),) = find_slices({"x": Timed(spec, times, "a.h5: 't'")}).values()
    >>> starts.tolist(), slices.starts.tolist(), slices.stops.tolist()
    ([0.0, 0.5], [0, 2], [3, 4])
    """
    for each in timed.values():
        _check(each)
    regular = [each for each in timed.values() if each.spec.starts is None]
    grid = _grid(regular) if regular else None
    found = {}
    for key, each in timed.items():
        spec = each.spec
        starts, stops = _bounds(key, each, grid)
        first, last = (
            np.searchsorted(each.times, bound + spec.shift, side="left")
            for bound in (starts, stops)
        )
        slices = FileSlices(spec.base, starts=first, stops=last)
        found[key] = slices, starts.astype(np.float64)
    return found


def _check(timed: Timed) -> None:
    spec, times = timed.spec, timed.times
    if times.dtype.kind not in "iuf" or not np.isfinite(times).all():
        raise LayoutError(f"{timed.where} should hold finite numbers, one timestamp an element")
    wrong = np.flatnonzero(np.diff(times) < 0)
    if len(wrong):
        row = int(wrong[0])
        raise LayoutError(
            f"{timed.where} decreases at element {row}, from {times[row]} to {times[row + 1]}; "
            "windows in time are cut from sorted timestamps"
        )
    by_steps = spec.starts is None and spec.stops is None
    said = (spec.length is not None, spec.stride is not None, spec.stops is not None)
    if said not in (
        [(True, True, False)] if by_steps else [(True, False, False), (False, False, True)]
    ):
        raise ConfigError(
            "windows in time have a length and a stride, or starts and a length, or starts and "
            f"stops, not {spec}"
        )
    for name in ("length", "stride"):
        value = getattr(spec, name)
        if value is not None and not value > 0:
            raise ConfigError(f"{name} of windows in time must be above zero, not {value!r}")


def _grid(regular: list[Timed]) -> np.ndarray:
    """List when the windows at regular steps start."""
    strides = {float(each.spec.stride or 0) for each in regular}
    if len(strides) > 1:
        raise ConfigError(
            f"windows of one stream need one stride, not {sorted(strides)}: row i must mean the "
            "same"
        )
    stride = strides.pop()
    if not all(len(each.times) for each in regular):
        return np.empty(0)
    low = max(float(each.times[0]) - min(each.spec.shift, 0.0) for each in regular)
    high = min(
        float(each.times[-1]) - each.spec.shift - (each.spec.length or 0.0) for each in regular
    )
    count = int(np.floor((high - low) / stride + 1e-9)) + 1 if high >= low else 0
    return low + np.arange(count) * stride


def _bounds(key: str, timed: Timed, grid: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    spec = timed.spec
    starts = grid if spec.starts is None else _numbers(key, spec.starts)
    assert starts is not None, "windows at regular steps are on a grid"
    stops = starts + spec.length if spec.stops is None else _numbers(key, spec.stops)
    if starts.shape != stops.shape:
        raise ConfigError(f"field {key!r}: {len(starts)} starts but {len(stops)} stops of windows")
    wrong = np.flatnonzero(~(stops >= starts))
    if len(wrong):
        row = int(wrong[0])
        raise LayoutError(f"field {key!r}: window {row} goes from {starts[row]} to {stops[row]}")
    return starts, stops


def _numbers(key: str, values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise ConfigError(
            f"field {key!r}: starts and stops of windows are lists of finite times, one a window"
        )
    return array
