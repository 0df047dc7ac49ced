"""The same rows from wherever a file lies: a server, memory, an archive; in whatever process."""

from __future__ import annotations

import asyncio
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import h5py
import numpy as np
import pytest
from aiohttp import web
from torch.utils.data import DataLoader

import h5stream as h5s
from tests.h5files import DIRECT_PIPELINES, H5PY_PIPELINES, Recipe, random_elements, write
from tests.remote import async_memory  # noqa: F401 - registers a file system
from tests.remote.faults import Proxy, faulty
from tests.remote.gcs import PRIVATE, Gcs
from tests.remote.nginx import Nginx
from tests.remote.s3 import S3
from tests.streams import rows_of, write_rows

N_ROWS = 60
Place = tuple[str, dict[str, Any]]
"""A folder's URL, and the storage options for it."""


@pytest.fixture(scope="module")
def folder(served: Path) -> Path:
    """Files of rows that go on from each other, and one with many kinds of storage."""
    made = served / "places"
    made.mkdir()
    for number in (1, 2, 10):
        with h5py.File(
            write_rows(made / f"part-{number}.h5", N_ROWS, first=number * 1000), "a"
        ) as f:
            fields_of_all_kinds(f)
    with h5py.File(made / "kinds.h5", "w", userblock_size=512) as file:
        for name, filters in (DIRECT_PIPELINES | H5PY_PIPELINES).items():
            recipe = Recipe(np.dtype("<i4"), (40, 6), (7, 6), filters)
            write(file, name, recipe, random_elements((40, 6), recipe.dtype, smooth=True))
        file["contiguous"] = np.arange(40)
        file["big endian"] = np.arange(40, dtype=">f4")
        file["small"] = np.arange(40)
        file.create_dataset("unwritten", (40, 2), "f4", chunks=(5, 2), fillvalue=7)
    return made


@pytest.fixture(scope="module", params=["http", "s3", "gs", "memory", "asyncmemory", "zip"])
def place(request: pytest.FixtureRequest, folder: Path, tmp_path_factory: Any) -> Iterator[Place]:
    files = sorted(folder.glob("*.h5"))
    if request.param == "http":
        server: Nginx = request.getfixturevalue("server")
        yield f"{server.url}/places", {}
    elif request.param == "s3":
        s3: S3 = request.getfixturevalue("s3")
        for file in files:
            s3.put(file, f"places/{file.name}")
        yield "s3://bucket/places", s3.options()
    elif request.param == "gs":
        gcs: Gcs = request.getfixturevalue("gcs")
        for file in files:
            gcs.put(file, f"places/{file.name}")
        yield "gs://bucket/places", gcs.options()
    elif request.param.endswith("memory"):
        filesystem = fsspec.filesystem("memory")
        for file in files:
            filesystem.pipe(f"/{request.param}/{file.name}", file.read_bytes())
        yield f"{request.param}:///{request.param}", {}
        filesystem.rm(f"/{request.param}", recursive=True)
    else:
        archive = tmp_path_factory.mktemp("zip") / "all.zip"
        with zipfile.ZipFile(archive, "w") as packed:
            for file in files:
                packed.write(file, file.name)
        yield f"zip://{{}}::file://{archive}", {}


def url_of(place: Place, name: str) -> str:
    base = place[0]
    return base.format(name) if "{}" in base else f"{base}/{name}"


def stream(place: Place, name: str, **options: Any) -> h5s.H5Stream:
    options = {"batch_size": 7, "layout": False, **options}
    return h5s.H5Stream(url_of(place, name), storage_options=place[1], **options)


def test_every_kind_of_storage_is_read_as_h5py_reads_it(place: Place, folder: Path) -> None:
    with h5py.File(folder / "kinds.h5") as file:
        names = list(file)
        batches = list(stream(place, "kinds.h5", fields=names, output="numpy"))
        for name in names:
            found = np.concatenate([batch[name] for batch in batches])
            assert (found == file[name][...]).all(), name


