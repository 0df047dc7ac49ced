"""kerchunk references beside remote files: the rows that h5py gives, and few requests."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import fsspec
import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

import h5stream as h5s
from h5stream.cli import app
from tests.remote.faults import Proxy
from tests.remote.nginx import Nginx
from tests.remote.s3 import S3

N_ROWS = 60


def write_file(path: Path) -> dict[str, np.ndarray]:
    """Write a file with chunks that are missing, of strings, in a name with a space, and whole."""
    numbers = np.arange(N_ROWS, dtype=np.int64)
    with h5py.File(path, "w") as file:
        file.create_dataset("row", data=numbers, chunks=(4,), compression="gzip", shuffle=True)
        sparse = file.create_dataset("g/a b", (N_ROWS, 3), "f4", chunks=(5, 2), fillvalue=-1)
        sparse[20:30] = 1
        file["whole"] = numbers * 2
        return {name: file[name][...] for name in ("row", "g/a b", "whole")}


def assert_streams(url: str, layout: Any, expected: dict[str, np.ndarray], **options: Any) -> None:
    for fields in (None, ["g/a b"]):
        stream = h5s.H5Stream(
            url, fields, batch_size=N_ROWS, output="numpy", layout=layout, **options
        )
        (batch,) = stream
        assert set(batch) == set(fields or expected)
        assert all((batch[name] == expected[name]).all() for name in batch)
        assert all(route.direct for route in stream.catalog.routes.values())


@pytest.fixture
def short_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make many files of references, which are fetched at once."""
    monkeypatch.setattr("h5stream.layout.kerchunk.as_parquet._RECORD_ROWS", 2)


@pytest.mark.usefixtures("short_records")
@pytest.mark.parametrize("end", ["refs.parq", "refs.parq/", "refs.parquet", "refs.json"])
def test_references_are_read_over_http(end: str, served: Path, server: Nginx) -> None:
    folder = served / "references"
    folder.mkdir(exist_ok=True)
    expected = write_file(folder / "file.h5")
    url = f"{server.url}/references"
    h5s.index_files(f"{url}/file.h5", folder / end)
    assert_streams(f"{url}/file.h5", f"{url}/{end}", expected)
    assert_streams(f"{url}/file.h5", folder / end, expected)
    assert_streams(f"{url}/file.h5?sig=1", f"{url}/{end}?sig=2", expected)


@pytest.mark.usefixtures("short_records")
def test_references_are_read_from_s3(s3: S3, tmp_path: Path) -> None:
    expected = write_file(tmp_path / "file.h5")
    url = s3.put(tmp_path / "file.h5", "references/file.h5")
    h5s.index_files(url, tmp_path / "refs.parq", storage_options=s3.options())
    for path in (tmp_path / "refs.parq").rglob("*"):
        if path.is_file():
            s3.put(path, f"references/{path.relative_to(tmp_path).as_posix()}")
    layout = url.replace("file.h5", "refs.parq")
    assert_streams(url, layout, expected, storage_options=s3.options())


@pytest.mark.usefixtures("short_records")
def test_references_are_read_from_memory_and_out_of_an_archive(tmp_path: Path) -> None:
    expected = write_file(tmp_path / "file.h5")
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "file.h5"), "/references/file.h5")
    url = "memory://references/file.h5"
    h5s.index_files(url, tmp_path / "refs.parq")
    memory.put(str(tmp_path / "refs.parq"), "/references/refs.parq", recursive=True)
    with zipfile.ZipFile(tmp_path / "refs.zip", "w") as archive:
        for path in (tmp_path / "refs.parq").rglob("*"):
            archive.write(path, path.relative_to(tmp_path))
    try:
        assert_streams(url, "memory://references/refs.parq", expected)
        assert_streams(url, f"zip://refs.parq::file://{tmp_path}/refs.zip", expected)
    finally:
        memory.rm("/references", recursive=True)


def test_only_what_is_wanted_is_asked_for(served: Path, proxy: Proxy) -> None:
    expected = write_file(served / "few.h5")
    h5s.index_files(f"{proxy.url}/few.h5", served / "few.parq")
    before = proxy.requests
    stream = h5s.H5Stream(
        f"{proxy.url}/few.h5", ["row"], output="numpy", layout=f"{proxy.url}/few.parq"
    )
    assert len(stream) == len(expected["row"])
    assert proxy.requests - before == 3  # the index, one file of references, the head of the file


