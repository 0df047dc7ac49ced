"""Conventions that other packages publish are found by their entry points."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

import h5stream as h5s
from h5stream.conventions import published
from h5stream.pipes.explain import explain

MODULE = """
import h5stream as h5s
from h5stream.conventions import Convention

def make(file, fields, scale=1):
    return {name: h5s.Dense(name) for name in fields or ["counts"]}

SPECTRA = Convention(
    name="spectra",
    about="counts by channel",
    override="fields=[...] takes single datasets",
    recognises=lambda file: file.attrs.get("format") == "spectra",
    names=lambda file: ["counts", "energy"],
    make=make,
    options=("scale",),
)
GREEDY = Convention("AnnData", "", "", lambda file: True, lambda file: [], make)
NUMBER = 5
"""


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Install a package that publishes conventions, for one test."""

    def install(points: str) -> None:
        info = tmp_path / "site" / "spectra_files-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: spectra-files\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[{published.GROUP}]\n{points}\n")
        (tmp_path / "site" / "spectra_files.py").write_text(MODULE)
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        forget()

    yield install
    monkeypatch.undo()
    forget()


def forget() -> None:
    published.load_published.cache_clear()
    published.published_versions.cache_clear()


@pytest.fixture
def spectra(tmp_path: Path) -> Path:
    path = tmp_path / "spectra.h5"
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "spectra"
        file["counts"], file["energy"] = np.arange(12).reshape(6, 2), np.arange(6.0)
    return path


def test_a_published_convention_is_recognised(publish: object, spectra: Path) -> None:
    assert set(next(iter(h5s.H5Stream(spectra)))) == {"counts", "energy"}
    publish("spectra = spectra_files:SPECTRA")  # type: ignore[operator]
    stream = h5s.H5Stream(spectra)
    assert set(next(iter(stream))) == {"counts"}
    assert "spectra (fields=[...] takes single datasets)" in str(explain(stream))
    named = h5s.H5Stream(spectra, ["energy"], convention="spectra", convention_options={"scale": 2})
    assert [float(row["energy"]) for row in named] == [0, 1, 2, 3, 4, 5]
    with pytest.raises(h5s.ConfigError, match="files of spectra have no option 'colour'"):
        next(iter(h5s.H5Stream(spectra, convention_options={"colour": 1})))


def test_the_conventions_that_are_there_go_first(publish: object, spectra: Path) -> None:
    publish("greedy = spectra_files:GREEDY")  # type: ignore[operator]
    assert set(next(iter(h5s.H5Stream(spectra)))) == {"counts", "energy"}
    assert h5s.H5Stream(h5s.example_file(), ["X"]).catalog.files[0].convention == "AnnData"


@pytest.mark.parametrize(
    ("point", "told"),
    [
        ("spectra_files:NUMBER", "it is of type int, not Convention"),
        ("spectra_files:NOTHING", "AttributeError"),
        ("nowhere:SPECTRA", "ModuleNotFoundError"),
    ],
)
def test_what_cannot_be_loaded_is_left_out_with_a_warning(
    point: str, told: str, publish: object, spectra: Path
) -> None:
    publish(f"broken = {point}\nspectra = spectra_files:SPECTRA")  # type: ignore[operator]
    with pytest.warns(UserWarning, match=rf"'broken' of spectra-files 1.2 is left out: {told}"):
        assert set(next(iter(h5s.H5Stream(spectra)))) == {"counts"}


def test_layouts_are_kept_for_the_conventions_that_are_installed(publish: object) -> None:
    assert published.published_versions() == ()
    publish("spectra = spectra_files:SPECTRA")  # type: ignore[operator]
    assert published.published_versions() == ("spectra spectra-files 1.2",)