def test_a_pattern_gives_its_files_in_natural_order(place: Place) -> None:
    pipe = stream(place, "part-*.h5", fields=["row"])
    starts = [rows_of(pipe)[n * N_ROWS] for n in range(3)]
    assert starts == [1000, 2000, 10_000]


def test_many_files_are_opened_at_once_over_one_connection(folder: Path, server: Nginx) -> None:
    urls = [f"{server.url}/places/part-{n}.h5?copy={c}" for c in range(10) for n in (1, 2, 10)]
    pipe = h5s.open_files(urls, ["row"], layout=False)
    assert [file.n_rows for file in pipe] == [N_ROWS] * 30
    assert len({file.path for file in pipe}) == 30


def test_shuffled_epochs_are_those_of_the_local_files(place: Place, folder: Path) -> None:
    options: dict[str, Any] = {"shuffle": True, "seed": 3, "fields": ["row", "x"]}
    local = h5s.H5Stream(str(folder / "part-*.h5"), batch_size=7, **options)
    remote = stream(place, "part-*.h5", **options)
    for _epoch in range(2):
        assert rows_of(remote) == rows_of(local)


def test_a_pattern_that_matches_nothing_is_told(place: Place) -> None:
    with pytest.raises(h5s.ConfigError, match="no file matches"):
        len(stream(place, "none-*.h5"))


def test_a_file_that_is_not_there_is_told(place: Place) -> None:
    with pytest.raises(h5s.LayoutError, match="no such object"):
        len(stream(place, "none.h5"))


CONTEXTS = pytest.mark.parametrize("context", ["fork", "spawn", "forkserver"])


@pytest.fixture(params=["http", "s3", "gs"])
def reachable(request: pytest.FixtureRequest, folder: Path) -> Place:
    """A place that other processes can reach."""
    if request.param == "http":
        return f"{request.getfixturevalue('server').url}/places", {}
    if request.param == "gs":
        gcs: Gcs = request.getfixturevalue("gcs")
        gcs.tokens.add("t0ken")
        for file in folder.glob("part-*.h5"):
            gcs.put(file, f"places/{file.name}", PRIVATE)
        return f"gs://{PRIVATE}/places", gcs.options(token=gcs.user("t0ken"))
    s3: S3 = request.getfixturevalue("s3")
    for file in folder.glob("part-*.h5"):
        s3.put(file, f"places/{file.name}")
    return "s3://bucket/places", s3.options()


def fields_of_all_kinds(file: h5py.File) -> None:
    """Add ragged and sparse rows, compressed, that are told by the number of the row."""
    row = file["row"][...]
    lengths = row % 5
    tokens = row.repeat(lengths)
    file.create_dataset("tokens", data=tokens, chunks=(9,), compression="gzip", fletcher32=True)
    file["offsets"] = np.concatenate([[0], np.cumsum(lengths)])
    matrix = file.create_group("matrix")
    matrix.create_dataset("data", data=tokens.astype("f4"), chunks=(11,), compression="lzf")
    matrix["indices"] = np.concatenate([np.arange(n) for n in lengths])
    matrix["indptr"] = file["offsets"]
    matrix.attrs["shape"] = (len(row), 5)


FIELDS: dict[str, Any] = {
    "row": "row",
    "x": "x",
    "tokens": h5s.Ragged("tokens", "offsets"),
    "matrix": h5s.Sparse("matrix", dense=True),
}


