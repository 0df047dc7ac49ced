"""Joins the fields of a file by group: row i of all of them comes from the same one. Pure.

1. Fields of groups are those that `Grouped` made, also under `Slices`, and values given by name.
2. Fields of groups that hold the groups of other fields are repeated for each of those.
3. They are joined by the names of their groups, or, where no two patterns name the same objects,
   by what the ``*`` stands for: ``x_*`` and ``y_*``.
4. A group that lacks a field is an error, or left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from h5stream.columns import stack, take
from h5stream.errors import ConfigError
from h5stream.fields.resolve import Groups, Known, Members
from h5stream.fields.specs import Given, Slices
from h5stream.layout.names import natural_key

__all__ = ["Joined", "Missing", "join_groups"]

Missing = Literal["error", "drop"]
"""What to do with a group that lacks a field."""

_SHOWN = 5


@dataclass(frozen=True)
class Joined:
    """The fields of one file, after those of groups were joined.

    Parameters
    ----------
    specs : dict
        Key of the column -> spec; of groups, all with the same ones.
    names : tuple of str or None
        Names of the groups in the order of the rows; None if there are none.
    in_doubt : str or None
        The pattern whose groups h5py lists in another order, if nobody said which one is meant.
    left_out : tuple of str
        What was left out, a sentence each.
    """

    specs: dict[str, Any]
    names: tuple[str, ...] | None = None
    in_doubt: str | None = None
    left_out: tuple[str, ...] = ()


def join_groups(path: str, specs: Mapping[str, Any], missing: Missing = "error") -> Joined:
    """Join the fields of one file by group.

    Parameters
    ----------
    path : str
        The file, for messages.
    specs : mapping
        Key of the column -> concrete spec.
    missing : {"error", "drop"}
        What to do with a group that lacks a field.

    Raises
    ------
    ConfigError
        If a group lacks a field, there is no group that has all, or orders contradict each other.
    """
    specs = _repeat_parents(specs)
    known = {key: groups for key, spec in specs.items() if (groups := _groups_of(spec))}
    given = {key: spec for key, spec in specs.items() if _is_by_name(spec)}
    if given and not known:
        raise ConfigError(
            f"{path}: field {next(iter(given))!r} is given by name, but no field comes from groups "
            "with names; ask for one with Grouped, or give one value a row"
        )
    if not known:
        return Joined(dict(specs))
    keys = _common_keys(path, known)
    tables = {key: dict(zip(keys[key], range(len(keys[key])), strict=True)) for key in known}
    leader = next(iter(known))
    ordered = _ordered(path, known, keys)
    has_all = [name for name in ordered if all(name in table for table in tables.values())]
    has_all = [name for name in has_all if all(name in spec.values for spec in given.values())]
    left_out = _left_out(
        path, ordered, has_all, {**tables, **{k: s.values for k, s in given.items()}}
    )
    if left_out and (missing == "error" or not has_all):
        more = "" if not has_all else '; or leave such groups out with missing="drop"'
        raise ConfigError(f"{left_out}{more}")
    joined = dict(specs)
    for key in known:
        rows = [tables[key][name] for name in has_all]
        joined[key] = _with_groups(specs[key], rows)
    groups = _groups_of(joined[leader])
    assert groups is not None, "the leader comes from groups"
    for key, spec in given.items():
        joined[key] = Known(stack([spec.values[name] for name in has_all]), groups)
    return Joined(joined, tuple(has_all), _doubt(known, groups), (left_out,) if left_out else ())


def _groups_of(spec: Any) -> Groups | None:
    if isinstance(spec, Slices):
        return _groups_of(spec.base)
    return spec.groups if isinstance(spec, Members | Known) else None


def _is_by_name(spec: Any) -> bool:
    return isinstance(spec, Given) and spec.by == "name"


def _repeat_parents(specs: Mapping[str, Any]) -> dict[str, Any]:
    """Give groups that lie deepest the rows of those that hold them."""
    known = {key: groups for key, spec in specs.items() if (groups := _groups_of(spec))}
    depths = {key: _depth(groups) for key, groups in known.items()}
    deepest = max(depths.values(), default=0)
    below: dict[str, tuple[str, tuple[int, ...]]] = {}
    for key, groups in known.items():
        if depths[key] == deepest:
            places = zip(groups.texts, groups.places, strict=True)
            below = {**dict(zip(groups.names, places, strict=True)), **below}
    repeated = {
        key: _below(specs[key], below, depths[key])
        for key in known
        if depths[key] < deepest and not isinstance(specs[key], Slices)
    }
    return {**specs, **repeated}


def _depth(groups: Groups) -> int:
    return groups.names[0].count("/") + 1 if groups.names else 0


def _below(spec: Any, below: Mapping[str, tuple[str, tuple[int, ...]]], depth: int) -> Any:
    """Repeat the rows of a field for the groups below; as it is, if it holds none of them."""
    table = {name: row for row, name in enumerate(spec.groups.names)}
    parents = {name: "/".join(name.split("/")[:depth]) for name in below}
    names = [name for name in below if parents[name] in table]
    if not names:
        return spec
    repeated = _with_groups(spec, [table[parents[name]] for name in names])
    groups = replace(
        repeated.groups,
        names=tuple(names),
        texts=tuple(below[name][0] for name in names),
        places=tuple(below[name][1] for name in names),
    )
    return replace(repeated, groups=groups)


def _with_groups(spec: Any, rows: list[int]) -> Any:
    """Choose rows of a field of groups."""
    if isinstance(spec, Slices):
        return replace(spec, base=_with_groups(spec.base, rows))
    old = spec.groups
    groups = replace(
        old,
        names=tuple(old.names[row] for row in rows),
        texts=tuple(old.texts[row] for row in rows),
        places=tuple(old.places[row] for row in rows),
    )
    if isinstance(spec, Members):
        return replace(spec, paths=tuple(spec.paths[row] for row in rows), groups=groups)
    return replace(spec, column=take(spec.column, np.array(rows, np.int64)), groups=groups)


def _common_keys(path: str, known: Mapping[str, Groups]) -> dict[str, tuple[str, ...]]:
    """Say by what fields are joined: names of groups, else what ``*`` stands for."""
    names = {key: groups.names for key, groups in known.items()}
    texts = {key: groups.texts for key, groups in known.items()}
    for keys in (names, texts):
        if len(known) == 1 or set.intersection(*map(set, keys.values())):
            return keys
    patterns = ", ".join(f"{groups.pattern!r} ({groups.names[0]}, …)" for groups in known.values())
    raise ConfigError(
        f"{path}: {patterns} have no group in common; all patterns of a stream must lead to the "
        "same groups"
    )


def _ordered(
    path: str, known: Mapping[str, Groups], keys: Mapping[str, tuple[str, ...]]
) -> list[str]:
    """List all groups in the order in which they count."""
    orders = {groups.order for groups in known.values() if groups.order}
    if len(orders) > 1:
        raise ConfigError(
            f'{path}: order is "natural" for one field and "listed" for another; row i must mean '
            "the same group in all"
        )
    order = orders.pop() if orders else "natural"
    places: dict[str, tuple[int, ...]] = {}
    for key in known:
        for name, place in zip(keys[key], known[key].places, strict=True):
            places.setdefault(name, place)
    if order == "listed":
        return sorted(places, key=places.__getitem__)
    return sorted(places, key=lambda name: [natural_key(part) for part in name.split("/")])


def _left_out(
    path: str, names: list[str], has_all: list[str], tables: Mapping[str, Mapping[str, Any]]
) -> str:
    """Say which groups lack which field; nothing if none does."""
    kept = set(has_all)
    lacking = [name for name in names if name not in kept]
    if not lacking:
        return ""
    told = [
        f"{name} lacks {', '.join(repr(key) for key, table in tables.items() if name not in table)}"
        for name in lacking[:_SHOWN]
    ]
    more = f" and {len(lacking) - _SHOWN} more" if len(lacking) > _SHOWN else ""
    return f"{path}: {len(lacking)} of {len(names)} groups lack a field: {'; '.join(told)}{more}"


def _doubt(known: Mapping[str, Groups], joined: Groups) -> str | None:
    """Name a pattern whose groups h5py lists in another order than that of the rows."""
    if any(groups.order for groups in known.values()):
        return None
    return joined.pattern if list(joined.places) != sorted(joined.places) else None
