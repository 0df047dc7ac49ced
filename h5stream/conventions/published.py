"""Conventions of other packages: entry points of the group ``h5stream.conventions``.

Each is a `Convention`. They are looked for when a file is first opened; one that cannot be loaded
is left out with a warning.
"""

from __future__ import annotations

import functools
import warnings
from importlib.metadata import EntryPoint, entry_points

from h5stream.conventions.convention import Convention

__all__ = ["GROUP", "load_published", "published_versions"]

GROUP = "h5stream.conventions"
"""Name of the group of entry points."""


@functools.cache
def load_published() -> tuple[Convention, ...]:
    """Load the conventions of all installed packages, in the order of their names."""
    loaded = (_load(point) for point in _points())
    return tuple(convention for convention in loaded if convention is not None)


@functools.cache
def published_versions() -> tuple[str, ...]:
    """Say which packages publish conventions: what they find in files depends on their versions."""
    return tuple(f"{point.name} {_package(point)}" for point in _points())


def _points() -> list[EntryPoint]:
    return sorted(entry_points(group=GROUP), key=lambda point: point.name)


def _load(point: EntryPoint) -> Convention | None:
    """Load a convention; None, and a warning, if that fails."""
    try:
        found = point.load()
        reason = f"it is of type {type(found).__name__}, not Convention"
    except Exception as error:  # whatever another package's code raises
        found, reason = None, f"{type(error).__name__}: {error}"
    if isinstance(found, Convention):
        return found
    warnings.warn(
        f"the convention {point.name!r} of {_package(point)} is left out: {reason}; update or "
        "remove that package",
        stacklevel=2,
    )
    return None


def _package(point: EntryPoint) -> str:
    return "an unknown package" if point.dist is None else f"{point.dist.name} {point.dist.version}"
