"""Trains on two processes with Lightning, uninterrupted and stopped in several places.

Each process writes the rows that it saw, and its weights, as ``rank<n>.json`` into the folder that
is the only argument.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

import h5stream as h5s
from tests.integration.jobs import BATCHES, EPOCHS, make_stream

MIDDLE = BATCHES + 3
MID_EPOCH, LAST_BATCH = {"every_n_train_steps": MIDDLE}, {"every_n_train_steps": BATCHES}
EPOCH_END = {"every_n_epochs": 1, "save_on_train_epoch_end": True}

STOPS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "mid-epoch": (MID_EPOCH, {"max_steps": MIDDLE}),
    "mid-epoch, workers": (MID_EPOCH, {"max_steps": MIDDLE}),
    "last batch": (LAST_BATCH, {"max_steps": BATCHES}),
    "end of epoch": (EPOCH_END, {"max_epochs": 1}),
}
"""When the checkpoint is saved, and when the run stops."""


class Model(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)
        self.seen: list[list[int]] = []

    def training_step(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        self.seen.append(batch["row"].tolist())
        return self.layer(batch["x"] / 100).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def train(
    folder: Path,
    *,
    workers: int = 0,
    save: dict[str, Any] | None = None,
    checkpoint: str | None = None,
    **options: Any,
) -> tuple[dict[str, Any], str]:
    callbacks = [] if save is None else [ModelCheckpoint(folder / "saved", "{step}", **save)]
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        callbacks=callbacks,
        enable_checkpointing=save is not None,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    lightning.seed_everything(0, verbose=False)
    model = Model()
    trainer.fit(model, h5s.Loader(make_stream(folder), num_workers=workers), ckpt_path=checkpoint)
    result = {"seen": model.seen, "weights": model.layer.weight.flatten().tolist()}
    return result, callbacks[0].best_model_path if callbacks else ""


def main() -> None:
    folder = Path(sys.argv[1])
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    results: dict[str, Any] = {"uninterrupted": train(folder, max_epochs=EPOCHS)[0]}
    for name, (save, stop) in STOPS.items():
        workers = 2 if "workers" in name else 0
        before, checkpoint = train(folder, workers=workers, save=save, **stop)
        rest, _ = train(folder, workers=workers, checkpoint=checkpoint, max_epochs=EPOCHS)
        results[name] = {**rest, "seen": before["seen"] + rest["seen"]}
    rank = torch.distributed.get_rank()
    (folder / f"rank{rank}.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main()
