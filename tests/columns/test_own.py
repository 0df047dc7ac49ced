from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from h5stream.columns import Slices, own
from tests.columns.kinds import KINDS, assert_rows


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_owned_rows_are_the_same_and_share_nothing(kind: str, data: st.DataObject) -> None:
    column, rows = data.draw(KINDS[kind]())
    copy, nbytes = own(column)
    assert_rows(copy, rows)
    assert nbytes >= memory_of(copy).nbytes
    assert not np.shares_memory(memory_of(copy), memory_of(column))


@given(data=st.data())
def test_owned_rows_of_a_part_hold_no_more_than_the_part(data: st.DataObject) -> None:
    column, rows = data.draw(KINDS["slices"](least=1))
    part, _nbytes = own(column[:1])
    assert_rows(part, rows[:1])
    assert memory_of(part).nbytes <= np.asarray(column[:1]).nbytes


def test_overlapping_slices_stay_slices() -> None:
    copy, nbytes = own(Slices(np.arange(1000), np.arange(500, 600), 300, step=1))
    assert isinstance(copy, Slices)
    assert nbytes == (399 + 100) * 8


def memory_of(column: Any) -> np.ndarray:
    """Return the elements that a column keeps alive."""
    if isinstance(column, np.ndarray):
        return column
    return next(getattr(column, name) for name in ("_stored", "_data") if hasattr(column, name))
