"""What h5torch, h5mapper and the blog's code read, as fields; read here by the slow oracle."""

from __future__ import annotations

import re
from typing import Any

import h5py
import numpy as np
import pytest

from h5stream.conventions import recognise
from h5stream.conventions.h5mapper import list_features, list_sources
from h5stream.fields import Dense, Known, resolve_subset, window_rows
from tests.conventions.evaluate import evaluate, evaluate_all
from tests.golden import GOLDEN, load_cases, same

TORCH = load_cases("h5torch")


def torch_id(case: dict[str, Any]) -> str:
    return f"{case['file']}-{case['cls']}-{case['kwargs']}"[:80]


def torch_subset(kwargs: dict[str, Any]) -> Any:
    """Say h5torch's subset in our words."""
    subset = kwargs.get("subset")
    if subset == ["0/y", "True"]:
        return {"0/y": True}
    if subset is not None and isinstance(subset[0], str):
        return {subset[0]: re.compile(subset[1])}
    return subset


def unflatten(sample: dict[str, Any]) -> dict[str, Any]:
    """Give separate arrays of several shapes their shape."""
    shapes = {name: value for name, value in sample.items() if name.endswith("/shape")}
    plain = {name: value for name, value in sample.items() if name not in shapes}
    for name, shape in shapes.items():
        holder = name.removesuffix("/shape")
        plain[holder] = plain[holder].reshape(shape)
    return plain


@pytest.mark.parametrize("case", [c for c in TORCH if c["cls"] == "Dataset"], ids=torch_id)
def test_samples_of_h5torch(case: dict[str, Any]) -> None:
    with h5py.File(GOLDEN / "h5torch" / case["file"]) as file:
        convention = recognise(file)
        assert convention is not None
        assert convention.name == "h5torch"
        made = convention.default_fields(file, sampling=case["kwargs"].get("sampling"))
        samples = [unflatten(sample) for sample in evaluate_all(file, made)]
        rows = resolve_subset(
            torch_subset(case["kwargs"]),
            len(samples),
            lambda name: np.array(evaluate(file, made[name])),
        )
    rows = np.arange(len(samples)) if rows is None else rows
    assert rows.tolist() == case["indices"]
    assert len(rows) == case["len"]
    for sample in case["samples"]:
        assert same(samples[rows[sample["index"]]], sample["value"])


SLICED = [c for c in TORCH if c["cls"] == "SliceDataset"]
PLAIN_FILES = {"nd.h5", "nd1.h5"}
SLICED_PLAIN = [
    case for case in SLICED if case["file"] in PLAIN_FILES and case["kwargs"].get("sampling") != 1
]


@pytest.mark.parametrize("case", SLICED_PLAIN, ids=torch_id)
def test_windows_of_h5torch_over_plain_fields(case: dict[str, Any]) -> None:
    with h5py.File(GOLDEN / "h5torch" / case["file"]) as file:
        made = recognise(file).default_fields(file, **case["kwargs"])
        windows = evaluate_all(file, made)
    assert len(windows) == case["len"]
    for sample in case["samples"]:
        assert same(windows[sample["index"]], sample["value"])


WINDOWED = [c for c in SLICED if "window_size" in c["kwargs"]]


def assert_window(window: list[dict[str, Any]], expected: dict[str, Any], sampling: Any) -> None:
    """Compare the rows of a window with what h5torch gives for it."""
    for name, value in expected.items():
        column: Any = [row[name] for row in window]
        if isinstance(value, np.ndarray):
            # h5torch slices central along its own axis: batches have samples first.
            column = np.stack(column, 1 if (name, sampling) == ("central", 1) else 0)
        assert same(column, value)


@pytest.mark.parametrize("case", WINDOWED, ids=torch_id)
def test_windows_of_h5torch_as_batches(case: dict[str, Any]) -> None:
    kwargs = case["kwargs"]
    size, sampling = kwargs["window_size"], kwargs.get("sampling")
    with h5py.File(GOLDEN / "h5torch" / case["file"]) as file:
        made = recognise(file).default_fields(file, sampling=sampling)
        samples = [unflatten(sample) for sample in evaluate_all(file, made)]
    rows = window_rows(len(samples), size, size - kwargs.get("overlap", 0)).reshape(-1, size)
    assert len(rows) == case["len"]
    for sample in case["samples"]:
        window = [samples[row] for row in rows[sample["index"]]]
        assert_window(window, sample["value"], sampling)


MAPPER = load_cases("h5mapper")


def flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Name nested features by their paths, without those that a source has not."""
    leaves: dict[str, Any] = {}
    for name, item in value.items():
        if isinstance(item, dict):
            leaves |= flat(item, f"{prefix}{name}/")
        elif item is not None:
            leaves[prefix + name] = item
    return leaves


def mapper_row(value: Any) -> Any:
    """Say what h5mapper gives for a source as a row: a single string stands alone."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


