from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from typer.testing import CliRunner

import h5stream as h5s
from h5stream.cli import app
from h5stream.cli.demo import cell_pipe, class_names, is_held_out, is_trained_on
from h5stream.native import choose_executor


@pytest.fixture(autouse=True)
def _threads_of_torch() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def run_demo(*arguments: str) -> tuple[str, float]:
    result = CliRunner().invoke(app, ["demo", *arguments])
    assert result.exit_code == 0, result.output
    accuracy = re.search(r"held-out accuracy (0\.\d+) on 152 cells", result.output)
    assert accuracy is not None
    return result.output, float(accuracy[1])


def test_demo_learns_and_reports() -> None:
    output, accuracy = run_demo()
    assert accuracy > 0.85
    for line in ("row chunks", "rows a second", "decode_s"):
        assert line in output


def test_demo_gives_the_same_accuracy_for_the_same_seed() -> None:
    first, second = (run_demo("--epochs", "2", "--seed", "5")[1] for _ in range(2))
    assert first == second


def test_no_cell_is_both_trained_on_and_held_out() -> None:
    path = h5s.example_file()
    trained, held_out = (
        {barcode for batch in cell_pipe(path, choose, seed=seed) for barcode in batch["barcode"]}
        for choose, seed in ((is_trained_on, 3), (is_held_out, None))
    )
    assert not trained & held_out
    assert (len(trained), len(held_out)) == (548, 152)


def test_class_names_come_from_the_file() -> None:
    assert class_names(h5s.example_file()) == [str(number) for number in range(11)]


def test_demo_refuses_no_epochs() -> None:
    assert CliRunner().invoke(app, ["demo", "--epochs", "0"]).exit_code == 2


def test_version_is_that_of_the_package() -> None:
    told = CliRunner().invoke(app, ["--version"]).output.splitlines()
    assert told == [f"h5stream {h5s.__version__}", f"executor {choose_executor()}"]


def test_the_package_runs_as_a_program() -> None:
    command = [sys.executable, "-W", "error", "-m", "h5stream", "demo", "--epochs", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "held-out accuracy" in done.stdout
