"""What the readers of data files have in common."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from runner import extras
from runner.errors import ConfigError

SIGNS = {
    b"version https://git-lfs": "it is a pointer of Git LFS, not the file itself: git lfs pull",
    b"\x1f\x8b": "it is compressed by gzip: unpack it",
    b"BZh91AY&SY": "it is compressed by bzip2: unpack it",
    b"\xfd7zXZ": "it is compressed by xz: unpack it",
    b"\x28\xb5\x2f\xfd": "it is compressed by zstd: unpack it",
    b"PK\3\4": "it is a ZIP archive or an Excel workbook: unpack it, or save it as CSV",
    b"\xd0\xcf\x11\xe0": "it is an old Excel workbook: save it as CSV",
    b"PAR1\x15": "it is Parquet: name it .parquet",
    b"\x93NUMPY": "it is an array of numpy: name it .npy",
    b"\x89HDF": "it is HDF5, which is not read",
    b"<!doctype": "it is a web page: download the file itself",
    b"<html": "it is a web page: download the file itself",
}
"""By how a file begins, what it is when it is not what its name says."""

gzip_library: ModuleType
zlib_library: ModuleType
try:
    from isal import igzip as gzip_library
    from isal import isal_zlib as zlib_library
except ModuleNotFoundError:
    gzip_library, zlib_library = gzip, zlib
GZIP_ERRORS: tuple[Any, ...] = (OSError, EOFError, zlib.error, zlib_library.error)


def check_folder(key: str, folder: str) -> Path:
    """Returns the folder that a key names; raises a ConfigError if there is none."""
    if not folder:
        raise ConfigError(f"{key} is empty, and must name a folder")
    path = Path(folder)
    if not path.is_dir():
        raise ConfigError(f"{key}={folder!r} is not a folder{seen_from(path)}")
    return path


def seen_from(path: Path) -> str:
    """Returns where a relative path is looked for, for messages: a run may be resumed in another folder."""
    if path.parts[:1] == ("~",):
        return ": only a shell puts a folder for ~; ${oc.env:HOME}/... names it in a conf file"
    return "" if path.is_absolute() else f" (in {str(Path.cwd())!r})"


def foreign(head: bytes) -> str | None:
    """Returns what a file is that begins with something else than its name promises, and what to do, or None."""
    if not head:
        return "it is empty"
    text = head.lstrip().lower()
    return next((told for sign, told in SIGNS.items() if head.startswith(sign) or text.startswith(sign)), None)


@contextmanager
def needs(package: str, what: str) -> Iterator[None]:
    """Within it a package is imported; one that is not installed is a ConfigError that says how to install it."""
    try:
        yield
    except ImportError as error:
        raise ConfigError(
            f"{what} needs the package {package}: {extras.command(package) or f'pip install {package}'}"
        ) from error


def some(names: Collection[str], limit: int = 10) -> str:
    """Returns names for a message, of which there may be many."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(map(repr, list(names)[:limit])) + more


def gunzip(data: bytes) -> bytes:
    """Returns what gzip has compressed; raises one of GZIP_ERRORS if it is damaged."""
    stream = zlib_library.decompressobj(31)
    content: bytes = stream.decompress(data)
    # The reader of several members copies what it has read once more.
    return content if stream.eof and not stream.unused_data else bytes(gzip_library.decompress(data))


def gunzipped(file: IO[bytes]) -> IO[bytes]:
    """Returns a file that is read through gzip."""
    opened: IO[bytes] = gzip_library.open(file, "rb")
    return opened
