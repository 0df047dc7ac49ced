"""What holds for every convention."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

import h5stream as h5s
from h5stream.conventions import Convention, all_conventions, recognise
from h5stream.errors import ConfigError, LayoutError
from tests.golden import GOLDEN

FILES = sorted(GOLDEN.glob("*/*.h5"))
EACH = pytest.mark.parametrize("convention", all_conventions(), ids=lambda c: c.name)


def test_names_are_unique() -> None:
    assert len({convention.name for convention in all_conventions()}) == len(all_conventions())


@EACH
def test_options_are_those_of_the_function(convention: Convention) -> None:
    parameters = list(inspect.signature(convention.make).parameters)
    assert parameters == ["file", "fields", *convention.options]


@pytest.mark.parametrize("path", [*FILES, Path(h5s.example_file())], ids=lambda p: p.name)
def test_at_most_one_convention_recognises_a_file(path: Path) -> None:
    with h5py.File(path) as file:
        found = [convention.name for convention in all_conventions() if convention.recognise(file)]
    assert len(found) == (path.name != "images.h5")


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_default_fields_are_among_the_names(path: Path) -> None:
    with h5py.File(path) as file:
        convention = recognise(file)
        if convention is not None:
            made = convention.default_fields(file)
            assert set(made) <= set(convention.field_names(file))
            assert list(convention.default_fields(file, list(made))) == list(made)


@EACH
def test_unknown_options_are_refused(convention: Convention) -> None:
    with (
        h5py.File(GOLDEN / "blog" / "images.h5") as file,
        pytest.raises(ConfigError, match=f"{convention.name} have no option 'colour'"),
    ):
        convention.default_fields(file, colour="red")


def broken(kind: type[Exception]) -> Callable[..., bool]:
    def fail(*args: object, **options: object) -> bool:
        raise kind("Unable to open object")

    return fail


@pytest.mark.parametrize("kind", [RuntimeError, OSError, KeyError, ValueError])
def test_damaged_files_are_not_recognised_and_refused(kind: type[Exception]) -> None:
    fail = broken(kind)
    convention = Convention("x", "", "", fail, fail, fail)
    with h5py.File(GOLDEN / "blog" / "images.h5") as file:
        assert not convention.recognise(file)
        with pytest.raises(LayoutError, match=r"images.h5: .* damaged"):
            convention.field_names(file)
        with pytest.raises(LayoutError, match=r"images.h5: .* damaged"):
            convention.default_fields(file)
