"""How datasets and their members are named, and in which order names sort."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

__all__ = ["find_named", "natural_key", "split_members"]

_MEMBERS = re.compile(r"(?P<path>[^\[\]]+)(?P<members>(?:\[[^\[\]]+\])+)")


T = TypeVar("T")


def split_members(name: str) -> tuple[str, tuple[str, ...]]:
    """Split a field name into the path of a dataset and members of its compound type.

    Examples
    --------
    >>> split_members("obs[louvain]")
    ('obs', ('louvain',))
    >>> split_members("log[pose][x]")
    ('log', ('pose', 'x'))
    >>> split_members("images")
    ('images', ())
    """
    match = _MEMBERS.fullmatch(name)
    if match is None:
        return name, ()
    return match["path"], tuple(match["members"][1:-1].split("]["))


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which ``part_2`` comes before ``part_10``.

    Examples
    --------
    >>> sorted(["part_10", "part_2", "part"], key=natural_key)
    ['part', 'part_2', 'part_10']
    """
    return tuple(
        (0, int(word), word) if word.isdecimal() else (1, 0, word)
        for word in re.split(r"(\d+)", text)
        if word
    )


def find_named(datasets: Mapping[str, T], name: str) -> T | None:
    """Find what a name means: a dataset, or the one whose members it names.

    Examples
    --------
    >>> find_named({"obs": 1, "X": 2}, "obs[louvain]"), find_named({"X": 2}, "Y")
    (1, None)
    """
    return datasets[name] if name in datasets else datasets.get(split_members(name)[0])
