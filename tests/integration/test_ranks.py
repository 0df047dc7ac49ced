"""Ranks of torchrun with workers of their own, which train one model together.

One torchrun for each number of ranks does all runs; each test looks at one thing in one run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.cases import (
    CASES,
    N_ROWS,
    Batches,
    Result,
    Run,
    alone,
    cut_of,
    every_run,
    gather,
    gathered_epochs,
    rows,
)
from tests.integration.launch import torchrun

WITH_LANES = [case for case in CASES if "lanes" in CASES[case]]
SHUFFLED = [case for case in CASES if "shuffle" in CASES[case]]
KEPT, PADDED = (
    [case for case in CASES if CASES[case].get("uneven") == uneven] for uneven in ("keep", "pad")
)
DROPPED = [case for case in CASES if "uneven" not in CASES[case]]

RUNS = [
    *every_run(["fork", "forkserver", "spawn"], [0, 1, 2], case="lanes, keep"),
    *every_run(["fork", "forkserver"], [0, 1, 2], case="default"),
    *every_run(["spawn"], [2], case="default"),
    *(
        run
        for case in CASES
        if case not in ("lanes, keep", "default")
        for run in every_run(["fork"], [0, 2], case=case)
    ),
    *(
        run
        for case in ("lanes", "default", "keep", "pad")
        for run in every_run(["fork"], [0, 2], case=case, loader="Loader")
    ),
    *every_run(["forkserver"], [2], case="lanes, keep", loader="Loader"),
]
"""Every way to start workers, with cases that keep all rows and that drop some; all cases once."""

Runner = Callable[[int, Run], list[Result]]


@pytest.fixture(scope="module")
def do(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """Look up what each rank got in a run."""
    done: dict[int, list[list[Result]]] = {}

    def look_up(ranks: int, run: Run) -> list[Result]:
        if ranks not in done:
            done[ranks] = torchrun(ranks, data, RUNS, tmp_path_factory.mktemp(f"{ranks}-ranks"))
        return [results[RUNS.index(run)] for results in done[ranks]]

    return look_up


def runs_of(*cases: str) -> list[Run]:
    return [run for run in RUNS if run.case in cases]


def repeats(batches: Batches) -> Counter[int]:
    return Counter(rows(batches))


def parts_of(run: Run, ranks: int) -> int:
    """Say into how many equal parts an epoch is cut: lanes if they are fixed, else ranks."""
    return cut_of(run.case, ranks, run.workers).groups


both = pytest.mark.parametrize("ranks", [2, 4], ids="{} ranks".format)


def over(*cases: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("run", runs_of(*cases), ids=str)


@both
@over(*KEPT)
def test_keep_gives_every_row_exactly_once(do: Runner, ranks: int, run: Run) -> None:
    for batches in gathered_epochs(do(ranks, run)):
        assert sorted(rows(batches)) == list(range(N_ROWS))


@both
@over(*DROPPED)
def test_by_default_no_row_comes_twice_and_only_the_rest_is_left_out(
    do: Runner, ranks: int, run: Run
) -> None:
    parts = parts_of(run, ranks)
    for batches in gathered_epochs(do(ranks, run)):
        assert len(set(rows(batches))) == len(rows(batches)) == N_ROWS // parts * parts


@both
@over(*PADDED)
def test_pad_gives_every_row_and_repeats_only_what_fills_the_parts(
    do: Runner, ranks: int, run: Run
) -> None:
    parts = parts_of(run, ranks)
    for batches in gathered_epochs(do(ranks, run)):
        found = repeats(batches)
        assert sorted(found) == list(range(N_ROWS))
        assert found.total() == -(-N_ROWS // parts) * parts
        assert max(found.values()) == 2


@both
@over(*DROPPED, *PADDED)
def test_ranks_have_equal_counts_of_equal_batches(do: Runner, ranks: int, run: Run) -> None:
    results = do(ranks, run)
    for batches in zip(*(result.epochs for result in results), strict=True):
        assert len({tuple(map(len, of_rank)) for of_rank in batches}) == 1


@both
@over(*CASES)
def test_the_gathered_batches_are_those_of_a_single_process(
    do: Runner, data: Path, ranks: int, run: Run
) -> None:
    expected = alone(run.case, data, cut_of(run.case, ranks, run.workers))
    assert gathered_epochs(do(ranks, run)) == expected


@pytest.mark.parametrize("case", WITH_LANES)
def test_lanes_fix_the_sequence_for_every_number_of_ranks_and_workers(
    do: Runner, case: str
) -> None:
    found = [gathered_epochs(do(ranks, run)) for ranks in (2, 4) for run in runs_of(case)]
    assert all(epochs == found[0] for epochs in found)


@both
@over(*SHUFFLED)
def test_two_epochs_have_different_orders(do: Runner, ranks: int, run: Run) -> None:
    first, second = gathered_epochs(do(ranks, run))
    assert first != second


@both
@over("in order", "lanes, in order")
def test_without_shuffling_every_epoch_has_the_order_of_the_files(
    do: Runner, ranks: int, run: Run
) -> None:
    cut = cut_of(run.case, ranks, run.workers)
    first, second = gathered_epochs(do(ranks, run))
    in_turn = [lane for part in range(cut.groups) for lane in range(part, cut.lanes, cut.groups)]
    joined = [row for lane in in_turn for row in rows(first[lane :: cut.lanes])]
    assert first == second
    assert joined == list(range(len(joined)))


@both
@pytest.mark.parametrize("run", RUNS, ids=str)
def test_the_length_is_the_number_of_batches(do: Runner, ranks: int, run: Run) -> None:
    for result in do(ranks, run):
        assert [len(batches) for batches in result.epochs] == [result.length] * 2


@both
@pytest.mark.parametrize("run", RUNS, ids=str)
def test_training_ends_with_the_same_weights_on_every_rank(
    do: Runner, ranks: int, run: Run
) -> None:
    first, *others = (result.weights for result in do(ranks, run))
    assert len(first) == 4
    assert all(weights == first for weights in others)


@pytest.mark.parametrize("lanes", [1, 2, 4, 8])
def test_batches_of_ranks_that_take_turns_are_gathered_in_order(lanes: int) -> None:
    batches = [[number] for number in range(11)]
    assert gather(batches[rank::lanes] for rank in range(lanes)) == batches
