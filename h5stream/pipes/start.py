"""Where the lanes of an instance start: at a saved state, or after some batches of the epoch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from h5stream.errors import StateError
from h5stream.pipes.stage import Lane, LaneStage, Seek, State
from h5stream.pipes.state import OnChanged, check_plan, lane_states
from h5stream.plan import batches_done
from h5stream.reader import Catalog

__all__ = ["AfterBatches", "AfterLane", "SavedState", "Start"]


class Start(ABC):
    """A place in an epoch from which an instance can start."""

    @abstractmethod
    def locate(
        self,
        lanes: Sequence[Lane],
        stages: Sequence[LaneStage],
        plan: Mapping[str, Any],
        catalog: Catalog,
    ) -> tuple[int, list[State]]:
        """Return which of the lanes has the next turn, and where each of them starts.

        Parameters
        ----------
        lanes : sequence of Lane
            Those of the instance, by number.
        stages : sequence of LaneStage
            What runs in them.
        plan : mapping
            What `describe_plan` says of the stream.
        catalog : Catalog
            The files of the stream.

        Raises
        ------
        StateError
            If the place is not one of this stream.
        """


@dataclass(frozen=True)
class SavedState(Start):
    """Go on where an iterator with the same lanes was, which gave this state.

    Parameters
    ----------
    state : dict
        What its `state_dict` returned.
    on_changed : {"error", "warn"}
        What to do if files have other content than they had.
    """

    state: Mapping[str, Any]
    on_changed: OnChanged = "error"

    def locate(
        self,
        lanes: Sequence[Lane],
        stages: Sequence[LaneStage],
        plan: Mapping[str, Any],
        catalog: Catalog,
    ) -> tuple[int, list[State]]:
        """Compare the plans and pick the lanes' states."""
        if self.state["lanes"]:
            check_plan(self.state["plan"], plan, catalog, self.on_changed)
        return lane_states(self.state, lanes)

    def items_done(self, lanes: Sequence[Lane], stages: Sequence[LaneStage]) -> int | None:
        """Count the items before the place, None where only a run can tell."""
        _turn, states = lane_states(self.state, lanes)
        each = [
            0 if not state else _items_before(state, lane, stages)
            for lane, state in zip(lanes, states, strict=True)
        ]
        return None if None in each else sum(each)  # type: ignore[arg-type]


def _items_before(state: State, lane: Lane, stages: Sequence[LaneStage]) -> int | None:
    """Find how many items of a lane come before a state; states grow with them."""
    seek = Seek(stages, lane)
    low, high = 0, int(lane.pieces.sizes.sum())
    while low < high:
        middle = (low + high) // 2
        found = seek.items(middle)
        if found is None:
            return None
        low, high = (middle + 1, high) if found < state else (low, middle)
    return low if seek.items(low) == state else None


@dataclass(frozen=True)
class AfterBatches(Start):
    """Go on after the first batches of the epoch, whichever instances gave them.

    Parameters
    ----------
    batches : int
        How many, over all lanes; each must be reached by `Seek`.
    """

    batches: int

    def locate(
        self,
        lanes: Sequence[Lane],
        stages: Sequence[LaneStage],
        plan: Mapping[str, Any],
        catalog: Catalog,
    ) -> tuple[int, list[State]]:
        """Compute the lanes' states from the plan."""
        states = []
        for lane in lanes:
            done = batches_done(self.batches, lane.number, lane.lanes)
            state = Seek(stages, lane).items(done)
            if state is None:
                raise StateError(f"only a run can tell where batch {self.batches} of it begins")
            states.append(state)
        return _turn_at(self.batches, lanes), states


@dataclass(frozen=True)
class AfterLane(Start):
    """Go on after a lane's turn, each lane from its own state.

    Parameters
    ----------
    last : int
        Lane that had the last turn.
    states : mapping of int to tuple of int
        States by lane; a lane without one starts at its beginning.
    """

    last: int
    states: Mapping[int, State]

    def locate(
        self,
        lanes: Sequence[Lane],
        stages: Sequence[LaneStage],
        plan: Mapping[str, Any],
        catalog: Catalog,
    ) -> tuple[int, list[State]]:
        """Pick the lanes' states."""
        states = [self.states.get(lane.number, ()) for lane in lanes]
        return _turn_at(self.last + 1, lanes), states


def _turn_at(batch: int, lanes: Sequence[Lane]) -> int:
    """Find the lane that gives the first of the batches from `batch` on."""
    waits = [(lane.number - batch) % lane.lanes for lane in lanes]
    return waits.index(min(waits)) if waits else 0
