"""How often a scan of a remote file waits, for the files that the benchmark scans."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.scan import Settings, scan_ours
from benchmarks.scan_files import FILES
from h5stream.layout import scan_file
from tests.layout.test_partial_file import assert_same_layout

MOST_TRIPS = {
    "small": 2,
    "v1": 10,
    "fixed-array": 3,
    "extensible-array": 4,
    "v2-tree": 9,
    "v1-paged-64k": 4,
    "v2-tree-paged-64k": 5,
    "datasets-1-groups-v1": 21,
    "datasets-100-groups-v1": 13,
    "datasets-1-groups-latest": 8,
    "datasets-100-groups-latest": 14,
    "datasets-1-groups-v1-paged-64k": 6,
    "vlen": 3,
    "cells": 12,
}


@pytest.mark.parametrize("kind", MOST_TRIPS)
def test_a_scan_finds_what_is_there_in_few_round_trips(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    FILES[kind].write(path)
    network, found = scan_ours(path, Settings(), FILES[kind].fields)
    expected = scan_file(str(path), list(found.datasets))
    for name, layout in expected.datasets.items():
        assert_same_layout(found.datasets[name], layout)
    assert network.trips <= MOST_TRIPS[kind]


def test_one_dataset_among_a_thousand_costs_little(tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    FILES["datasets-1-groups-v1"].write(path)
    network, found = scan_ours(path, Settings(), ["500_image"])
    assert list(found.datasets) == ["500_image"]
    assert network.trips <= 16
    assert network.nbytes < 2**22
