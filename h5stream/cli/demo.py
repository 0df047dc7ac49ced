"""h5stream demo: trains a cell-type classifier on a small real file, streamed and shuffled.

Every cell is either trained on or held out, which a checksum of its barcode decides: the split
is the same in every run, and needs no list of row numbers.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress
from rich.table import Table
from rich.text import Text

from h5stream.cli.screen import errors_in_one_line, make_console
from h5stream.data import example_file
from h5stream.pipes import Pipe, open_files
from h5stream.pipes.explain import explain, format_bytes
from h5stream.stream import H5Stream

__all__ = ["cell_pipe", "class_names", "demo", "is_held_out", "is_trained_on"]

_FIELDS = {"x": "X", "cluster": "obs[louvain]", "barcode": "obs[index]"}
_BATCH_SIZE = 64
_LEARNING_RATE, _DROPOUT = 3e-3, 0.5
_ONE_IN = 5
"""One cell in so many is held out."""


def demo(
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training cells.")] = 20,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Of the shuffling and of the model.")
    ] = 0,
) -> None:
    """Train a classifier of blood cells on an example file, and say how well it does."""
    console = make_console()
    with errors_in_one_line():
        training = cell_pipe(example_file(), is_trained_on, seed=seed)
        testing = cell_pipe(example_file(), is_held_out)
        names = class_names(example_file())
        _print_heading(console, "what the stream will do")
        console.print(str(explain(training)), markup=False, soft_wrap=True)
        _print_heading(console, "training")
        model = _train(console, training, len(names), epochs=epochs, seed=seed)
        trained = training.stats()
        _print_heading(console, "held-out cells")
        _report_accuracy(console, names, *_predict(model, testing))
        _print_heading(console, "stream")
        console.print(f"{_rows_per_second(training):,.0f} rows a second, without the model")
    for name, value in trained.items():
        if value:  # what is zero is of remote files and ragged rows
            console.print(f"{name:<14} {_with_unit(name, value)}")


def is_held_out(columns: dict[str, Any]) -> np.ndarray:
    """Choose the cells that are never trained on, by a checksum of their barcodes."""
    checksums = (zlib.crc32(barcode) for barcode in columns["barcode"].tolist())
    return np.fromiter(checksums, np.uint32) % _ONE_IN == 0


def is_trained_on(columns: dict[str, Any]) -> np.ndarray:
    """Choose all other cells."""
    return ~is_held_out(columns)


def cell_pipe(
    path: str, predicate: Callable[[dict[str, Any]], np.ndarray], *, seed: int | None = None
) -> Pipe:
    """Make the pipe over the cells that a predicate chooses.

    Parameters
    ----------
    path : str
        A file with an expression matrix ``X`` and a table ``obs``.
    predicate : callable
        Columns -> which rows to keep.
    seed : int, optional
        Shuffle by it; None keeps the order of the file.
    """
    pipe = open_files(path, _FIELDS).list_chunks(target_bytes=1)
    if seed is not None:
        pipe = pipe.shuffle_chunks(seed)
    pipe = pipe.read_chunks()
    if seed is not None:
        pipe = pipe.shuffle_rows()
    return pipe.where(predicate).batch(_BATCH_SIZE).collate()


def class_names(path: str) -> list[str]:
    """Read the names of the clusters, in the order of their numbers."""
    categories = H5Stream(path, {"name": "uns/louvain_categories"})
    return [sample["name"] for sample in categories]


def _train(
    console: Console, pipe: Pipe, classes: int, *, epochs: int, seed: int
) -> torch.nn.Module:
    torch.set_num_threads(1)  # plenty for a model this small; the other cores decode
    torch.manual_seed(seed)
    (genes,) = pipe.catalog.columns["x"].row_shape
    model = torch.nn.Sequential(
        torch.nn.Dropout(_DROPOUT),
        torch.nn.Linear(genes, 64),
        torch.nn.ReLU(),
        torch.nn.Dropout(_DROPOUT),
        torch.nn.Linear(64, classes),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=_LEARNING_RATE)
    columns = ("[progress.description]{task.description}", "loss {task.fields[loss]:.3f}")
    with Progress(
        columns[0], BarColumn(), MofNCompleteColumn(), columns[1], console=console
    ) as bar:
        task = bar.add_task("epochs", total=epochs, loss=float("nan"))
        for _epoch in range(epochs):
            bar.update(task, advance=1, loss=_train_epoch(model, optimizer, pipe))
    return model


def _train_epoch(model: torch.nn.Module, optimizer: torch.optim.Optimizer, pipe: Pipe) -> float:
    """Take one step a batch; return the mean loss."""
    losses = []
    for batch in pipe:
        loss = torch.nn.functional.cross_entropy(model(batch["x"]), batch["cluster"].long())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    return float(np.mean(losses))


@torch.no_grad()
def _predict(model: torch.nn.Module, pipe: Pipe) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the true clusters and the model's guesses."""
    model.eval()
    pairs = [(batch["cluster"].long(), model(batch["x"]).argmax(1)) for batch in pipe]
    truth, guess = zip(*pairs, strict=True)
    return torch.cat(truth), torch.cat(guess)


def _print_heading(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold"))


def _report_accuracy(
    console: Console, names: list[str], truth: torch.Tensor, guess: torch.Tensor
) -> None:
    table = Table("cluster", "cells", "right", box=None, header_style="dim")
    for number, name in enumerate(names):
        of_class = truth == number
        right = int((guess[of_class] == number).sum())
        table.add_row(name, str(int(of_class.sum())), str(right))
    console.print(table)
    accuracy = (truth == guess).double().mean().item()
    console.print(f"held-out accuracy {accuracy:.3f} on {len(truth)} cells never trained on")


def _rows_per_second(pipe: Pipe, epochs: int = 10) -> float:
    before, started = pipe.stats()["rows"], time.perf_counter()
    for _epoch in range(epochs):
        for _batch in pipe:
            pass
    return (pipe.stats()["rows"] - before) / (time.perf_counter() - started)


def _with_unit(name: str, value: float) -> str:
    if name.endswith("_bytes"):
        return format_bytes(value)
    return f"{value:.3f} s" if name.endswith("_s") else f"{value:,.0f}"
