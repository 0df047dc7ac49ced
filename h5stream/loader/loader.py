"""The loader itself: it begins runs, tells their state, and checks the states it is given."""

from __future__ import annotations

import inspect
import warnings
import weakref
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Literal, get_args

from torch.utils.data import DataLoader, Sampler

from h5stream.arguments import an_option
from h5stream.errors import ConfigError, StateError
from h5stream.fields import Rows
from h5stream.loader.run import Counted, Run
from h5stream.loader.sampler import EpochSampler
from h5stream.loader.source import Source
from h5stream.pipes import Instance
from h5stream.pipes.chain import Chain
from h5stream.pipes.epoch import (
    asked_cut,
    count_in_turn,
    count_of_rank,
    cut_for,
    instance_of,
    pin_cut,
)
from h5stream.pipes.explain import Explanation, explain
from h5stream.pipes.hints import refuse_unknown
from h5stream.pipes.mix import Mix
from h5stream.pipes.shown import show_html
from h5stream.pipes.state import (
    LARGEST_EPOCH,
    OnChanged,
    are_counts,
    check_plan,
    describe_plan,
    is_count,
    seal,
    unseal,
)
from h5stream.pipes.verdict import StreamStats
from h5stream.plan import Cut
from h5stream.plan.lanes import Uneven

__all__ = ["Loader"]

_KIND = "h5stream.Loader 2"
_STREAMS_BUSINESS = {
    "batch_size": "batch_size= of the stream",
    "batch_sampler": "batch_size= of the stream",
    "collate_fn": "collate= of the stream",
    "drop_last": "drop_last= of the stream",
    "sampler": "shuffle= of the stream",
    "shuffle": "shuffle= of the stream",
}


_OPTIONS = frozenset(inspect.signature(DataLoader).parameters) | {"num_workers"}


