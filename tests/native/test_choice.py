from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from h5stream.errors import ConfigError
from h5stream.native import Executor, choose_executor, library
from h5stream.native.build import build
from h5stream.native.choice import VARIABLE


def test_python_reads_if_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "python")
    assert choose_executor() == Executor("python", "H5STREAM_EXECUTOR asks for it")


def test_other_names_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "rust")
    with pytest.raises(ConfigError, match="expected 'native' or 'python'"):
        choose_executor()


def test_what_was_not_built_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "LIBRARY", tmp_path / "none")
    library.load_library.cache_clear()
    try:
        monkeypatch.delenv(VARIABLE, raising=False)
        assert str(choose_executor()) == (
            "python: the native executor was not built when h5stream was installed"
        )
        monkeypatch.setenv(VARIABLE, "native")
        with pytest.raises(ConfigError, match="was not built"):
            choose_executor()
    finally:
        library.load_library.cache_clear()


@pytest.mark.parametrize("compiler", ["false", "no-such-compiler"])
def test_a_missing_compiler_is_told(
    compiler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", compiler)
    reason = build(tmp_path / "library")
    assert reason is not None
    assert compiler in reason
    assert not list(tmp_path.iterdir())


def test_the_version_tells_the_executor() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "h5stream", "--version"], capture_output=True, text=True, check=True
    )
    assert f"executor {choose_executor()}" in told.stdout
