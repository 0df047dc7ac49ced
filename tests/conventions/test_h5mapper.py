"""Files as h5mapper and its old versions write them; reference tables out of step with the ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import h5py
import numpy as np
import pytest

from h5stream.conventions import recognise
from h5stream.conventions.h5mapper import list_features, list_sources
from h5stream.errors import ConfigError, LayoutError, UnsupportedError
from h5stream.fields import Dense, FieldSpec, Picked, Slices, Vlen
from tests.conventions.evaluate import evaluate, evaluate_all


def put_ids(file: h5py.File, ids: Sequence[str]) -> None:
    file["__src__/id"] = np.array(ids, object)


def put(
    file: h5py.File, name: str, rows: Any, bounds: Sequence[tuple[int, int] | None]
) -> h5py.Dataset:
    """Write a feature, and for each id the rows that it has."""
    array = file.create_dataset(f"{name}/__arr__", data=rows)
    table = file.create_dataset(f"{name}/__ref__", (len(bounds),), h5py.regionref_dtype)
    for at, bound in enumerate(bounds):
        if bound is not None:
            table[at] = array.regionref[bound[0] : bound[1]]
    return table


def fields_of(file: h5py.File, *args: Any, **options: Any) -> dict[str, FieldSpec]:
    convention = recognise(file)
    assert convention is not None
    assert convention.name == "h5mapper"
    return convention.default_fields(file, *args, **options)


ROWS = np.arange(12.0).reshape(6, 2)


def rows_of(samples: list[dict[str, Any]], name: str) -> list[list[int]]:
    """Return which rows of ROWS each sample has."""
    return [(sample[name][:, 0] // 2).astype(int).tolist() for sample in samples]


def test_rows_are_the_sources_of_the_largest_feature(file: h5py.File) -> None:
    put_ids(file, ["a", "b", "c"])
    put(file, "wave", ROWS, [(0, 1), None, (1, 6)])
    put(file, "label", np.arange(3), [(0, 1), (1, 2), (2, 3)])
    put(file, "rare", np.arange(1), [None, (0, 1), None])
    samples = evaluate_all(file, fields_of(file))
    assert [set(sample) for sample in samples] == [{"wave", "label", "__src__/id"}] * 2
    assert [sample["__src__/id"] for sample in samples] == ["a", "c"]
    assert rows_of(samples, "wave") == [[0], [1, 2, 3, 4, 5]]
    assert [sample["label"].tolist() for sample in samples] == [[0], [2]]


def test_chosen_features_have_the_sources_of_all(file: h5py.File) -> None:
    put_ids(file, ["a", "b", "c"])
    put(file, "wave", ROWS, [(0, 2), (2, 4), None])
    put(file, "deep/er/label", np.arange(2), [None, (0, 1), (1, 2)])
    made = fields_of(file, ["deep/er/label", "wave"])
    assert list(made) == ["deep/er/label", "wave"]
    assert rows_of(evaluate_all(file, made), "wave") == [[2, 3]]
    assert len(evaluate_all(file, fields_of(file, ["__src__/id"]))) == 3


def test_features_without_a_common_source_are_refused(file: h5py.File) -> None:
    put_ids(file, ["a", "b"])
    put(file, "wave", ROWS, [(0, 6), None])
    put(file, "loss", np.arange(2), [None, (0, 2)])
    with pytest.raises(ConfigError, match=r"\(wave has 1, loss has 1\)"):
        fields_of(file, ["wave", "loss"])


def test_sources_of_equal_length_make_an_array(file: h5py.File) -> None:
    put_ids(file, ["a", "b"])
    put(file, "wave", ROWS, [(0, 3), (3, 6)])
    spec = fields_of(file)["wave"]
    assert isinstance(spec, Slices)
    assert (spec.length, spec.starts.tolist()) == (3, [0, 3])


def test_a_source_added_again_has_its_new_rows(file: h5py.File) -> None:
    put_ids(file, ["a", "b"])
    put(file, "wave", ROWS, [(4, 6), (2, 4)])
    assert rows_of(evaluate_all(file, fields_of(file)), "wave") == [[4, 5], [2, 3]]


def test_sources_with_empty_arrays_have_no_elements(file: h5py.File) -> None:
    put_ids(file, ["a", "b"])
    put(file, "wave", ROWS, [(2, 2), (0, 6)])
    assert rows_of(evaluate_all(file, fields_of(file)), "wave") == [[], [0, 1, 2, 3, 4, 5]]


def test_one_string_a_source_is_text(file: h5py.File) -> None:
    put_ids(file, ["a", "b"])
    put(file, "name", np.array(["x", "y"], object), [(1, 2), (0, 1)])
    put(file, "names", np.array(["x", "y", "z"], object), [(0, 2), (2, 3)])
    put(file, "wave", ROWS, [(0, 1), (1, 6)])
    made = fields_of(file)
    assert list(made) == ["name", "wave", "__src__/id"]
    assert isinstance(made["name"], Picked)
    assert evaluate(file, made["name"]) == ["y", "x"]
    with pytest.raises(UnsupportedError, match="'names' has several strings"):
        fields_of(file, ["names"])


def test_a_table_with_surplus_nulls_is_in_step(file: h5py.File) -> None:
    put_ids(file, ["a", "b"])
    put(file, "wave", ROWS, [(0, 3), (3, 6), None, None])
    assert rows_of(evaluate_all(file, fields_of(file)), "wave") == [[0, 1, 2], [3, 4, 5]]


def test_the_whole_concatenation_takes_features_of_the_same_sources(file: h5py.File) -> None:
    put_ids(file, ["a", "b"])
    put(file, "wave", ROWS, [(0, 4), (4, 6)])
    put(file, "label", np.arange(6), [(0, 4), (4, 6)])
    put(file, "longer", np.arange(7), [(0, 4), (4, 7)])
    put(file, "other", np.arange(6), [(0, 3), (3, 6)])
    made = fields_of(file, by="whole")
    assert made == {
        "label": Dense("label/__arr__"),
        "longer": Dense("longer/__arr__", n_rows=6),
        "wave": Dense("wave/__arr__"),
    }
    with pytest.raises(ConfigError, match="'wave' and 'other' belong to different sources"):
        fields_of(file, ["wave", "other"], by="whole")
    with pytest.raises(ConfigError, match='use by="id"'):
        fields_of(file, ["__src__/id"], by="whole")


def test_strings_of_the_whole_concatenation(file: h5py.File) -> None:
    put_ids(file, ["a"])
    put(file, "names", np.array(["x", "y"], object), [(0, 2)])
    assert fields_of(file, by="whole") == {"names": Vlen("names/__arr__")}


def test_slices_of_the_concatenation_are_said_in_fields(file: h5py.File) -> None:
    put_ids(file, ["a"])
    put(file, "wave", np.arange(10), [(0, 10)])
    shifted = Slices("wave/__arr__", length=3, shift=1, stride=2)
    assert [row.tolist() for row in evaluate(file, shifted)] == [
        [1, 2, 3],
        [3, 4, 5],
        [5, 6, 7],
        [7, 8, 9],
    ]


@pytest.mark.parametrize("keys", ["ds_keys", "refed"])
def test_lists_of_features_are_read_and_checked(file: h5py.File, keys: str) -> None:
    put_ids(file, ["a"])
    put(file, "b/x", ROWS, [(0, 6)])
    put(file, "a", ROWS, [(0, 6)])
    file[f"__src__/{keys}"] = np.array(["b/x", "a", "a"], object)
    assert list_features(file) == ["a", "b/x"]
    del file[f"__src__/{keys}"]
    file[f"__src__/{keys}"] = np.array(["b/x", "gone"], object)
    with pytest.raises(LayoutError, match="lists 'gone', which has no __arr__ and __ref__"):
        list_features(file)


def test_a_file_without_features_has_no_fields_but_its_ids(file: h5py.File) -> None:
    put_ids(file, ["a", "b"])
    assert evaluate_all(file, fields_of(file)) == [{"__src__/id": "a"}, {"__src__/id": "b"}]
    assert fields_of(file, by="whole") == {}


def test_an_id_that_stands_there_twice_is_refused(file: h5py.File) -> None:
    put_ids(file, ["a", "b", "a"])
    with pytest.raises(LayoutError, match="holds the id 'a' twice"):
        list_sources(file)


def too_few(file: h5py.File) -> None:
    put(file, "wave", ROWS, [(0, 3), (3, 6)])


def too_many(file: h5py.File) -> None:
    put(file, "wave", ROWS, [(0, 2), (2, 4), (4, 5), (5, 6)])


def overlapping(file: h5py.File) -> None:
    put(file, "wave", ROWS, [(0, 3), (2, 4), (4, 6)])


def the_same(file: h5py.File) -> None:
    put(file, "wave", ROWS, [(0, 3), (3, 6), (0, 3)])


def of_another_array(file: h5py.File) -> None:
    table = put(file, "wave", ROWS, [(0, 3), None, (3, 6)])
    other = file.create_dataset("other", data=ROWS)
    table[1] = other.regionref[0:2]


def of_part_of_the_rows(file: h5py.File) -> None:
    table = put(file, "wave", ROWS, [(0, 3), None, (3, 6)])
    table[1] = file["wave/__arr__"].regionref[3:4, :1]


def of_every_second_row(file: h5py.File) -> None:
    table = put(file, "wave", ROWS, [None, None, (5, 6)])
    table[1] = file["wave/__arr__"].regionref[0:4:2]


def beyond_the_array(file: h5py.File) -> None:
    array = file.create_dataset("wave/__arr__", data=ROWS, maxshape=(None, 2))
    table = file.create_dataset("wave/__ref__", (3,), h5py.regionref_dtype)
    table[1] = array.regionref[2:6]
    array.resize((4, 2))


def of_nothing_that_is_there(file: h5py.File) -> None:
    table = put(file, "wave", ROWS, [(0, 3), None, None])
    other = file.create_dataset("other", data=ROWS)
    table[1] = other.regionref[0:2]
    del file["other"]


def no_references(file: h5py.File) -> None:
    file["wave/__arr__"], file["wave/__ref__"] = ROWS, np.arange(3)


def references_to_objects(file: h5py.File) -> None:
    file["wave/__arr__"] = ROWS
    file.create_dataset("wave/__ref__", (3,), h5py.ref_dtype)


def one_number(file: h5py.File) -> None:
    file["wave/__arr__"] = 3.0
    file.create_dataset("wave/__ref__", (3,), h5py.regionref_dtype)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (too_few, "out of step: 2 references for 3 source ids, 'third' is the first id without"),
        (too_many, "out of step: 4 references for 3 source ids, some belong to no id"),
        (overlapping, "gives the same rows to the ids 'first' and 'second'"),
        (the_same, "gives the same rows to the ids 'first' and 'third'"),
        (of_another_array, "refers for the id 'second' to /other, not /wave/__arr__"),
        (of_part_of_the_rows, "for the id 'second' to no whole rows"),
        (of_every_second_row, "for the id 'second' to no whole rows"),
        (beyond_the_array, r"for the id 'second' to no whole rows .* \(rows 2 to 6 of 4"),
        (of_nothing_that_is_there, "for the id 'second'"),
        (no_references, "holds int64, not region references"),
        (references_to_objects, "not region references"),
        (one_number, "is a scalar"),
    ],
)
def test_references_that_do_not_match_their_ids_are_refused(
    file: h5py.File, spoil: Callable[[h5py.File], None], said: str
) -> None:
    put_ids(file, ["first", "second", "third"])
    spoil(file)
    with pytest.raises(LayoutError, match=f"memory.h5: '/wave/__.*{said}"):
        fields_of(file)


def test_what_does_not_fit_a_file_is_refused(file: h5py.File) -> None:
    put_ids(file, ["a"])
    put(file, "wave", ROWS, [(0, 6)])
    with pytest.raises(ConfigError, match='by must be "id" or "whole", not 0'):
        fields_of(file, by=0)
    with pytest.raises(ConfigError, match="did you mean wave"):
        fields_of(file, ["waves"])
