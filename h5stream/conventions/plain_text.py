"""Writes down, as JSON, what was asked for of a file and what was chosen in it.

Only what this room made is written: specs, columns of arrays and of text, and plain values. For
anything else there is no text, and then nothing may be kept.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from h5stream.columns import Ragged as RaggedColumn
from h5stream.conventions.choose import Choice
from h5stream.fields import FileSlices, Known, Meaning, Members, specs
from h5stream.fields.resolve import Groups

__all__ = ["from_plain", "to_plain"]

_CLASSES: dict[str, type] = {
    known.__name__: known
    for known in (
        *(specs.Dense, specs.Vlen, specs.Ragged, specs.Sparse, specs.Grouped, specs.Slices),
        *(specs.Picked, specs.Given, FileSlices, Groups, Known, Meaning, Members, Choice),
    )
}


def to_plain(value: Any) -> Any:
    """Turn a value into what JSON can hold.

    Raises
    ------
    TypeError
        If it holds something of which nobody can tell that it would come back the same.

    Examples
    --------
    >>> to_plain(specs.Dense("x"))[0], to_plain(("a", 1))
    ('Dense', ['tuple', 'a', 1])
    """
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind in (tuple, list):
        return [kind.__name__, *map(to_plain, value)]
    if isinstance(value, Mapping):
        return ["dict", *([to_plain(key), to_plain(each)] for key, each in value.items())]
    if kind is np.ndarray:
        return ["array", *_plain_array(value)]
    if isinstance(value, np.generic):
        return ["scalar", *_plain_array(np.asarray(value))]
    if kind is RaggedColumn:
        return ["column", _plain_array(value.values), _plain_array(value.offsets), value.text]
    if _CLASSES.get(kind.__name__) is kind:
        named = {each.name: getattr(value, each.name) for each in dataclasses.fields(kind)}
        return [kind.__name__, {name: to_plain(each) for name, each in named.items()}]
    raise TypeError(f"{kind} is not written down")


def from_plain(said: Any) -> Any:
    """Turn what `to_plain` gave back into the value.

    Raises
    ------
    ValueError, TypeError, KeyError
        If it gave nothing like that.

    Examples
    --------
    >>> from_plain(to_plain(("a", 1)))
    ('a', 1)
    """
    if not isinstance(said, list):
        return said
    kind, *rest = said
    if kind in ("tuple", "list"):
        values = map(from_plain, rest)
        return tuple(values) if kind == "tuple" else list(values)
    if kind == "dict":
        return {from_plain(key): from_plain(value) for key, value in rest}
    if kind == "array":
        return _make_array(*rest)
    if kind == "scalar":
        return _make_array(*rest)[()]
    if kind == "column":
        values, offsets, text = rest
        return RaggedColumn(_make_array(*values), _make_array(*offsets), text=text)
    (named,) = rest
    return _CLASSES[kind](**{name: from_plain(value) for name, value in named.items()})


def _plain_array(array: np.ndarray) -> list[Any]:
    if array.dtype.kind not in "biufcSU":
        raise TypeError(f"arrays of {array.dtype} are not written down")
    return [array.dtype.str, list(array.shape), base64.b64encode(array.tobytes()).decode()]


def _make_array(dtype: str, shape: list[int], data: str) -> np.ndarray:
    found = np.dtype(dtype)
    if found.kind not in "biufcSU":
        raise TypeError(f"arrays of {found} are not written down")
    return np.frombuffer(base64.b64decode(data), found).reshape(shape).copy()
