"""Random access, as samplers, workers and notebooks use it."""

from __future__ import annotations

import multiprocessing
import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SubsetRandomSampler

import h5stream as h5s
from h5stream.dataset import Dataset
from h5stream.reader.reader import Reader
from h5stream.reader.stats import Stats

N, CHUNK = 200, 20
ROW_NBYTES = 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file.h5"
    values = np.arange(N * 8, dtype="i4").reshape(N, 8)
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=values, chunks=(CHUNK, 8), compression="gzip")
        file["number"] = np.arange(N)
        file["values"], file["offsets"] = np.arange(3 * N), np.arange(N + 1) * 3
        file.create_dataset("text", data=[f"row {i}" for i in range(N)])
    return path


class Counted:
    """What the readers of datasets did, in this process."""

    def __init__(self) -> None:
        self.stats: list[Stats] = []

    @property
    def decoded_bytes(self) -> int:
        return sum(stats.decoded_bytes for stats in self.stats)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted()

    def recording(catalog: Any, stats: Stats) -> Reader:
        counted.stats.append(stats)
        return Reader(catalog, stats)

    monkeypatch.setattr("h5stream.dataset.Reader", recording)
    # One row chunk of the file for each row chunk of the dataset.
    monkeypatch.setattr("h5stream.dataset._ROW_CHUNK_BYTES", 1)
    return counted


CHUNK_NBYTES = CHUNK * ROW_NBYTES


def numbers_of(batches: Any) -> list[int]:
    numbers = []
    for batch in batches:
        assert (batch["x"][:, 0] == batch["number"] * 8).all()
        numbers += batch["number"].tolist()
    return numbers


SAMPLERS: dict[str, Any] = {
    "in order": lambda dataset: {},
    "shuffled": lambda dataset: {"shuffle": True},
    "some": lambda dataset: {"sampler": SubsetRandomSampler(range(N))},
    "batches": lambda dataset: {
        "batch_size": None,
        "sampler": BatchSampler(RandomSampler(dataset), 16, False),
    },
}


def loader_of(dataset: Dataset, sampler: str, **options: Any) -> DataLoader[Any]:
    return DataLoader(dataset, **{"batch_size": 16, **SAMPLERS[sampler](dataset), **options})


class ByBatch(Dataset):
    """Gives a whole batch for a list of rows."""

    def __getitem__(self, rows: Any) -> Any:
        return self.batch(rows)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers_get_each_row_once(path: Path, sampler: str) -> None:
    kind = ByBatch if sampler == "batches" else Dataset
    loader = loader_of(kind(path, ["x", "number"]), sampler)
    numbers = numbers_of(loader)
    assert sorted(numbers) == list(range(N))
    assert (numbers == list(range(N))) == (sampler == "in order")


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_get_each_row_once(path: Path, start: str) -> None:
    dataset = Dataset(path, ["x", "number"])
    assert dataset[0]["number"] == 0  # opens the file before workers start
    loader = loader_of(dataset, "shuffled", num_workers=2, multiprocessing_context=start)
    assert sorted(numbers_of(loader)) == list(range(N))
    assert numbers_of([dataset.batch(range(N))]) == list(range(N))


def test_a_pickled_dataset_gives_the_same_and_scans_nothing_again(path: Path) -> None:
    dataset = Dataset(path, ["x", "number"], subset=range(50, 60))
    numbers_of([dataset.batch([3, 1])])
    data = pickle.dumps(dataset)
    assert len(data) < 20_000
    copy = pickle.loads(data)
    assert copy.catalog.files[0].fields["x"].layout.table is not None
    assert numbers_of([copy.batch([3, 1])]) == [53, 51]


def test_rows_are_counted_from_the_end_too(path: Path) -> None:
    dataset = Dataset(path, ["x", "number"])
    assert dataset[-1]["number"] == N - 1
    assert numbers_of([dataset.batch([-N, 5, -2])]) == [0, 5, N - 2]


@pytest.mark.parametrize("row", [N, -N - 1, 2**40])
def test_rows_that_are_not_there_are_an_error(path: Path, row: int) -> None:
    dataset = Dataset(path, ["x"])
    with pytest.raises(IndexError, match=f"no row {row}: the files have {N} rows"):
        dataset.batch([0, row])
    with pytest.raises(IndexError):
        dataset[row]


def test_a_for_loop_ends(path: Path) -> None:
    assert len(list(Dataset(path, ["number"]))) == N


