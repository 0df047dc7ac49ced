"""What the package shows: names, and an import that starts nothing."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path
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
    for name in h5stream.__all__:
        getattr(h5stream, name)
    shown = {
        name
        for name, value in vars(h5stream).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert shown - {"TYPE_CHECKING", "import_module"} == set(h5stream.__all__)
    assert set(dir(h5stream)) == {*h5stream.__all__, "__version__"}


def test_type_checkers_see_what_is_imported_when_it_is_asked_for() -> None:
    tree = ast.parse(Path(h5stream.__file__).read_text())
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: each.module
        for each in checked.body
        if isinstance(each, ast.ImportFrom)
        for alias in each.names
    }
    expected = {name: f"h5stream.{where}" for name, where in h5stream._WITH_TORCH.items()}
    assert seen == {**expected, "adapters": "h5stream"}


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'h5stream' has no attribute 'Strem'"):
        h5stream.Strem  # noqa: B018


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


def test_arrays_and_layouts_are_read_without_torch(tmp_path: Path) -> None:
    code = f"""
import sys
import h5stream as h5s
cells = h5s.example_file()
print(h5s.read(cells, "X", slice(2)).shape, h5s.index_files(cells, {str(tmp_path / "x.npz")!r}))
print(sorted(name for name in sys.modules if name.partition(".")[0] in ("torch", "torchdata")))
print(h5s.H5Stream(cells, ["X"]).catalog.n_rows, "torch" in sys.modules, callable(h5s.collate))
"""
    assert run(code).splitlines() == ["(2, 765) 1", "[]", "700 True True"]
