"""A run that is saved on some ranks and workers goes on, in the same order, on others.

Four ranks of two workers stop, and rank 0's state is all that is kept. Then two ranks of one and
of two workers go on, and one process without torchrun.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import h5stream as h5s
from tests.integration.cases import (
    N_ROWS,
    Batches,
    Result,
    Run,
    alone,
    cut_of,
    gather,
    gathered_epochs,
    make_stream,
    rows,
)
from tests.integration.launch import torchrun

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]

RANKS, WORKERS = 4, 2
CASES = ["lanes, keep", "keep", "default"]


@dataclass(frozen=True)
class Stop:
    """Where a run of four ranks ends: after so many batches of each rank in an epoch."""

    case: str
    epoch: int
    batches: int

    def __str__(self) -> str:
        return f"{self.case}; epoch {self.epoch} after {self.batches}"

    @property
    def run(self) -> Run:
        """The run that stops there."""
        return Run(self.case, WORKERS, "fork", "Loader", self.epoch + 1, stop_after=self.batches)


STOPS = [Stop(case, epoch, batches) for case in CASES for epoch, batches in [(0, 3), (1, 2)]]
RESUMED = Run("", method="fork", loader="Loader")
"""The rest of one epoch, and the next."""


@dataclass(frozen=True)
class Stopped:
    """What four ranks got, and the folder of the states of rank 0."""

    results: dict[Stop, list[Result]]
    folder: Path

    def state_file(self, stop: Stop) -> Path:
        """Name the file of a stop."""
        return self.folder / f"state-{STOPS.index(stop)}.json"

    def state(self, stop: Stop) -> dict[str, Any]:
        """Read what was saved."""
        return json.loads(self.state_file(stop).read_text())


@pytest.fixture(scope="module")
def stopped(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    folder = tmp_path_factory.mktemp("stopped")
    ranks = torchrun(RANKS, data, [stop.run for stop in STOPS], folder)
    stopped = Stopped(dict(zip(STOPS, map(list, zip(*ranks, strict=True)), strict=True)), folder)
    for stop, results in stopped.results.items():
        stopped.state_file(stop).write_text(json.dumps(results[0].state))
    return stopped


def resuming(stopped: Stopped, stop: Stop, workers: int, stop_after: int | None = None) -> Run:
    """Make the run that goes on from a stop; interrupted again, it is one epoch long."""
    return replace(
        RESUMED,
        case=stop.case,
        workers=workers,
        method="fork" if workers else None,
        epochs=1 if stop_after else 2,
        stop_after=stop_after,
        resume_from=str(stopped.state_file(stop)),
    )


@pytest.fixture(scope="module")
def resumed(
    stopped: Stopped, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[Stop, int, int | None], list[Result]]:
    """Go on with two ranks: to the end of the next epoch, or only for some more batches."""
    keys = [(stop, workers, None) for stop in STOPS for workers in (1, 2, 3)]
    keys += [(stop, 1, 3) for stop in STOPS]
    runs = [resuming(stopped, *key) for key in keys]
    ranks = torchrun(2, data, runs, tmp_path_factory.mktemp("resumed"))
    return dict(zip(keys, map(list, zip(*ranks, strict=True)), strict=True))


def whole_epochs(data: Path, case: str) -> list[Batches]:
    """Return what the uninterrupted run gives."""
    return alone(case, data, cut_of(case, RANKS, WORKERS), epochs=3)


def rest_and_next(data: Path, stop: Stop, given: int) -> list[Batches]:
    epochs = whole_epochs(data, stop.case)
    return [epochs[stop.epoch][given:], epochs[stop.epoch + 1]]


def go_on_alone(data: Path, case: str, state: dict[str, Any], workers: int) -> list[Batches]:
    """Go on in this process."""
    context = "fork" if workers else None
    stream = make_stream(case, data, rank=0, world_size=1)
    loader = h5s.Loader(stream, num_workers=workers, multiprocessing_context=context)
    loader.load_state_dict(state)
    return [[batch["row"].tolist() for batch in loader] for _ in range(2)]


at_every_stop = pytest.mark.parametrize("stop", STOPS, ids=str)


@at_every_stop
def test_a_stopped_run_got_the_first_batches(stopped: Stopped, data: Path, stop: Stop) -> None:
    whole = whole_epochs(data, stop.case)[: stop.epoch + 1]
    whole[-1] = whole[-1][: RANKS * stop.batches]
    assert gathered_epochs(stopped.results[stop]) == whole


@at_every_stop
def test_the_state_is_small_and_the_same_on_every_rank(stopped: Stopped, stop: Stop) -> None:
    first, *others = (result.state for result in stopped.results[stop])
    assert all(state == first for state in others)
    assert len(json.dumps(first)) <= 2048


@at_every_stop
@pytest.mark.parametrize("workers", [1, 2])
def test_two_ranks_go_on_where_four_stopped(
    resumed: dict[tuple[Stop, int, int | None], list[Result]],
    data: Path,
    stop: Stop,
    workers: int,
) -> None:
    results = resumed[stop, workers, None]
    assert [result.error for result in results] == ["", ""]
    assert gathered_epochs(results) == rest_and_next(data, stop, RANKS * stop.batches)


@at_every_stop
@pytest.mark.parametrize("workers", [0, 1, 2, 8])
def test_one_process_goes_on_where_four_ranks_stopped(
    stopped: Stopped, data: Path, stop: Stop, workers: int
) -> None:
    found = go_on_alone(data, stop.case, stopped.state(stop), workers)
    assert found == rest_and_next(data, stop, RANKS * stop.batches)


@at_every_stop
@pytest.mark.parametrize("workers", [0, 4])
def test_a_resumed_run_can_stop_and_go_on_elsewhere(
    resumed: dict[tuple[Stop, int, int | None], list[Result]],
    data: Path,
    stop: Stop,
    workers: int,
) -> None:
    results = resumed[stop, 1, 3]
    given = RANKS * stop.batches + 2 * 3
    expected = rest_and_next(data, stop, RANKS * stop.batches)[0][: 2 * 3]
    assert gather(result.epochs[0] for result in results) == expected
    found = go_on_alone(data, stop.case, results[0].state, workers)
    assert found == rest_and_next(data, stop, given)


@at_every_stop
def test_no_row_is_lost_or_repeated_by_a_change_of_ranks(
    stopped: Stopped,
    resumed: dict[tuple[Stop, int, int | None], list[Result]],
    stop: Stop,
) -> None:
    before = rows(gathered_epochs(stopped.results[stop])[-1])
    rest, following = map(rows, gathered_epochs(resumed[stop, 1, None]))
    dropped = 0 if "keep" in stop.case else N_ROWS % RANKS
    for epoch in (before + rest, following):
        assert len(set(epoch)) == len(epoch) == N_ROWS - dropped


@at_every_stop
def test_a_count_that_does_not_fit_is_refused_on_every_rank(
    resumed: dict[tuple[Stop, int, int | None], list[Result]], stop: Stop
) -> None:
    for result in resumed[stop, 3, None]:
        assert result.error.startswith("StateError: the state was saved with 8 lanes")
        assert "[1, 2, 4, 8]" in result.error
        assert result.epochs == []
