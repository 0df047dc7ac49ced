from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from h5stream.fetch.flow import Depth, Flow, Ticket


async def run_flow(sizes: list[int], depth: int, most_bytes: int) -> tuple[list[int], int, int]:
    """Run tickets; return the order of their starts, and the most requests and bytes in flight."""
    flow, started, flying = Flow(Depth(depth), most_bytes), [], set()
    most = [0, 0]

    def ticket(number: int, nbytes: int) -> Ticket:
        async def work() -> None:
            started.append(number)
            flying.add(number)
            most[0] = max(most[0], len(flying))
            if len(flying) > 1:
                most[1] = max(most[1], sum(sizes[n] for n in flying))
            await asyncio.sleep(0.0001 * (number % 3))
            flying.discard(number)

        return Ticket(nbytes, work, lambda: True)

    flow.put(ticket(number, nbytes) for number, nbytes in enumerate(sizes))
    while len(started) < len(sizes) or flying:
        await asyncio.sleep(0.001)
    return started, most[0], most[1]


@given(st.lists(st.integers(1, 100), min_size=1, max_size=30), st.integers(1, 8))
def test_requests_start_in_order_within_depth_and_bytes(sizes: list[int], depth: int) -> None:
    started, requests, nbytes = asyncio.run(run_flow(sizes, depth, 150))
    assert started == list(range(len(sizes)))
    assert requests <= depth
    assert nbytes <= 150


def test_what_nobody_wants_any_more_is_not_asked_for() -> None:
    async def run() -> list[int]:
        flow, done = Flow(Depth(1), 100), []

        async def work(number: int) -> None:
            await asyncio.sleep(0)
            done.append(number)

        flow.put([Ticket(1, lambda n=n: work(n), lambda n=n: n != 1) for n in range(3)])
        while len(done) < 2:
            await asyncio.sleep(0.001)
        return done

    assert asyncio.run(run()) == [0, 2]


def test_what_nobody_wants_any_more_is_ended_while_it_runs() -> None:
    async def run() -> tuple[list[int], list[int]]:
        flow, started, done = Flow(Depth(2), 100), [], []
        wanted = set(range(5))

        async def work(number: int) -> None:
            started.append(number)
            await asyncio.sleep(3600 if number < 3 else 0)
            done.append(number)

        flow.put([Ticket(50, lambda n=n: work(n), lambda n=n: n in wanted) for n in range(5)])
        await asyncio.sleep(0)
        wanted -= {0, 1, 2}
        flow.cancel_unwanted()
        while len(done) < 2:
            await asyncio.sleep(0.001)
        return started, done

    assert asyncio.run(run()) == ([0, 1, 3, 4], [3, 4])


def test_small_requests_need_no_trying_unless_the_server_is_busy() -> None:
    depth = Depth()
    assert (depth.requests, depth.small_requests) == (32, 128)
    depth.note_throttled(0.0)
    assert (depth.requests, depth.small_requests) == (16, 16)
    assert Depth(4).small_requests == 4


def test_many_small_requests_are_in_flight_and_tell_nothing_about_the_rate() -> None:
    async def run() -> tuple[int, int]:
        depth, flying, most, done = Depth(), set(), 0, 0
        flow = Flow(depth, 2**20)

        async def work(number: int) -> None:
            nonlocal most, done
            flying.add(number)
            most = max(most, len(flying))
            await asyncio.sleep(0.001)
            flying.discard(number)
            done += 1

        tickets = [Ticket(1, lambda n=n: work(n), lambda: True, small=True) for n in range(600)]
        flow.put(tickets)
        while done < 600:
            await asyncio.sleep(0.001)
        return most, depth.requests

    assert asyncio.run(run()) == (128, 32)


def rounds(depth: Depth, rate_of: dict[int, float], count: int) -> list[int]:
    """Let ranges of one byte arrive at a rate that depends on the depth; list the depths."""
    now_s, seen = 0.0, [depth.requests]
    for _ in range(count):
        now_s += 1 / rate_of[depth.requests]
        depth.note(now_s, 1)
        if depth.requests != seen[-1]:
            seen.append(depth.requests)
    return seen


def test_depth_doubles_while_that_brings_bytes_faster() -> None:
    assert rounds(Depth(), {32: 100, 64: 200, 128: 400}, 2000) == [32, 64, 128]
    assert rounds(Depth(), {32: 100, 64: 105, 128: 400}, 2000) == [32, 64]


def test_a_server_with_too_much_to_do_halves_the_depth_once_a_burst() -> None:
    depth = Depth()
    for now_s in (5.0, 5.1, 5.9):
        depth.note_throttled(now_s)
    assert depth.requests == 16
    depth.note_throttled(6.5)
    assert depth.requests == 8


def test_depth_climbs_again_after_many_requests_that_went_well() -> None:
    depth = Depth()
    depth.note_throttled(0.0)
    for number in range(4 * 16):
        depth.note(1.0 + number, 1)
    assert depth.requests == 17


def test_a_fixed_depth_stays() -> None:
    depth = Depth(5)
    depth.note_throttled(0.0)
    assert rounds(depth, {5: 100}, 500) == [5]
