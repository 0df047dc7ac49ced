from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from h5stream.fetch.request_queue import ConcurrencyLimit, QueuedRequest, RequestQueue


async def run_flow(sizes: list[int], limit: int, most_bytes: int) -> tuple[list[int], int, int]:
    """Run queued; return the order of their starts, and the most requests and bytes in flight."""
    queue, started, flying = RequestQueue(ConcurrencyLimit(limit), most_bytes), [], set()
    most = [0, 0]

    def request(number: int, nbytes: int) -> QueuedRequest:
        async def work() -> None:
            started.append(number)
            flying.add(number)
            most[0] = max(most[0], len(flying))
            if len(flying) > 1:
                most[1] = max(most[1], sum(sizes[n] for n in flying))
            await asyncio.sleep(0.0001 * (number % 3))
            flying.discard(number)

        return QueuedRequest(nbytes, work, lambda: True)

    queue.put(request(number, nbytes) for number, nbytes in enumerate(sizes))
    while len(started) < len(sizes) or flying:
        await asyncio.sleep(0.001)
    return started, most[0], most[1]


@given(st.lists(st.integers(1, 100), min_size=1, max_size=30), st.integers(1, 8))
def test_requests_start_in_order_within_depth_and_bytes(sizes: list[int], limit: int) -> None:
    started, requests, nbytes = asyncio.run(run_flow(sizes, limit, 150))
    assert started == list(range(len(sizes)))
    assert requests <= limit
    assert nbytes <= 150


def test_what_nobody_wants_any_more_is_not_asked_for() -> None:
    async def run() -> list[int]:
        queue, done = RequestQueue(ConcurrencyLimit(1), 100), []

        async def work(number: int) -> None:
            await asyncio.sleep(0)
            done.append(number)

        queue.put([QueuedRequest(1, lambda n=n: work(n), lambda n=n: n != 1) for n in range(3)])
        while len(done) < 2:
            await asyncio.sleep(0.001)
        return done

    assert asyncio.run(run()) == [0, 2]


def test_what_nobody_wants_any_more_is_ended_while_it_runs() -> None:
    async def run() -> tuple[list[int], list[int]]:
        queue, started, done = RequestQueue(ConcurrencyLimit(2), 100), [], []
        wanted = set(range(5))

        async def work(number: int) -> None:
            started.append(number)
            await asyncio.sleep(3600 if number < 3 else 0)
            done.append(number)

        queue.put(
            [QueuedRequest(50, lambda n=n: work(n), lambda n=n: n in wanted) for n in range(5)]
        )
        await asyncio.sleep(0)
        wanted -= {0, 1, 2}
        queue.cancel_unwanted()
        while len(done) < 2:
            await asyncio.sleep(0.001)
        return started, done

    assert asyncio.run(run()) == ([0, 1, 3, 4], [3, 4])


def test_small_requests_need_no_trying_unless_the_server_is_busy() -> None:
    limit = ConcurrencyLimit()
    assert (limit.requests, limit.small_requests) == (32, 128)
    limit.note_throttled(0.0)
    assert (limit.requests, limit.small_requests) == (16, 16)
    assert ConcurrencyLimit(4).small_requests == 4


def test_many_small_requests_are_in_flight_and_tell_nothing_about_the_rate() -> None:
    async def run() -> tuple[int, int]:
        limit, flying, most, done = ConcurrencyLimit(), set(), 0, 0
        queue = RequestQueue(limit, 2**20)

        async def work(number: int) -> None:
            nonlocal most, done
            flying.add(number)
            most = max(most, len(flying))
            await asyncio.sleep(0.001)
            flying.discard(number)
            done += 1

        queued = [
            QueuedRequest(1, lambda n=n: work(n), lambda: True, small=True) for n in range(600)
        ]
        queue.put(queued)
        while done < 600:
            await asyncio.sleep(0.001)
        return most, limit.requests

    assert asyncio.run(run()) == (128, 32)


def rounds(limit: ConcurrencyLimit, rate_of: dict[int, float], count: int) -> list[int]:
    """Let ranges of one byte arrive at a rate that depends on the limit; list the depths."""
    now_s, seen = 0.0, [limit.requests]
    for _ in range(count):
        now_s += 1 / rate_of[limit.requests]
        limit.note(now_s, 1)
        if limit.requests != seen[-1]:
            seen.append(limit.requests)
    return seen


def test_depth_doubles_while_that_brings_bytes_faster() -> None:
    assert rounds(ConcurrencyLimit(), {32: 100, 64: 200, 128: 400}, 2000) == [32, 64, 128]
    assert rounds(ConcurrencyLimit(), {32: 100, 64: 105, 128: 400}, 2000) == [32, 64]


def test_a_server_with_too_much_to_do_halves_the_depth_once_a_burst() -> None:
    limit = ConcurrencyLimit()
    for now_s in (5.0, 5.1, 5.9):
        limit.note_throttled(now_s)
    assert limit.requests == 16
    limit.note_throttled(6.5)
    assert limit.requests == 8


def test_depth_climbs_again_after_many_requests_that_went_well() -> None:
    limit = ConcurrencyLimit()
    limit.note_throttled(0.0)
    for number in range(4 * 16):
        limit.note(1.0 + number, 1)
    assert limit.requests == 17


def test_a_fixed_depth_stays() -> None:
    limit = ConcurrencyLimit(5)
    limit.note_throttled(0.0)
    assert rounds(limit, {5: 100}, 500) == [5]
