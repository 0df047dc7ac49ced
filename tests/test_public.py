"""What the package shows: names, and an import that starts nothing."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys
from types import ModuleType

import pytest

import h5stream

NAMES = [
    "h5stream",
    *sorted(
        info.name
        for info in pkgutil.walk_packages(h5stream.__path__, "h5stream.")
        if not info.name.endswith("__main__")
    ),
]


def public_names(module: ModuleType) -> set[str]:
    """Find the functions and classes that a module defines without an underscore."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__ == module.__name__
    }


@pytest.mark.parametrize("name", NAMES)
def test_all_names_what_a_module_defines(name: str) -> None:
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__)
    assert [public for public in module.__all__ if not hasattr(module, public)] == []
    assert public_names(module) - set(module.__all__) == set()


def test_the_package_shows_what_it_imports_and_nothing_else() -> None:
    shown = {
        name
        for name, value in vars(h5stream).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert shown == set(h5stream.__all__)


def test_public_names_say_what_they_are() -> None:
    for name in h5stream.__all__:
        assert inspect.getdoc(getattr(h5stream, name)), name


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_starts_no_thread_and_opens_no_file() -> None:
    # torch and its like do what they do before; only what h5stream adds is looked at.
    code = """
import os, threading
import h5py, imagecodecs, ml_dtypes, torch, torch.distributed, torch.utils.data
def state():
    return threading.active_count(), len(os.listdir("/proc/self/fd"))
before = state()
import h5stream
print(before == state())
"""
    assert run(code) == "True"


def test_importing_leaves_the_command_line_and_plugins_alone() -> None:
    code = "import h5stream, sys; print({'typer', 'rich', 'hdf5plugin'} & set(sys.modules))"
    assert run(code) == "set()"
