from __future__ import annotations

import numpy as np
import pytest

from h5stream.columns import Slices, arrays
from h5stream.errors import ConfigError


def test_slices_overlap_and_keep_trailing_axes() -> None:
    values = np.arange(12).reshape(6, 2)
    found = np.asarray(Slices(values, np.array([0, 1]), 3))
    assert found.tolist() == [values[0:3].tolist(), values[1:4].tolist()]
    assert found.flags.c_contiguous
    assert found.flags.writeable


def test_a_users_function_sees_an_array() -> None:
    found = arrays({"x": Slices(np.arange(4), np.array([1]), 2)})["x"]
    assert isinstance(found, np.ndarray)
    assert found.tolist() == [[1, 2]]


@pytest.mark.parametrize("padding", ["edge", "reflect"])
def test_nothing_cannot_be_padded_by_itself(padding: str) -> None:
    nothing = np.array([2])
    rows = Slices(np.arange(4), np.array([1]), 2, limits=(nothing, nothing), padding=padding)
    with pytest.raises(ConfigError, match=f'an empty row cannot be padded by "{padding}"'):
        np.asarray(rows)


def test_slices_longer_than_the_values_are_refused() -> None:
    with pytest.raises(ConfigError, match="slices of 5 elements cannot be cut from 4"):
        np.asarray(Slices(np.arange(4), np.array([0]), 5))


def test_samples_of_overlapping_slices_do_not_take_their_size_at_once() -> None:
    values = np.arange(200_000)
    rows = Slices(values, np.arange(100_000), 100_000)  # 80 GB as an array
    assert next(iter(rows))[-1] == 99_999
