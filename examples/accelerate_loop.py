"""Train with Hugging Face Accelerate on two processes, stop in mid-epoch, and go on.

    torchrun --nproc-per-node 2 examples/accelerate_loop.py

Run as a plain script it starts itself that way. Model and optimizer go through `prepare`. The
loader does not: it gives each process its own part already, and Accelerate would let the first
process read for all.
"""

from __future__ import annotations

import os
import shutil

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object, send_to_device
from torch.distributed.run import main as torchrun

import h5stream as h5s

EPOCHS, BATCH_SIZE, STOP_AFTER = 3, 32, 15
CHECKPOINT = "accelerate_checkpoint"


def train(*, resume: bool = False, stop_after: int | None = None) -> None:
    accelerator = Accelerator(cpu=True)  # on GPUs: Accelerator()
    stream = h5s.H5Stream(
        h5s.example_file(), {"x": "X", "y": "obs[louvain]"}, batch_size=BATCH_SIZE, shuffle=True
    )
    loader = h5s.Loader(stream)
    torch.manual_seed(0)
    model = torch.nn.Linear(765, 11)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    model, optimizer = accelerator.prepare(model, optimizer)
    accelerator.register_for_checkpointing(loader)
    if resume:
        accelerator.load_state(CHECKPOINT)

    step = 0
    for epoch in range(loader.state_dict()["epoch"], EPOCHS):
        batches, rows, total = 0, 0, 0.0
        for batch in loader:
            batch = send_to_device(batch, accelerator.device)
            loss = torch.nn.functional.cross_entropy(model(batch["x"]), batch["y"].long())
            optimizer.zero_grad()
            accelerator.backward(loss)
            optimizer.step()
            batches, rows, total = batches + 1, rows + len(batch["x"]), total + loss.item()
            step += 1
            if step == stop_after:
                break
        reports = gather_object([(batches, rows, total / batches)])
        for rank, (batches, rows, loss) in enumerate(reports):
            accelerator.print(
                f"epoch {epoch}  rank {rank}  {batches:>2} batches, {rows} rows, loss {loss:.3f}"
            )
        if step == stop_after:
            accelerator.save_state(CHECKPOINT)
            accelerator.wait_for_everyone()  # nobody reads it before it is written
            accelerator.print(f"stopped after {step} batches")
            return


def main() -> None:
    train(stop_after=STOP_AFTER)
    train(resume=True)
    accelerator = Accelerator()
    accelerator.wait_for_everyone()  # as Python ends, no thread may still hold what was gathered
    if accelerator.is_main_process:
        shutil.rmtree(CHECKPOINT)
    accelerator.end_training()


if __name__ == "__main__":
    if "RANK" in os.environ:
        main()
    else:
        torchrun(["--standalone", "--nproc-per-node=2", __file__])
