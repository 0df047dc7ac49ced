from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from h5stream.errors import DecodeError
from h5stream.opening import open_catalog, routes


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Note the datasets that are read both ways."""
    keys: list[tuple[str, str]] = []
    check = routes._check

    def noted(layout: routes.DatasetLayout, *others: object) -> str | None:
        keys.append((Path(layout.file).name, layout.path))
        return check(layout, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(routes, "_check", noted)
    return keys


def write(path: Path, rows: int = 10, libver: str = "earliest", **options: object) -> str:
    with h5py.File(path, "w", libver=libver) as file:
        file.create_dataset("x", data=np.arange(rows, dtype="i4"), **options)
    return str(path)


def test_one_dataset_of_each_kind_is_read_both_ways(
    tmp_path: Path, checked: list[tuple[str, str]]
) -> None:
    paths = [write(tmp_path / f"{n}.h5", 10, chunks=(4,)) for n in range(5)]
    open_catalog(paths, {"x": "x"})
    assert checked == [("0.h5", "/x")]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({}, id="contiguous"),
        pytest.param({"chunks": (5,)}, id="no edge"),
        pytest.param({"chunks": (10,)}, id="one chunk"),
        pytest.param({"chunks": (4,), "compression": "gzip"}, id="filter"),
        pytest.param({"chunks": (4,), "shuffle": True}, id="another filter"),
        pytest.param({"chunks": (4,), "maxshape": (None,)}, id="can grow"),
        pytest.param({"chunks": (4,), "libver": "latest"}, id="writer"),
    ],
)
def test_what_may_be_read_in_another_way_is_another_kind(
    tmp_path: Path, checked: list[tuple[str, str]], other: dict[str, object]
) -> None:
    paths = [write(tmp_path / "a.h5", chunks=(4,)), write(tmp_path / "b.h5", **other)]
    open_catalog(paths, {"x": "x"})
    assert checked == [("a.h5", "/x"), ("b.h5", "/x")]


def test_sizes_are_checked_of_every_dataset(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{n}.h5", 8, chunks=(4,), fletcher32=True) for n in range(3)]
    with h5py.File(paths[2], "r+") as file:
        file["x"].id.write_direct_chunk((4,), b"\0" * 21)
    with pytest.raises(DecodeError, match="is stored without compression in 21 bytes"):
        open_catalog(paths, {"x": "x"})


def test_a_kind_that_differs_is_tried_again(
    tmp_path: Path, checked: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "_same", lambda found, expected: False)
    paths = [write(tmp_path / f"{n}.h5", 10, chunks=(4,)) for n in range(3)]
    catalog = open_catalog(paths, {"x": "x"})
    assert len(checked) == 3
    assert not any(route.direct for route in catalog.routes.values())
