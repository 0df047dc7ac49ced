from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

from h5stream.fetch.buffers import BufferPool

INT32 = np.dtype("i4")


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("shape", [(1000,), (10, 3, 5), (1,), (0,), (4, 0)], ids=str)
@pytest.mark.parametrize("dtype", ["u1", "<i4", ">f8", "S7", [("a", "i1"), ("b", "f8")]], ids=str)
def test_an_array_has_the_shape_and_type_asked_for(shape: tuple, dtype: object) -> None:
    array = BufferPool().array(shape, np.dtype(dtype))
    assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
    assert array.flags.c_contiguous
    assert array.flags.writeable


def test_a_buffer_is_used_again_when_nobody_holds_it() -> None:
    pool = BufferPool()
    array = pool.array((1000, 10), INT32)
    first = address(array)
    del array
    assert address(pool.array((1000, 10), INT32)) == first


def test_a_buffer_in_use_is_not_handed_out() -> None:
    pool = BufferPool()
    arrays = [pool.array((1000,), INT32) for _ in range(20)]
    for number, array in enumerate(arrays):
        array[:] = number
    assert [set(array.tolist()) for array in arrays] == [{number} for number in range(20)]


VIEWS = {
    "slice": lambda array: array[3:4],
    "strided": lambda array: array[::-7],
    "reshaped": lambda array: array.reshape(10, 100)[2],
    "reinterpreted": lambda array: array.view("u1"),
    "tensor": torch.from_numpy,
    "part of a tensor": lambda array: torch.from_numpy(array)[5:].reshape(5, -1)[1],
    "memoryview": memoryview,
    "view of a view": lambda array: np.asarray(memoryview(array[10:]))[1:],
}


@pytest.mark.parametrize("kind", VIEWS)
def test_a_buffer_is_not_used_again_while_a_view_lives(kind: str) -> None:
    pool = BufferPool()
    array = pool.array((1000,), INT32)
    first = address(array)
    view = VIEWS[kind](array)
    del array
    gc.collect()
    others = [pool.array((1000,), INT32) for _ in range(3)]
    assert all(address(other) != first for other in others)
    del view
    gc.collect()
    assert address(pool.array((1000,), INT32)) == first


def test_a_larger_array_gets_its_own_memory() -> None:
    pool = BufferPool()
    small = pool.array((100,), INT32)
    del small
    large = pool.array((100_000,), INT32)
    large[:] = 7
    assert (pool.array((100,), INT32) == 7).sum() in range(101)
    assert (large == 7).all()


def test_a_much_smaller_array_does_not_take_a_large_buffer() -> None:
    pool = BufferPool()
    large = pool.array((1_000_000,), INT32)
    first = address(large)
    del large
    small = pool.array((100,), INT32)
    assert address(small) != first
    assert address(pool.array((900_000,), INT32)) == first


def test_sizes_that_differ_little_share_buffers() -> None:
    pool = BufferPool()
    addresses = set()
    for n_rows in (10_000, 9_990, 10_010, 9_900):
        addresses.add(address(pool.array((n_rows, 10), INT32)))
    assert len(addresses) == 1


@pytest.mark.parametrize("n_rows", [2**10, 2**14, 2**18, 3 * 2**15])
def test_sizes_around_a_round_number_share_buffers(n_rows: int) -> None:
    pool = BufferPool()
    sizes = (n_rows - n_rows // 50, n_rows, n_rows + n_rows // 50)
    assert len({address(pool.array((size,), INT32)) for size in sizes}) == 1


def test_arrays_outlive_their_pool() -> None:
    pool = BufferPool()
    array = pool.array((1000,), INT32)
    array[:] = 5
    del pool
    gc.collect()
    assert (array == 5).all()


def test_no_more_bytes_are_kept_than_the_limit() -> None:
    pool = BufferPool(most_free=64, most_free_bytes=2**20)
    arrays = [pool.array((2**18,), np.dtype("u1")) for _ in range(32)]
    del arrays
    gc.collect()
    assert 2**19 <= pool.free_bytes <= 2**20


def test_what_is_forgotten_does_not_come_back() -> None:
    pool = BufferPool()
    held, dropped = pool.array((1000,), INT32), pool.array((1000,), INT32)
    del dropped
    pool.forget()
    assert pool.free_bytes == 0
    del held
    assert pool.free_bytes == 0
    again = pool.array((1000,), INT32)
    del again
    assert pool.free_bytes > 0
