from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.remote.faults import Proxy, faulty
from tests.remote.gcs import Gcs, gcs_server
from tests.remote.nginx import Nginx, nginx
from tests.remote.s3 import S3, s3_server


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that nginx serves."""
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="session")
def server(served: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    with nginx(served, tmp_path_factory.mktemp("nginx")) as running:
        yield running


@pytest.fixture
def proxy(server: Nginx) -> Iterator[Proxy]:
    with faulty(server.url) as running:
        yield running


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    with s3_server() as running:
        yield running


@pytest.fixture(scope="session")
def gcs() -> Iterator[Gcs]:
    with gcs_server() as running:
        yield running
