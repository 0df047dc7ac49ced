from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from h5stream.fields.vlen import DESCRIPTOR, expected_places

lengths = st.lists(st.integers(0, 20), max_size=20)


def fill_collections(sizes: list[int], itemsize: int) -> tuple[np.ndarray, list[int]]:
    """Write objects one by one into collections of 256 bytes; say where each one begins."""
    descriptors, places = np.zeros(len(sizes), DESCRIPTOR), []
    collection, at, index = 4096, 16, 0
    for row, size in enumerate(sizes):
        room = 16 + (size * itemsize + 7) // 8 * 8
        if size and at + room > 256:
            collection, at, index = collection + 256, 16, 0
        if size:
            index += 1
            descriptors[row] = size, collection, index
        places.append(at + 16 if size else 0)
        at += room if size else 0
    return descriptors, places


@given(lengths, st.sampled_from([1, 2, 3, 4, 8]))
def test_objects_are_expected_where_a_writer_puts_them(sizes: list[int], itemsize: int) -> None:
    descriptors, places = fill_collections(sizes, itemsize)
    assert expected_places(descriptors, itemsize).tolist() == places


@given(lengths, st.sampled_from([1, 4, 12]), st.randoms())
def test_the_order_of_rows_does_not_matter(sizes: list[int], itemsize: int, random: Random) -> None:
    descriptors, places = fill_collections(sizes, itemsize)
    order = np.array(random.sample(range(len(sizes)), len(sizes)), np.int64)
    found = expected_places(descriptors[order], itemsize)
    assert found.tolist() == [places[row] for row in order]
