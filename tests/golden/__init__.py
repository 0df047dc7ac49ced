"""Files that h5torch 0.3.1, h5mapper 0.3.3 and a blog's code wrote, and what those read from them.

``expected.json`` lists cases; arrays are in ``expected.npz``. See `load_cases` and `same`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["GOLDEN", "load_cases", "same"]

GOLDEN = Path(__file__).parent


def load_cases(maker: str, **like: Any) -> list[dict[str, Any]]:
    """Load the cases of a folder that have the given entries, with all values decoded."""
    with np.load(GOLDEN / maker / "expected.npz") as npz:
        arrays = dict(npz)
    listed = json.loads((GOLDEN / maker / "expected.json").read_text())["cases"]
    return [
        {key: _decode(value, arrays) for key, value in case.items()}
        for case in listed
        if all(case.get(key) == value for key, value in like.items())
    ]


def _decode(node: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(node, list):
        return [_decode(item, arrays) for item in node]
    if not isinstance(node, dict):
        return node
    kind = node.get("kind")
    if kind not in _KINDS:
        return {key: _decode(value, arrays) for key, value in node.items()}
    if kind == "array":
        return arrays[node["npz"]]
    if kind == "scalar":
        return _scalar(node)
    if kind == "dict":
        return {key: _decode(value, arrays) for key, value in node["items"].items()}
    if kind in ("list", "tuple"):
        return [_decode(item, arrays) for item in node["items"]]
    if kind == "bytes":
        return node["value"].encode("latin1")
    return node.get("value")


_KINDS = {"none", "array", "scalar", "str", "bytes", "dict", "list", "tuple"}


def _scalar(node: dict[str, Any]) -> Any:
    value = node["value"]
    dtype = np.dtype("int64" if node["dtype"] == "int" else node["dtype"])
    return dtype.type(complex(*value) if isinstance(value, list) else value)


def same(found: Any, expected: Any) -> bool:
    """Compare values of any nesting, types of elements included (but the length of `str`)."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(
            same(found[key], expected[key]) for key in expected
        )
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, np.ndarray):
        found = np.asarray(found)
        alike = found.dtype.kind == "U" == expected.dtype.kind or found.dtype == expected.dtype
        return (
            alike
            and found.shape == expected.shape
            and np.array_equal(found, expected, equal_nan=expected.dtype.kind in "fc")
        )
    if isinstance(expected, np.generic):
        is_nan = bool(expected != expected and found != found)
        return np.asarray(found).dtype == expected.dtype and (is_nan or found == expected)
    return found == expected
