from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from h5stream.plan.draws import StopCriteria, Tally, pick, tally, uniform_draw


def slow_tally(
    limit: int, totals: list[int], weights: list[float], stop: StopCriteria, seed: int
) -> Tally:
    """Draw one by one."""
    shares, taken, position = list(weights), [0] * len(totals), 0
    while position < limit and any(shares):
        number = int(pick(np.array(uniform_draw(position, seed=seed, epoch=3)), shares))
        if stop != "cycle" and taken[number] == totals[number]:
            shares[number] = 0
            if stop == "first_exhausted":
                break
            continue
        taken[number] += 1
        position += 1
    return Tally(position, tuple(taken))


@given(
    st.integers(0, 60),
    st.lists(st.tuples(st.integers(0, 20), st.sampled_from([0.2, 1, 5])), min_size=1, max_size=4),
    st.sampled_from(["first_exhausted", "all_exhausted", "cycle"]),
    st.integers(0, 99),
)
def test_tallies_are_those_of_the_slow_way(
    limit: int, streams: list[tuple[int, float]], stop: StopCriteria, seed: int
) -> None:
    totals, weights = [total for total, _ in streams], [weight for _, weight in streams]
    found = tally(limit, totals=totals, weights=weights, stop_criteria=stop, seed=seed, epoch=3)
    assert found == slow_tally(limit, totals, weights, stop, seed)


@given(st.lists(st.integers(0, 9000), min_size=1, max_size=3), st.integers(0, 9))
def test_all_exhausted_takes_everything_once(totals: list[int], seed: int) -> None:
    weights = [1.0 + n for n in range(len(totals))]
    options = {"totals": totals, "weights": weights, "seed": seed, "epoch": 0}
    found = tally(None, stop_criteria="all_exhausted", **options)  # type: ignore[arg-type]
    assert found == Tally(sum(totals), tuple(totals))


def test_draws_follow_the_weights() -> None:
    taken = tally(
        40_000, totals=[1, 1, 1], weights=[1, 2, 5], stop_criteria="cycle", seed=0, epoch=0
    ).taken
    assert np.allclose(np.array(taken) / 40_000, [1 / 8, 2 / 8, 5 / 8], atol=0.01)


def test_draws_depend_on_seed_and_epoch_and_on_nothing_else() -> None:
    draws = [uniform_draw(7, seed=seed, epoch=epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(draws)) == 4
    assert draws[0] == uniform_draw(7, seed=0, epoch=0) == 0.3895786110898001
