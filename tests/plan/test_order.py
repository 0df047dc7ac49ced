from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from h5stream.plan import order, permutation, spread_permutation
from h5stream.plan.order import Purpose, make_generator

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


SPREAD_GOLDEN: list[tuple[dict[str, Any], list[int]]] = [
    ({"n": 0, "seed": 0, "epoch": 0}, []),
    ({"n": 1, "seed": 0, "epoch": 0}, [0]),
    ({"n": 8, "seed": 0, "epoch": 0}, [6, 0, 4, 1, 5, 7, 3, 2]),
    ({"n": 8, "seed": 0, "epoch": 1}, [2, 0, 5, 7, 3, 1, 4, 6]),
    ({"n": 8, "seed": 1, "epoch": 0}, [3, 7, 6, 2, 4, 0, 5, 1]),
    ({"n": 11, "seed": 2**64 - 1, "epoch": 7}, [6, 9, 3, 0, 5, 8, 4, 1, 7, 10, 2]),
]


@pytest.mark.parametrize(("key", "expected"), SPREAD_GOLDEN, ids=str)
def test_golden_spread_permutations_stay(key: dict[str, Any], expected: list[int]) -> None:
    assert spread_permutation(**key).tolist() == expected


def test_long_golden_spread_permutation_stays() -> None:
    order = spread_permutation(100_000, seed=42, epoch=3)
    assert zlib.crc32(order.astype("<i8").tobytes()) == 1200475231


def slow_spread(n: int, draws: list[int]) -> list[int]:
    """Walk down the tree for one place after the other."""
    depth = max(n - 1, 0).bit_length()
    leaves = []
    for place in range(n):
        node = 1
        for bit in range(depth):
            node = 2 * node + ((place >> bit) + draws[node]) % 2
        leaves.append(node)
    reached = sorted(leaves)
    return [(reached.index(leaf) + draws[0]) % n for leaf in leaves]


@given(st.integers(0, 40), keys, keys)
def test_spread_permutation_is_that_of_the_slow_way(n: int, seed: int, epoch: int) -> None:
    draws = [d for i in range(1, 17) for d in philox([i, 0, 0, 0], [seed, epoch])]
    assert spread_permutation(n, seed=seed, epoch=epoch).tolist() == slow_spread(n, draws)


@given(st.integers(0, 300), keys, keys)
def test_spread_permutation_has_every_position_once(n: int, seed: int, epoch: int) -> None:
    order = spread_permutation(n, seed=seed, epoch=epoch)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(n))


@given(st.integers(0, 7), st.integers(0, 7), keys, keys)
def test_every_aligned_stretch_has_one_position_of_each_part(
    bits: int, stretch_bits: int, seed: int, epoch: int
) -> None:
    n, stretch = 2**bits, 2 ** min(bits, stretch_bits)
    order = spread_permutation(n, seed=seed, epoch=epoch)
    for first in range(0, n, stretch):
        parts = np.sort(order[first : first + stretch])
        gaps = np.diff([*parts, parts[0] + n])
        assert gaps.max() < 2 * (n // stretch)  # the range is a ring, cut anywhere


def test_a_stretch_of_any_length_is_spread() -> None:
    order = spread_permutation(1000, seed=5, epoch=0)
    for first in range(0, 900, 37):
        counts = np.bincount(order[first : first + 100] // 100, minlength=10)
        assert counts.min() >= 6


@pytest.mark.parametrize("n", [2, 3, 5, 6, 8])
def test_each_position_comes_to_each_place_about_equally_often(n: int) -> None:
    counts = np.zeros((n, n))
    for seed in range(500 * n):
        counts[np.arange(n), spread_permutation(n, seed=seed, epoch=0)] += 1
    assert abs(counts - 500).max() < 5 * np.sqrt(500)


def spread_one_by_one(n: int, seed: int, epoch: int) -> list[int]:
    """Walk down the tree for each place."""
    depth = max(n - 1, 0).bit_length()
    key = np.array([seed, epoch], np.uint64)
    draws = np.random.Philox(key=key, counter=np.zeros(4, np.uint64)).random_raw(1 << depth)
    leaves = []
    for place in range(n):
        node = 1
        for bit in range(depth):
            node = 2 * node + ((place >> bit & 1) ^ int(draws[node] & np.uint64(1)))
        leaves.append(node)
    by_leaf = sorted(range(n), key=leaves.__getitem__)
    positions = [0] * n
    for place, position in enumerate(by_leaf):
        positions[position] = place
    return [(position + int(draws[0])) % n for position in positions]


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, 8, 13, 64, 100, 1000])
def test_a_spread_permutation_is_what_a_walk_for_each_place_gives(n: int) -> None:
    for seed, epoch in ((0, 0), (7, 3)):
        found = spread_permutation(n, seed=seed, epoch=epoch)
        assert found.dtype == np.int64
        assert found.tolist() == spread_one_by_one(n, seed, epoch)


def test_a_spread_permutation_does_not_depend_on_how_much_is_drawn_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = spread_permutation(777, seed=5, epoch=1)
    monkeypatch.setattr(order, "_AT_ONCE", 16)
    np.testing.assert_array_equal(spread_permutation(777, seed=5, epoch=1), expected)


def test_no_two_purposes_draw_the_same() -> None:
    drawn = {tuple(permutation(50, seed=1, epoch=0, purpose=each)) for each in Purpose}
    assert len(drawn) == len(Purpose) == 7
    assert [each.value for each in Purpose] == list(range(7))


def test_generators_differ_by_everything_in_their_key() -> None:
    first = {"seed": 1, "epoch": 2, "purpose": Purpose.STAGES, "lane": 3, "window": 4, "salt": 5}
    other = {**first, "purpose": Purpose.BUCKETS}
    keys = [first, other, *({**first, n: v + 1} for n, v in first.items() if n != "purpose")]
    drawn = {tuple(make_generator(**key).integers(0, 2**60, 4)) for key in [*keys, first]}
    assert len(drawn) == len(keys) == 7
