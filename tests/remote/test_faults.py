"""Through a server that breaks its answers: every row as it is, or one clear error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import h5py
import numpy as np
import pytest

import h5stream as h5s
from tests.remote.faults import TRANSIENT, Proxy, at_random, faulty
from tests.remote.nginx import Nginx
from tests.remote.s3 import S3
from tests.streams import write_columns

N_ROWS = 300
QUICK: dict[str, Any] = {
    "storage_options": {"timeout": aiohttp.ClientTimeout(sock_connect=2, sock_read=0.2)},
    "layout": False,
}
FIELDS: dict[str, Any] = {"row": "row", "x": "x", "tokens": h5s.Ragged("tokens", "offsets")}


@pytest.fixture(scope="module")
def rows(served: Path) -> dict[str, np.ndarray]:
    """Rows of a served file, whose chunks have checksums."""
    generator = np.random.default_rng(0)
    columns = {
        "row": np.arange(N_ROWS),
        "x": generator.integers(0, 256, (N_ROWS, 500), np.uint8),
    }
    path = write_columns(served / "rows.h5", columns, chunk_rows=5)
    lengths = columns["row"] % 5
    with h5py.File(path, "a") as file:
        tokens = columns["row"].repeat(lengths)
        file.create_dataset("tokens", data=tokens, chunks=(8,), compression="gzip", shuffle=True)
        file["offsets"] = np.concatenate([[0], np.cumsum(lengths)])
    return columns


@pytest.fixture(params=["http", "s3"])
def faulty_place(
    request: pytest.FixtureRequest, served: Path, rows: dict[str, np.ndarray]
) -> Iterator[tuple[Proxy, str, dict[str, Any]]]:
    """A proxy, what lies behind it, and the options for that."""
    if request.param == "http":
        proxy: Proxy = request.getfixturevalue("proxy")
        yield proxy, f"{proxy.url}/rows.h5", QUICK
        return
    s3: S3 = request.getfixturevalue("s3")
    url = s3.put(served / "rows.h5", "rows.h5")
    with faulty(f"http://127.0.0.1:{s3.port}") as proxy:
        options = {**s3.options(proxy.port), "config_kwargs": {"read_timeout": 0.5}}
        yield proxy, url, {"storage_options": options, "layout": False}


def stream_of(url: str, *, target_bytes: int = 15_000, lanes: int = 1, **options: Any) -> h5s.Pipe:
    sources = h5s.open_files(url, FIELDS, **options)
    chunks = sources.list_chunks(target_bytes).shuffle_chunks(0).shard(lanes=lanes)
    return chunks.read_chunks().shuffle_rows(150).batch(20)


def stream(proxy: Proxy, **options: Any) -> h5s.Pipe:
    """Stream row chunks of one chunk each, so that there are many requests."""
    return stream_of(f"{proxy.url}/rows.h5", target_bytes=1, **{**QUICK, **options})


def joined(pipe: h5s.Pipe) -> dict[str, np.ndarray]:
    batches = list(pipe)
    for batch in batches:
        for row, tokens in zip(batch["row"].tolist(), batch["tokens"], strict=True):
            assert tokens.tolist() == [row] * (row % 5)
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
    faulty_place: tuple[Proxy, str, dict[str, Any]], served: Path
) -> None:
    proxy, url, options = faulty_place
    quiet, noisy = stream_of(str(served / "rows.h5")), stream_of(url, **options)
    noisy.catalog  # noqa: B018
    expected = [joined(quiet) for _epoch in range(10)]
    proxy.script = at_random(TRANSIENT, 0.05)
    for epoch in range(10):
        found = joined(noisy)
        assert found["row"].tolist() == expected[epoch]["row"].tolist()
        assert (found["x"] == expected[epoch]["x"]).all()
    assert set(proxy.broken) == set(TRANSIENT)


def test_workers_get_over_all_faults_at_once(
    faulty_place: tuple[Proxy, str, dict[str, Any]], rows: dict[str, np.ndarray]
) -> None:
    proxy, url, options = faulty_place
    pipe = stream_of(url, lanes=2, **options)
    pipe.catalog  # noqa: B018
    proxy.script = at_random(TRANSIENT, 0.05)
    # A forked worker would hold the sockets of the proxy, which is of this process, open.
    check_rows(joined(h5s.Loader(pipe, num_workers=2, multiprocessing_context="spawn")), rows)
    assert len(proxy.broken) > 5


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
