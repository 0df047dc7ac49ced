"""What a saved position holds, and whether it fits the stream that should go on from it.

A state is a small dict of integers and short strings, fit for JSON: the epoch, where each lane
stands, and the plan it belongs to: the parameters that decide the order of rows, and digests of
the fields and files. A state that belongs to another plan is refused, and the difference named.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from h5stream.errors import StateError
from h5stream.pipes.stage import Lane, Stage, State
from h5stream.plan import Cut
from h5stream.reader import Catalog

__all__ = [
    "check_plan",
    "describe_fields",
    "describe_plan",
    "lane_states",
    "pack_state",
    "read_epoch",
]

_VERSION = 1


def describe_plan(stages: Sequence[Stage], catalog: Catalog, cut: Cut) -> dict[str, Any]:
    """Collect what decides the order of rows.

    Parameters
    ----------
    stages : sequence of Stage
        The pipe; each stage names its own parameters.
    catalog : Catalog
        The files, which count by size, time of modification (or version) and number of rows, not
        by path.
    cut : Cut
        How an epoch is cut into lanes.
    """
    plan: dict[str, Any] = {"lanes": cut.lanes, "groups": cut.groups, "uneven": cut.uneven}
    for stage in stages:
        for name, value in stage.plan_parameters().items():
            number = sum(known.split(" ")[0] == name for known in plan)
            plan[f"{name} {number + 1}" if number else name] = value
    files = [
        (file.chosen, sorted(mark.content for mark in file.fingerprints.values()))
        for file in catalog.files
    ]
    return {**plan, "fields": describe_fields(catalog), "files": _digest(files)}


def describe_fields(catalog: Catalog) -> str:
    """Return a digest of the fields of a catalog."""
    fields = [field.identity for field in catalog.files[0].fields.values()]
    return _digest(fields)


def _digest(value: object) -> str:
    return hashlib.blake2b(repr(value).encode(), digest_size=8).hexdigest()


def pack_state(
    epoch: int, turn: int, lanes: Mapping[int, State], plan: Mapping[str, Any]
) -> dict[str, Any]:
    """Make a state: JSON turns keys into strings, so lanes are a list of pairs."""
    return {
        "version": _VERSION,
        "epoch": epoch,
        "turn": turn,
        "lanes": [[number, *state] for number, state in lanes.items()],
        "plan": dict(plan),
    }


def read_epoch(state: Any) -> int:
    """Check the form of a state and return its epoch.

    Raises
    ------
    StateError
        If it is not a state of this version.
    """
    try:
        fits = (
            state["version"] == _VERSION
            and state["epoch"] >= 0
            and state["turn"] >= 0
            and all(len(lane) > 1 and min(lane) >= 0 for lane in state["lanes"])
            and isinstance(state["plan"], Mapping)
        )
    except (KeyError, TypeError, ValueError):
        fits = False
    if not fits:
        raise StateError(
            f"this is not a state of h5stream (version {_VERSION}): {str(state)[:80]}; pass what "
            "state_dict() returned"
        )
    return int(state["epoch"])


def check_plan(saved: Mapping[str, Any], plan: Mapping[str, Any]) -> None:
    """Compare the plan of a state with that of the stream that should go on from it.

    Raises
    ------
    StateError
        If they differ; the message names what does.
    """
    different = [
        f"{name} was {saved.get(name)!r} and is {plan.get(name)!r}"
        for name in {**saved, **plan}
        if saved.get(name) != plan.get(name)
    ]
    if different:
        raise StateError(
            f"the state was saved by another stream: {'; '.join(different)}; make the stream as it "
            "was, or start the epoch anew with set_epoch()"
        )


def lane_states(
    state: Mapping[str, Any], lanes: Sequence[Lane], plan: Mapping[str, Any]
) -> tuple[int, list[State]]:
    """Return whose turn it is and where each lane starts.

    Raises
    ------
    StateError
        If the state belongs to another plan or to other lanes.
    """
    if not state["lanes"]:
        return 0, [()] * len(lanes)
    check_plan(state["plan"], plan)
    positions = {int(number): tuple(map(int, rest)) for number, *rest in state["lanes"]}
    wanted = [lane.number for lane in lanes]
    if sorted(positions) != sorted(wanted) or state["turn"] >= len(wanted):
        raise StateError(
            f"the state has lanes {sorted(positions)}, but this instance streams {wanted}; resume "
            "with as many ranks and workers as saved it"
        )
    return state["turn"], [positions[number] for number in wanted]
