"""What each rank does: it follows the runs of a JSON file and writes down what it got.

Started as ``python -m tests.integration.job ORDERS``, by torchrun or by hand. The orders name
the folder of the data, the folder for answers, the runs, and the process group:

- ``"env"`` joins the group that torchrun describes in the environment;
- ``"none"`` joins none, so that only the environment tells the rank;
- a path joins a group through that file, with the rank of ``JOB_RANK``, so that nothing but the
  group tells the rank.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

import h5stream as h5s
from tests.integration.cases import CASES, Batches, Result, Run, make_stream

_NO_HANG = timedelta(seconds=120)


def join_group(group: str) -> int:
    """Join the process group and return the rank."""
    if group == "none":
        return int(os.environ["RANK"])
    if group == "env":
        dist.init_process_group("gloo", timeout=_NO_HANG)
    else:
        rank, world_size = int(os.environ["JOB_RANK"]), int(os.environ["JOB_WORLD_SIZE"])
        dist.init_process_group(
            "gloo", f"file://{group}", rank=rank, world_size=world_size, timeout=_NO_HANG
        )
    return dist.get_rank()


class Training:
    """A model of three weights that all ranks train, where there is a process group."""

    def __init__(self, *, equal_counts: bool) -> None:
        self._equal_counts = equal_counts
        self._model: torch.nn.Module | None = None
        if dist.is_initialized():
            torch.manual_seed(0)
            self._model = DistributedDataParallel(torch.nn.Linear(3, 1))
            self._optimizer = torch.optim.SGD(self._model.parameters(), lr=1e-6)

    def epoch(self) -> Any:
        """Let ranks that have more batches than others finish."""
        if self._model is None or self._equal_counts:
            return nullcontext()
        return self._model.join()

    def step(self, batch: dict[str, torch.Tensor]) -> None:
        """Average gradients with all other ranks."""
        if self._model is None:
            return
        self._optimizer.zero_grad()
        self._model(batch["x"][:, :3]).square().mean().backward()
        self._optimizer.step()

    def weights(self) -> list[float]:
        """Return what every rank should agree on."""
        if self._model is None:
            return []
        return [value for p in self._model.parameters() for value in p.flatten().tolist()]


def make_loader(run: Run, stream: h5s.H5Stream) -> Any:
    """Make the loader; forked workers are made anew for each epoch, others live on."""
    options: dict[str, Any] = {"num_workers": run.workers}
    if run.workers:
        options["multiprocessing_context"] = run.method
        options["persistent_workers"] = run.method != "fork"
    if run.loader == "Loader":
        return h5s.Loader(stream, **options)
    return DataLoader(stream, batch_size=None, **options)


def iterate(loader: Iterable[Any], training: Training, stop_after: int | None) -> Batches:
    """Train on an epoch, or on its first batches."""
    batches: Batches = []
    if stop_after == 0:
        return batches
    with training.epoch():
        for batch in loader:
            training.step(batch)
            batches.append(batch["row"].tolist())
            if len(batches) == stop_after:
                break
    return batches


def follow(run: Run, folder: Path) -> Result:
    """Do one run; a state that does not fit ends it."""
    stream = make_stream(run.case, folder)
    loader = make_loader(run, stream)
    if run.resume_from is not None:
        try:
            loader.load_state_dict(json.loads(Path(run.resume_from).read_text()))
        except h5s.StateError as refusal:
            return Result([], 0, [], f"StateError: {refusal}", {})
    length = len(loader if run.loader == "Loader" else stream)
    training = Training(equal_counts=CASES[run.case].get("uneven") != "keep")
    stops = [*[None] * (run.epochs - 1), run.stop_after]
    epochs = [iterate(loader, training, stop) for stop in stops]
    state = loader.state_dict() if run.loader == "Loader" else {}
    return Result(epochs, length, training.weights(), "", state)


def main(orders_path: str) -> None:
    """Follow all runs and write the results of this rank."""
    orders = json.loads(Path(orders_path).read_text())
    multiprocessing.set_forkserver_preload(["h5stream"])  # importing torch only once saves minutes
    rank = join_group(orders["group"])
    results = [asdict(follow(Run(**run), Path(orders["data"]))) for run in orders["runs"]]
    (Path(orders["answers"]) / f"{rank}.json").write_text(json.dumps(results))
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
