"""What the readers of data files have in common."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from runner.errors import ConfigError

gzip_library: ModuleType
GZIP_ERRORS: tuple[Any, ...] = (OSError, EOFError, zlib.error)
try:
    from isal import igzip as gzip_library
    from isal import isal_zlib

    GZIP_ERRORS = (*GZIP_ERRORS, isal_zlib.error)
except ModuleNotFoundError:
    gzip_library = gzip


def check_folder(key: str, folder: str) -> Path:
    """Returns the folder that a key names; raises a ConfigError if there is none."""
    path = Path(folder)
    if not path.is_dir():
        raise ConfigError(f"{key}={folder!r} is not a folder")
    return path


@contextmanager
def needs(package: str, what: str) -> Iterator[None]:
    """Within it a package is imported; one that is not installed is a ConfigError that says how to install it."""
    try:
        yield
    except ImportError as error:
        raise ConfigError(f"{what} needs the package {package}: pip install {package}") from error


def some(names: Collection[str], limit: int = 10) -> str:
    """Returns names for a message, of which there may be many."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(map(repr, list(names)[:limit])) + more


def gunzip(data: bytes) -> bytes:
    """Returns what gzip has compressed; raises one of GZIP_ERRORS if it is damaged."""
    content: bytes = gzip_library.decompress(data)
    return content


def gunzipped(file: IO[bytes]) -> IO[bytes]:
    """Returns a file that is read through gzip."""
    opened: IO[bytes] = gzip_library.open(file, "rb")
    return opened
