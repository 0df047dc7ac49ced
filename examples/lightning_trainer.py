"""Train with PyTorch Lightning on two processes, stop in mid-epoch, and go on.

The loader is passed as it is. Lightning saves its state in every checkpoint and loads it again.
"""

from __future__ import annotations

import logging
import warnings
from tempfile import TemporaryDirectory
from typing import Any

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

import h5stream as h5s

EPOCHS, BATCH_SIZE, STOP_AFTER = 3, 32, 15

# A warning for streams that do not know about workers.
warnings.filterwarnings("ignore", "Your `IterableDataset` has `__len__` defined")
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


class CellTypes(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(765, 11)
        self.batches, self.rows = 0, 0

    def training_step(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        self.batches += 1
        self.rows += len(batch["x"])
        loss = torch.nn.functional.cross_entropy(self.layer(batch["x"]), batch["y"].long())
        self.log("loss", loss, on_epoch=True, sync_dist=True, batch_size=len(batch["x"]))
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-2)

    def on_train_epoch_end(self) -> None:
        reports = [None] * self.trainer.world_size
        torch.distributed.all_gather_object(reports, (self.batches, self.rows))
        if self.global_rank == 0:
            for rank, (batches, rows) in enumerate(reports):
                print(f"epoch {self.current_epoch}  rank {rank}  {batches:>2} batches, {rows} rows")
            loss = self.trainer.callback_metrics["loss"]
            print(f"epoch {self.current_epoch}  loss {loss:.3f}", flush=True)
        self.batches, self.rows = 0, 0


def train(folder: str, checkpoint: str | None = None, **options: Any) -> str:
    """Train from scratch or from a checkpoint; return the path of the last one."""
    stream = h5s.H5Stream(
        h5s.example_file(), {"x": "X", "y": "obs[louvain]"}, batch_size=BATCH_SIZE, shuffle=True
    )
    saving = ModelCheckpoint(folder, every_n_train_steps=STOP_AFTER)
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        callbacks=[saving],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    lightning.seed_everything(0, verbose=False)
    trainer.fit(CellTypes(), h5s.Loader(stream), ckpt_path=checkpoint)
    return saving.best_model_path


def main() -> None:
    with TemporaryDirectory() as folder:  # Lightning makes all processes use that of the first
        checkpoint = train(folder, max_steps=STOP_AFTER)
        train(folder, checkpoint, max_epochs=EPOCHS)


if __name__ == "__main__":
    main()
