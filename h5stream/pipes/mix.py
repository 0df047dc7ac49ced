"""mix: draws items from several streams by weight.

Lane t of the mix draws from lane t of every stream, so the order is the same for every number of
ranks and workers that divides the lanes. The draws are those of `h5stream.plan.draws`.
"""

from __future__ import annotations

from collections.abc import KeysView, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from h5stream.errors import ConfigError, StateError
from h5stream.pipes.fuse import lane_stages
from h5stream.pipes.open_files import OpenFiles
from h5stream.pipes.shard import Shard
from h5stream.pipes.stage import (
    Count,
    Items,
    Lane,
    LaneIterator,
    LaneStage,
    Runtime,
    Seek,
    Stage,
    State,
    Upstream,
    begin,
)
from h5stream.pipes.state import describe_fields, describe_weights
from h5stream.plan.draws import StopCriteria, pick, tally, uniform_draw
from h5stream.reader import Catalog

__all__ = ["Mix", "common_shard"]

_END = object()


@dataclass(frozen=True, eq=False)
class Mix(LaneStage):
    """Draw each item from one of several streams.

    Parameters
    ----------
    parts : tuple of tuple of Stage
        The streams.
    shard : Shard
        How their epochs are cut.
    gets : Items
        What they give.
    weights : tuple of float
        How often to draw from each, in proportion.
    stop_criteria : str
        What to do when a stream is exhausted.
    seed : int
        Of the draws.
    """

    parts: tuple[tuple[Stage, ...], ...]
    shard: Shard
    gets: Items
    weights: tuple[float, ...]
    stop_criteria: StopCriteria
    seed: int

    method: ClassVar[str] = "mix"
    has_fixed_state: ClassVar[bool] = False
    takes: ClassVar[frozenset[Items]] = frozenset({Items.NOTHING})

    def gives(self, taken: Items) -> Items:
        """Name what the streams give."""
        return self.gets

    @cached_property
    def catalogs(self) -> tuple[Catalog, ...]:
        """The files of each stream.

        Raises
        ------
        ConfigError
            If streams whose items are made of fields alone have unlike fields.
        """
        sources = [part[0] for part in self.parts]
        catalogs = tuple(source.catalog for source in sources if isinstance(source, OpenFiles))
        if not any(stage.changes_columns for part in self.parts for stage in part):
            _check_columns(catalogs)
        return catalogs

    @property
    def opening_requests(self) -> int:
        """How many requests opened remote files so far, in this process."""
        sources = (stages[0] for stages in self.parts)
        return sum(source.opening_requests for source in sources if isinstance(source, OpenFiles))

    @property
    def catalog(self) -> Catalog:
        """All files; their fields may differ."""
        files = tuple(file for catalog in self.catalogs for file in catalog.files)
        routes = {key: route for each in self.catalogs for key, route in each.routes.items()}
        return Catalog(files, routes)

    def plan_parameters(self) -> dict[str, int | str | None]:
        """Return what decides which rows come when, in each stream."""
        found: dict[str, int | str | None] = {
            "weights": repr(self.weights),
            "stop_criteria": self.stop_criteria,
            "mix seed": self.seed,
        }
        for number, (part, catalog) in enumerate(zip(self.parts, self.catalogs, strict=True), 1):
            found[f"fields in stream {number}"] = describe_fields(catalog)
            if catalog.weights is not None:
                found[f"row weights in stream {number}"] = describe_weights(catalog.weights)
            for stage in part:
                for name, value in stage.plan_parameters().items():
                    found[f"{name} in stream {number}"] = value
        return found

    def count(self, lane: Lane, upstream: Count) -> Count:
        """Follow the draws to the end, if there is one."""
        totals = self._totals(lane)
        if totals is None or self.stop_criteria == "cycle":
            return Count(None, None)
        items = self._tally(lane, None, totals)[0]
        return Count(items, items if self.gets is Items.SAMPLES else None)

    def seek_items(self, count: int, before: Seek) -> State | None:
        """Count the draws of each stream, and seek in each."""
        lane = before.lane
        totals = self._totals(lane)
        if totals is None:
            return None
        items, taken = self._tally(lane, count, totals)
        state: list[int] = [items]
        for number, done in enumerate(taken):
            turn = 0
            if self.stop_criteria == "cycle" and totals[number]:
                turn, done = divmod(done, totals[number])
            place = Seek(self.stages_of(number), lane.part(number, turn)).items(done)
            if place is None:
                return None
            state += [turn, len(place), *place]
        return tuple(state)

    def iterate(
        self, lane: Lane, runtime: Runtime, upstream: Upstream, state: State
    ) -> LaneIterator:
        """Start, or go on after ``state[0]`` draws."""
        return _Mixed(self, lane, runtime, state)

    def stages_of(self, number: int) -> list[LaneStage]:
        """Return the stages of a stream that run in a lane."""
        return lane_stages(self.parts[number])

    def _totals(self, lane: Lane) -> list[int] | None:
        totals = []
        for number in range(len(self.parts)):
            count, part = Count(0, 0), lane.part(number, 0)
            for stage in self.stages_of(number):
                count = stage.count(part, count)
            if count.items is None:
                return None
            totals.append(count.items)
        return totals

    def _tally(
        self, lane: Lane, limit: int | None, totals: Sequence[int]
    ) -> tuple[int, tuple[int, ...]]:
        found = tally(
            limit,
            totals=totals,
            weights=self.weights,
            stop_criteria=self.stop_criteria,
            seed=self.seed,
            epoch=lane.epoch,
        )
        return found.items, found.taken


