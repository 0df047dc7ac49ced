"""Iterates a stream for ever, until somebody stops it.

Started as ``python -m tests.integration.endless FOLDER LOADER WORKERS METHOD``; says "running" and
the ids of its workers after the first batches.
"""

from __future__ import annotations

import multiprocessing
import sys
from itertools import count
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

import h5stream as h5s
from tests.integration.cases import make_stream


def main(folder: str, loader: str, workers: str, method: str) -> None:
    """Iterate epoch after epoch."""
    options: dict[str, Any] = {"num_workers": int(workers)}
    if options["num_workers"]:
        options |= {"multiprocessing_context": method, "persistent_workers": True}
    stream = make_stream("one file", Path(folder))
    batches: DataLoader[Any]
    if loader == "Loader":
        batches = h5s.Loader(stream, **options)
    else:
        batches = DataLoader(stream, batch_size=None, **options)
    for epoch in count():
        for number, _batch in enumerate(batches):
            if (epoch, number) == (1, 3):
                workers_alive = multiprocessing.active_children()
                print("running", *(worker.pid for worker in workers_alive), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
