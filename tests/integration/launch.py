"""Starts processes that cannot outlive their test, and finds those that a test has left behind.

Whatever descends from a started process inherits a mark in its environment, also processes that
lead a session of their own, as those of torchrun do. Where there is no ``/proc``, only the group
of the started process is known.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.integration.cases import Result, Run

ROOT = Path(__file__).parents[2]

_MARK = "H5STREAM_TEST_MARK"
_LIMIT_S = 240


class Started:
    """A Python process in a group of its own, whose output goes to a file.

    Parameters
    ----------
    arguments : sequence of str
        Of the interpreter.
    output : Path
        Where stdout and stderr go.
    environment : mapping
        Added to that of this process; a None takes a variable away.
    """

    def __init__(
        self, arguments: Sequence[str], output: Path, environment: Mapping[str, str | None]
    ) -> None:
        self.mark = uuid.uuid4().hex
        self.output = output
        surroundings = {**os.environ, "OMP_NUM_THREADS": "1", **environment, _MARK: self.mark}
        with output.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env={name: value for name, value in surroundings.items() if value is not None},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def descendants(self) -> list[int]:
        """Return the ids of all living processes that carry the mark, but the started one."""
        needle = f"{_MARK}={self.mark}".encode()
        return [pid for pid in _with_environment(needle) if pid != self.process.pid]

    def interrupt(self) -> None:
        """Do what Ctrl-C does."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> None:
        """Kill what is left."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pid in self.descendants():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _with_environment(needle: bytes) -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if needle in path.read_bytes():
                yield int(path.parent.name)


@contextmanager
def started(
    arguments: Sequence[str], output: Path, environment: Mapping[str, str | None] | None = None
) -> Iterator[Started]:
    """Start a process, and kill it with all its descendants in the end."""
    process = Started(arguments, output, environment or {})
    try:
        yield process
    finally:
        process.end()


def wait_until(condition: Callable[[], bool], limit_s: float) -> bool:
    """Wait until something holds; say whether it does."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            return condition()
        time.sleep(0.05)
    return True


def torchrun(ranks: int, data: Path, runs: Sequence[Run], folder: Path) -> list[list[Result]]:
    """Let torchrun start ranks that follow the runs; one list for each rank, one result a run."""
    orders = _write_orders(folder, data, runs, "env")
    arguments = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    command = [*arguments, "-m", "tests.integration.job", str(orders)]
    with started(command, folder / "output.txt") as process:
        _finish([process])
    return _read_answers(folder, ranks)


def start_by_hand(
    group: str,
    environments: Sequence[Mapping[str, str | None]],
    data: Path,
    runs: Sequence[Run],
    folder: Path,
) -> list[list[Result]]:
    """Start one process in each of the environments, as torchrun would, but without it."""
    command = ["-m", "tests.integration.job", str(_write_orders(folder, data, runs, group))]
    processes = [
        Started(command, folder / f"output-{number}.txt", environment)
        for number, environment in enumerate(environments)
    ]
    try:
        _finish(processes)
    finally:
        for process in processes:
            process.end()
    return _read_answers(folder, len(environments))


def _write_orders(folder: Path, data: Path, runs: Sequence[Run], group: str) -> Path:
    orders = {
        "data": str(data),
        "answers": str(folder),
        "group": group,
        "runs": [run.as_dict() for run in runs],
    }
    path = folder / "orders.json"
    path.write_text(json.dumps(orders))
    return path


def _finish(processes: Sequence[Started]) -> None:
    """Wait until all have ended well, or fail with what they said."""
    done = wait_until(lambda: all(p.process.poll() is not None for p in processes), _LIMIT_S)
    said = "\n".join(process.output.read_text() for process in processes)
    assert done, f"still running after {_LIMIT_S} s\n{said}"
    assert not any(process.process.returncode for process in processes), said


def _read_answers(folder: Path, ranks: int) -> list[list[Result]]:
    answers = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(ranks)]
    return [[Result(**result) for result in answer] for answer in answers]
