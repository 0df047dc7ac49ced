"""Runs cases by their seeds in processes of their own, with limits of time and memory.

A child runs many cases, one after the other, and says on its output which one it is at. One that
dies, hangs or takes too much memory is found by the last case that it named; the others go on in
another child. So each case that does not end as it should is known by its seed, and
``--seed SEED --count 1`` repeats it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import selectors
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Case", "Outcome", "main"]

Case = Callable[[int, Path], str]
"""Seed and an empty folder -> what came of it; raises `AssertionError` for a finding."""

_CASE_S = 30.0
_MOST_BYTES = 6 * 2**30
_MOST_TOLD = 4000
_AT, _DONE, _FOUND = "at", "done", "found"


@dataclass
class Outcome:
    """What came of all cases."""

    ends: Counter[str] = field(default_factory=Counter)
    findings: list[tuple[int, str]] = field(default_factory=list)

    @property
    def cases(self) -> int:
        """Count them."""
        return sum(self.ends.values()) + len(self.findings)


def main(name: str, case: Case, arguments: list[str] | None = None) -> Outcome:
    """Run the cases that the command line asks for, and print what came of them.

    Parameters
    ----------
    name : str
        Of the module, for ``python -m``.
    case : callable
        Runs one.
    arguments : list of str, optional
        In place of the command line.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {name}")
    parser.add_argument("--count", type=int, default=200, help="how many cases")
    parser.add_argument("--seed", type=int, default=0, help="of the first")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.child:
        _run_here(case, range(asked.seed, asked.seed + asked.count), Path(asked.child))
        return Outcome()
    return _run_children(name, asked.seed, asked.count)


def _run_here(case: Case, seeds: range, folder: Path) -> None:
    if "libasan" not in os.environ.get("LD_PRELOAD", ""):  # which maps terabytes that it never uses
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
    for seed in seeds:
        print(_AT, seed, flush=True)
        place = folder / "case"
        place.mkdir()
        try:
            print(_DONE, case(seed, place), flush=True)
        except BaseException as error:
            told = "".join(traceback.format_exception(error)).encode("unicode_escape").decode()
            print(_FOUND, told, flush=True)
        for path in sorted(place.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        place.rmdir()


def _run_children(name: str, first: int, count: int) -> Outcome:
    outcome, seed, started = Outcome(), first, time.monotonic()
    while seed < first + count:
        with tempfile.TemporaryDirectory() as folder:
            seed = _run_child(name, seed, first + count - seed, folder, outcome)
    took_s = time.monotonic() - started
    ends = ", ".join(f"{number} {end}" for end, number in outcome.ends.most_common())
    print(f"{outcome.cases} cases in {took_s:.0f} s: {ends}; {len(outcome.findings)} findings")
    for seed, told in outcome.findings:
        print(f"\nseed {seed}:\n{told}")
    return outcome


def _run_child(name: str, seed: int, count: int, folder: str, outcome: Outcome) -> int:
    """Run cases until one ends the child; return the seed to go on with."""
    options = ["--seed", str(seed), "--count", str(count), "--child", folder]
    command = [sys.executable, "-m", name, *options]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONFAULTHANDLER": "1"},
    ) as child:
        at, why = _follow(child, outcome)
        child.send_signal(signal.SIGABRT)  # so that it says where it is
        errors = child.stderr.read()[:_MOST_TOLD] if child.stderr is not None else b""
    if at is None:
        return seed + count
    outcome.findings.append((at, f"{why}\n{errors.decode(errors='replace')}"))
    return at + 1


def _follow(child: subprocess.Popen[bytes], outcome: Outcome) -> tuple[int | None, str]:
    """Read what a child says; return the case that it did not end, and why."""
    assert child.stdout is not None
    selector = selectors.DefaultSelector()
    selector.register(child.stdout, selectors.EVENT_READ)
    os.set_blocking(child.stdout.fileno(), False)
    at: int | None = None
    text, waits_from = b"", time.monotonic()
    while True:
        left_s = waits_from + _CASE_S - time.monotonic()
        if left_s <= 0:
            return at, f"took more than {_CASE_S:.0f} s"
        if not selector.select(left_s):
            continue
        data = child.stdout.read(65536)
        if data is None:
            continue
        if not data:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(10)
            return at, f"the process ended with {child.returncode}"
        waits_from = time.monotonic()
        *lines, text = (text + data).split(b"\n")
        for line in lines:
            word, _, told = line.decode().partition(" ")
            if word == _AT:
                at = int(told)
            elif word in (_DONE, _FOUND):
                assert at is not None, "a case is named before it ends"
                if word == _DONE:
                    outcome.ends[told] += 1
                else:
                    outcome.findings.append((at, told.encode().decode("unicode_escape")))
                at = None