class Loader(DataLoader[Any]):
    """Load a stream through a `torch.utils.data.DataLoader` that can save and resume.

    Parameters
    ----------
    stream : H5Stream or Pipe
        What to stream; its `shard` gives each rank and worker its part.
    num_workers : int
        Processes that read ahead; 0 reads in this process, on threads.
    on_mismatch : {"error", "restart_epoch"}
        What `load_state_dict` does when these ranks and workers cannot share the lanes that the
        state was saved with: raise a `StateError`, or start the saved epoch from its beginning.
    on_changed : {"error", "warn"}
        What `load_state_dict` does when files have other content than they had: raise a
        `StateError` that names them, or warn. The time of their modification, and where they lie,
        do not count.
    **options
        Of `torch.utils.data.DataLoader`: `pin_memory`, `prefetch_factor`, `persistent_workers`,
        `multiprocessing_context`, `worker_init_fn`, `timeout` and so on.

    Raises
    ------
    ConfigError
        If an option is the stream's business: its batches come as they are.

    Examples
    --------
    >>> import h5stream as h5s
    >>> stream = h5s.H5Stream(
    ...     h5s.example_file(),
    ...     fields={"x": "X", "cell_type": "obs[louvain]"},
    ...     batch_size=128,
    ...     shuffle=True,
    ... )
    >>> loader = h5s.Loader(stream)
    >>> for step, batch in enumerate(loader, 1):
    ...     if step == 4:
    ...         state = loader.state_dict()
    ...         break
    >>> state["epoch"], state["batches"]
    (0, 4)
    >>> resumed = h5s.Loader(stream)
    >>> resumed.load_state_dict(state)
    >>> len(resumed), len(list(resumed))
    (6, 2)
    """

    def __init__(
        self,
        stream: Chain,
        *,
        num_workers: int = 0,
        on_mismatch: Literal["error", "restart_epoch"] = "error",
        on_changed: OnChanged = "error",
        **options: Any,
    ) -> None:
        if not isinstance(stream, Chain):
            raise ConfigError(f"a Loader needs an H5Stream or a Pipe, not {stream!r}")
        if on_mismatch not in ("error", "restart_epoch"):
            raise ConfigError(
                f'on_mismatch must be "error" or "restart_epoch", not {on_mismatch!r}'
            )
        refuse_unknown("Loader", options, _OPTIONS | _STREAMS_BUSINESS.keys())
        for name in options:
            if name in _STREAMS_BUSINESS:
                raise ConfigError(f"{name} is not the loader's business; {_STREAMS_BUSINESS[name]}")
        if options.get("in_order") is False:
            raise ConfigError("in_order=False would leave the place in the epoch unknown")
        self.stream = stream
        self.on_mismatch = on_mismatch
        self.on_changed = an_option("on_changed", on_changed, OnChanged)
        self._saved_cut: Cut | None = None
        self._run: Run | None = None
        self._loaded: Run | None = None
        self._passing: weakref.ref[Counted] | None = None
        self._workers_expect: tuple[Cut, int, bool] | None = None
        self._described: tuple[Cut, dict[str, Any]] | None = None
        super().__init__(
            Source(stream),
            batch_size=None,
            num_workers=num_workers,
            collate_fn=_as_it_is,
            **options,
        )

    def __repr__(self) -> str:
        return f"Loader({self.stream!r}, num_workers={self.num_workers})"

    def _repr_html_(self) -> str:
        return show_html(f"Loader, num_workers={self.num_workers}", self.stream.stages)

    def explain(self) -> Explanation:
        """Say what the next epoch of this rank will read, as its first worker does."""
        workers = max(1, self.num_workers)
        instance = instance_of(self.stream.stages, num_workers=workers)
        return explain(self.stream, replace(instance, num_workers=workers))

    def stats(self) -> StreamStats:
        """Return what the stream and its workers did so far; see `Pipe.stats`."""
        return self.stream.stats()

    def counters(self) -> dict[str, float]:
        """Return the counters of `stats` alone, which takes microseconds."""
        return self.stream.counters()

    @property
    def done(self) -> int:
        """Batches of the epoch that come before those of the next iteration; 0 but on a resume."""
        return 0 if self._loaded is None else self._loaded.batches // self._loaded.step

    def rows(self) -> Rows:
        """Say which file and group each row comes from; see `Pipe.rows`."""
        return self.stream.rows()

    @property
    def categories(self) -> dict[str, list[Any]]:
        """What the codes of categories stand for; see `Pipe.categories`."""
        return self.stream.categories

    def __iter__(self) -> Counted:  # type: ignore[override]
        """Start the next epoch, or what is left of a loaded one.

        An iteration that was left after its first batch was a look: the same epoch starts again.
        """
        if self._run is not None and self._was_a_look(self._run):
            self.set_epoch(self._run.epoch)
        epoch = self.stream.begin_epoch()
        cut, instance = self._cut(), self._instance()
        run, self._loaded = self._loaded, None
        if run is None or run.epoch != epoch:
            run = self._new_run(epoch, cut)
        start, carries_places = run.start(), run.lanes is not None
        # Persistent workers count epochs on by themselves; other news take new workers.
        if start is not None or self._workers_expect != (cut, epoch, carries_places):
            self._end_workers()
        self._workers_expect = (cut, epoch + 1, carries_places)
        source = self.dataset
        assert isinstance(source, Source), "the dataset of a loader is its own"
        source.begin(
            epoch,
            cut=cut,
            rank=instance.rank,
            world_size=instance.world_size,
            start=start,
            carries_places=carries_places,
        )
        self._run = run
        clock = self.stream.begin_clock() if self.num_workers else None
        passing = Counted(super().__iter__(), run, self._items_left(run, cut), clock, self._log_end)
        self._passing = weakref.ref(passing)
        return passing

    def _log_end(self, epoch: int) -> None:
        if self.num_workers:
            self.stream.log_end(epoch)

    def _was_a_look(self, run: Run) -> bool:
        passing = self._passing
        if passing is None or passing() is not None or self._loaded is not None:
            return False
        began = run.batches == 0 and not run.finished and run.given <= 1
        return began and self.stream.next_epoch == run.epoch + 1

    def __len__(self) -> int:
        """Count the batches of a whole epoch on this rank.

        Raises
        ------
        TypeError
            If only a run can tell.
        """
        cut, instance, epoch = self._cut(), self._instance(), self.stream.next_epoch
        stages = pin_cut(self.stream.stages, cut)
        items = count_of_rank(stages, self.stream.catalog, instance, epoch)
        left = self._items_left(self._new_run(epoch, cut), cut)
        return items if left is None else min(items, left)

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration stream this epoch from its beginning."""
        self.stream.set_epoch(epoch)
        self._loaded = self._run = None

    @property
    def sampler(self) -> Sampler[Any]:
        """Where training libraries call `set_epoch` when an epoch begins."""
        return EpochSampler(self._enter_epoch)

    @sampler.setter
    def sampler(self, of_torch: object) -> None:
        """Leave out the one that a DataLoader makes for itself."""

    def _enter_epoch(self, epoch: int) -> None:
        """Begin an epoch unless the one that is loaded or under way is this one.

        A library may ask for the iterator before it says which epoch begins: if nothing was taken
        from it, it goes over to that epoch.
        """
        run = self._loaded or self._run
        following = self.stream.next_epoch
        if run is None or run.finished:
            goes_on = epoch == following
        else:
            goes_on = epoch == run.epoch or (run.given > 0 and epoch == following)
        if goes_on:
            return
        passing = self._passing() if self._passing is not None and run is self._run else None
        self.set_epoch(epoch)
        if passing is not None and passing.is_untouched:
            passing.go_over_to(iter(self))
            self._passing = weakref.ref(passing)

    def state_dict(self) -> dict[str, Any]:
        """Return where the last iteration stands, as a small dict fit for JSON.

        After the end of an epoch, and before the first, it is the start of the next. The states of
        all ranks are equal once they were given equally many batches, and any of them serves all
        ranks; but where only a run can tell how many there are, each rank saves its own.
        """
        run = self._loaded or self._run
        if run is None or run.finished:
            run = Run(self.stream.next_epoch, 1, None)
        state: dict[str, Any] = {
            "kind": _KIND,
            "epoch": run.epoch,
            "batches": run.batches_now,
            "plan": self._describe(self._cut()),
        }
        if run.lanes:
            instance = self._instance()
            state["rank"] = [instance.rank, instance.world_size]
            state["last_lane"] = run.last_lane
            state["lanes"] = [[number, *place] for number, place in run.lanes.items()]
        return seal(state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Make the next iteration go on where another loader stood.

        The lanes of the saved run are kept from now on, so that the order of all epochs is the
        one that the run would have had without the stop.

        Parameters
        ----------
        state : mapping
            What `state_dict` returned, over the same files with the same parameters. The numbers
            of ranks and workers may differ, if their product divides the number of lanes.

        Raises
        ------
        StateError
            If the state does not fit; the message names the difference, or the numbers that fit.
        """
        cut = _read_cut(state)
        plan = {**self._describe(cut), **asked_cut(self.stream.stages)}
        check_plan(state["plan"], plan, self.stream.catalog, self.on_changed)
        epoch = int(state["epoch"])
        misfit = self._misfit(state, cut)
        if misfit and self.on_mismatch == "error":
            raise StateError(f'{misfit}; or pass on_mismatch="restart_epoch"')
        self._end_workers()
        self.set_epoch(epoch)
        if not misfit:
            run = self._run_from(state, cut)
            self._saved_cut, self._loaded = cut, run

    def _run_from(self, state: Mapping[str, Any], cut: Cut) -> Run:
        run = self._new_run(int(state["epoch"]), cut)
        run.batches = int(state["batches"])
        if "lanes" in state:
            run.lanes = {int(number): tuple(map(int, place)) for number, *place in state["lanes"]}
            run.last_lane = int(state["last_lane"])
        left, surplus = divmod((run.total or 0) - run.batches, run.step)
        if run.total is not None and surplus and (cut.uneven == "drop" or self._grown(cut)):
            warnings.warn(
                f"{run.total - run.batches} batches are left of epoch {run.epoch}; so that all "
                f"{run.step} ranks are given {left}, the last {surplus} are left out",
                stacklevel=3,
            )
        return run

    def _new_run(self, epoch: int, cut: Cut) -> Run:
        """Begin an epoch; lanes that only a run can count bring their places along."""
        total = count_in_turn(pin_cut(self.stream.stages, cut), self.stream.catalog, epoch)
        if total is None:
            return Run(epoch, 1, None, lanes={})
        return Run(epoch, self._instance().world_size, total)

    def _misfit(self, state: Mapping[str, Any], cut: Cut) -> str:
        """Say why these ranks and workers cannot go on from a state; empty if they can."""
        instance = self._instance()
        here = f"{instance.world_size} ranks of {instance.num_workers} workers"
        if cut.lanes % instance.count:
            fitting = [n for n in range(1, cut.lanes + 1) if cut.lanes % n == 0]
            return (
                f"the state was saved with {cut.lanes} lanes, which {here} cannot share; numbers "
                f"of instances (ranks times workers) that fit: {fitting}"
            )
        if self._grown(cut) and isinstance(self.stream.stages[0], Mix):
            return (
                f"the state was saved by one rank, whose mix keeps all rows; {here} would not end "
                'together: resume on one rank, or mix streams with uneven="drop" from the start'
            )
        if "lanes" in state:
            rank, world_size = state["rank"]
            if [rank, world_size] == [instance.rank, instance.world_size]:
                return ""
            return (
                f"the state was saved by rank {rank} of {world_size} for itself, because only a "
                f"run can tell how many items this pipe gives; this is rank {instance.rank} of "
                f"{instance.world_size}: load what this rank saved, with as many ranks"
            )
        run = self._new_run(int(state["epoch"]), cut)
        left = (run.total or 0) - int(state["batches"])
        if left < 0:
            raise StateError(
                f"the state is after batch {state['batches']}, but the epoch has "
                f"{run.total or 'no known number'}; it is damaged"
            )
        if cut.uneven == "pad" and left % run.step:
            return (
                f"{left} batches are left of the epoch, which {here} cannot share equally, as "
                'uneven="pad" demands: resume with a number of ranks that divides them'
            )
        return ""

    def _items_left(self, run: Run, cut: Cut) -> int | None:
        """Say after how many items a rank must end, if ranks would not end together by themselves.

        A run that began on one rank keeps all rows unless something else was asked for; on several
        ranks that must not leave them with unequal numbers of batches.
        """
        if run.total is None or (cut.uneven == "keep" and not self._grown(cut)):
            return None
        left, surplus = divmod(run.total - run.batches, run.step)
        return left if surplus else None

    def _grown(self, cut: Cut) -> bool:
        """Tell whether lanes that keep all rows by default, on one rank, are shared by several."""
        asked = asked_cut(self.stream.stages).get("uneven")
        return cut.uneven == "keep" and asked is None and self._instance().world_size > 1

    def _instance(self) -> Instance:
        """Tell the rank, and how many workers there are."""
        workers = max(1, self.num_workers)
        found = instance_of(self.stream.stages, num_workers=workers)
        return Instance(found.rank, found.world_size, 0, workers)

    def _cut(self) -> Cut:
        return self._saved_cut or cut_for(self.stream.stages, self._instance())

    def _describe(self, cut: Cut) -> dict[str, Any]:
        if self._described is None or self._described[0] != cut:
            plan = describe_plan(self.stream.stages, self.stream.catalog, cut)
            self._described = (cut, plan)
        return dict(self._described[1])

    def _end_workers(self) -> None:
        """End persistent workers; the next iteration starts others."""
        iterator: Any = self._iterator
        self._iterator = None
        if iterator is not None:
            iterator._shutdown_workers()


