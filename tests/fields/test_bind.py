from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from h5stream.errors import ConfigError, UnsupportedError
from h5stream.fields import FileFields, Unbound, bind, default_names
from h5stream.layout import DatasetLayout, FileLayout, Storage


def dataset(path: str, shape: tuple[int, ...], dtype: Any = "f4", **facts: Any) -> DatasetLayout:
    return DatasetLayout("f.h5", path, shape, np.dtype(dtype), Storage.CONTIGUOUS, **facts)


def unbound(names: dict[str, str], *layouts: DatasetLayout, path: str = "f.h5") -> Unbound:
    found = {layout.path.strip("/"): layout for layout in layouts}
    asked = {name: found[name.strip("/").split("[")[0]] for name in names.values()}
    return Unbound(FileLayout(path, asked), names)


def bound(names: dict[str, str], *layouts: DatasetLayout) -> FileFields:
    (file,) = bind([unbound(names, *layouts)])
    return file


TABLE = np.dtype([("a", ">i4"), ("p", [("x", "<f4"), ("v", "<f8", (2,))])])


def test_fields_keep_their_names_and_order() -> None:
    file = bound({"b": "y", "a": "/x"}, dataset("/x", (5, 2)), dataset("/y", (5,)))
    assert list(file.fields) == ["b", "a"]
    assert [field.layout.path for field in file.fields.values()] == ["/y", "/x"]
    assert file.n_rows == 5


def test_the_heaviest_field_has_the_most_bytes_a_row() -> None:
    file = bound({"a": "x", "b": "y"}, dataset("/x", (5, 9), "u1"), dataset("/y", (5,), "f8"))
    assert file.heaviest is file.fields["a"]


def test_members_in_brackets_choose_a_part_of_a_compound() -> None:
    names = {"a": "t[a]", "x": "t[p][x]", "v": "/t[p][v]", "all": "t"}
    fields = bound(names, dataset("/t", (5,), TABLE)).fields
    assert [field.members for field in fields.values()] == [("a",), ("p", "x"), ("p", "v"), ()]


def test_a_path_with_brackets_of_its_own_is_that_dataset() -> None:
    layout = dataset("/x[0]", (5,))
    (file,) = bind([Unbound(FileLayout("f.h5", {"x[0]": layout}), {"x": "x[0]"})])
    assert file.fields["x"].members == ()


def test_fields_of_unequal_rows_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"f\.h5: .* 'a' has 5 rows, 'b' has 6 rows"):
        bound({"a": "x", "b": "y"}, dataset("/x", (5,)), dataset("/y", (6,)))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param("t[z]", "no member 'z'; its type has a, p", id="unknown"),
        pytest.param("t[p][z]", "no member 'z'; its type has x, v", id="unknown within"),
        pytest.param("t[a][x]", "no member 'x'; its type has no members", id="of a number"),
    ],
)
def test_members_that_are_not_there_are_refused(name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        bound({"x": name}, dataset("/t", (5,), TABLE))


def test_elements_that_cannot_be_streamed_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="'/x' cannot be a field: its elements have"):
        bound({"x": "x"}, dataset("/x", (5,), object, refused="its elements have no length"))


def test_a_dataset_without_sample_axis_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be a field: it is a scalar"):
        bound({"x": "x"}, dataset("/x", (), refused="it is a scalar"))


def test_default_names_share_the_length_of_the_largest_dataset() -> None:
    layouts = {
        "small": dataset("/small", (9, 1)),
        "images": dataset("/images", (5, 100)),
        "labels": dataset("/labels", (5,)),
        "texts": dataset("/texts", (5,), object, refused="variable length"),
    }
    assert default_names(layouts) == ["images", "labels"]


def test_there_are_no_default_names_without_datasets() -> None:
    with pytest.raises(ConfigError, match="name the fields"):
        default_names({"x": dataset("/x", (), refused="it is a scalar")})


@pytest.mark.parametrize("order", ["<", ">"])
def test_files_agree_whatever_their_byte_order(order: str) -> None:
    files = [
        unbound({"x": "x"}, dataset("/x", (5, 2), "<i4")),
        unbound({"x": "x"}, dataset("/x", (7, 2), f"{order}i4")),
    ]
    assert [file.n_rows for file in bind(files)] == [5, 7]


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [pytest.param((5, 2), "f8", id="type"), pytest.param((5, 3), "f4", id="row shape")],
)
def test_files_that_disagree_are_refused(shape: tuple[int, ...], dtype: str) -> None:
    files = [
        unbound({"x": "x"}, dataset("/x", (5, 2))),
        unbound({"x": "x"}, dataset("/x", shape, dtype), path="g.h5"),
    ]
    with pytest.raises(ConfigError, match=r"g\.h5: field 'x' has rows of .* but f\.h5 has"):
        bind(files)
