"""Streams from servers that answer by random scripts of bad and good answers.

Rows that come must be the right ones, whatever the answers were; else there must be an error of
h5stream, in bounded time and memory. Run ``python -m fuzz.servers [--count N] [--seed SEED]``.
"""

from __future__ import annotations

import random
import sys
import tempfile
import warnings
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import h5stream as h5s
from fuzz.harness import main
from h5stream.fetch.remote import file as remote_file
from tests.contracts.hostile import Asked, hostile, ranged
from tests.contracts.test_hostile_servers import STAMPS, TAG, WAYS, Bad
from tests.streams import rows_of, write_rows

__all__ = ["run_case"]

_ROWS = 400


@cache
def _file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return Path(write_rows(Path(folder) / "a.h5", _ROWS)).read_bytes()


def run_case(seed: int, folder: Path) -> str:
    """Run one script; return what came of it."""
    generator = random.Random(seed)
    bad, data = Bad(_file()), _file()
    rate = generator.choice([0.05, 0.2, 0.5, 1.0])
    first = generator.choice([0, 1, 2, 5])
    ways = generator.sample(WAYS, generator.randrange(1, 5))
    stamps = generator.choice(list(STAMPS.values())) if generator.random() < 0.3 else [TAG]

    def answer(asked: Asked) -> Iterable[bytes]:
        if asked.number >= first and generator.random() < rate:
            return getattr(bad, generator.choice(ways))(asked)
        surplus = b"HTTP/1.1 206 Oh\r\n\r\n" if generator.random() < 0.02 else b""
        return [ranged(data, asked, *(stamps if asked.number >= first else [TAG])) + surplus]

    remote_file._ATTEMPT_S = 0.5
    with hostile(answer) as server, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            stream = h5s.H5Stream(
                f"{server.url}/a.h5", ["row", "x"], batch_size=50, retry_s=0.5, layout=False
            )
            rows = rows_of(stream)
        except h5s.H5StreamError as error:
            return type(error).__name__
    assert rows == list(range(_ROWS)), "wrong rows"
    return "rows"


if __name__ == "__main__":
    sys.exit(bool(main("fuzz.servers", run_case).findings))
