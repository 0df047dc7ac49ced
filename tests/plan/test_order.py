from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from h5stream.plan import permutation

MASK = 2**64 - 1

GOLDEN: list[tuple[dict[str, Any], list[int]]] = [
    ({"n": 0, "seed": 0, "epoch": 0}, []),
    ({"n": 1, "seed": 0, "epoch": 0}, [0]),
    ({"n": 8, "seed": 0, "epoch": 0}, [0, 2, 1, 5, 4, 3, 6, 7]),
    ({"n": 8, "seed": 0, "epoch": 1}, [5, 3, 7, 2, 4, 1, 0, 6]),
    ({"n": 8, "seed": 1, "epoch": 0}, [3, 5, 2, 7, 0, 6, 1, 4]),
    (
        {"n": 10, "seed": 2**64 - 1, "epoch": 7, "purpose": 1, "lane": 3, "window": 2},
        [9, 1, 8, 4, 2, 5, 6, 7, 3, 0],
    ),
]


@pytest.mark.parametrize(("key", "expected"), GOLDEN, ids=str)
def test_golden_permutations_stay(key: dict[str, Any], expected: list[int]) -> None:
    assert permutation(**key).tolist() == expected


def test_long_golden_permutation_stays() -> None:
    order = permutation(100_000, seed=42, epoch=3)
    assert zlib.crc32(order.astype("<i8").tobytes()) == 589832250


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox 4x64 with ten rounds, as its paper writes it down."""
    a, b, c, d = counter
    k, m = key
    for _round in range(10):
        left, right = 0xD2E7470EE14C6C93 * a, 0xCA5A826395121157 * c
        a, b, c, d = (right >> 64) ^ b ^ k, right & MASK, (left >> 64) ^ d ^ m, left & MASK
        k, m = (k + 0x9E3779B97F4A7C15) & MASK, (m + 0xBB67AE8584CAA73B) & MASK
    return [a, b, c, d]


def test_philox_gives_the_known_answer_of_its_authors() -> None:
    known = [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]
    assert philox([0, 0, 0, 0], [0, 0]) == known


@given(st.integers(0, 40), st.integers(0, MASK), st.integers(0, MASK), st.integers(0, MASK))
def test_permutation_sorts_positions_by_the_generators_numbers(
    n: int, seed: int, epoch: int, lane: int
) -> None:
    draws = [d for i in range(1, n + 1) for d in philox([i, 0, lane, 0], [seed, epoch])][:n]
    order = permutation(n, seed=seed, epoch=epoch, lane=lane)
    assert order.tolist() == sorted(range(n), key=draws.__getitem__)


keys = st.integers(0, MASK)


@given(st.integers(0, 300), keys, keys, keys, keys, keys)
def test_permutation_has_every_position_once(
    n: int, seed: int, epoch: int, purpose: int, lane: int, window: int
) -> None:
    order = permutation(n, seed=seed, epoch=epoch, purpose=purpose, lane=lane, window=window)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(n))


@pytest.mark.parametrize("name", ["seed", "epoch", "purpose", "lane", "window"])
def test_every_part_of_the_key_changes_the_order(name: str) -> None:
    key = {"seed": 1, "epoch": 1, "purpose": 1, "lane": 1, "window": 1}
    other = {**key, name: 2}
    assert permutation(50, **key).tolist() != permutation(50, **other).tolist()


def test_each_row_comes_to_each_place_about_equally_often() -> None:
    counts = np.zeros((6, 6))
    for seed in range(3000):
        counts[np.arange(6), permutation(6, seed=seed, epoch=0)] += 1
    assert abs(counts - 500).max() < 5 * np.sqrt(500)
