"""The bar and the numbers of a run, against what was given."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import h5stream as h5s
from tests.streams import rows_of, write_rows

N = 60


@pytest.fixture
def stream(tmp_path: Path) -> h5s.H5Stream:
    return h5s.H5Stream(write_rows(tmp_path / "a.h5", N), batch_size=4, shuffle=True)


def screen() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=120)


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("num_workers", [0, 1])
def test_the_bar_tells_all_batches_and_gives_them(stream: h5s.H5Stream, num_workers: int) -> None:
    console, loader = screen(), h5s.Loader(stream, num_workers=num_workers)
    watched = h5s.progress(loader, "epoch 1", console=console)
    assert len(watched) == 15
    assert sorted(rows_of(watched)) == list(range(N))
    shown = text_of(console)
    assert "epoch 1" in shown
    assert "15/15" in shown
    assert "batches/s, waited" in shown


@pytest.mark.parametrize("with_loader", [False, True])
def test_the_bar_begins_where_the_epoch_goes_on(stream: h5s.H5Stream, with_loader: bool) -> None:
    loader: Any = h5s.Loader(stream) if with_loader else stream
    items = iter(h5s.progress(loader, console=screen()))
    expected = [next(items) for _batch in range(6)] and loader.state_dict()
    loader.load_state_dict(expected)
    console = screen()
    rest = h5s.progress(h5s.to_device(loader, "cpu"), console=console)
    batches = iter(rest)
    next(batches)
    assert "6/15" in text_of(console)
    assert len(list(batches)) == 8
    assert "15/15" in text_of(console)


def test_the_bar_takes_any_iterable_and_keeps_off_what_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert list(h5s.progress(x for x in range(3))) == [0, 1, 2]
    console = screen()
    assert list(h5s.progress([7, 8], console=console)) == [7, 8]
    assert "2/2" in text_of(console)
    assert capsys.readouterr() == ("", "")


def test_a_logger_is_told_every_so_often_over_all_epochs(stream: h5s.H5Stream) -> None:
    seen: list[tuple[str, float, int]] = []
    loader = h5s.Loader(stream)
    watched = h5s.report(loader, lambda *told: seen.append(told), every=10)
    for _epoch in range(2):
        assert sorted(rows_of(watched)) == list(range(N))
    assert sorted({step for _name, _value, step in seen}) == [10, 20, 30]
    names = {name for name, _value, _step in seen}
    assert names == {
        f"h5stream/{name}"
        for name in (
            "rows_per_s",
            "batches_per_s",
            "waited",
            "fetched_mb_per_s",
            "decoded_mb_per_s",
        )
    }
    assert all(0 <= value <= 1 for name, value, _step in seen if name == "h5stream/waited")
    assert watched.state_dict() == loader.state_dict()


def test_what_cannot_be_called_is_refused(stream: h5s.H5Stream) -> None:
    with pytest.raises(h5s.ConfigError, match="report"):
        h5s.report(stream, None)  # type: ignore[arg-type]
    with pytest.raises(h5s.ConfigError, match="every"):
        h5s.report(stream, print, every=0)
