"""Damages files, and what is written down of them, byte by byte.

A case takes one of the files that the tests of fields stream, changes some of its bytes, and
streams it. Rows that come without an error must be those that h5py reads, unless bytes were changed
that nothing protects and both read; anything but an error of h5stream is a finding.

Run ``python -m fuzz.files [--count N] [--seed SEED]``.
"""

from __future__ import annotations

import random
import shutil
import sys
import warnings
from collections.abc import Callable
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import h5stream as h5s
from fuzz.harness import main
from tests.contracts.kinds import KINDS, Kind
from tests.golden import GOLDEN
from tests.h5files import DIRECT_PIPELINES, Recipe, native, random_elements, write

__all__ = ["run_case"]

_MOST_BATCHES = 40
_INTERESTING = [0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1]


Make = Callable[[Path], tuple[Path, Any]]
"""Writes a file into a folder; returns its path, and what to ask for."""


@cache
def corpus() -> list[Make]:
    """List what makes files: each kind of field, pipeline of filters, and way of indexing chunks.

    Besides, files of h5torch, h5mapper, AnnData and netCDF. Filters that only plugins of HDF5 undo
    are left out: those run C code that is not ours on whatever a chunk holds.
    """
    kinds = [partial(_make_kind, kind) for kind in KINDS]
    filters = [partial(_make_filtered, name) for name in DIRECT_PIPELINES]
    indexed = [partial(_make_indexed, libver) for libver in ("earliest", "v110", "latest")]
    golden = sorted(path for path in GOLDEN.rglob("*.h5"))
    examples = [h5s.example_file("cells"), h5s.example_file("climate")]
    copies = [partial(_copy, Path(path)) for path in [*golden, *examples]]
    return [*kinds, *kinds, *filters, *(indexed * 5), *copies]


def _make_kind(kind: Kind, folder: Path) -> tuple[Path, Any]:
    return kind.make(folder)[0], {"x": kind.field, "row": "row"}


def _make_filtered(name: str, folder: Path) -> tuple[Path, Any]:
    recipe = Recipe(np.dtype("<i4"), (61, 5), (12, 3), DIRECT_PIPELINES[name])
    with h5py.File(folder / "filters.h5", "w") as file:
        write(file, "x", recipe, random_elements(recipe.shape, recipe.dtype, smooth=True))
    return folder / "filters.h5", ["x"]


def _make_indexed(libver: str, folder: Path) -> tuple[Path, Any]:
    rows = np.arange(900, dtype="<i2").reshape(300, 3)
    with h5py.File(folder / "indexed.h5", "w", libver=libver) as file:
        for name, limit in (("fixed", (300, 3)), ("rows", (None, 3)), ("both", (None, None))):
            options: dict[str, Any] = {"chunks": (7, 2), "maxshape": limit}
            file.create_dataset(name, data=rows, compression="gzip", **options)
            file.create_dataset(f"{name}_plain", data=rows, **options)
        file["flat"] = rows
        file["scalar"] = 3
        file["group/text"] = np.array(["a", "bc"] * 150, object)
        file.attrs["made_by"] = "nobody"
    names = ["fixed", "fixed_plain", "rows", "rows_plain", "both", "both_plain", "flat"]
    return folder / "indexed.h5", names


def _copy(path: Path, folder: Path) -> tuple[Path, Any]:
    shutil.copyfile(path, folder / path.name)
    return folder / path.name, None


def run_case(seed: int, folder: Path) -> str:
    """Run one case; return what came of it."""
    generator = random.Random(seed)
    path, fields = generator.choice(corpus())(folder)
    layout: Path | bool = False
    plain = isinstance(fields, list)
    before = _read(path, fields) if plain else {}
    if generator.random() < 0.15:
        layout = folder / "layouts"
        try:
            h5s.index_files(path, layout)
        except h5s.H5StreamError:
            return "no layout"
        _damage(layout, generator)
    else:
        _damage(path, generator)
    if generator.random() < 0.1:
        fields = None
    options: dict[str, Any] = {"shuffle": True} if generator.random() < 0.3 else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            stream = h5s.H5Stream(
                path, fields, batch_size=7, layout=layout, output="numpy", **options
            )
            batches = list(islice(stream, _MOST_BATCHES))
            str(stream.explain())
        except h5s.H5StreamError as error:
            return type(error).__name__
    if plain and fields and not options and layout is False:
        return _compare(path, fields, batches, before)
    return "rows"


def _read(path: Path, names: list[str], rows: int | None = None) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        return {name: native(file[name][:rows]) for name in names}


def _compare(
    path: Path, names: list[str], batches: list[dict[str, Any]], before: dict[str, np.ndarray]
) -> str:
    """Compare with what h5py reads now, or read before: it may not find a chunk that is there."""
    try:
        now = _read(path, names, 7 * len(batches))
    except (OSError, RuntimeError, KeyError, ValueError, TypeError):
        return "rows that h5py does not read"
    for name in names:
        found = np.concatenate([batch[name] for batch in batches])
        wrong = found != now[name]
        old = before[name][: len(found)]
        if (found.shape, found.dtype) == (old.shape, old.dtype):
            wrong &= found != old
        assert not wrong.any(), f"{name} differs from h5py in {int(wrong.sum())} elements"
    return "rows compared"


def _damage(path: Path, generator: random.Random) -> None:
    """Change some bytes of a file, most often in what describes it."""
    data = bytearray(path.read_bytes())
    for _ in range(generator.choice([1, 1, 1, 2, 4, 16])):
        near = min(len(data), generator.choice([100, 2048, 8192, *[len(data)] * 5]))
        at = generator.randrange(max(1, near))
        way = generator.randrange(8)
        if way == 0:
            data[at] ^= 1 << generator.randrange(8)
        elif way == 1:
            data[at] = generator.randrange(256)
        elif way == 2:
            size = generator.choice([1, 2, 4, 8])
            number = generator.choice(_INTERESTING) % 2 ** (8 * size)
            data[at : at + size] = number.to_bytes(size, "little")
        elif way == 3:
            data[at : at + generator.randrange(1, 64)] = bytes(generator.randrange(1, 64))
        elif way == 4:
            size = generator.randrange(1, 64)
            other = generator.randrange(len(data))
            data[at : at + size] = data[other : other + size]
        elif way == 5 and generator.random() < 0.3:
            del data[at:]
        elif way == 6 and generator.random() < 0.3:
            data += generator.randbytes(generator.randrange(1, 4096))
        else:
            size = generator.choice([4, 8])
            value = int.from_bytes(data[at : at + size], "little")
            value = (value + generator.choice([-1, 1, 8, 256, len(data)])) % 2 ** (8 * size)
            data[at : at + size] = value.to_bytes(size, "little")
        if not data:
            break
    path.write_bytes(data)


if __name__ == "__main__":
    sys.exit(bool(main("fuzz.files", run_case).findings))
