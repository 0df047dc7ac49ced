"""Where rank and world size come from: the process group, or only the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.cases import Result, Run, alone, cut_of, every_run, gathered_epochs
from tests.integration.launch import start_by_hand

RUNS = [
    Run("lanes, keep"),
    *every_run(["fork", "spawn", "forkserver"], [2], case="lanes, keep"),
]
WORLD_SIZE = 2
Ranks = dict[Run, tuple[Result, ...]]

IN_ENVIRONMENT = [{"RANK": str(rank), "WORLD_SIZE": str(WORLD_SIZE)} for rank in range(WORLD_SIZE)]
IN_GROUP = [
    {"RANK": None, "WORLD_SIZE": None, "JOB_RANK": str(rank), "JOB_WORLD_SIZE": str(WORLD_SIZE)}
    for rank in range(WORLD_SIZE)
]


@pytest.fixture(scope="module")
def by_environment(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Ranks:
    folder = tmp_path_factory.mktemp("environment")
    ranks = start_by_hand("none", IN_ENVIRONMENT, data, RUNS, folder)
    return dict(zip(RUNS, zip(*ranks, strict=True), strict=True))


@pytest.fixture(scope="module")
def by_group(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Ranks:
    folder = tmp_path_factory.mktemp("group")
    ranks = start_by_hand(str(folder / "store"), IN_GROUP, data, RUNS, folder)
    return dict(zip(RUNS, zip(*ranks, strict=True), strict=True))


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_the_environment_tells_the_rank_where_there_is_no_group(
    by_environment: Ranks, data: Path, run: Run
) -> None:
    assert gathered_epochs(by_environment[run]) == alone(
        run.case, data, cut_of(run.case, WORLD_SIZE, run.workers)
    )


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_the_group_tells_the_rank_where_the_environment_does_not(
    by_group: Ranks, data: Path, run: Run
) -> None:
    assert gathered_epochs(by_group[run]) == alone(
        run.case, data, cut_of(run.case, WORLD_SIZE, run.workers)
    )
