"""The IDX format of MNIST and its kin, in files with or without gzip."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from runner.datasets.files import GZIP_ERRORS, check_folder, gunzip
from runner.errors import ConfigError

Bytes = npt.NDArray[np.uint8]


class Images(NamedTuple):
    """Images of shape (samples, height, width) with values 0 to 255, and their labels of shape (samples,)."""

    data: Bytes
    labels: Bytes


def load_folder(folder: str, names: Sequence[str] = ("train", "t10k")) -> dict[str, Images]:
    """Returns the images of the sets `train` and `t10k` that are in a folder; the first of the names there must be.

    Raises:
        ConfigError: a file is missing or of another format, or images and labels do not fit together.
    """
    path = check_folder("loader.data_dir", folder)
    return {name: _load_set(path, name) for name in names if name == names[0] or find(path, name, "images", 3)}


def parse_idx(data: bytes) -> Bytes:
    """Reads the IDX format of unsigned bytes: two zeros, type 8, the number of dimensions, the dimensions, the values.

    Raises:
        ValueError: it is something else, or not whole.
    """
    if len(data) < 4 or data[:3] != b"\0\0\x08" or not data[3]:
        raise ValueError(f"it begins with {data[:4].hex(' ') or 'nothing'}, not with the magic number 00 00 08 of IDX files")
    begin = 4 + 4 * data[3]
    if len(data) < begin:
        raise ValueError("it ends within its header")
    shape = struct.unpack_from(f">{data[3]}I", data, 4)
    size = int(np.prod(shape, dtype=object))
    if len(data) - begin != size:
        raise ValueError(f"its header announces {size} values, and it has {len(data) - begin}")
    return np.frombuffer(data, np.uint8, offset=begin).reshape(shape)


def _load_set(folder: Path, name: str) -> Images:
    parts = []
    for kind, dimensions in (("images", 3), ("labels", 1)):
        path = find(folder, name, kind, dimensions)
        if path is None:
            raise ConfigError(f"loader.data_dir={str(folder)!r} has no {name}-{kind}-idx{dimensions}-ubyte, nor one with .gz")
        parts.append(_read(path, dimensions))
    images = Images(*parts)
    if len(images.data) != len(images.labels):
        raise ConfigError(
            f"loader.data_dir={str(folder)!r} has {len(images.data)} {name} images and {len(images.labels)} labels for them"
        )
    return images


def find(folder: Path, name: str, kind: str, dimensions: int) -> Path | None:
    """Returns the file of a set; both spellings of its name are in use."""
    names = [f"{name}-{kind}{dot}idx{dimensions}-ubyte{end}" for dot in "-." for end in ("", ".gz")]
    return next((folder / file for file in names if (folder / file).is_file()), None)


def _read(path: Path, dimensions: int) -> Bytes:
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gunzip(data)
        values = parse_idx(data)
    except (*GZIP_ERRORS, ValueError) as error:
        raise ConfigError(f"{str(path)!r} cannot be read: {error}") from error
    if values.ndim != dimensions:
        raise ConfigError(f"{str(path)!r} has {values.ndim} dimensions instead of {dimensions}")
    return values
