"""Files with one group or dataset for each sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest

from h5stream.conventions import recognise
from h5stream.errors import ConfigError, LayoutError
from h5stream.fields import FieldSpec, Given, Grouped
from tests.conventions.evaluate import evaluate_all


def put_demo(file: h5py.File, name: str, length: int, **attributes: Any) -> h5py.Group:
    group = file.create_group(name)
    group["actions"] = np.full((length, 7), length, "f4")
    group["obs/image"] = np.full((length, 2, 2), length, "u1")
    group.attrs.update({"num_samples": length, "model_file": "<xml/>" * 100, **attributes})
    return group


def fields_of(file: h5py.File, *args: Any) -> dict[str, FieldSpec]:
    convention = recognise(file)
    assert convention is not None
    assert convention.name == "trajectories"
    return convention.default_fields(file, *args)


@pytest.mark.parametrize("prefix", ["data/demo_", "traj_", "episode"])
def test_groups_of_datasets_in_natural_order(file: h5py.File, prefix: str) -> None:
    for number in (10, 2, 1):
        put_demo(file, f"{prefix}{number}", number)
    made = fields_of(file)
    assert made == {
        "actions": Grouped(f"{prefix}*/actions"),
        "obs/image": Grouped(f"{prefix}*/obs/image"),
        "num_samples": Grouped(f"{prefix}*", attribute="num_samples"),
    }
    samples = evaluate_all(file, made)
    assert [sample["num_samples"] for sample in samples] == [1, 2, 10]
    assert [len(sample["actions"]) for sample in samples] == [1, 2, 10]
    assert recognise(file).field_names(file) == [*list(made)[:2], "model_file", "num_samples"]
    assert list(fields_of(file, ["model_file"])) == ["model_file"]


def test_what_only_some_samples_have_is_left_out(file: h5py.File) -> None:
    put_demo(file, "data/demo_0", 3, label=1)["rewards"] = np.zeros(3)
    put_demo(file, "data/demo_1", 4)
    assert list(fields_of(file)) == ["actions", "obs/image", "num_samples"]
    with pytest.raises(ConfigError, match="no field 'rewards'"):
        fields_of(file, ["rewards"])


def test_attributes_named_as_datasets_have_names_of_their_own(file: h5py.File) -> None:
    put_demo(file, "data/demo_0", 3, actions=1)
    assert fields_of(file)["attrs/actions"] == Grouped("data/demo_*", attribute="actions")


def test_lists_of_samples_are_flags(file: h5py.File) -> None:
    for number in range(3):
        put_demo(file, f"data/demo_{number}", 2)
    file["mask/train"] = np.array([b"demo_2", b"demo_0"])
    file["mask/wrong"] = np.array([b"demo_3"])
    spec = fields_of(file, ["mask/train"])["mask/train"]
    assert isinstance(spec, Given)
    assert list(spec.values.values()) == [True, False, True]
    with pytest.raises(LayoutError, match="/mask/wrong' lists 'demo_3', but 'data/demo_"):
        fields_of(file, ["mask/wrong"])


def test_datasets_at_the_root_with_labels_in_their_attributes(file: h5py.File) -> None:
    for number in range(3):
        file[f"sample-{number}"] = np.full((5, 2), number)
        file[f"sample-{number}"].attrs["label"] = number
    made = fields_of(file)
    assert made == {
        "sample": Grouped("sample-*"),
        "label": Grouped("sample-*", attribute="label"),
    }
    assert [sample["label"] for sample in evaluate_all(file, made)] == [0, 1, 2]


def test_images_of_unequal_shapes_have_a_field_of_shapes(file: h5py.File) -> None:
    file["1"], file["0"] = np.zeros((3, 4, 5)), np.zeros((3, 2, 2))
    made = fields_of(file)
    assert made["data"] == Grouped("*", flat=True)
    assert np.array(list(made["data/shape"].values.values())).tolist() == [[3, 2, 2], [3, 4, 5]]
    assert [len(sample["data"]) for sample in evaluate_all(file, made)] == [12, 60]


def test_many_datasets_of_one_shape_are_samples(file: h5py.File) -> None:
    for number in range(16):
        file[f"image_{number:03}"] = np.zeros((4, 4))
    assert list(fields_of(file)) == ["image"]


def few_numbered_columns(file: h5py.File) -> None:
    file["x1"], file["x2"] = np.zeros(9), np.zeros(9)


def columns_by_name(file: h5py.File) -> None:
    file["images"], file["labels"] = np.zeros((9, 2)), np.zeros(9)


def two_stems(file: h5py.File) -> None:
    file["a_0"], file["b_0"] = np.zeros(9), np.zeros(8)


def axes_that_differ(file: h5py.File) -> None:
    file["a_0"], file["a_1"] = np.zeros(9), np.zeros((8, 2))


def numbers_beside_lists(file: h5py.File) -> None:
    file["0"], file["1"] = np.zeros(9), np.zeros(8)
    file["mask/train"] = np.array([b"0"])


def groups_without_data(file: h5py.File) -> None:
    file.create_group("demo_0")


def groups_and_datasets(file: h5py.File) -> None:
    file.create_group("demo_0")["x"] = 1
    file["demo_1"] = np.zeros(3)


def dangling_links(file: h5py.File) -> None:
    file["demo_0"] = h5py.SoftLink("/gone")
    file["central"] = h5py.SoftLink("/gone")
    file["__src__"] = h5py.ExternalLink("gone.h5", "/")


def cycle(file: h5py.File) -> None:
    file.create_group("g")["g"] = file["/"]


def nothing(file: h5py.File) -> None:
    pass


@pytest.mark.parametrize(
    "fill",
    [
        few_numbered_columns,
        columns_by_name,
        two_stems,
        axes_that_differ,
        numbers_beside_lists,
        groups_without_data,
        groups_and_datasets,
        dangling_links,
        cycle,
        nothing,
    ],
)
def test_other_files_are_no_convention(file: h5py.File, fill: Callable[[h5py.File], None]) -> None:
    fill(file)
    assert recognise(file) is None
