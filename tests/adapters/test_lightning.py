"""The data module, in a trainer that stops and is resumed from its checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

import h5stream as h5s
from tests.streams import rows_of, write_rows

N = 60

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*`IterableDataset` has `__len__`"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


class Sees(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)
        self.seen: list[int] = []
        self.validated: list[int] = []

    def training_step(self, batch: Any, number: int) -> torch.Tensor:
        self.seen += batch["row"].tolist()
        return self.layer(batch["x"]).sum()

    def validation_step(self, batch: Any, number: int) -> None:
        self.validated += batch["row"].tolist()

    def test_step(self, batch: Any, number: int) -> None:
        self.validated += batch["row"].tolist()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 1e-9)


def data(path: str, **options: Any) -> Any:
    splits = {"train": slice(0, 40), "validation": slice(40, 52), "test": slice(52, None)}
    return h5s.adapters.HDF5DataModule(path, splits=splits, batch_size=4, **options)


def trainer(folder: Path, **options: Any) -> Any:
    return lightning.Trainer(
        accelerator="cpu",
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )


@pytest.fixture
def path(tmp_path: Path) -> str:
    return write_rows(tmp_path / "a.h5", N)


def test_each_part_has_its_rows(path: str) -> None:
    module = data(path)
    assert sorted(rows_of(module.train_dataloader())) == list(range(40))
    assert rows_of(module.val_dataloader()) == list(range(40, 52))
    assert rows_of(module.test_dataloader()) == list(range(52, N))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_run_goes_on_from_its_checkpoint(tmp_path: Path, path: str, num_workers: int) -> None:
    whole = Sees()
    trainer(tmp_path, max_epochs=2, enable_checkpointing=False).fit(whole, data(path))
    assert sorted(whole.seen) == sorted([*range(40)] * 2)
    assert whole.validated == [*range(40, 52)] * 2
    first = Sees()
    saving = ModelCheckpoint(tmp_path / "saved", every_n_train_steps=14)
    stopped = trainer(tmp_path, max_steps=14, callbacks=[saving])
    stopped.fit(first, data(path, num_workers=num_workers))
    second = Sees()
    trainer(tmp_path, max_epochs=2, enable_checkpointing=False).fit(
        second, data(path, num_workers=num_workers), ckpt_path=saving.best_model_path
    )
    assert first.seen + second.seen == whole.seen
    trainer(tmp_path, enable_checkpointing=False).test(second, data(path), verbose=False)
    assert second.validated[-8:] == list(range(52, N))


def test_wrong_splits_are_refused(path: str) -> None:
    make: Any = h5s.adapters.HDF5DataModule
    with pytest.raises(h5s.ConfigError, match="business of splits"):
        make(path, splits=h5s.Split(0.1), batch_size=4, subset=slice(3))
    with pytest.raises(h5s.ConfigError, match="not \\['val'\\]"):
        make(path, splits={"val": slice(3)}, batch_size=4)
    with pytest.raises(h5s.ConfigError, match="no 'test', only"):
        make(path, splits={"train": None}, batch_size=4).test_dataloader()


def test_evaluation_takes_options_of_its_own(path: str) -> None:
    module = data(path, rows_per_epoch=8, evaluation={"batch_size": 12})
    assert len(module.train_dataloader()) == 2
    assert len(module.val_dataloader()) == 1