def checked_rows(batches: Any) -> list[int]:
    """Return the numbers of rows, after a look at all that is told by them."""
    numbers: list[int] = []
    for batch in batches:
        for at, row in enumerate(np.asarray(batch["row"]).tolist()):
            assert batch["x"][at][0] == row
            assert list(batch["tokens"][at]) == [row] * (row % 5)
            assert batch["matrix"][at].tolist() == [row] * (row % 5) + [0] * (5 - row % 5)
            numbers.append(row)
    return numbers


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_two_workers_stop_and_go_on_as_if_nothing_had_been(
    reachable: Place, folder: Path, context: str, tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "fields": FIELDS,
        "shuffle": True,
        "buffer_size": 30,
        "lanes": 2,
        "output": "numpy",
    }
    local = h5s.H5Stream(str(folder / "part-*.h5"), batch_size=7, **options)
    expected = checked_rows(local)

    def loader() -> h5s.Loader:
        pipe = stream(reachable, "part-*.h5", cache_dir=tmp_path / "cache", **options)
        len(pipe)  # the parent reads before its workers do
        return h5s.Loader(pipe, num_workers=2, multiprocessing_context=context)

    stopped = loader()
    batches = iter(stopped)
    before = checked_rows(next(batches) for _ in range(9))
    state = stopped.state_dict()
    del batches, stopped
    resumed = loader()
    resumed.load_state_dict(state)
    assert before + checked_rows(resumed) == expected
    assert list((tmp_path / "cache" / "chunks").rglob("*"))


def test_ranks_with_workers_share_the_rows(reachable: Place) -> None:
    found: list[int] = []
    for rank in range(2):
        options: dict[str, Any] = {"rank": rank, "world_size": 2, "uneven": "keep"}
        pipe = stream(reachable, "part-*.h5", fields=FIELDS, output="numpy", **options)
        found += checked_rows(h5s.Loader(pipe, num_workers=2, multiprocessing_context="fork"))
    assert sorted(found) == [n * 1000 + row for n in (1, 2, 10) for row in range(N_ROWS)]


@CONTEXTS
def test_two_workers_stream_every_row_once_after_their_parent_did(
    reachable: Place, context: str
) -> None:
    pipe = stream(reachable, "part-*.h5", fields=["row", "x"], shuffle=True)
    assert len(rows_of(pipe)) == 3 * N_ROWS
    loader = DataLoader(pipe, batch_size=None, num_workers=2, multiprocessing_context=context)
    found = rows_of(loader)
    assert sorted(found) == sorted(n * 1000 + row for n in (1, 2, 10) for row in range(N_ROWS))
    assert sorted(rows_of(pipe)) == sorted(found)