@pytest.mark.parametrize(
    "case", load_cases("h5mapper", kind="get"), ids=lambda c: f"{c['file']}-{c['source']}"
)
def test_sources_of_h5mapper(case: dict[str, Any]) -> None:
    expected = flat(case["value"])
    if case["file"] == "vshape.h5":
        shape = np.array(expected["img"].shape)
        expected = {"img/arr": expected["img"].reshape(-1), "img/shape_": shape}
    with h5py.File(GOLDEN / "h5mapper" / case["file"]) as file:
        convention = recognise(file)
        assert convention is not None
        assert convention.name == "h5mapper"
        made = convention.default_fields(file, [*expected, "__src__/id"])
        samples = {sample.pop("__src__/id"): sample for sample in evaluate_all(file, made)}
    found = samples[case["source"]]
    assert same(found, {name: mapper_row(value) for name, value in expected.items()})


@pytest.mark.parametrize(
    "case", load_cases("h5mapper", kind="proxy"), ids=lambda c: f"{c['file']}-{c['path']}"
)
def test_features_of_h5mapper(case: dict[str, Any]) -> None:
    name = case["path"]
    with h5py.File(GOLDEN / "h5mapper" / case["file"]) as file:
        convention = recognise(file)
        whole = evaluate(file, convention.default_fields(file, [name], by="whole")[name])
        made = convention.default_fields(file, [name, "__src__/id"])
        samples = evaluate_all(file, made)
    assert same(whole, list(case["value"]))
    assert [sample["__src__/id"] for sample in samples] == case["sources"]
    by_ref = [mapper_row(value) for value in case["by_ref"] if value is not None]
    assert same([sample[name] for sample in samples], by_ref)
    assert len(by_ref) == sum(case["valid"])


@pytest.mark.parametrize("case", load_cases("h5mapper", kind="index"), ids=lambda c: c["file"])
def test_index_of_h5mapper(case: dict[str, Any]) -> None:
    with h5py.File(GOLDEN / "h5mapper" / case["file"]) as file:
        assert {name: at for at, name in enumerate(list_sources(file))} == case["index"]
        assert list_features(file) == case["ds_keys"]


def test_the_whole_of_a_feature_of_h5mapper_by_its_path() -> None:
    (case,) = load_cases("h5mapper", kind="proxy_raw")
    with h5py.File(GOLDEN / "h5mapper" / case["file"]) as file:
        assert same(evaluate(file, Dense(f"{case['path']}/__arr__")), list(case["value"]))


@pytest.mark.parametrize(
    "case", load_cases("h5mapper", kind="serve"), ids=lambda c: c["spec"][0][1]
)
def test_batches_of_h5mapper(case: dict[str, Any]) -> None:
    names = [name for name, _, _ in case["spec"]]
    by = {"GetId": "id", "Getter": "whole"}[case["spec"][0][1]]
    with h5py.File(GOLDEN / "h5mapper" / case["file"]) as file:
        samples = evaluate_all(file, recognise(file).default_fields(file, names, by=by))
    assert len(samples) == case["len"]
    size = case["batch_size"]
    for at, batch in enumerate(case["batches"]):
        rows = samples[at * size : (at + 1) * size]
        assert same([np.stack([row[name] for row in rows]) for name in names], batch)


def test_every_case_of_h5mapper_is_tested() -> None:
    assert {case["kind"] for case in MAPPER} == {"get", "proxy", "index", "proxy_raw", "serve"}


def test_trajectories_of_the_blog() -> None:
    cases = load_cases("blog", kind="traj")
    samples = []
    for name in cases[0]["files"]:
        with h5py.File(GOLDEN / "blog" / name) as file:
            convention = recognise(file)
            assert convention is not None
            assert convention.name == "trajectories"
            samples += evaluate_all(file, convention.default_fields(file))
    assert len(samples) == len(cases)
    for case in cases:
        expected = {"trajectory": case["value"], **case["attrs"]}
        assert same(samples[case["index"]], expected)


def test_columns_of_the_blog_are_no_convention() -> None:
    with h5py.File(GOLDEN / "blog" / "images.h5") as file:
        assert recognise(file) is None
        names = ("images", "labels", "metadata")
        samples = evaluate_all(file, {name: Dense(name) for name in names})
    for case in load_cases("blog", kind="columns"):
        assert same(samples[case["index"]], case["value"])


def test_every_case_of_the_blog_is_tested() -> None:
    assert {case["kind"] for case in load_cases("blog")} == {"traj", "columns"}


def test_separate_arrays_of_several_shapes_stand_beside_their_shapes() -> None:
    with h5py.File(GOLDEN / "h5torch" / "separate.h5") as file:
        made = recognise(file).default_fields(file)
    assert made["central"].flat
    assert isinstance(made["central/shape"], Known)
    assert made["central/shape"].column.shape == (11, 3)