def test_the_index_of_chunks_is_not_walked_through(served: Path, server: Nginx) -> None:
    path, refs = served / "many.h5", served / "many.parq"
    with h5py.File(path, "w") as file:
        numbers = np.arange(2 * 10**5, dtype=np.int64)
        file.create_dataset("row", data=numbers, chunks=(8,), compression="gzip")
    h5s.index_files(f"{server.url}/many.h5", refs, fields=["row"])
    before = len(server.requests())
    assert len(h5s.H5Stream(f"{server.url}/many.h5", ["row"], layout=refs)) == len(numbers)
    fetched = sum(nbytes for _status, nbytes, name in server.requests()[before:])
    with h5py.File(path) as file:
        index = path.stat().st_size - file["row"].id.get_storage_size()
    assert fetched < index / 3


def test_a_server_that_fails_is_no_missing_file(served: Path, proxy: Proxy) -> None:
    write_file(served / "failing.h5")
    h5s.index_files(f"{proxy.url}/failing.h5", served / "failing.parq")
    proxy.script = lambda number: "500"
    with pytest.raises(h5s.FetchError, match="500"):
        len(
            h5s.H5Stream(
                str(served / "failing.h5"), layout=f"{proxy.url}/failing.parq", retry_s=0.01
            )
        )
    proxy.script = lambda number: None
    shutil.rmtree(served / "failing.parq")
    with pytest.raises(h5s.LayoutError, match=r"there is no \.zmetadata"):
        len(h5s.H5Stream(str(served / "failing.h5"), layout=f"{proxy.url}/failing.parq"))


@pytest.mark.parametrize("suffix", ["json", "parq"])
def test_references_of_another_version_are_refused(suffix: str, tmp_path: Path) -> None:
    path, refs = tmp_path / "file.h5", tmp_path / f"refs.{suffix}"
    write_file(path)
    h5s.index_files(path, refs)
    with h5py.File(path, "w") as file:
        file.create_dataset("row", data=np.arange(9), chunks=(4,))
    with pytest.raises(h5s.LayoutError, match="written for another version"):
        len(h5s.H5Stream(str(path), ["row"], layout=refs))
    with pytest.raises(h5s.ConfigError, match="whole"):
        len(h5s.H5Stream(str(path), ["whole"], layout=refs))
    with h5py.File(path, "w") as file:
        file.create_dataset("row", (N_ROWS,), "i8", chunks=(4,))
    with pytest.raises(h5s.LayoutError, match="the file ends at byte"):
        len(h5s.H5Stream(str(path), ["row"], layout=refs))


def test_what_is_said_wrong_of_elements_is_left_to_the_file(tmp_path: Path) -> None:
    path, refs = tmp_path / "file.h5", tmp_path / "refs.json"
    expected = write_file(path)
    h5s.index_files(path, refs)
    for facts in ({"dtype": "<f8"}, {"chunks": [60]}, {"filters": [{"id": "bz2"}]}):
        said = json.loads(refs.read_text())
        array = json.loads(said["refs"]["row/.zarray"])
        said["refs"]["row/.zarray"] = json.dumps({**array, **facts})
        said["refs"] = {
            key: place
            for key, place in said["refs"].items()
            if "chunks" not in facts
            or not key.startswith("row/")
            or key in ("row/.zarray", "row/0")
        }
        (tmp_path / "wrong.json").write_text(json.dumps(said))
        stream = h5s.H5Stream(
            str(path), ["row"], batch_size=N_ROWS, output="numpy", layout=tmp_path / "wrong.json"
        )
        (batch,) = stream
        assert (batch["row"] == expected["row"]).all()


def test_strings_are_left_to_the_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file.create_dataset("text", data=["a", "bc", ""], chunks=(2,))
        file.create_dataset("row", data=np.arange(3), chunks=(2,))
    h5s.index_files(tmp_path / "file.h5", tmp_path / "refs.json", fields=["row"])
    said = json.loads((tmp_path / "refs.json").read_text())
    array = json.loads(said["refs"]["row/.zarray"])
    said["refs"]["text/.zarray"] = json.dumps({**array, "dtype": "|O"})
    said["refs"]["text/0"] = "base64:AAAA"
    (tmp_path / "refs.json").write_text(json.dumps(said))
    stream = h5s.H5Stream(str(tmp_path / "file.h5"), ["text"], layout=tmp_path / "refs.json")
    assert [sample["text"] for sample in stream] == ["a", "bc", ""]
    assert len(h5s.H5Stream(str(tmp_path / "file.h5"), layout=tmp_path / "refs.json")) == 3


def test_the_command_writes_a_folder(tmp_path: Path) -> None:
    expected = write_file(tmp_path / "file.h5")
    path, output = str(tmp_path / "file.h5"), str(tmp_path / "refs.parq")
    done = CliRunner().invoke(app, ["index", path, "-o", output])
    assert done.exit_code == 0
    assert "1 file in" in done.stdout
    assert_streams(path, output, expected)
    done = CliRunner().invoke(app, ["index", path, h5s.example_file(), "-o", output])
    assert done.exit_code == 1
    assert "references are for one file" in done.stderr
