"""Buckets of a private server that speaks the protocol of S3, seen through Amazon's own client."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import boto3
import fsspec.config
import s3fs

from tests.servers import Process, free_port

ACCOUNT, SECRET = "veles-tests", "canary-S3cret-7f3a"
_numbers = count(1)


@dataclass(frozen=True)
class Bucket:
    """A bucket.

    Attributes:
        name: its name.
        port: where its server listens.
    """

    name: str
    port: int

    @property
    def url(self) -> str:
        """The URL of a folder in it."""
        return f"s3://{self.name}/runs"

    @property
    def client(self) -> Any:
        """Amazon's client."""
        return _client(self.port)

    def objects(self) -> dict[str, bytes]:
        """Returns what is in the bucket, by keys."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        keys = [one["Key"] for page in pages for one in page.get("Contents", [])]
        found = {}
        for key in keys:
            with suppress(self.client.exceptions.NoSuchKey):  # somebody has deleted it since
                found[key] = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return found

    def uploads(self) -> list[str]:
        """Returns the keys of unfinished uploads."""
        return [one["Key"] for one in self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", [])]

    def environment(self) -> dict[str, str]:
        """Returns the environment in which programs find the server."""
        account = {"AWS_ACCESS_KEY_ID": ACCOUNT, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"}
        return account | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}"}


@cache
def _client(port: int) -> Any:
    keys = {"aws_access_key_id": ACCOUNT, "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
    return boto3.session.Session(**keys).client("s3", endpoint_url=f"http://127.0.0.1:{port}")


@contextmanager
def s3() -> Iterator[int]:
    """Runs the server; yields its port."""
    folder, port = Path(tempfile.mkdtemp(prefix="veles-server-")), free_port()
    try:
        with Process([sys.executable, "-m", "tests.s3_server", str(port)], folder, folder / "log", None):
            yield port
    finally:
        shutil.rmtree(folder)


def new_bucket(port: int) -> Bucket:
    """Makes an empty bucket."""
    bucket = Bucket(f"bucket-{os.getpid()}-{next(_numbers)}", port)
    bucket.client.create_bucket(Bucket=bucket.name)
    return bucket


def close_connections() -> None:
    """Closes the connections that fsspec keeps open for the next call."""
    for files in s3fs.S3FileSystem._cache.values():
        if files._s3 is not None:
            files.close_session(files.loop, files._s3creator)
    s3fs.S3FileSystem.clear_instance_cache()


@contextmanager
def served_by(port: int) -> Iterator[None]:
    """Has this process find the server at another port, such as that of a proxy."""
    before = fsspec.config.conf.get("s3")
    fsspec.config.conf["s3"] = {"endpoint_url": f"http://127.0.0.1:{port}"}
    try:
        yield
    finally:
        fsspec.config.conf.pop("s3")
        if before is not None:
            fsspec.config.conf["s3"] = before