@pytest.mark.parametrize("rows", [[], [[1]], 3, [1.0], [True], ["x"], None], ids=str)
def test_rows_that_are_no_list_of_integers_are_refused(path: Path, rows: Any) -> None:
    with pytest.raises(h5s.ConfigError, match="by a list of integers"):
        Dataset(path, ["x"]).batch(rows)


def test_rows_may_be_an_array_or_a_tensor(path: Path) -> None:
    dataset = Dataset(path, ["x", "number"])
    for rows in (np.array([7, 2], "u1"), torch.tensor([7, 2]), range(7, 1, -5), (7, 2)):
        assert numbers_of([dataset.batch(rows)]) == [7, 2]
    assert dataset[np.int32(7)]["number"] == dataset[torch.tensor(7)]["number"] == 7


@pytest.mark.parametrize("how", ["batch", "__getitems__"])
def test_a_batch_decodes_each_chunk_once(path: Path, counted: Counted, how: str) -> None:
    dataset = Dataset(path, ["x"], cache_bytes=0)
    getattr(dataset, how)([150, 3, 151, 7, 3, 199, 150])
    assert counted.decoded_bytes == 3 * CHUNK_NBYTES
    getattr(dataset, how)([3])
    assert counted.decoded_bytes == 4 * CHUNK_NBYTES


def test_slices_that_share_chunks_decode_each_once(path: Path, counted: Counted) -> None:
    fields = {"x": h5s.Slices("x", 30), "y": h5s.Slices("x", 30, shift=1)}
    dataset = Dataset(path, fields, cache_bytes=0)
    dataset.batch(range(0, 165, 5))
    assert counted.decoded_bytes == N * ROW_NBYTES


def test_chunks_in_the_cache_are_not_read_again(path: Path, counted: Counted) -> None:
    dataset = Dataset(path, ["x"])
    for row in np.random.default_rng(0).permutation(N).tolist():
        assert dataset[row]["x"][0] == row * 8
    assert counted.decoded_bytes == N * ROW_NBYTES
    assert len(counted.stats) == 1


def test_the_cache_lets_go_of_what_was_used_longest_ago(path: Path, counted: Counted) -> None:
    dataset = Dataset(path, ["x"], cache_bytes=3 * CHUNK_NBYTES)
    for chunk, decoded in [(0, 1), (1, 2), (2, 3), (0, 3), (3, 4), (0, 4), (2, 4), (1, 5), (3, 6)]:
        assert dataset[chunk * CHUNK]["x"][0] == chunk * CHUNK * 8
        assert counted.decoded_bytes == decoded * CHUNK_NBYTES


FIELDS: dict[str, Any] = {
    "dense": "x",
    "ragged": h5s.Ragged("values", "offsets"),
    "skewed": h5s.Ragged("values", "skewed"),
    "slices": h5s.Slices("values", 100),
    "padded": h5s.Slices("values", 100, center=True),
    "text": "text",
}


def held_nbytes(column: Any) -> int:
    """Count the bytes that a column keeps alive."""
    stored = column if isinstance(column, np.ndarray) else column._stored
    while isinstance(stored.base, np.ndarray):
        stored = stored.base
    return stored.nbytes


@pytest.mark.parametrize("field", FIELDS)
def test_the_cache_is_bounded_by_what_it_holds(path: Path, field: str) -> None:
    with h5py.File(path, "a") as file:
        file["skewed"] = [*range(100), *[400] * 50, *[600] * 51]
    dataset = Dataset(path, {"x": FIELDS[field]}, cache_bytes=4000)
    for row in range(0, len(dataset), 7):
        dataset.batch([row, len(dataset) - 1 - row])
        blocks = [block for block, _nbytes in dataset._blocks.values()]
        assert sum(held_nbytes(block["x"]) for block in blocks) <= 4000


@pytest.mark.parametrize("field", [name for name in FIELDS if name != "skewed"])
def test_what_a_caller_writes_to_is_not_what_is_kept(path: Path, field: str) -> None:
    dataset = Dataset(path, {"x": FIELDS[field]}, collate=dict)
    first = dataset.batch([5, 6])["x"]
    for row in first if field != "text" else ():
        row += 1000
    second, third = dataset.batch([5, 6])["x"], dataset[5]["x"]
    if field == "text":
        assert list(second) == ["row 5", "row 6"]
    else:
        assert np.array_equal(np.asarray(list(first)) - 1000, np.asarray(list(second)))
        assert np.array_equal(third, next(iter(second)))


