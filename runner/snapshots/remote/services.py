"""The boundary to fsspec: the services that are known, what is asked of them, and what their errors mean."""

from __future__ import annotations

import errno
import logging
import os
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from typing import Any
from weakref import WeakSet

from runner import passwords
from runner.checks import first_line
from runner.errors import ConfigError, SnapshotNotFoundError, StoreAccessError, StoreAwayError, StoreError
from runner.snapshots.codecs import Buffer
from runner.thread_pool import Threads

log = logging.getLogger(__name__)

PART = 8 << 20
"""Bytes in a part of an upload. What is smaller is uploaded in one piece; parts grow with what has been uploaded."""
GROWTH = 1000
"""Parts after which their size has grown to its multiple e: a service allows 10,000 parts, and 5 TB in all."""
CALL_LIMIT = 120.0
"""Seconds that a call may take, in which a part has to be uploaded."""
STALE = timedelta(days=1)
"""The age from which on an unfinished upload cannot be that of a writer that is still alive."""

_AWAY = {
    *("ConnectionError", "TimeoutError", "gaierror", "HTTPClientError", "ClientConnectionError", "ClientPayloadError"),
    *("FSTimeoutError", "ServiceRequestError", "ServiceResponseError", "IncompleteRead", "ResponseParserError"),
}
"""The classes of errors, of whichever library, after which the same call may succeed."""
_AWAY_NUMBERS = (errno.EBUSY, errno.EREMOTEIO)
_CREDENTIALS = ("Credential", "Token", "Profile", "Auth")
"""What the names of errors say that mean that nobody has said who is asking."""

_idle: list[Threads] = []
"""Threads that wait for a call."""
_late: WeakSet[AbstractEventLoop] = WeakSet()
"""Loops of events that `_serve_late` has seen."""
os.register_at_fork(after_in_child=_idle.clear)  # threads do not survive a fork


@dataclass(frozen=True)
class Service:
    """A kind of storage.

    Attributes:
        package: the package on PyPI that fsspec needs for it.
        account: where it looks for the account to use.
        options: what fsspec is told.
        exclusive: what a call is told that must not overwrite.
        in_parts: whether a large object is uploaded in parts, and appears when the last one is there.
        away: whether it is beyond a network.
        loggers: loggers of libraries that are not to say more than warnings, unless somebody has asked them to.
    """

    package: str | None = None
    account: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    exclusive: Mapping[str, Any] = field(default_factory=lambda: {"mode": "create"})
    in_parts: bool = True
    away: bool = True
    loggers: Sequence[str] = ()


SERVICES = {
    "s3": Service(
        "s3fs",
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or ~/.aws; AWS_ENDPOINT_URL if it is not Amazon's",
        {
            "config_kwargs": {
                "connect_timeout": 10,
                "read_timeout": 60,
                "retries": {"mode": "standard", "total_max_attempts": 3},
            }
        },
        loggers=("botocore", "aiobotocore"),
    ),
    "gs": Service("gcsfs", "GOOGLE_APPLICATION_CREDENTIALS, or `gcloud auth application-default login`"),
    "az": Service(
        "adlfs",
        "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY",
        exclusive={"overwrite": False},
        loggers=("azure",),
    ),
    "memory": Service(in_parts=False, away=False),
}
"""The services by URL scheme."""


