"""The benchmark of peers: its contract, with the peers that need nothing installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.peers import run, with_h5py, with_h5stream
from benchmarks.peers.cases import CASES, samples_of

N = 300


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("peer", [with_h5py, with_h5stream], ids=["h5py", "h5stream"])
def test_an_epoch_has_every_row_once(tmp_path: Path, name: str, peer: Any) -> None:
    case, source = CASES[name], tmp_path / "a.h5"
    case.write(source, N)
    peer.prepare(source, tmp_path)
    batches = list(peer.batches(source, tmp_path, batch_size=64, workers=0, case=case))
    expected = sorted(sum_of(sample) for sample in samples_of(source))
    found = sorted(
        sum_of({key: value[row] for key, value in batch.items() if not key.endswith("_lengths")})
        for batch in batches
        for row in range(len(next(iter(batch.values()))))
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def sum_of(sample: Any) -> float:
    return sum(float(np.asarray(value, np.float64).sum()) for value in sample.values())


def test_every_peer_has_the_contract_and_names_what_it_needs() -> None:
    folder = Path(run.__file__).parent
    assert {"h5stream", "h5py", "lance", "litdata", "webdataset"} <= set(run.PEERS)
    for peer in run.PEERS:
        text = (folder / f"with_{peer}.py").read_text()
        assert "\nREQUIREMENTS" in text
        assert "\ndef prepare(source: Path, folder: Path)" in text
        assert "\ndef batches(source: Path, folder: Path, *, batch_size: int" in text


def test_the_table_ranks_by_the_median_and_names_what_failed() -> None:
    made = {"seconds": 2.0, "bytes": 3_000_000, "versions": {}}
    peers = {
        "slow": {"prepared": made, "0": [1.0, 2.0, 9.0], "2": ["Error: one"]},
        "fast": {"prepared": {**made, "bytes": 0}, "0": [3.0, 1.0], "2": [5.0, 7.0, 6.0]},
        "none": {"prepared": {"error": "no | wheel"}},
    }
    case = {"about": "rows", "rows": 9, "bytes": 10**6, "peers": peers}
    lines = list(run.table(json.loads(json.dumps({"cases": {"a": case}}))))
    assert lines[4:7] == [
        "| fast | 6 | 5 to 7 | 2 | – | – |",
        "| slow | 2 | 1 to 9 | 0 | 2.0 s | 3 MB |",
        "| none | – | no / wheel | – | – | – |",
    ]
