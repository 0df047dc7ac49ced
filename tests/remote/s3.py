"""A moto server: S3 over real sockets."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from tests.remote.processes import free_port, running

BUCKET = "bucket"


@dataclass(frozen=True)
class S3:
    """A server that is running."""

    port: int
    key: str = "TESTKEY"
    secret: str = "hunter2hunter2"
    region: str = field(default="us-east-1")

    def options(self, port: int | None = None) -> dict[str, Any]:
        """Return storage options for it, or for a proxy in front of it."""
        return {
            "key": self.key,
            "secret": self.secret,
            "endpoint_url": f"http://127.0.0.1:{port or self.port}",
            "client_kwargs": {"region_name": self.region},
        }

    def put(self, path: str | Path, name: str, acl: Any = "private") -> str:
        """Upload a file; return its URL."""
        client = boto3.client(
            "s3",
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region_name=self.region,
        )
        if BUCKET not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
            client.create_bucket(Bucket=BUCKET)
        client.put_object(Bucket=BUCKET, Key=name, Body=Path(path).read_bytes(), ACL=acl)
        client.close()
        return f"s3://{BUCKET}/{name}"


@contextlib.contextmanager
def s3_server() -> Iterator[S3]:
    """Run a server without any object."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with running(command, port):
        yield S3(port)
