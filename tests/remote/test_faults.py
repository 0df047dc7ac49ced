"""Through a server that breaks its answers: every row as it is, or one clear error."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

import h5stream as h5s
from tests.remote.faults import TRANSIENT, Proxy, at_random
from tests.remote.nginx import Nginx
from tests.streams import write_columns

N_ROWS = 300
QUICK: dict[str, Any] = {
    "storage_options": {"timeout": aiohttp.ClientTimeout(sock_connect=2, sock_read=0.2)},
    "layout": False,
}


@pytest.fixture(scope="module")
def rows(served: Path) -> dict[str, np.ndarray]:
    """Rows of a served file, whose chunks have checksums."""
    generator = np.random.default_rng(0)
    columns = {
        "row": np.arange(N_ROWS),
        "x": generator.integers(0, 256, (N_ROWS, 500), np.uint8),
    }
    write_columns(served / "rows.h5", columns, chunk_rows=5)
    return columns


def stream(proxy: Proxy, **options: Any) -> h5s.Pipe:
    """Stream row chunks of one chunk each, so that there are many requests."""
    sources = h5s.open_files(f"{proxy.url}/rows.h5", ["row", "x"], **{**QUICK, **options})
    chunks = sources.list_chunks(target_bytes=1).shuffle_chunks(0)
    return chunks.read_chunks().shuffle_rows(150).batch(20)


def joined(pipe: h5s.Pipe) -> dict[str, np.ndarray]:
    batches = list(pipe)
    return {name: np.concatenate([batch[name] for batch in batches]) for name in ("row", "x")}


def check_rows(found: dict[str, np.ndarray], rows: dict[str, np.ndarray]) -> None:
    order = np.argsort(found["row"])
    assert found["row"][order].tolist() == rows["row"].tolist()
    assert (found["x"][order] == rows["x"]).all()


@pytest.mark.parametrize("kind", TRANSIENT)
def test_each_fault_that_passes_is_got_over(
    kind: str, proxy: Proxy, rows: dict[str, np.ndarray]
) -> None:
    pipe = stream(proxy)
    pipe.catalog  # noqa: B018 - a corrupted description of the file has no checksum
    proxy.script = lambda number: kind if number % 5 == 2 else None
    check_rows(joined(pipe), rows)
    assert kind in proxy.broken
    assert pipe.stats()["retries"] > 0


def test_ten_epochs_with_all_faults_at_once_give_the_rows_of_a_quiet_run(
    proxy: Proxy, rows: dict[str, np.ndarray]
) -> None:
    quiet, noisy = stream(proxy), stream(proxy)
    quiet.catalog, noisy.catalog  # noqa: B018
    expected = [joined(quiet) for _epoch in range(10)]
    proxy.script = at_random(TRANSIENT, 0.05)
    for epoch in range(10):
        found = joined(noisy)
        assert found["row"].tolist() == expected[epoch]["row"].tolist()
        assert (found["x"] == expected[epoch]["x"]).all()
    assert set(proxy.broken) == set(TRANSIENT)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("503", r"after \d+ attempts: the server answered 503"),
        ("ignores range", "ignores Range"),
        ("403", "credentials are missing, wrong or expired"),
        ("404", "no such object"),
        ("replaced", "found .* 'etag \"another\"', expected"),
        ("grown", "the object was replaced or changed"),
        ("short answer", "the answer is for|bytes came, expected|IncompleteRead|attempts"),
    ],
)
@pytest.mark.usefixtures("rows")
def test_a_fault_that_stays_is_one_error_that_says_what_to_do(
    kind: str, says: str, proxy: Proxy
) -> None:
    pipe = stream(proxy, retry_s=0.5)
    pipe.catalog  # noqa: B018
    proxy.script = lambda number: kind
    with pytest.raises(h5s.FetchError, match=says) as raised:
        list(pipe)
    assert raised.value.url == f"{proxy.url}/rows.h5"
    assert raised.value.byte_range is not None
    assert raised.value.attempts is not None
    assert raised.value.__cause__ is None


@pytest.mark.usefixtures("rows")
def test_corruption_that_stays_names_the_chunk(proxy: Proxy) -> None:
    pipe = stream(proxy)
    pipe.catalog  # noqa: B018
    proxy.script = lambda number: "corrupted"
    with pytest.raises(h5s.DecodeError, match=r"the chunk of '/(x|row)' at \(\d+"):
        list(pipe)


def test_a_file_that_is_replaced_in_mid_epoch_is_an_error_and_never_a_mix(
    server: Nginx, served: Path
) -> None:
    path = served / "replaced.h5"
    write_columns(path, {"row": np.arange(300)}, chunk_rows=1)
    url = f"{server.url}/replaced.h5"
    pipe = h5s.open_files(url, ["row"], layout=False).list_chunks(1).read_chunks(prefetch=1)
    blocks = iter(pipe)
    first = [next(blocks)["row"].tolist() for _ in range(3)]
    other = Path(write_columns(served / "other.h5", {"row": np.arange(300) + 1000}, chunk_rows=1))
    os.utime(other, (0, 0))  # nginx tells versions apart by the second and the size
    other.replace(path)
    with pytest.raises(h5s.FetchError, match="replaced or changed"):
        list(blocks)
    assert first == [[0], [1], [2]]


@pytest.mark.usefixtures("rows")
def test_a_missing_file_is_a_layout_error_at_once(proxy: Proxy) -> None:
    with pytest.raises(h5s.LayoutError, match=r"none\.h5: cannot be opened after 1 attempt"):
        len(h5s.open_files(f"{proxy.url}/none.h5"))
    assert proxy.requests == 1


def test_a_file_that_is_not_hdf5_is_told(served: Path, proxy: Proxy) -> None:
    (served / "text.h5").write_text("no data " * 1000)
    with pytest.raises(h5s.LayoutError, match="not HDF5"):
        len(h5s.open_files(f"{proxy.url}/text.h5"))


def test_an_empty_file_is_told(served: Path, proxy: Proxy) -> None:
    (served / "empty.h5").write_bytes(b"")
    with pytest.raises(h5s.LayoutError, match="not HDF5"):
        len(h5s.open_files(f"{proxy.url}/empty.h5"))