def test_a_faulty_s3_gives_every_row(s3: S3, folder: Path) -> None:
    url = s3.put(folder / "part-1.h5", "faulty/part-1.h5")
    with faulty(f"http://127.0.0.1:{s3.port}") as proxy:
        options = {**s3.options(proxy.port), "config_kwargs": {"read_timeout": 0.5}}
        pipe = h5s.open_files(url, ["row", "x"], storage_options=options, layout=False)
        pipe = pipe.list_chunks(1).read_chunks()
        len(pipe)
        kinds = ("reset", "500", "503", "short body", "short answer", "ignores range", "corrupted")
        proxy.script = lambda number: kinds[number // 2 % len(kinds)] if number % 2 else None
        assert rows_of(pipe) == list(range(1000, 1000 + N_ROWS))
        assert set(proxy.broken) == set(kinds)


def test_an_object_of_s3_that_is_replaced_is_an_error(s3: S3, folder: Path) -> None:
    url = s3.put(folder / "part-1.h5", "replaced.h5")
    pipe = h5s.open_files(url, ["row"], storage_options=s3.options(), layout=False)
    pipe = pipe.list_chunks(1).read_chunks()
    len(pipe)
    s3.put(folder / "part-2.h5", "replaced.h5")
    with pytest.raises(h5s.FetchError, match="replaced or changed"):
        list(pipe)


def test_wrong_credentials_are_told_without_them(s3: S3, folder: Path) -> None:
    url = s3.put(folder / "part-1.h5", "secret.h5")
    with faulty(f"http://127.0.0.1:{s3.port}") as proxy:
        proxy.script = lambda number: "403"
        with pytest.raises(h5s.FetchError, match="credentials are missing, wrong") as raised:
            len(h5s.open_files(url, storage_options=s3.options(proxy.port), layout=False))
    assert s3.secret not in str(raised.value)


class Expired(Proxy):
    """Refuses all once told so, until four calls wait for an answer; those as well."""

    refusing = False
    refused = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if not self.refusing:
            return await super().answer(request)
        if "X-Amz-Signature" not in request.query:
            self.refused += 1
            self.refusing = self.refused < 4
            while self.refusing:
                await asyncio.sleep(0.01)
        return web.Response(status=403)


def test_credentials_of_s3_that_expire_while_much_is_asked_for_are_renewed(
    s3: S3, folder: Path
) -> None:
    url = s3.put(folder / "part-1.h5", "expiring.h5")
    with faulty(f"http://127.0.0.1:{s3.port}", Expired) as proxy:
        options = s3.options(proxy.port)
        pipe = h5s.open_files(url, ["row", "x"], storage_options=options, layout=False, requests=8)
        pipe = pipe.list_chunks(1).read_chunks(prefetch=32)
        len(pipe)
        proxy.refusing = True
        assert rows_of(pipe) == list(range(1000, 1000 + N_ROWS))
        assert proxy.refused == 4


@pytest.mark.parametrize("protocol", ["memory", "asyncmemory"])
def test_a_file_whose_answers_tell_no_version_is_not_mixed_with_another(
    protocol: str, folder: Path
) -> None:
    filesystem = fsspec.filesystem("memory")
    filesystem.pipe("/replaced.h5", (folder / "part-1.h5").read_bytes())
    url = f"{protocol}:///replaced.h5"
    pipe = h5s.open_files(url, ["row"], layout=False).list_chunks(1).read_chunks()
    len(pipe)
    filesystem.pipe("/replaced.h5", (folder / "part-2.h5").read_bytes())
    with pytest.raises(h5s.FetchError, match="replaced or changed"):
        list(pipe)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nosuch://host/a.h5", "the protocol 'nosuch' is not known"),
        ("oci://bucket/a.h5", r"the driver for oci:// is not installed: .*ocifs"),
    ],
)
def test_a_missing_driver_is_named(url: str, says: str) -> None:
    with pytest.raises(h5s.ConfigError, match=says):
        len(h5s.open_files(url))


def test_options_that_do_not_fit_are_told_without_secrets() -> None:
    options = {"nonsense": "hunter2hunter2", "default_fill_cache": object()}
    with pytest.raises(h5s.ConfigError, match="storage options") as raised:
        len(h5s.open_files("s3://bucket/a.h5", storage_options={**options, "config_kwargs": 3}))
    assert "hunter2" not in str(raised.value)


def test_a_missing_archive_is_told() -> None:
    with pytest.raises(h5s.LayoutError, match=r"none\.zip: there is no such archive"):
        len(h5s.open_files("zip://a.h5::memory://none.zip"))


def test_a_remote_file_never_leads_to_a_local_one(tmp_path: Path) -> None:
    target = write_rows(tmp_path / "target.h5", 8)
    path = tmp_path / "leads.h5"
    with h5py.File(path, "w") as file:
        file["row"] = np.arange(3)
        file["away"] = h5py.ExternalLink(target, "row")
        file["soft"] = h5py.SoftLink("/away")
        layout = h5py.VirtualLayout((8,), "i8")
        layout[:] = h5py.VirtualSource(target, "row", (8,))
        file.create_virtual_dataset("virtual", layout)
    filesystem = fsspec.filesystem("memory")
    filesystem.pipe("/leads.h5", path.read_bytes())
    for name in ("away", "soft"):
        with pytest.raises(h5s.ConfigError, match="leads to another file"):
            len(h5s.open_files("memory://leads.h5", [name]))
    with pytest.raises(h5s.UnsupportedError, match="virtual, over other files"):
        len(h5s.open_files("memory://leads.h5", ["virtual"]))
    assert set(h5s.open_files("memory://leads.h5").catalog.columns) == {"row"}