def _read_cut(state: Any) -> Cut:
    """Check the form of a state, and return how its epochs are cut."""
    known = unseal(state, f"a loader ({_KIND})")
    plan: Any = known.get("plan")
    names = [field.name for field in fields(Cut)]
    epoch = known.get("epoch", 0)
    fits = (
        known.get("kind") == _KIND
        and is_count(epoch)
        and epoch <= LARGEST_EPOCH
        and is_count(known.get("batches"))
        and isinstance(plan, Mapping)
        and plan.keys() >= set(names)
        and ("lanes" not in known or _are_lanes(known))
    )
    if fits:
        cut = Cut(*(plan[name] for name in names))
        fits = (
            is_count(cut.lanes)
            and is_count(cut.groups)
            and 1 <= cut.groups <= cut.lanes
            and cut.lanes % cut.groups == 0
            and cut.uneven in get_args(Uneven)
        )
    if not fits:
        raise StateError(
            f"this is not a state of a loader ({_KIND}): {str(state)[:80]}; pass what its "
            "state_dict() returned"
        )
    return cut


def _are_lanes(state: Mapping[str, Any]) -> bool:
    lanes, rank = state["lanes"], state.get("rank", ())
    return (
        isinstance(lanes, list | tuple)
        and all(are_counts(lane) and len(lane) > 1 for lane in lanes)
        and len({lane[0] for lane in lanes}) == len(lanes)
        and are_counts(rank)
        and len(rank) == 2
        and is_count(state.get("last_lane"))
    )


def _as_it_is(item: Any) -> Any:
    return item
