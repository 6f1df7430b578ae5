"""Images in folders, one for each class."""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runner.checks import first_line
from runner.datasets.files import check_folder, foreign, needs, some
from runner.datasets.texts import check_apart
from runner.errors import ConfigError
from runner.memory import memory

log = logging.getLogger(__name__)

Pixels = npt.NDArray[Any]

ENDINGS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
CLUTTER = frozenset(
    {
        *("__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "lost+found"),
        *("@eadir", "@__thumb", "#recycle", "#snapshot"),  # of network storage; its previews are images, too
    }
)
"""What systems leave in folders, besides hidden files."""


def find(key: str, folder: str) -> dict[str, list[str]]:
    """Returns the paths of the images in each sub-folder and below it, by its name, all in alphabetical order.

    Hidden files and folders do not count, nor sub-folders without images.

    Raises:
        ConfigError: there is no folder, or no image in a sub-folder.
    """
    entries = sorted(path for path in check_folder(key, folder).iterdir() if _counts(path.name))
    found = {path.name: _files(str(path)) for path in entries if path.is_dir()}
    if not found:
        raise ConfigError(f"{key}={folder!r} has no sub-folders: each class has one of its own")
    if not any(found.values()):
        raise ConfigError(f"{key}={folder!r} has no images in its sub-folders ({', '.join(sorted(ENDINGS))})")
    if stray := [path.name for path in entries if path.suffix.lower() in ENDINGS and path.is_file()]:
        log.warning("%s=%r: images beside the folders of the classes are left out: %s", key, folder, some(stray))
    if empty := [name for name, paths in found.items() if not paths]:
        log.warning("%s=%r: folders without images are not classes: %s", key, folder, some(empty))
    return {name: paths for name, paths in found.items() if paths}


def check_classes(where: str, found: Iterable[str], known: Collection[str]) -> None:
    """Raises a ConfigError if a class is not one of the training set's."""
    if unknown := sorted(set(found) - set(known)):
        check_apart(where, known, unknown)
        raise ConfigError(f"{where} has a class {unknown[0]!r}, which the training set has not")


def load(
    found: Mapping[str, list[str]], classes: list[str], *, grayscale: bool = False, size: tuple[int, int] | None = None
) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Returns images of shape (samples, 3, height, width), or (samples, height, width) in grayscale, and their labels.

    Values are bytes. Those of images with 16 or 32 bits are int32, and those of float images float32, as they are in the file.

    Args:
        found: the paths of the images by class.
        classes: the names of the classes; a label is the place of one.
        grayscale: whether to load in grayscale.
        size: height and width to resize to.

    Raises:
        ConfigError: an image cannot be read, or they differ in size or type.
    """
    files = [found.get(name, []) for name in classes]
    paths = [path for part in files for path in part]
    return _read_all(paths, grayscale, size), np.repeat(np.arange(len(classes)), [len(part) for part in files])


def below(origin: str, path: Path) -> list[str]:
    """Returns the images in a folder and below it, in alphabetical order; an image alone is its own.

    Raises:
        ConfigError: there are none.
    """
    found = _files(str(path)) if path.is_dir() else [str(path)]
    if not found:
        raise ConfigError(f"{origin} has no images ({', '.join(sorted(ENDINGS))})")
    return found


def _counts(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in CLUTTER


def _refuse(error: OSError) -> None:
    raise ConfigError(f"the folder {error.filename!r} cannot be read: {error.strerror}") from error


def _files(folder: str) -> list[str]:
    """Returns the images in a folder and below it, in alphabetical order; links to folders are followed, each folder once."""
    found: list[str] = []
    others: Counter[str] = Counter()
    seen: set[tuple[int, int]] = set()
    for parent, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        status = os.stat(parent)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        # A folder itself goes before links to it.
        folders[:] = sorted(filter(_counts, folders), key=lambda name: (os.path.islink(os.path.join(parent, name)), name))
        for name in filter(_counts, names):
            ending = os.path.splitext(name)[1].lower()
            if ending in ENDINGS:
                found.append(os.path.join(parent, name))
            else:
                others[ending or name] += 1
    if others:
        counts = ", ".join(f"{count} {ending}" for ending, count in sorted(others.items()))
        log.warning("%r has files that are not images of a known format; they are left out: %s", folder, counts)
    return sorted(found, key=lambda path: path.split(os.sep))


def _read_all(paths: list[str], grayscale: bool, size: tuple[int, int] | None) -> Pixels:
    read = reader(grayscale, size)
    if size is not None:
        _check_room(len(paths), math.prod(size) * (1 if grayscale else 3), size)
    first = read(paths[0])
    _check_room(len(paths), first.nbytes, first.shape[-2:])
    images = np.empty((len(paths), *first.shape), first.dtype)
    for number, path in enumerate(paths):
        pixels = first if number == 0 else read(path)
        if pixels.shape != first.shape:
            (height, width), (first_height, first_width) = pixels.shape[-2:], first.shape[-2:]
            raise ConfigError(
                f"{path!r} has {height} x {width} pixels, and {paths[0]!r} {first_height} x {first_width}:"
                " loader.image_size=[height,width] makes them alike"
            )
        if pixels.dtype != first.dtype:
            raise ConfigError(f"{path!r} has values of {pixels.dtype}, and {paths[0]!r} of {first.dtype}: convert one of them")
        images[number] = pixels
    return images


def _check_room(count: int, each: int, size: tuple[int, ...]) -> None:
    if count * each > memory():
        height, width = size
        raise ConfigError(
            f"{count} images of {height} x {width} pixels take {count * each:,} bytes, more than this machine has:"
            " loader.image_size=[height,width] makes them smaller"
        )


def reader(grayscale: bool, size: tuple[int, int] | None) -> Callable[[str], Pixels]:
    """Returns what reads the pixels of an image, of shape (3, height, width), or (height, width) in grayscale."""
    with needs("pillow", "loader.name='images'"):
        from PIL import Image

        from runner.datasets import pixels

    def read(path: str) -> Pixels:
        if os.path.exists(path) and not os.path.isfile(path):  # of a pipe, an open may never end
            raise ConfigError(f"{path!r} cannot be read as an image: it is not a regular file")
        try:
            # Nothing but these: for others, such as EPS, pillow starts a program.
            with _warnings_of(path), Image.open(path, formats=FORMATS) as image:
                return pixels.pixels(image, grayscale, size)
        except Exception as error:  # what decodes a damaged file may fail in any way
            raise ConfigError(f"{path!r} cannot be read as an image: {_reason(path, error)}") from error

    return read


@contextmanager
def _warnings_of(path: str) -> Iterator[None]:
    """Within it pillow's warnings, such as of damaged EXIF data, are logged with the path of the image."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        yield
    for warning in told:
        log.warning("%r: %s", path, " ".join(str(warning.message).split()))


def _reason(path: str, error: Exception) -> str:
    """Returns why an image cannot be read: what it is instead, if that can be told."""
    from PIL import UnidentifiedImageError

    if not isinstance(error, UnidentifiedImageError):
        return first_line(error)
    with open(path, "rb") as file:
        return foreign(file.read(32)) or f"it is damaged, or none of {', '.join(FORMATS)}"
