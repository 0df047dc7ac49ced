"""What a saved position holds, and whether it fits the stream that should go on from it.

A state is a small dict of integers and short strings, fit for JSON: the epoch, where each lane
stands, and the plan it belongs to: the parameters that decide the order of rows, and digests of
the fields and files. A state that belongs to another plan is refused, and the difference named.
It is sealed with a digest of its own, so that one that was damaged is refused as a whole.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from h5stream.errors import StateError
from h5stream.fetch.local import describe_content
from h5stream.pipes.stage import Lane, Stage, State
from h5stream.plan import Cut
from h5stream.reader import Catalog

__all__ = [
    "LARGEST_EPOCH",
    "OnChanged",
    "are_counts",
    "check_plan",
    "describe_fields",
    "describe_plan",
    "describe_weights",
    "is_count",
    "lane_states",
    "pack_state",
    "read_epoch",
    "seal",
    "unseal",
]

_VERSION = 2
LARGEST_EPOCH = 2**24 - 1
_MOST_FILES = 8
"""So many files are described one by one, that a message can say which one changed."""

OnChanged = Literal["error", "warn"]
"""What to do with a state that was saved over files of other content."""


def describe_plan(stages: Sequence[Stage], catalog: Catalog, cut: Cut) -> dict[str, Any]:
    """Collect what decides the order of rows.

    Parameters
    ----------
    stages : sequence of Stage
        The pipe; each stage names its own parameters.
    catalog : Catalog
        The files, which count by their rows, size and content (or version), not by path or time;
        and what tables beside them say of their rows.
    cut : Cut
        How an epoch is cut into lanes.
    """
    plan: dict[str, Any] = {"lanes": cut.lanes, "groups": cut.groups, "uneven": cut.uneven}
    for stage in stages:
        for name, value in stage.plan_parameters().items():
            number = sum(known.split(" ")[0] == name for known in plan)
            plan[f"{name} {number + 1}" if number else name] = value
    if catalog.weights is not None:
        plan["weights"] = describe_weights(catalog.weights)
    return {**plan, "fields": describe_fields(catalog), "files": _describe_files(catalog)}


def _describe_files(catalog: Catalog) -> list[str]:
    """Describe each file, or, where there are many, each of a few runs of consecutive files."""
    told = [
        ", ".join(
            [
                f"{file.chosen} rows",
                *sorted(describe_content(path, mark) for path, mark in file.fingerprints.items()),
                *([f"tables {file.tables}"] if file.tables else []),
            ]
        )
        for file in catalog.files
    ]
    if len(told) <= _MOST_FILES:
        return told
    chosen = [sum(catalog.files[number].n_rows for number in run) for run in _runs(len(told))]
    return [
        f"{rows} rows, digest {_digest([told[number] for number in run])}"
        for rows, run in zip(chosen, _runs(len(told)), strict=True)
    ]


def _runs(n_files: int) -> list[range]:
    """Cut the files into runs, one a description."""
    runs = min(n_files, _MOST_FILES)
    bounds = [n_files * run // runs for run in range(runs + 1)]
    return [range(*bound) for bound in pairwise(bounds)]


def describe_fields(catalog: Catalog) -> str:
    """Return a digest of the fields of a catalog."""
    fields = [field.identity for field in catalog.files[0].fields.values()]
    return _digest(fields)


def describe_weights(weights: np.ndarray) -> str:
    """Return a digest of the weights of rows."""
    return hashlib.blake2b(weights.astype("<f8").tobytes(), digest_size=8).hexdigest()


def _digest(value: object) -> str:
    return hashlib.blake2b(repr(value).encode(), digest_size=8).hexdigest()


def seal(state: dict[str, Any]) -> dict[str, Any]:
    """Add a digest of all that a state says."""
    return {**state, "digest": _digest_of_state(state)}


def unseal(state: Any, kind: str) -> dict[str, Any]:
    """Check that a state says what it said when it was saved, and return that.

    Parameters
    ----------
    state : object
        What somebody loads.
    kind : str
        What it should be a state of, for messages.

    Raises
    ------
    StateError
        If it is something else, or was changed.
    """
    try:
        found = {key: value for key, value in dict(state).items() if key != "digest"}
        if state["digest"] == _digest_of_state(found):
            return found
    except (KeyError, TypeError, ValueError, RecursionError):
        pass
    raise StateError(
        f"this is not a state of {kind}, or it was changed or damaged: {_shown(state)}; pass what "
        "state_dict() returned"
    )


def _digest_of_state(state: Mapping[str, Any]) -> str:
    text = json.dumps(state, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def _shown(state: Any) -> str:
    try:
        return repr(state)[:80]
    except RecursionError:
        return f"a deep {type(state).__name__}"


def is_count(value: Any) -> bool:
    """Tell a plausible count from everything else that a damaged state may hold."""
    return type(value) is int and 0 <= value < 2**53


def are_counts(values: Any) -> bool:
    """Tell a list of counts."""
    return isinstance(values, list | tuple) and all(map(is_count, values))


def pack_state(
    epoch: int, turn: int, lanes: Mapping[int, State], plan: Mapping[str, Any]
) -> dict[str, Any]:
    """Make a state: JSON turns keys into strings, so lanes are a list of pairs."""
    return seal(
        {
            "version": _VERSION,
            "epoch": epoch,
            "turn": turn,
            "lanes": [[number, *state] for number, state in lanes.items()],
            "plan": dict(plan),
        }
    )


def read_epoch(state: Any) -> int:
    """Check the form of a state and return its epoch.

    Raises
    ------
    StateError
        If it is not a state of this version.
    """
    known = unseal(state, "a stream")
    lanes = known.get("lanes")
    fits = (
        known.keys() == {"version", "epoch", "turn", "lanes", "plan"}
        and known["version"] == _VERSION
        and is_count(known["epoch"])
        and known["epoch"] <= LARGEST_EPOCH
        and isinstance(lanes, list)
        and all(are_counts(lane) and len(lane) > 1 for lane in lanes)
        and is_count(known["turn"])
        and known["turn"] < max(1, len(lanes))
        and isinstance(known["plan"], Mapping)
    )
    if not fits:
        raise StateError(
            f"this is not a state of h5stream (version {_VERSION}): {_shown(state)}; pass what "
            "state_dict() returned"
        )
    return int(known["epoch"])


def check_plan(
    saved: Mapping[str, Any],
    plan: Mapping[str, Any],
    catalog: Catalog,
    on_changed: OnChanged = "error",
) -> None:
    """Compare the plan of a state with that of the stream that should go on from it.

    Parameters
    ----------
    saved, plan : mapping
        What `describe_plan` said then, and says now.
    catalog : Catalog
        The files, to name them.
    on_changed : {"error", "warn"}
        What to do if only the content of files differs.

    Raises
    ------
    StateError
        If they differ; the message names what does.
    """
    names = [file.path for file in catalog.files]
    different = [
        f"{name} was {saved.get(name)!r} and is {plan.get(name)!r}"
        for name in {**saved, **plan}
        if saved.get(name) != plan.get(name) and name != "files"
    ]
    changed = _changed_files(saved.get("files"), plan.get("files"), names)
    same_rows = _rows_of(saved.get("files")) == _rows_of(plan.get("files"))
    if changed and on_changed == "warn" and same_rows and not different:
        warnings.warn(f"the state was saved over other files: {changed}", stacklevel=4)
        return
    if changed:
        different.append(changed)
    if different:
        way = 'load it with on_changed="warn" if these are the same rows; ' if changed else ""
        raise StateError(
            f"the state was saved by another stream: {'; '.join(different)}; {way}make the stream "
            "as it was, or start the epoch anew with set_epoch()"
        )


def _rows_of(told: Any) -> list[str]:
    return [str(run).partition(",")[0] for run in told] if isinstance(told, list) else [repr(told)]


def _changed_files(saved: Any, now: Any, names: Sequence[str]) -> str:
    """Name the files that differ, and what does; nothing if none does."""
    if saved == now:
        return ""
    if not isinstance(saved, list) or not isinstance(now, list) or len(saved) != len(now):
        return f"there are {len(names)} files, and were others"
    told = []
    for run, before, after in zip(_runs(len(names)), saved, now, strict=True):
        if before != after:
            last = f" to {names[run[-1]]}" if len(run) > 1 else ""
            told.append(f"{names[run[0]]}{last} had {before} and has {after}")
    return ", ".join(told)


def lane_states(state: Mapping[str, Any], lanes: Sequence[Lane]) -> tuple[int, list[State]]:
    """Return whose turn it is and where each lane starts.

    Parameters
    ----------
    state : mapping
        Whose form `read_epoch` has checked.
    lanes : sequence of Lane
        Those that start.

    Raises
    ------
    StateError
        If the state belongs to other lanes.
    """
    if not state["lanes"]:
        return 0, [()] * len(lanes)
    positions = {int(number): tuple(map(int, rest)) for number, *rest in state["lanes"]}
    wanted = [lane.number for lane in lanes]
    if sorted(positions) != sorted(wanted) or len(positions) != len(state["lanes"]):
        raise StateError(
            f"the state has lanes {sorted(positions)}, but this instance streams {wanted}; resume "
            "with as many ranks and workers as saved it"
        )
    return state["turn"], [positions[number] for number in wanted]
