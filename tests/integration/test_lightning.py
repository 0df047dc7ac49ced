"""A Trainer with two processes streams, saves and resumes."""

from __future__ import annotations

import pytest

from tests.integration import jobs

STOPS = ["mid-epoch", "mid-epoch, workers", "last batch", "end of epoch"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> jobs.Results:
    folder = tmp_path_factory.mktemp("lightning")
    return jobs.run_job(folder, "tests.integration.lightning_job")


def test_ranks_see_equally_many_batches_and_every_row_once(results: jobs.Results) -> None:
    jobs.check_every_row_once_an_epoch(results)


def test_every_epoch_has_another_order(results: jobs.Results) -> None:
    jobs.check_another_order_in_every_epoch(results)


@pytest.mark.parametrize("stop", STOPS)
def test_resumed_run_equals_uninterrupted_one(results: jobs.Results, stop: str) -> None:
    jobs.check_resumed_equals_uninterrupted(results, stop)
