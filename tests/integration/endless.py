"""Iterates a stream for ever, until somebody stops it.

Started as ``python -m tests.integration.endless FOLDER WORKERS METHOD``; says "running" after the
first batches.
"""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

from torch.utils.data import DataLoader

from tests.integration.cases import make_stream


def main(folder: str, workers: str, method: str) -> None:
    """Iterate epoch after epoch."""
    options = {"multiprocessing_context": method} if int(workers) else {}
    stream = make_stream("one file", Path(folder))
    loader = DataLoader(
        stream,
        batch_size=None,
        num_workers=int(workers),
        persistent_workers=bool(options),
        **options,
    )
    for epoch in count():
        for number, _batch in enumerate(loader):
            if (epoch, number) == (1, 3):
                print("running", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
