"""Trains with Accelerate, uninterrupted and stopped in several places; started by torchrun.

Each process writes the rows that it saw, and its weights, as ``rank<n>.json`` into the folder that
is the only argument.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device

import h5stream as h5s
from tests.integration.jobs import BATCHES, EPOCHS, make_stream

STEPS, MIDDLE = EPOCHS * BATCHES, BATCHES + 3
STOPS = {
    "mid-epoch": MIDDLE,
    "mid-epoch, workers": MIDDLE,
    "last batch": BATCHES,
    "end of epoch": BATCHES,
}


def train(
    folder: Path,
    *,
    workers: int = 0,
    resume: bool = False,
    stop_after: int = STEPS,
    finish_epoch: bool = False,
) -> dict[str, Any]:
    """Train for some batches; `finish_epoch` saves after the loop over the loader, not in it."""
    accelerator = Accelerator(cpu=True)
    loader = h5s.Loader(make_stream(folder), num_workers=workers)
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.01))
    accelerator.register_for_checkpointing(loader)
    if resume:
        accelerator.load_state(str(folder / "saved"))
    seen: list[list[int]] = []
    while len(seen) < stop_after:
        for batch in loader:
            batch = send_to_device(batch, accelerator.device)
            seen.append(batch["row"].tolist())
            loss = model(batch["x"] / 100).square().mean()
            optimizer.zero_grad()
            accelerator.backward(loss)
            optimizer.step()
            if len(seen) == stop_after and not finish_epoch:
                break
    accelerator.save_state(str(folder / "saved"))
    accelerator.wait_for_everyone()
    weights = accelerator.unwrap_model(model).weight.flatten().tolist()
    return {"seen": seen, "weights": weights}


def main() -> None:
    folder = Path(sys.argv[1])
    results = {"uninterrupted": train(folder)}
    for name, stop in STOPS.items():
        workers = 2 if "workers" in name else 0
        finish = name == "end of epoch"
        before = train(folder, workers=workers, stop_after=stop, finish_epoch=finish)
        rest = train(folder, workers=workers, resume=True, stop_after=STEPS - stop)
        results[name] = {**rest, "seen": before["seen"] + rest["seen"]}
    rank = torch.distributed.get_rank()
    (folder / f"rank{rank}.json").write_text(json.dumps(results))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