class Files:
    """What a store asks of a service. Errors come as those of veles-run; a call is not repeated here.

    Args:
        place: the URL of the folder.

    Raises:
        ConfigError: the package that the service needs is not installed.
    """

    def __init__(self, place: str) -> None:
        scheme, _, path = place.partition("://")
        self.service = SERVICES[scheme]
        self.place = place
        self.root = f"{scheme}://{path.partition('/')[0]}"
        self._files = self._opened(scheme)

    def _opened(self, scheme: str) -> Any:
        """Returns fsspec's object for the service, which it keeps for this process and thread of events."""
        try:
            import fsspec

            cls = fsspec.get_filesystem_class(scheme)
        except ImportError as error:
            package = self.service.package
            raise ConfigError(
                f"snapshots in {scheme}:// need fsspec{f' and {package}' if package else ''} ({error}):"
                f" pip install 'veles-runner[remote]'{f' {package}' if package not in (None, 's3fs') else ''}"
            ) from error
        with self._translated("connect to"):
            files = cls(use_listings_cache=False, **self.service.options)
        for name in self.service.loggers:
            if (logger := logging.getLogger(name)).level == logging.NOTSET:
                logger.setLevel(logging.WARNING)  # they say where they have found the account
        _serve_late(getattr(files, "loop", None))
        if scheme == "s3":
            files.retries = 1  # botocore repeats calls by itself; the product of both would be minutes
        return files

    def size(self, url: str) -> int | None:
        """Returns the size of an object; None if there is none."""
        with self._translated("read", url):
            try:
                info = self._call(self._files.info, url)
            except FileNotFoundError:
                return None
            return int(info["size"]) if info["type"] == "file" else None

    def read(self, url: str, begin: int, end: int) -> bytes:
        """Returns some bytes of an object."""
        with self._translated("read", url):
            data = bytes(self._call(self._files.cat_file, url, start=begin, end=end))
            if len(data) != end - begin:
                raise ConnectionError(f"{len(data)} of {end - begin} bytes have come")
            return data

    def read_starts(self, sizes: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
        """Yields the first bytes of several objects, without those that are no longer there."""
        urls, ends = list(sizes), list(sizes.values())
        with self._translated("read", self.place):
            found = self._call(self._files.cat_ranges, urls, [0] * len(urls), ends, on_error="return") if urls else []
        for url, data in zip(urls, found, strict=True):
            with self._translated("read", url):
                if isinstance(data, FileNotFoundError):
                    continue
                if isinstance(data, BaseException):
                    raise data
                yield url, bytes(data)

    def names(self) -> Sequence[tuple[str, int]]:
        """Returns the names and sizes of the objects in the folder.

        Raises:
            ConfigError: the bucket or the container is not there.
        """
        with self._translated("list"):
            try:
                found = self._call(self._files.ls, self.place, detail=True, refresh=True)
            except FileNotFoundError:
                self.check_root()
                return []
            files = (one for one in found if one["type"] == "file")
            return [(str(one["name"]).rpartition("/")[2], int(one["size"])) for one in files]

    def check_root(self) -> None:
        """Raises a ConfigError if the bucket or the container is not there."""
        with self._translated("use", self.root), suppress(PermissionError):  # an account may only have a right to the folder
            try:
                if self.service.away:
                    self._call(self._files.info, self.root)
            except FileNotFoundError as error:
                raise ConfigError(f"there is no {self.root}: make it first, or check its name and the account") from error

    def create(self, url: str, data: bytes) -> None:
        """Writes an object that must not be there.

        Raises:
            FileExistsError: it is.
        """
        with self._translated("write to"):
            self._call(self._files.pipe_file, url, data, **self.service.exclusive)

    def replace(self, url: str, data: bytes) -> None:
        """Writes an object, whether it is there or not."""
        with self._translated("write to"):
            self._call(self._files.pipe_file, url, data)

    def upload(self, url: str, members: Iterable[Buffer]) -> int:
        """Writes an object that must not be there, and that appears when all of it is there; returns its size.

        Raises:
            FileExistsError: it is there.
        """
        stream = iter(members)
        begun, size = _begun(stream, PART if self.service.in_parts else None)
        if size < PART or not self.service.in_parts:
            self.create(url, b"".join(begun))
            return size
        with self._translated("write to"):
            file = self._call(self._files.open, url, "xb", block_size=PART)
        try:
            size = 0
            for member in chain(begun, stream):
                file.blocksize = max(PART, size // GROWTH)
                with self._translated("write to"):
                    self._call(file.write, member)
                size += len(member)
            with self._translated("write to"):
                self._call(file.close)
        except BaseException:
            file.closed = True  # or it would still be completed when it is forgotten
            with suppress(Exception):  # the service throws it away by itself, or `remove_stale` does
                self._call(file.discard)
            raise
        return size

    def delete(self, url: str) -> None:
        """Deletes an object."""
        with self._translated("delete from"):
            self._call(self._files.rm_file, url)

    def remove_stale(self) -> int:
        """Removes what killed writers have left of uploads long ago; returns how many younger ones there are.

        Only S3 keeps unfinished uploads for ever, and bills them: the others throw them away after a week.
        """
        if "s3" not in self._files.protocol:
            return 0
        bucket, key, _ = self._files.split_path(f"{self.place}/x")
        with self._translated("list"):
            found = self._call(self._files.call_s3, "list_multipart_uploads", Bucket=bucket, Prefix=key[:-1])
            uploads = found.get("Uploads", [])
            old = [one for one in uploads if one["Initiated"] < datetime.now(UTC) - STALE]
            for one in old:
                self._call(self._files.abort_mpu, bucket, one["Key"], one["UploadId"])
                log.info("Unfinished upload removed: %s/%s", self.root, one["Key"])
        return len(uploads) - len(old)

    def _call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Makes a call that ends in time: no library gives up on a service that takes no more of what is sent to it."""
        if not self.service.away:
            return function(*arguments, **options)
        thread = _idle.pop() if _idle else Threads(1, "remote", daemon=True)
        call = thread.start(partial(function, *arguments, **options))
        wait([call], CALL_LIMIT)
        if not call.done():
            raise TimeoutError(f"no answer in {CALL_LIMIT:g} s")
        _idle.append(thread)
        return call.result()

    @contextmanager
    def _translated(self, action: str, url: str | None = None) -> Iterator[None]:
        """Translates errors of fsspec and of the libraries below it. `FileExistsError` is for the caller."""
        try:
            yield
        except (ConfigError, FileExistsError):
            raise
        except Exception as error:
            raise self._translation(error, action, url or self.place) from error

    def _translation(self, error: Exception, action: str, url: str) -> Exception:
        kinds = {cls.__name__ for cls in type(error).__mro__}
        text = passwords.redact(first_line(error)) or type(error).__name__
        failed = f"cannot {action} {url!r}: {text}"
        if isinstance(error, FileNotFoundError):
            return SnapshotNotFoundError(f"there is no snapshot {url!r}") if action == "read" else StoreError(failed)
        if isinstance(error, PermissionError) or any(word in type(error).__name__ for word in _CREDENTIALS):
            return StoreAccessError(f"{failed}; check the account and its rights ({self.service.account})")
        if kinds & _AWAY or getattr(error, "errno", None) in _AWAY_NUMBERS:
            return StoreAwayError(f"{failed}; check the network, and whether the service is there")
        return StoreError(failed)


class _LateExecutor(ThreadPoolExecutor):
    """Accepts calls until the process ends, which may have to wait for a snapshot."""

    def __init__(self) -> None:
        super().__init__()
        self._late = Threads(4, "remote", daemon=True)

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        return self._late.start(partial(function, *arguments, **options))


def _serve_late(loop: AbstractEventLoop | None) -> None:
    """Gives fsspec's loop of events threads that still work when the interpreter shuts down, in which it looks up addresses."""
    if loop is not None and loop not in _late:
        _late.add(loop)
        loop.call_soon_threadsafe(loop.set_default_executor, _LateExecutor())


def _begun(stream: Iterator[Buffer], limit: int | None) -> tuple[list[bytes], int]:
    """Takes copies of the first members of a stream, up to a limit, or of all."""
    taken, size = [], 0
    for member in stream:
        taken.append(bytes(member))
        size += len(member)
        if limit is not None and size >= limit:
            break
    return taken, size
