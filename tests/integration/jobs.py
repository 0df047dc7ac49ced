"""What the training jobs stream, how two processes run them, and what they must have seen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import h5stream as h5s
from h5stream.pipes import Pipe
from tests.streams import write_rows

ROWS, RANKS, LANES, BATCH_SIZE, EPOCHS = 80, 2, 4, 5, 3
BATCHES = ROWS // RANKS // BATCH_SIZE
"""Of one rank in one epoch."""

Results = list[dict[str, dict[str, Any]]]
"""For each rank, name of the run -> the batches seen, as row numbers, and the weights."""


def make_stream(folder: Path) -> Pipe:
    """Stream ``row`` and ``x`` in the same order for every number of workers."""
    chunks = h5s.open_files(folder / "a.h5", ["row", "x"]).list_chunks(target_bytes=1)
    blocks = chunks.shuffle_chunks(seed=0).shard(lanes=LANES).read_chunks()
    return blocks.shuffle_rows(8).batch(BATCH_SIZE).collate()


def run_job(folder: Path, *command: str) -> Results:
    """Run ``python -m command... folder`` from the root of the tests until every rank is done."""
    write_rows(folder / "a.h5", ROWS)
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    running = subprocess.Popen(
        [sys.executable, "-m", *command, str(folder)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _nothing = running.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGABRT)  # every process says where it stands
        output, _nothing = running.communicate()
    if running.returncode:
        pytest.fail(f"{' '.join(command)} failed:\n{output}")
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(RANKS)]


def check_every_row_once_an_epoch(results: Results) -> None:
    seen = [result["uninterrupted"]["seen"] for result in results]
    assert [len(batches) for batches in seen] == [EPOCHS * BATCHES] * RANKS
    for epoch in range(EPOCHS):
        part = slice(epoch * BATCHES, (epoch + 1) * BATCHES)
        rows = [row for rank in seen for batch in rank[part] for row in batch]
        assert sorted(rows) == list(range(ROWS))


def check_another_order_in_every_epoch(results: Results) -> None:
    seen = results[0]["uninterrupted"]["seen"]
    orders = {str(seen[epoch * BATCHES : (epoch + 1) * BATCHES]) for epoch in range(EPOCHS)}
    assert len(orders) == EPOCHS


def check_resumed_equals_uninterrupted(results: Results, stop: str) -> None:
    for result in results:
        assert result[stop] == result["uninterrupted"]
