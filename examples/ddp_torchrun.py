"""Train on several processes with DistributedDataParallel, stop in mid-epoch, and go on.

    torchrun --nproc-per-node 2 examples/ddp_torchrun.py

Run as a plain script it starts itself that way. Each process streams its own part of the file:
nothing is passed but the stream, and all processes have the same number of batches.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import distributed
from torch.distributed.run import main as torchrun
from torch.nn.parallel import DistributedDataParallel

import h5stream as h5s

EPOCHS, BATCH_SIZE, STOP_AFTER = 3, 32, 15
CHECKPOINT = Path("ddp_checkpoint.pt")


def train(*, resume: bool = False, stop_after: int | None = None) -> None:
    stream = h5s.H5Stream(
        h5s.example_file(), {"x": "X", "y": "obs[louvain]"}, batch_size=BATCH_SIZE, shuffle=True
    )
    loader = h5s.Loader(stream)
    torch.manual_seed(0)
    model = DistributedDataParallel(torch.nn.Linear(765, 11))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    parts = {"model": model, "optimizer": optimizer, "loader": loader}
    if resume:
        saved = torch.load(CHECKPOINT)
        for name, part in parts.items():
            part.load_state_dict(saved[name])

    step = 0
    for epoch in range(loader.state_dict()["epoch"], EPOCHS):
        batches, rows, total = 0, 0, 0.0
        for batch in loader:
            loss = torch.nn.functional.cross_entropy(model(batch["x"]), batch["y"].long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            batches, rows, total = batches + 1, rows + len(batch["x"]), total + loss.item()
            step += 1
            if step == stop_after:
                break
        report(epoch, batches, rows, total)
        if step == stop_after:
            if distributed.get_rank() == 0:  # the state of one loader serves all
                torch.save({name: part.state_dict() for name, part in parts.items()}, CHECKPOINT)
                print(f"stopped after {step} batches")
            distributed.barrier()  # nobody reads it before it is written
            return


def report(epoch: int, batches: int, rows: int, total: float) -> None:
    """Print on the first rank what every rank did."""
    reports = [None] * distributed.get_world_size()
    distributed.all_gather_object(reports, (batches, rows, total / batches))
    if distributed.get_rank() == 0:
        for rank, (batches, rows, loss) in enumerate(reports):
            print(f"epoch {epoch}  rank {rank}  {batches:>2} batches, {rows} rows, loss {loss:.3f}")


def main() -> None:
    distributed.init_process_group("gloo")  # on GPUs: "nccl"
    train(stop_after=STOP_AFTER)
    train(resume=True)
    distributed.barrier()
    if distributed.get_rank() == 0:
        CHECKPOINT.unlink()
    distributed.destroy_process_group()


if __name__ == "__main__":
    if "RANK" in os.environ:
        main()
    else:
        torchrun(["--standalone", "--nproc-per-node=2", __file__])
