"""What the jobs of a sweep are made of besides their configuration: the files of data, and the user's modules."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from runner.targets import TARGET

LARGE = 256 << 20
"""Bytes from which a file is known by its size and time, and not by its content."""
_LIBRARIES = ("site-packages", "dist-packages")


def digests(conf: Mapping[str, Any]) -> dict[str, str]:
    """Returns digests of the files and folders that a flat configuration names below `loader`, and of modules of the user's.

    Modules that these import are not looked at.
    """
    found = {}
    for path in dict.fromkeys(_paths(conf)):
        with suppress(OSError):  # the jobs say what is wrong with it
            found[str(path)] = _of_folder(path) if path.is_dir() else _of_file(path)
    return found


def of_files(paths: Iterable[Path]) -> dict[str, str]:
    """Returns digests of files that can be read."""
    found = {}
    for path in paths:
        with suppress(OSError):  # the jobs say what is wrong with it
            found[os.path.relpath(path)] = _of_file(path)
    return found


def _paths(conf: Mapping[str, Any]) -> Iterator[Path]:
    for key, value in conf.items():
        if not isinstance(value, str) or not value:
            continue
        if key.rpartition(".")[2] == TARGET:
            yield from _of_module(value.rpartition(".")[0])
        elif key.startswith("loader.") and (path := Path(value).expanduser()).exists():
            yield path


def _of_module(name: str) -> Iterator[Path]:
    with suppress(ImportError, ValueError, AttributeError):  # as the jobs will say
        spec = find_spec(name)
        path = Path(spec.origin) if spec is not None and spec.origin else None
        if path is not None and path.suffix == ".py" and path.is_relative_to(Path.cwd()) and not {*_LIBRARIES} & {*path.parts}:
            yield path.relative_to(Path.cwd())


def _of_file(path: Path) -> str:
    status = path.stat()
    if status.st_size >= LARGE:
        return f"{status.st_size} {status.st_mtime_ns}"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _of_folder(path: Path) -> str:
    """Returns a digest of the names and sizes of all files in a folder."""
    digest = hashlib.sha256()
    for folder, folders, files in os.walk(path):
        folders.sort()
        for name in sorted(files):
            file = Path(folder, name)
            digest.update(f"{file.relative_to(path)}\0{file.stat().st_size}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()
