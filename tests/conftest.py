from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import hdf5plugin  # noqa: F401 - registers the filters that files of these tests are written with
import pytest
from hypothesis import HealthCheck, settings

from tests.places import PLACES, Place, placed

settings.register_profile(
    "quick",
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile(
    "long", settings.get_profile("quick"), max_examples=500, derandomize=False, print_blob=True
)
settings.register_profile("hours", settings.get_profile("long"), max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


collect_ignore = ["lacking.py"]
"""A plugin, which changes imports when it is loaded."""

SLOW = (
    "cli/test_demo.py",
    "contracts",
    "integration",
    "layout/test_round_trips.py",
    "layout/test_partial_file.py",
    "loader",
    "pipes/test_before_fork.py",
    "pipes/test_bucket.py",
    "pipes/test_callers.py",
    "pipes/test_collate.py",
    "pipes/test_epochs.py",
    "pipes/test_mix.py",
    "pipes/test_resume.py",
    "pipes/test_start.py",
    "pipes/test_stateful_dataloader.py",
    "pipes/test_stats.py",
    "properties",
    "remote",
    "test_dataset.py",
    "test_field_statistics.py",
    "test_system.py",
)
"""Folders and files of tests that take long, or need nginx or other processes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    slow = [Path(__file__).parent / path for path in SLOW]
    for item in items:
        if any(item.path.is_relative_to(path) for path in slow):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep layouts of remote files out of the cache directory of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module", params=PLACES)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """Run a module's laws over files on disk, and over the same files as remote ones."""
    with ExitStack() as until_the_end:
        yield lambda path: until_the_end.enter_context(placed(path, request.param))