def test_repeated_rows_are_copies_of_their_own(path: Path) -> None:
    first, second = Dataset(path, {"x": FIELDS["ragged"]}, collate=dict).__getitems__([4, 4])
    first["x"] += 1
    assert second["x"].tolist() == [12, 13, 14]


def test_a_subset_numbers_its_rows_in_its_order(path: Path, counted: Counted) -> None:
    rows = [150, 3, 3, 151, 90]
    dataset = Dataset(path, ["x"], subset=rows, cache_bytes=0)
    assert len(dataset) == 5
    assert (dataset.batch([4, 0, 1])["x"][:, 0] // 8).tolist() == [90, 150, 3]
    assert [int(dataset[i]["x"][0]) // 8 for i in range(5)] == rows


def test_a_subset_by_condition_reads_only_chunks_that_hold_its_rows(
    path: Path, counted: Counted
) -> None:
    dataset = Dataset(path, ["x"], subset={"number": lambda numbers: numbers % 100 == 3})
    assert (dataset.batch(range(len(dataset)))["x"][:, 0] // 8).tolist() == [3, 103]
    assert counted.decoded_bytes == 2 * CHUNK_NBYTES


def test_a_users_collate_makes_samples_and_batches(path: Path) -> None:
    dataset = Dataset(
        path, {"s": h5s.Slices("values", 4), "t": h5s.Slices("values", 2)}, collate=shapes_of
    )
    assert dataset[0] == {"s": (4,), "t": (2,)}
    assert dataset.batch([0, 1, 5]) == {"s": (3, 4), "t": (3, 2)}


def shapes_of(values: dict[str, Any]) -> dict[str, Any]:
    assert all(isinstance(value, np.ndarray | np.generic) for value in values.values())
    return {name: value.shape for name, value in values.items()}


def test_a_users_collate_of_a_loader_gets_samples(path: Path) -> None:
    dataset = Dataset(path, {"x": FIELDS["ragged"], "text": "text"}, collate=dict)
    loader = DataLoader(dataset, batch_size=3, collate_fn=list)
    assert [sample["text"] for sample in next(iter(loader))] == ["row 0", "row 1", "row 2"]


def read_in_child(dataset: Dataset, results: Any) -> None:
    results.put(numbers_of([dataset.batch([N - 1, 0])]))


@pytest.fixture
def forking() -> Iterator[Any]:
    context = multiprocessing.get_context("fork")
    yield context
    for child in multiprocessing.active_children():
        child.kill()


def test_a_forked_child_reads_even_while_the_parent_is_reading(path: Path, forking: Any) -> None:
    dataset = Dataset(path, ["x", "number"])
    dataset[0]
    results = forking.SimpleQueue()
    with dataset._lock:  # as a thread of the parent would hold it
        child = forking.Process(target=read_in_child, args=(dataset, results))
        child.start()
    child.join(60)
    assert child.exitcode == 0
    assert results.get() == [N - 1, 0]
    assert numbers_of([dataset.batch([1, 0])]) == [1, 0]


def test_threads_may_share_a_dataset(path: Path, counted: Counted) -> None:
    dataset = Dataset(path, ["x", "number"])
    gate = threading.Barrier(4)

    def read(seed: int) -> bool:
        gate.wait()
        rows = np.random.default_rng(seed).permutation(N)
        return numbers_of([dataset.batch(rows)]) == rows.tolist()

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(4)))
    assert counted.decoded_bytes == N * ROW_NBYTES


def test_a_negative_cache_is_refused(path: Path) -> None:
    with pytest.raises(h5s.ConfigError, match="cache_bytes must not be negative"):
        Dataset(path, cache_bytes=-1)


def sparse_file(path: Path) -> None:
    with h5py.File(path, "a") as file:
        group = file.create_group("m")
        group["data"], group["indices"] = np.arange(1.0, N + 1), np.arange(N) % 7
        group["indptr"] = np.minimum(np.arange(N + 1), N)
        group.attrs["shape"] = (N, 7)
        file["skewed"] = np.cumsum([0, *(np.arange(N) % 4)])


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        if one.is_nested:
            pairs = zip(one.unbind(), other.unbind(), strict=True)
            return all(torch.equal(a, b) for a, b in pairs)
        if one.layout is torch.sparse_csr:
            one, other = one.to_dense(), other.to_dense()
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, tuple):
        return all(map(same, one, other))
    if isinstance(one, list) and one and isinstance(one[0], torch.Tensor):
        return all(map(same, one, other))
    return bool(one == other)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding_value": {"ragged": -1}, "padding_side": "left", "padding_info": "both"},
        {"ragged": {"ragged": "nested"}},
        {"ragged": {"ragged": "packed"}},
        {"ragged": {"ragged": "list"}},
        {"ragged": {"x": "list"}},
        {"sparse": "dense", "pad_to": {"ragged": 5}},
        {"sparse": "pairs"},
    ],
    ids=str,
)
def test_a_loader_makes_batches_without_a_collate_fn(path: Path, options: dict[str, Any]) -> None:
    sparse_file(path)
    fields = {
        "x": "x",
        "ragged": h5s.Ragged("values", "skewed", partial=True),
        "sparse": "m",
        "text": "text",
        "number": "number",
    }
    dataset = Dataset(path, fields, **options)
    for number, batch in enumerate(DataLoader(dataset, batch_size=7, num_workers=0)):
        expected = dataset.batch(range(7 * number, min(N, 7 * number + 7)))
        assert batch.keys() == expected.keys()
        assert all(same(batch[name], expected[name]) for name in expected)


