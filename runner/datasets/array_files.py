"""Samples in files of arrays: numpy's .npy and .npz, IDX as MNIST has it, and the binary batches of CIFAR-10."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runner.checks import first_line, known
from runner.datasets import cifar10, idx
from runner.datasets.files import GZIP_ERRORS, foreign, gunzip
from runner.errors import ConfigError

log = logging.getLogger(__name__)

Array = npt.NDArray[Any]

DATA, LABELS, TARGETS = ("data", "samples", "x", "images"), ("labels", "label", "y"), ("targets", "target")
"""What arrays in a .npz file are called."""
SETS = ("t10k", "train")
"""The sets that a folder of IDX files may have; the first one that is there is meant."""


def idx_files(folder: Path) -> list[Path]:
    """Returns the files of images in the IDX format that are in a folder."""
    found = (idx.find(folder, name, "images", 3) for name in SETS)
    return [path for path in found if path is not None]


def sample_arrays(path: Path) -> set[str]:
    """Returns the names of those arrays of a .npz file that are called as samples are; none of another file."""
    return _names(path) & {*DATA}


def is_plain(path: Path) -> bool:
    """Whether a file is a .npy file with an array without fields, which is more than a table."""
    with suppress(*GZIP_ERRORS, ValueError):  # what reads it says what is wrong
        return path.suffix.lower() == ".npy" and np.load(path, mmap_mode="r", allow_pickle=False).dtype.names is None
    return False


def has_targets(path: Path) -> bool:
    """Whether a file is a .npz file with an array that is called as targets are."""
    return not {*TARGETS}.isdisjoint(map(str.lower, _names(path)))


def _names(path: Path) -> set[str]:
    """Returns the names of the arrays of a .npz file; none of another file."""
    if not zipfile.is_zipfile(path) or path.suffix.lower() != ".npz":
        return set()
    with zipfile.ZipFile(path) as file:
        return {name.removesuffix(".npy") for name in file.namelist()}


def load(origin: str, path: Path, labeled: bool) -> tuple[Array, Array | None]:
    """Returns samples, of shape (samples, ...), and their labels or targets if they are asked for.

    Arrays of a .npy file stay in the file until they are needed.

    Raises:
        ConfigError: the file is of another format, damaged, or has no labels where they are asked for.
    """
    if path.is_dir():
        path = idx_files(path)[0]
    name = path.name.lower()
    with _told(origin):
        if name.endswith(".npy"):
            data, labels = _npy(path), None
        elif name.endswith(".npz"):
            (data,), labels = _npz(path, [])
        elif name.endswith(".bin"):
            data, labels = cifar10.read(path)
        else:
            data, labels = _idx(origin, path, labeled)
    return data, _checked(origin, [data], labels, labeled)


def load_parts(origin: str, path: Path, names: Sequence[str], labeled: bool) -> tuple[list[Array], Array | None]:
    """Returns arrays of a .npz file by their names, of which each has a part of all samples, and labels as `load` does.

    Raises:
        ConfigError: the file is damaged, or has no such array, or no labels where they are asked for.
    """
    with _told(origin):
        arrays, labels = _npz(path, names)
    return arrays, _checked(origin, arrays, labels, labeled)


@contextmanager
def _told(origin: str) -> Iterator[None]:
    try:
        yield
    except ConfigError:
        raise
    except (*GZIP_ERRORS, ValueError, MemoryError) as error:
        raise ConfigError(f"{origin} cannot be read: {first_line(error)}") from error


def _checked(origin: str, arrays: Sequence[Array], labels: Array | None, labeled: bool) -> Array | None:
    """Returns the labels if they are asked for; raises a ConfigError if they are not there, or an array is not of numbers."""
    if (wrong := next((array.dtype for array in arrays if array.dtype.kind not in "biuf"), None)) is not None:
        raise ConfigError(f"{origin} has values of type {wrong}, and not numbers")
    if labeled and labels is None:
        raise ConfigError(f"{origin} has no labels: name a .npz file with the arrays 'data' and 'labels' (or 'targets')")
    return labels if labeled else None


def _npy(path: Path) -> Array:
    array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.ndim < 2:
        raise ValueError(f"it has {array.ndim} dimensions, of which the first one is that of samples")
    return array


def _npz(path: Path, parts: Sequence[str]) -> tuple[list[Array], Array | None]:
    """Returns the array with the samples, or those with parts of them, and that with the labels if there is one."""
    with np.load(path, allow_pickle=False) as arrays:
        names = {name.lower(): name for name in arrays.files}
        found = [names[name] for name in DATA if name in names] or (arrays.files if len(arrays.files) == 1 else [])
        if not found and not parts:
            raise ValueError(f"its arrays are {known(arrays.files)}, and none is called {' or '.join(map(repr, DATA))}")
        if missing := [part for part in parts if part not in arrays.files]:
            raise ValueError(f"its arrays are {known(arrays.files)}, and none is called {missing[0]!r}")
        labels = [names[name] for name in (*LABELS, *TARGETS) if name in names and names[name] not in parts]
        read = [*(parts or found[:1]), *labels[:1]]
        if left := sorted(set(arrays.files) - {*read}):
            log.warning("%s: of its arrays, %s are not read", path.name, ", ".join(left))
        return [arrays[name] for name in parts or found[:1]], arrays[labels[0]] if labels else None


def _idx(origin: str, path: Path, labeled: bool) -> tuple[Array, Array | None]:
    data = _parsed(path)
    if data.ndim < 2:
        raise ValueError(f"it has {data.ndim} dimensions, as labels have, and not images")
    other = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    return data, _parsed(other) if labeled and other != path and other.is_file() else None


def _parsed(path: Path) -> Array:
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        content = gunzip(content)
    if content[:3] != b"\0\0\x08" and (told := foreign(content[:32])):
        raise ValueError(told)
    return idx.parse_idx(content)
