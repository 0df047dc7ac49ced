"""How fast files are made of many sources and samples, beside what other libraries write.

Sources are 10,000 arrays in `.npy` files, as h5mapper's `create` and LitData's `optimize` take
them; samples are the same arrays in memory, as h5torch registers and MosaicML's MDSWriter takes
them. Everybody gets the same number of workers and no compression; the files are on one disk. A
library that is not installed is named, and left out.

python benchmarks/create.py [--sources 10000] [--repeats 3]
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import h5stream as h5s

SHAPE = (3, 64, 64)
WORKERS = os.cpu_count() or 1


def write_sources(folder: Path, count: int) -> list[str]:
    rng = np.random.default_rng(0)
    paths = []
    for number in range(count):
        path = folder / f"{number % 10}" / f"{number:06}.npy"
        path.parent.mkdir(exist_ok=True)
        np.save(path, rng.integers(0, 256, SHAPE, np.uint8))
        paths.append(str(path))
    return paths


def load(path: str) -> dict[str, Any]:
    """Load a source for `create` and `optimize`."""
    return {"image": np.load(path), "label": int(Path(path).parent.name)}


PLAIN: dict[str, Any] = {"compression": None, "checksum": False}


def by_create(paths: list[str], out: Path) -> None:
    h5s.create(out / "a.h5", paths, load, workers=WORKERS, **PLAIN)


def by_mapper_writer(paths: list[str], out: Path) -> None:
    with h5s.H5mapperWriter(out / "a.h5", **PLAIN) as writer:
        for path in paths:
            found = load(path)
            writer.add(path, {"image": found["image"][None], "label": [found["label"]]})


def by_h5mapper(parallelism: str) -> Callable[[list[str], Path], None]:
    import h5mapper

    class Image(h5mapper.Feature):
        __re__ = r"\.npy$"

        def load(self, source: str) -> Any:
            return np.load(source)[None]

    class Label(Image):
        def load(self, source: str) -> Any:
            return np.array([int(Path(source).parent.name)])

    class Samples(h5mapper.TypedFile):
        image = Image()
        label = Label()

    def run(paths: list[str], out: Path) -> None:
        with contextlib.redirect_stderr(io.StringIO()):
            Samples.create(
                str(out / "a.h5"),
                paths,
                n_workers=WORKERS,
                parallelism=parallelism,
                keep_open=False,
            )

    return run


def by_litdata(paths: list[str], out: Path) -> None:
    import litdata

    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        litdata.optimize(
            fn=load,
            inputs=paths,
            output_dir=str(out / "lit"),
            num_workers=WORKERS,
            chunk_bytes="64MB",
        )


Samples = tuple[np.ndarray, np.ndarray]


def by_writer(samples: Samples, out: Path) -> None:
    with h5s.Writer(out / "a.h5", **PLAIN) as writer:
        writer.extend({"image": samples[0], "label": samples[1]})


def by_writer_one_by_one(samples: Samples, out: Path) -> None:
    with h5s.Writer(out / "a.h5", **PLAIN) as writer:
        for image, label in zip(*samples, strict=True):
            writer.append({"image": image, "label": label})


def by_torch_writer(samples: Samples, out: Path) -> None:
    with h5s.H5torchWriter(out / "a.h5", **PLAIN) as writer:
        writer.register(samples[0], "central")
        writer.register(samples[1], 0, name="label")


def by_h5torch(samples: Samples, out: Path) -> None:
    import h5torch

    with h5torch.File(str(out / "a.h5"), "w") as file:
        file.register(samples[0], "central")
        file.register(samples[1], 0, name="label")
    descriptor = os.open(out / "a.h5", os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def by_mosaic(samples: Samples, out: Path) -> None:
    from streaming import MDSWriter

    columns = {"image": f"ndarray:uint8:{','.join(map(str, SHAPE))}", "label": "int"}
    with MDSWriter(out=str(out / "mds"), columns=columns) as writer:
        for image, label in zip(*samples, strict=True):
            writer.write({"image": image, "label": int(label)})


def measure(action: Callable[[Any, Path], None], given: Any, folder: Path) -> float:
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    os.sync()
    began = time.perf_counter()
    action(given, out)
    return time.perf_counter() - began


def report(turns: dict[str, list[float]], count: int) -> None:
    first = statistics.median(next(iter(turns.values())))
    for name, seconds in turns.items():
        median = statistics.median(seconds)
        print(f"{name:34}{median:9.2f}s{count / median:12,.0f} rows/s{median / first:8.2f}")


def installed(name: str) -> bool:
    try:
        importlib.import_module(name)
    except Exception as error:
        print(f"{name} cannot be imported, and is left out: {error}")
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    of_sources: dict[str, Any] = {
        "h5stream create": by_create,
        "h5stream H5mapperWriter, 1 thread": by_mapper_writer,
    }
    if installed("h5mapper"):
        of_sources["h5mapper create, threads"] = by_h5mapper("threads")
        of_sources["h5mapper create, no workers"] = by_h5mapper("none")
    if installed("litdata"):
        of_sources["LitData optimize"] = by_litdata
    of_samples: dict[str, Any] = {
        "h5stream Writer.extend": by_writer,
        "h5stream Writer.append": by_writer_one_by_one,
        "h5stream H5torchWriter": by_torch_writer,
    }
    if installed("h5torch"):
        of_samples["h5torch register"] = by_h5torch
    if installed("streaming"):
        of_samples["MosaicML MDSWriter"] = by_mosaic
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_sources(folder, options.sources)
        images = np.stack([np.load(path) for path in paths])
        samples = images, np.array([int(Path(path).parent.name) for path in paths])
        for actions, given in ((of_sources, paths), (of_samples, samples)):
            turns: dict[str, list[float]] = {each: [] for each in actions}
            for _ in range(options.repeats):
                for each, action in actions.items():
                    turns[each].append(measure(action, given, folder))
            report(turns, options.sources)
            print()


if __name__ == "__main__":
    main()
