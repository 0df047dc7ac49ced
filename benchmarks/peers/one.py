"""One measurement, in a process and a virtual environment of its own: prints a line of JSON.

python -m benchmarks.peers.one PEER CASE SOURCE FOLDER prepare
python -m benchmarks.peers.one PEER CASE SOURCE FOLDER WORKERS SECONDS
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.peers.cases import CASES

BATCH_SIZE = 128
_WARM_UP = 2


def rows_of(batch: Any) -> int:
    """Count the rows of a batch: a dict of tensors."""
    return len(next(iter(batch.values())))


def measure(peer: Any, case: Any, source: Path, folder: Path, workers: int, seconds: float) -> Any:
    """Stream for some seconds after the first batches, over as many epochs as that takes."""
    loader = peer.batches(source, folder, batch_size=BATCH_SIZE, workers=workers, case=case)
    rows, seen, began, took = 0, 0, time.perf_counter(), 0.0
    while True:
        before = seen
        for batch in loader:
            seen += 1
            if seen <= _WARM_UP:
                began = time.perf_counter()
                continue
            rows += rows_of(batch)
            took = time.perf_counter() - began
            if took > seconds:
                return {"rows": rows, "seconds": took}
        if seen == before:
            raise SystemExit("an epoch had no batch")


def main() -> None:
    name, case, source, folder, *what = sys.argv[1:]
    peer = importlib.import_module(f"benchmarks.peers.with_{name}")
    packages = [re.split(r"[<>=\[]", each)[0] for each in peer.REQUIREMENTS] or [name]
    versions = {each: importlib.metadata.version(each) for each in packages}
    if what == ["prepare"]:
        began = time.perf_counter()
        peer.prepare(Path(source), Path(folder))
        size = sum(p.stat().st_size for p in Path(folder).rglob("*") if p.is_file())
        told = {"seconds": time.perf_counter() - began, "bytes": size, "versions": versions}
    else:
        told = measure(peer, CASES[case], Path(source), Path(folder), int(what[0]), float(what[1]))
    print("RESULT " + json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
