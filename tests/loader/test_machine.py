"""A run that is looked at, left, saved, moved and resumed at random, against an obvious model."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

import h5stream as h5s
from tests.streams import write_rows

N_ROWS, BATCH, LANES = 48, 3, 4
BATCHES = N_ROWS // BATCH


class Run(RuleBasedStateMachine):
    """Ranks that step together. The model: the batches of each epoch, and where the run stands.

    `following` is the epoch that comes next, `place` where the last iteration stands (epoch and
    batches), None at the beginning of `following`; `loaded` whether the next one goes on there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = write_rows(Path(self.folder.name) / "a.h5", N_ROWS)
        self.orders: dict[int, list[list[int]]] = {}

    def teardown(self) -> None:
        self.loaders.clear()
        self.running = None
        self.folder.cleanup()

    def make(self, rank: int, ranks: int) -> h5s.Loader:
        options: dict[str, Any] = {"batch_size": BATCH, "shuffle": True, "seed": 2, "lanes": LANES}
        return h5s.Loader(
            h5s.H5Stream(self.path, ["row"], buffer_size=9, rank=rank, world_size=ranks, **options)
        )

    def order(self, epoch: int) -> list[list[int]]:
        if epoch not in self.orders:
            loader = self.make(0, 1)
            loader.set_epoch(epoch)
            self.orders[epoch] = [batch["row"].tolist() for batch in loader]
        return self.orders[epoch]

    @initialize(ranks=st.sampled_from([1, 2, 4]))
    def begin(self, ranks: int) -> None:
        self.loaders = [self.make(rank, ranks) for rank in range(ranks)]
        self.running: list[Iterator[Any]] | None = None
        self.following, self.place, self.loaded = 0, (0, 0), False
        self.began_at, self.taken, self.looked = 0, 0, False

    @precondition(lambda self: self.running is None)
    @rule()
    def iterate(self) -> None:
        self.running = [iter(loader) for loader in self.loaders]
        if not self.loaded:
            self.place = (self.place[0] if self.looked else self.following, 0)
        self.following, self.loaded, self.looked = self.place[0] + 1, False, False
        self.began_at, self.taken = self.place[1], 0

    @precondition(lambda self: self.running is not None)
    @rule(steps=st.integers(1, 9))
    def take(self, steps: int) -> None:
        assert self.running is not None
        for _ in range(steps):
            epoch, done = self.place
            found = [next(items, None) for items in self.running]
            if done == BATCHES:
                assert found == [None] * len(found)
                self.running, self.place = None, (self.following, 0)
                return
            expected = self.order(epoch)[done : done + len(found)]
            assert [batch["row"].tolist() for batch in found] == expected
            self.place = (epoch, done + len(found))
            self.taken += 1

    @precondition(lambda self: self.running is not None)
    @rule()
    def leave(self) -> None:
        """Leave the iteration; after at most one batch from the beginning it was a look."""
        self.running = None
        self.looked = self.taken <= 1 and self.began_at == 0

    @rule(ranks=st.sampled_from([1, 2, 4]))
    def move(self, ranks: int) -> None:
        """Save on one rank, and go on with other ranks in a new process, as it were."""
        state = json.loads(json.dumps(self.loaders[-1].state_dict()))
        assert (state["epoch"], state["batches"]) == self.place
        if (BATCHES - self.place[1]) % ranks:
            return
        self.running, self.loaded, self.looked = None, True, False
        self.loaders = [self.make(rank, ranks) for rank in range(ranks)]
        for loader in self.loaders:
            loader.load_state_dict(state)

    @precondition(lambda self: self.running is None)
    @rule(epoch=st.integers(0, 3))
    def set_epoch(self, epoch: int) -> None:
        for loader in self.loaders:
            loader.set_epoch(epoch)
        self.following, self.place, self.loaded, self.looked = epoch, (epoch, 0), False, False


TestRun = Run.TestCase
TestRun.settings = settings(max_examples=20, stateful_step_count=25)
