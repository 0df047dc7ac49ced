from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from h5stream.opening import open_catalog
from tests.contracts.kinds import KINDS, Kind


def sources_of(kind: Kind, folder: Path) -> Any:
    return kind.sources([str(path) for path in kind.make(folder)])


@pytest.mark.parametrize("target_bytes", [1, 100, 1000, 10**9])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_row_chunks_of_every_kind_of_field_share_the_rows(
    kind: Kind, target_bytes: int, tmp_path: Path
) -> None:
    file = open_catalog(sources_of(kind, tmp_path), kind.fields).files[0]
    bounds = file.fields["x"].cut(target_bytes)
    assert (bounds[0], bounds[-1]) == (0, file.n_rows)
    assert (np.diff(bounds) > 0).all()
    if target_bytes == 10**9:
        assert len(bounds) == 2


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_row_chunks_are_smaller_for_a_smaller_target(kind: Kind, tmp_path: Path) -> None:
    file = open_catalog(sources_of(kind, tmp_path), kind.fields).files[0]
    cuts = [len(file.fields["x"].cut(target)) for target in (1, 100, 10_000)]
    assert cuts == sorted(cuts, reverse=True)