def test_lists_and_slices_of_rows_are_batches(path: Path) -> None:
    dataset = Dataset(path, ["x", "number"])
    for rows in ([5, 3], np.array([5, 3]), torch.tensor([5, 3])):
        assert numbers_of([dataset[rows]]) == [5, 3]
    assert numbers_of([dataset[10:20:4], dataset[-2:]]) == [10, 14, 18, N - 2, N - 1]
    sampler = BatchSampler(RandomSampler(dataset), 16, False)
    loader = DataLoader(dataset, batch_size=None, sampler=sampler)
    assert sorted(numbers_of(loader)) == list(range(N))


def noisy(sample: dict[str, Any]) -> dict[str, Any]:
    return {"number": sample["number"], "noise": torch.rand(2, dtype=torch.float64)}


def noise_of(batches: Any) -> dict[int, list[float]]:
    pairs = [(batch["number"].tolist(), batch["noise"].tolist()) for batch in batches]
    return {row: noise for rows, some in pairs for row, noise in zip(rows, some, strict=True)}


def test_random_numbers_belong_to_seed_epoch_and_row(path: Path) -> None:
    dataset = Dataset(path, ["number"], transform=noisy, seed=3)
    options: dict[str, Any] = {"batch_size": 16, "shuffle": True}
    alone = noise_of(DataLoader(dataset, **options))
    loader = DataLoader(dataset, **options, num_workers=2, persistent_workers=True)
    assert noise_of(loader) == alone
    streamed = h5s.H5Stream(path, ["number"], batch_size=16, transform=noisy, seed=3, shuffle=True)
    assert noise_of(streamed) == alone
    dataset.set_epoch(1)
    second = noise_of(streamed)
    assert second == noise_of(loader) == noise_of(DataLoader(dataset, **options)) != alone
    assert noise_of([dataset.batch(range(N))]) == second
    before = torch.rand(())
    torch.manual_seed(0)
    expected = torch.rand(())
    torch.manual_seed(0)
    dataset[0]
    assert torch.rand(()) == expected != before


def test_a_cache_that_does_not_help_is_told_once(path: Path) -> None:
    dataset = Dataset(path, ["x"], cache_bytes=CHUNK_NBYTES)
    order = np.random.default_rng(0).permutation(np.tile(np.arange(N), 4)).tolist()
    with pytest.warns(UserWarning, match=r"a shuffled H5Stream decodes each once, or .*=6400$"):
        assert [dataset[row]["x"][0] // 8 for row in order] == order
    stats = dataset.stats()
    assert stats["decoded_row_chunks"] == stats["decoded_again"] + 1 == len(order)


def test_options_of_collate_are_checked(path: Path) -> None:
    with pytest.raises(h5s.ConfigError, match="padding_side"):
        Dataset(path, padding_side="up")  # type: ignore[arg-type]
    with pytest.raises(h5s.ConfigError, match="padding_value would do nothing"):
        Dataset(path, collate=dict, padding_value=1)
    for wrong in (-1, 0.5, True):
        with pytest.raises(h5s.ConfigError, match="epoch must be an integer"):
            Dataset(path).set_epoch(wrong)  # type: ignore[arg-type]
