"""Decode gzip chunks on a GPU with nvCOMP, beside libdeflate on all cores.

Makes chunks as HDF5's gzip filter does, of smooth bytes in several sizes, and prints GB of decoded
bytes a second, the median of several rounds:

(a) cpu: libdeflate (imagecodecs) on one thread for each core;
(b) gpu: nvCOMP's Deflate over chunks that are in the GPU's memory, all in one call;
(c) gpu + copy: the same, with the compressed chunks copied from pinned memory first.

nvCOMP takes raw deflate, so the two bytes of zlib's header are left out, as is its checksum. What
comes is compared with what went in. Needs ``nvidia-nvcomp-cu13`` (its licence is proprietary).

Run ``python benchmarks/gpu_decode.py [--total BYTES]``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import imagecodecs
import numpy as np
import torch
from nvidia import nvcomp

SIZES = [4 * 2**10, 64 * 2**10, 2**20]
MOST_CHUNKS = 2**15


def make_chunks(size: int, total: int) -> tuple[list[bytes], np.ndarray]:
    """Compress 64 unlike chunks, each as often as makes up the total."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 200, (64, size // 8), np.uint8)
    coarse[coarse < 100] = 0
    plain = coarse.repeat(8, axis=1)
    plain += (plain > 0) * rng.integers(0, 8, plain.shape, np.uint8)
    packed = [zlib.compress(chunk.tobytes(), 4) for chunk in plain]
    return [packed[i % 64] for i in range(min(MOST_CHUNKS, total // size))], plain


def rate(run: Callable[[], Any], n_bytes: int, rounds: int = 5) -> float:
    taken = []
    for _ in range(rounds + 1):
        begin = time.perf_counter()
        run()
        torch.cuda.synchronize()
        taken.append(time.perf_counter() - begin)
    return n_bytes / statistics.median(taken[1:]) / 1e9


def on_cpu(chunks: list[bytes], size: int, cores: int, pool: ThreadPoolExecutor) -> None:
    def decode(mine: list[bytes]) -> None:
        out = bytearray(size)
        for chunk in mine:
            imagecodecs.deflate_decode(chunk, out=out)

    list(pool.map(decode, [chunks[number::cores] for number in range(cores)]))


def lay_out(chunks: list[bytes]) -> tuple[torch.Tensor, list[tuple[int, int]]]:
    """Put raw deflate streams one after the other, each at a multiple of 8, in pinned memory."""
    places, end = [], 0
    for chunk in chunks:
        places.append((end, len(chunk) - 6))
        end += -(-(len(chunk) - 6) // 8) * 8
    host = torch.zeros(end, dtype=torch.uint8)
    for chunk, (start, length) in zip(chunks, places, strict=True):
        host[start : start + length] = torch.frombuffer(bytearray(chunk[2:-4]), dtype=torch.uint8)
    return host.pin_memory(), places


def check(decoded: Any, plain: np.ndarray) -> None:
    for number, expected in enumerate(plain):
        found = torch.as_tensor(decoded[number], device="cuda").view(torch.uint8).cpu()
        np.testing.assert_array_equal(found.numpy().reshape(-1), expected)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--total", type=int, default=2**30)
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    print(f"{torch.cuda.get_device_name()}, nvCOMP {nvcomp.__version__}, {cores} cores")
    codec = nvcomp.Codec(algorithm="Deflate", bitstream_kind=nvcomp.BitstreamKind.RAW)
    with ThreadPoolExecutor(cores) as pool:
        for size in SIZES:
            chunks, plain = make_chunks(size, options.total)
            n_bytes = len(chunks) * size
            host, places = lay_out(chunks)
            there = host.cuda()

            arrays = nvcomp.as_arrays([there[start : start + length] for start, length in places])

            def decode(arrays: Any = arrays) -> Any:
                return codec.decode(arrays, data_type="|u1")

            def copy_and_decode(host: Any = host, there: Any = there, decode: Any = decode) -> Any:
                there.copy_(host, non_blocking=True)
                torch.cuda.synchronize()  # nvCOMP has a stream of its own
                return decode()

            check(decode(), plain)
            cpu = rate(partial(on_cpu, chunks, size, cores, pool), n_bytes)
            gpu, with_copy = rate(decode, n_bytes), rate(copy_and_decode, n_bytes)
            ratio = n_bytes / sum(map(len, chunks))
            print(
                f"{len(chunks)} chunks of {size >> 10} KiB ({ratio:.1f}:1): "
                f"cpu {cpu:6.1f} GB/s, gpu {gpu:6.1f} "
                f"({gpu / cpu:.1f}x), gpu + copy {with_copy:6.1f} ({with_copy / cpu:.1f}x)",
                flush=True,
            )


if __name__ == "__main__":
    main()
