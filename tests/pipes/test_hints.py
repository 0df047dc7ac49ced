"""Words of other libraries lead to the line to write here, and pipes show what they are."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import h5stream as h5s


@pytest.fixture
def path(tmp_path: Path) -> str:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"] = np.zeros((10, 3), "f4"), np.arange(10)
    return str(tmp_path / "a.h5")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("batchsize", r"did you mean batch_size\?"),
        ("batch_sz", r"did you mean batch_size"),
        ("shufle", r"did you mean shuffle"),
        ("num_workers", r"write Loader\(stream, num_workers="),
        ("collate_fn", "write collate="),
        ("batchsampler", "Dataset"),
        ("workers", r"Loader\(stream, num_workers="),
        ("augment", "write transform="),
        ("num_epochs", "write epochs="),
        ("num_samples", "rows_per_epoch=n"),
        ("oversample", "Balanced"),
        ("limit", r"write subset=slice\(n\)"),
        ("split", "subset="),
        ("paddingvalue", "did you mean padding_value"),
        ("qqq", "it has batch_size"),
    ],
)
def test_arguments_of_others_are_answered(path: str, name: str, said: str) -> None:
    options: dict[str, Any] = {name: 1}
    for error in (h5s.ConfigError, TypeError):
        with pytest.raises(error, match=f"H5Stream has no argument '{name}'; .*{said}"):
            h5s.H5Stream(path, **options)


def test_arguments_of_datasets_are_answered(path: str) -> None:
    with pytest.raises(h5s.ConfigError, match=r"did you mean subset\?"):
        h5s.Dataset(path, subsets=[1])
    with pytest.raises(h5s.ConfigError, match=r"DataLoader\(dataset, batch_size=\.\.\.\)"):
        h5s.Dataset(path, batchsize=1)
    for name in ("batch_size", "shuffle", "num_workers"):
        with pytest.raises(h5s.ConfigError, match=rf"DataLoader\(dataset, {name}=\.\.\.\)"):
            h5s.Dataset(path, **{name: 1})


def test_arguments_of_loaders_are_answered(path: str) -> None:
    stream = h5s.H5Stream(path, batch_size=2)
    for error in (h5s.ConfigError, TypeError):
        with pytest.raises(error, match=r"Loader has no argument 'pinmemory'; did you mean pin_m"):
            h5s.Loader(stream, pinmemory=True)
    assert len(list(h5s.Loader(stream, pin_memory=False, prefetch_factor=None))) == 5


def test_a_stream_tells_its_fields() -> None:
    stream = h5s.H5Stream(h5s.example_file(), {"x": "X", "phase": "obs/phase/codes"})
    assert list(stream.fields) == ["x", "phase"]
    assert stream.fields["phase"].categories == stream.categories["phase"]
    assert stream.fields["x"].categories is None


@pytest.mark.parametrize("source", ["open file", "bytes", "root"])
def test_what_is_no_path_is_answered(path: str, source: str) -> None:
    with h5py.File(path) as file, Path(path).open("rb") as raw:
        sources: dict[str, Any] = {"open file": raw, "bytes": [b"a.h5"], "root": file["/"]}
        said = {"open file": "pass its path or URL", "bytes": "path, a pattern", "root": "a group"}
        with pytest.raises(h5s.ConfigError, match=said[source]):
            h5s.H5Stream(sources[source])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("shuffle", "write shuffle=True"),
        ("take", r"subset=slice\(n\)"),
        ("filter", r"\.where\(predicate\)"),
        ("repeat", "for batch in stream"),
        ("colate", r"did you mean collate\?"),
        ("qqq", "no attribute 'qqq'$"),
    ],
)
def test_methods_of_others_are_answered(path: str, name: str, said: str) -> None:
    stream = h5s.H5Stream(path)
    for error in (h5s.ConfigError, AttributeError):
        with pytest.raises(error, match=said):
            getattr(stream, name)
    assert not hasattr(stream, name)


def test_rows_by_number_are_those_of_a_dataset(path: str) -> None:
    with pytest.raises(h5s.ConfigError, match=r"write|Dataset\(sources, fields\)\[number\]"):
        h5s.H5Stream(path)[3]


def test_streams_can_still_be_copied_and_pickled(path: str) -> None:
    stream = h5s.H5Stream(path, ["x"], batch_size=5)
    for other in (copy.copy(stream), copy.deepcopy(stream), pickle.loads(pickle.dumps(stream))):
        assert len(list(other)) == 2


def test_an_open_file_is_taken_by_its_path(path: str) -> None:
    with h5py.File(path) as file:
        assert len(h5s.H5Stream(file, ["x"])) == len(h5s.Dataset([file], ["x"])) == 10
        with pytest.raises(h5s.ConfigError, match=r"fields=\['x'\]"):
            h5s.H5Stream(file["x"])
    with pytest.raises(h5s.ConfigError, match="is closed; pass the path"):
        h5s.H5Stream(file)
    with (
        h5py.File(path, "a") as file,
        pytest.raises(h5s.ConfigError, match="open for writing; close it"),
    ):
        h5s.H5Stream(file)
    with (
        h5py.File("none.h5", "w", driver="core", backing_store=False) as file,
        pytest.raises(h5s.ConfigError, match=r"writing|not a file on disk"),
    ):
        h5s.H5Stream(file)


def test_a_stream_shows_itself_without_opening_files() -> None:
    stream = h5s.H5Stream("no-such-*.h5", {"x": "images", "y": "labels"}, batch_size=32)
    assert repr(stream) == ("H5Stream('no-such-*.h5', not opened yet; fields: x, y; batch_size=32)")
    assert "'a.h5' and 1 more" in repr(h5s.H5Stream(["a.h5", "b.h5"]))
    assert "x: 'x.h5', y: 'y.h5'" in repr(h5s.H5Stream({"x": "x.h5", "y": "y.h5"}))


def test_a_stream_that_was_opened_shows_its_rows(path: str) -> None:
    stream = h5s.H5Stream([path], shuffle=True, seed=3, batch_size=4, drop_last=True)
    len(stream)
    assert repr(stream) == (
        "H5Stream(1 file, 10 rows; fields: x (float32 3), y (int64); "
        "shuffle_chunks: seed=3; batch_size=4, drop_last=True)"
    )
    assert repr(h5s.Loader(stream)).startswith("Loader(H5Stream(1 file, 10 rows;")
    assert repr(h5s.mix([stream, stream])).startswith("Pipe(mix of 2 streams")
    dataset = h5s.Dataset(path, ["y"])
    assert "not opened yet" in repr(dataset)
    len(dataset)
    assert repr(dataset) == "Dataset(1 file, 10 rows; fields: y (int64))"


def test_urls_show_no_secrets() -> None:
    assert "sig" not in repr(h5s.H5Stream("https://host/a.h5?sig=secret"))


def test_pipes_show_the_functions_in_them(path: str) -> None:
    pipe = h5s.open_files(path).list_chunks().read_chunks().map(np.copy).unbatch()
    assert "map: function=copy" in repr(pipe)
