from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.cases import write_files


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the files that all tests here read."""
    return write_files(tmp_path_factory.mktemp("data"))
