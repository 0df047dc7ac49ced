"""Batches a second into a training step on a GPU, and how much of the copy the step hides.

Makes a seeded file of uint8 images (height, width, channel), then prints, measured in turns in this
process and by the median of several rounds:

(a) step: the training step alone, over batches that are on the device already;
(b) loader: the loader alone, its batches thrown away;
(c) in the loop: ``batch.to(device)`` and the conversion in the training loop, as is usual;
(d) to_device: `h5stream.to_device` with the same conversion as its transform;
(e) copy: pinned memory to the device and nothing else, in GB/s: the limit of the bus.

``--trace FILE`` writes a trace of (d) that shows the copies beside the steps, for chrome://tracing.
Without a GPU it runs on the CPU, where nothing can overlap but threads.

Run ``python benchmarks/device.py [--rows N] [--size N] [--batch N] [--trace FILE]``.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

import h5stream as h5s

Ways = dict[str, Callable[[], int]]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def write_images(path: Path, rows: int, size: int) -> None:
    """Write images in chunks of about a megabyte, unfiltered, with a label each."""
    rng = np.random.default_rng(0)
    chunk = max(1, 2**20 // (size * size * 3))
    with h5py.File(path, "w") as file:
        shape = (rows, size, size, 3)
        images = file.create_dataset("images", shape, np.uint8, chunks=(chunk, *shape[1:]))
        for start in range(0, rows, 512):
            count = min(512, rows - start)
            images[start : start + count] = rng.integers(0, 256, (count, *shape[1:]), np.uint8)
        file["labels"] = np.arange(rows) % 10


class Model(torch.nn.Module):
    """A small network of convolutions, wide enough to keep a GPU busy for some milliseconds."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, width, 7, 4, 3),
            torch.nn.ReLU(),
            *(
                layer
                for _ in range(3)
                for layer in (torch.nn.Conv2d(width, width, 3, 1, 1), torch.nn.ReLU())
            ),
            torch.nn.AdaptiveAvgPool2d(1),
            torch.nn.Flatten(),
            torch.nn.Linear(width, 10),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def make_step(device: torch.device, width: int) -> Callable[[dict[str, Any]], None]:
    model = Model(width).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def step(batch: dict[str, Any]) -> None:
        with torch.autocast(device.type, torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(model(batch["images"]), batch["labels"])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def normalize(batch: dict[str, Any]) -> dict[str, Any]:
    """Bytes in rows of pixels -> floats in planes; on whatever device the batch is."""
    images = batch["images"].permute(0, 3, 1, 2).float().div_(255)
    mean, std = (torch.tensor(v, device=images.device).view(3, 1, 1) for v in (MEAN, STD))
    return {**batch, "images": images.sub_(mean).div_(std)}


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def rate(run: Callable[[], int], device: torch.device) -> float:
    """Time a run, and return what it counts a second."""
    synchronize(device)
    begin = time.perf_counter()
    counted = run()
    synchronize(device)
    return counted / (time.perf_counter() - begin)


def train(batches: Iterable[dict[str, Any]], step: Callable[[dict[str, Any]], None]) -> int:
    rows = 0
    for batch in batches:
        step(batch)
        rows += len(batch["labels"])
    return rows


def copy_to(device: torch.device, n_bytes: int) -> Callable[[], int]:
    """Prepare the copy of as many bytes as a batch has, again and again."""
    pinned = torch.empty(n_bytes, dtype=torch.uint8, pin_memory=device.type == "cuda")
    there = torch.empty(n_bytes, dtype=torch.uint8, device=device)

    def copy() -> int:
        for _ in range(50):
            there.copy_(pinned, non_blocking=True)
        return 50 * n_bytes

    return copy


def make_ways(stream: h5s.H5Stream, device: torch.device, width: int) -> Ways:
    step = make_step(device, width)

    def in_the_loop() -> Iterable[dict[str, Any]]:
        for batch in stream:
            yield normalize({key: value.to(device) for key, value in batch.items()})

    there = list(islice(in_the_loop(), 4))
    return {
        "step": lambda: train((there[i % len(there)] for i in range(len(stream))), step),
        "loader": lambda: train(stream, lambda batch: None),
        "in the loop": lambda: train(in_the_loop(), step),
        "to_device": lambda: train(h5s.to_device(stream, device, normalize), step),
    }


def measure(ways: Ways, device: torch.device, rounds: int) -> dict[str, float]:
    """Take turns; the first round warms up."""
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds + 1):
        for way, run in ways.items():
            rates[way].append(rate(run, device))
    for way, (_first, *values) in rates.items():
        spread = (max(values) - min(values)) / statistics.median(values)
        print(f"{way:12} {statistics.median(values):12,.0f} rows/s (spread {spread:.0%})")
    return {way: statistics.median(values[1:]) for way, values in rates.items()}


def trace(run: Callable[[], int], device: torch.device, path: Path) -> None:
    with torch.profiler.profile() as profile:
        run()
        synchronize(device)
    profile.export_chrome_trace(str(path))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--size", type=int, default=224, help="pixels on a side")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--width", type=int, default=64, help="channels of the model")
    parser.add_argument("--threads", type=int, help="that read and decode")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trace", type=Path)
    return parser.parse_args()


def main() -> None:
    options = parse()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "no GPU"
    print(f"{name}; torch {torch.__version__}; batches of {options.batch} of {options.size} pixels")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "images.h5"
        write_images(path, options.rows, options.size)
        stream = h5s.H5Stream(
            path,
            ["images", "labels"],
            batch_size=options.batch,
            shuffle=True,
            drop_last=True,
            threads=options.threads,
        )
        ways = make_ways(stream, device, options.width)
        found = measure(ways, device, options.rounds)
        copied = rate(copy_to(device, options.batch * options.size**2 * 3), device)
        print(f"copy         {copied / 1e9:12.1f} GB/s")
        slower = min(found["step"], found["loader"])
        print(f"to_device over the slower of step and loader: {found['to_device'] / slower:.2f}")
        print(f"to_device over in the loop: {found['to_device'] / found['in the loop']:.2f}")
        if options.trace is not None:
            trace(ways["to_device"], device, options.trace)


if __name__ == "__main__":
    main()
