"""The files beside the package: workflows name what exists, and numbers agree."""

from __future__ import annotations

import importlib.util
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import h5stream
from tests.conftest import SLOW

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
RUNNERS = {"ubuntu-latest", "macos-latest", "windows-latest"}
INSTALLED_FIRST = {"uv"}
ACTIONS = {"actions/checkout", "actions/setup-python"}


def jobs_of(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())["jobs"]


JOBS = [
    pytest.param(job, id=f"{path.stem}:{name}")
    for path in WORKFLOWS
    for name, job in jobs_of(path).items()
]


@pytest.mark.parametrize("job", JOBS)
def test_jobs_run_on_machines_that_exist_and_end(job: dict[str, Any]) -> None:
    runs_on = job["runs-on"]
    matrix = job.get("strategy", {}).get("matrix", {})
    machines = matrix["os"] if runs_on == "${{ matrix.os }}" else [runs_on]
    assert set(machines) <= RUNNERS
    assert job["timeout-minutes"] <= 45


@pytest.mark.parametrize("job", JOBS)
def test_jobs_use_known_actions_of_one_version(job: dict[str, Any]) -> None:
    used = [step["uses"] for step in job["steps"] if "uses" in step]
    assert {action.partition("@")[0] for action in used} == ACTIONS
    assert all(re.fullmatch(r".*@v\d+", action) for action in used)


@pytest.mark.parametrize("job", JOBS)
def test_commands_of_jobs_exist(job: dict[str, Any]) -> None:
    commands = [shlex.split(step["run"]) for step in job["steps"] if "run" in step]
    assert commands
    for command in commands:
        if command[0] == "bash":
            assert (ROOT / command[1]).is_file()
            continue
        assert command[:2] == ["python", "-m"]
        known = importlib.util.find_spec(command[2]) is not None
        assert known or command[2] in INSTALLED_FIRST
        for argument in command[3:]:
            check_argument(argument)


def check_argument(argument: str) -> None:
    """Look for the files and extras that a command names."""
    if argument.startswith("@"):
        assert paths_in(ROOT / argument[1:])
    if argument.startswith(".["):
        assert set(argument[2:-1].split(",")) <= set(PROJECT["optional-dependencies"])


def paths_in(arguments: Path) -> list[Path]:
    paths = [ROOT / line for line in arguments.read_text().split()]
    assert all(path.exists() for path in paths), paths
    return paths


def test_slow_tests_are_there() -> None:
    assert all((ROOT / "tests" / path).exists() for path in SLOW)


def test_all_say_the_same_of_the_project() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == h5stream.__version__
    assert citation["license"] == PROJECT["license"]
    assert citation["authors"] == PROJECT["authors"]
    assert citation["title"].endswith(PROJECT["description"][1:])


def test_what_pages_say_of_python_is_what_the_package_needs() -> None:
    lowest = PROJECT["requires-python"].removeprefix(">=")
    assert f"needs Python {lowest} or newer" in (ROOT / "README.md").read_text()
    assert f"Programming Language :: Python :: {lowest}" in PROJECT["classifiers"]
