"""Classes that say what files of a kind hold."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from rich.console import Console

import h5stream as h5s
from h5stream.progress_bar import progress_bar


@dataclasses.dataclass
class Waves(h5s.Features):
    rate: int = 10
    gain: float = 1.0
    names: tuple[str, ...] = ()

    @h5s.feature(h5s.RaggedColumn("f4"), compression=None, attributes={"unit": "Pa"})
    def wave(self, source: int) -> Any:
        return None if source < 0 else self.gain * np.arange(source * self.rate)

    @h5s.feature(h5s.DenseColumn((), "f4"), of="wave", compression="gzip", level=9)
    def loudness(self, wave: Any) -> Any:
        return np.max(wave, initial=0)

    def seconds(self, wave: Any) -> float:
        return len(wave) / self.rate


@dataclasses.dataclass
class Labelled(Waves):
    shift: int = 0

    @h5s.feature(h5s.DenseColumn((2,), "f8"), of=("wave", "loudness"), checksum=False)
    def both(self, wave: Any, loudness: Any) -> Any:
        return [len(wave) + self.shift, loudness]


@pytest.mark.parametrize("processes", [False, True])
def test_columns_are_made_of_sources_and_of_other_columns(tmp_path: Path, processes: bool) -> None:
    path = tmp_path / "waves.h5"
    made = Labelled(rate=5, gain=2, names=("a", "b"), shift=1)
    done = made.create(path, [1, -1, 2], workers=2, processes=processes)
    assert done.n_rows == 2
    batch = next(iter(h5s.H5Stream(path, batch_size=2)))
    assert batch["wave_lengths"].tolist() == [5, 10]
    assert batch["loudness"].tolist() == [8, 18]
    assert batch["both"].tolist() == [[6, 8], [11, 18]]
    again = Labelled.open(path)
    assert (again.rate, again.gain, again.shift) == (5, 2, 1)
    assert again.seconds(np.zeros(10)) == 2
    with h5py.File(path) as file:
        assert file["wave"].attrs["unit"] == "Pa"
        assert file["wave/values"].compression is None
        assert file["loudness"].compression == "gzip"
        assert file["loudness"].compression_opts == 9
        assert (file["wave/values"].fletcher32, file["both"].fletcher32) == (True, False)


def test_classes_share_nothing() -> None:
    assert list(Waves.features) == ["wave", "loudness"]
    assert list(Labelled.features) == ["wave", "loudness", "both"]
    assert h5s.Features.features == {}


def test_a_file_of_another_class_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "waves.h5"
    Labelled().create(path, [1])
    with pytest.raises(h5s.LayoutError, match="no parameters of a Waves"):
        Waves.open(path)
    with h5s.Writer(tmp_path / "plain.h5") as writer:
        writer.append({"x": 1})
    with pytest.raises(h5s.LayoutError, match="no parameters of a Waves"):
        Waves.open(tmp_path / "plain.h5")


def test_other_parameters_do_not_go_on_with_a_file(tmp_path: Path) -> None:
    path = tmp_path / "waves.h5"
    with pytest.raises(h5s.WriteError, match="source 'no number'"):
        Waves(rate=3).create(path, [1, 2, "no number"])
    assert not path.exists()
    assert Waves(rate=7).create(path, [1, 2]).n_rows == 2
    lengths = next(iter(h5s.H5Stream(path, batch_size=2)))["wave_lengths"]
    assert lengths.tolist() == [7, 14]


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(h5s.ConfigError, match="feature\\(\\) has no option 'chunks'"):
        h5s.feature(chunks=3)
    with pytest.raises(h5s.ConfigError, match="made of 'b', which is no feature before it"):
        type("Bad", (h5s.Features,), {"a": h5s.feature(of="b")(lambda self, b: b)})
    with pytest.raises(h5s.ConfigError, match="has no features"):
        h5s.Features().create(tmp_path / "a.h5", [1])
    with pytest.raises(h5s.ConfigError, match="'columns' are what the class says"):
        Waves().create(tmp_path / "a.h5", [1], columns={})
    with pytest.raises(h5s.ConfigError, match=r"Waves\.names is .* which cannot be stored"):
        Waves(names={1, 2}).create(tmp_path / "a.h5", [1])  # type: ignore[arg-type]
    half = {"a": h5s.feature()(lambda self, s: 1)}
    some = type("Some", (Waves,), half)
    with pytest.raises(h5s.ConfigError, match="feature 'a' needs its column too"):
        some().create(tmp_path / "a.h5", [1])
    for options, message in (
        ({"x": {"chunk": 3}}, "options of column 'x'"),
        ({"x": {"compression": "best"}}, "compression must be"),
        ({"y": {"compression": None}}, "column_options name 'y'"),
    ):
        with (
            pytest.raises(h5s.ConfigError, match=message),
            h5s.Writer(tmp_path / "b.h5", column_options=options) as writer,
        ):
            writer.append({"x": 1})


def test_a_bar_shows_the_rate_and_what_failed() -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=120)
    with progress_bar("sources", console) as tell:
        tell("creating", 1, 4)
        tell("creating", 4, 4, 2)
    assert "sources/s" in text.getvalue()
    assert "2 failed" in text.getvalue()
    assert "4/4" in text.getvalue()


def test_a_bar_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, progress in enumerate([True, False, None]):
        done = Waves().create(tmp_path / f"{number}.h5", [1, 2], progress=progress)
        assert done.n_rows == 2
        again = h5s.repack(done.path, tmp_path / f"{number}-again.h5", progress=progress)
        assert again.n_rows == 2
    assert capsys.readouterr().out == ""  # no terminal