class _Mixed(LaneIterator):
    """State: draws made; then of each stream how often it started again, and its place."""

    def __init__(self, stage: Mix, lane: Lane, runtime: Runtime, state: State) -> None:
        self._stage = stage
        self._lane = lane
        self._runtime = runtime
        self._position, turns, places = _unpack(state, len(stage.parts))
        self._turns = turns
        self._shares = list(stage.weights)
        self._keys: KeysView[str] | None = None
        self._parts = [self._open(n, place) for n, place in enumerate(places)]

    def __next__(self) -> Any:
        while any(self._shares):
            number = self._draw()
            item = next(self._parts[number], _END)
            if item is _END and self._stage.stop_criteria == "cycle":
                item = self._again(number)
            if item is not _END:
                self._check_keys(number, item)
                self._position += 1
                return item
            self._shares[number] = 0
            if self._stage.stop_criteria == "first_exhausted":
                self._shares = [0.0] * len(self._shares)
        raise StopIteration

    def state(self) -> State:
        found = [self._position]
        for turn, part in zip(self._turns, self._parts, strict=True):
            place = part.state()
            found += [turn, len(place), *place]
        return tuple(found)

    def close(self) -> None:
        for part in self._parts:
            part.close()

    def _check_keys(self, number: int, item: Any) -> None:
        """Compare what functions made of the streams' items."""
        if not isinstance(item, Mapping):
            return
        if self._keys is None:
            self._keys = item.keys()
        if item.keys() != self._keys:
            raise ConfigError(
                f"stream {number + 1} of the mix gives {list(item)}, but the item before had "
                f"{list(self._keys)}; mixed streams need the same keys"
            )

    def _draw(self) -> int:
        seed, epoch = self._stage.seed, self._lane.epoch
        draw = uniform_draw(self._position, seed=seed, epoch=epoch)
        return int(pick(np.array(draw), self._shares))

    def _again(self, number: int) -> Any:
        self._parts[number].close()
        self._turns[number] += 1
        self._parts[number] = self._open(number, ())
        try:
            return next(self._parts[number])
        except StopIteration:
            raise ConfigError(
                f"stream {number + 1} of the mix gives lane {self._lane.number} nothing, so it "
                "cannot be cycled; use fewer lanes, or another stop_criteria"
            ) from None

    def _open(self, number: int, place: State) -> LaneIterator:
        lane = self._lane.part(number, self._turns[number])
        runtime = replace(self._runtime, reader=self._runtime.readers[number])
        return begin(self._stage.stages_of(number), lane, runtime, place)


def _check_columns(catalogs: Sequence[Catalog]) -> None:
    first = {name: str(column) for name, column in catalogs[0].columns.items()}
    for number, catalog in enumerate(catalogs[1:], 2):
        found = {name: str(column) for name, column in catalog.columns.items()}
        if found != first:
            raise ConfigError(
                f"stream {number} of the mix has fields {found}, but stream 1 has {first}; mixed "
                "streams need the same ones: name fields alike, and make rows alike with map()"
            )


def _unpack(state: State, parts: int) -> tuple[int, list[int], list[State]]:
    """Take a state apart: draws, starts and places."""
    if not state:
        return 0, [0] * parts, [()] * parts
    position, *rest = state
    turns, places = [], []
    for _ in range(parts):
        if len(rest) < 2 or len(rest) < 2 + rest[1]:
            raise StateError(f"the state of a mix of {parts} streams is damaged: {state}")
        turns.append(rest[0])
        places.append(tuple(rest[2 : 2 + rest[1]]))
        rest = rest[2 + rest[1] :]
    if rest:
        raise StateError(f"the state of a mix of {parts} streams is damaged: {state}")
    return position, turns, places


def common_shard(parts: Sequence[Sequence[Stage]]) -> Shard:
    """Return how the epochs of all streams are cut.

    Raises
    ------
    ConfigError
        If a stream has no `shard`, or they disagree.
    """
    shards = [stage for part in parts for stage in part if isinstance(stage, Shard)]
    if len(shards) < len(parts):
        raise ConfigError("mix() takes streams with a shard; add .shard() after list_chunks()")
    agreed: dict[str, Any] = {}
    for name in ("lanes", "uneven", "rank", "world_size"):
        asked = {getattr(shard, name) for shard in shards} - {None}
        if len(asked) > 1:
            raise ConfigError(f"the streams of a mix have {name} {sorted(asked)}; give them one")
        agreed[name] = asked.pop() if asked else None
    return Shard(**agreed)
