"""Looks at a folder of images: classes, colors and sizes. Only their headers are read."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runner.checks import first_line
from runner.cli.starting.look import Look, counted
from runner.datasets import image_files
from runner.datasets.files import needs
from runner.errors import ConfigError

TRAINING = ("train", "training")
VALIDATION = ("val", "valid", "validation", "test")
"""Names of folders, the surest first."""
GRAY = frozenset({"1", "L", "I", "I;16", "I;16B", "I;16L", "F"})
"""Pillow's modes without colors."""
STEP, SMALLEST, LARGEST = 8, 16, 128
"""What sizes of images that differ are rounded to, and their limits, in pixels."""
TURNED = 5
"""From this EXIF orientation on, height and width are exchanged."""
ORIENTATION = 274

Size = tuple[int, int]


def image_look(folder: str) -> Look:
    """Looks at a folder with a sub-folder for each class, or with such folders for training and for validation.

    Raises:
        ConfigError: there are no images in sub-folders, or one cannot be read.
    """
    train, validation = _parts(Path(folder))
    with _untold():
        found = _found(train)
        held_out = _found(validation) if validation else {}
    if len(found) < 2:
        raise ConfigError(f"--from={folder!r}: {train!r} has one class, {next(iter(found))!r}: there is nothing to tell apart")
    image_files.check_classes(f"--from={folder!r}: {validation!r}", held_out, found)
    sizes, gray = _headers(path for part in (found, held_out) for paths in part.values() for path in paths)
    size = next(iter(sizes)) if len(sizes) == 1 else _common(sizes)
    loader: dict[str, Any] = {"name": "images", "data_dir": train}
    if validation:
        loader["validation_dir"] = validation
    if gray:
        loader["grayscale"] = True
    if len(sizes) > 1 or max(size) > LARGEST:
        size = size if len(sizes) > 1 else _common(sizes)
        loader["image_size"] = list(size)
    count = sum(map(len, found.values()))
    return Look(
        what=f"{counted(count, 'image')} in {train!r}",
        task=f"tells {counted(len(found), 'class', 'classes')} apart",
        loader=loader,
        samples=count,
        shape=size if gray else (3, *size),
        classes=len(found),
        has_validation=bool(validation),
        notes=_notes(sizes, size),
        predict=validation or train,
    )


@contextmanager
def _untold() -> Iterator[None]:
    """Within it, what is left out is not told: the run will tell it."""
    log = logging.getLogger(image_files.__name__)
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def _parts(folder: Path) -> tuple[str, str | None]:
    """Returns the folders of training and validation; the folder itself where it is not divided."""
    below = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    train = next((below[name] for name in TRAINING if name in below), None)
    validation = next((below[name] for name in VALIDATION if name in below), None)
    if train is None or not any(path.is_dir() for path in train.iterdir()):
        return str(folder), None
    return str(train), None if validation is None else str(validation)


def _found(folder: str) -> dict[str, list[str]]:
    path = Path(folder)
    if any(path.glob("*-idx[13]-ubyte*")):
        raise ConfigError(f"--from={folder!r} has IDX files, for which there is a conf: veles-run mnist loader.data_dir=FOLDER")
    if any(path.glob("data_batch_*.bin")):
        raise ConfigError(f"--from={folder!r} has CIFAR-10, for which there is a conf: veles-run cifar loader.data_dir=FOLDER")
    return image_files.find("--from", folder)


def _headers(paths: Iterable[str]) -> tuple[dict[Size, int], bool]:
    """Returns how many images have each (height, width), and whether none has colors."""
    with needs("pillow", "--from a folder of images"):
        from PIL import Image
    sizes: dict[Size, int] = {}
    gray = True
    for path in paths:
        try:
            with Image.open(path, formats=image_files.FORMATS) as image:
                width, height = image.size
                if image.getexif().get(ORIENTATION, 1) >= TURNED:
                    width, height = height, width
                gray = gray and image.mode in GRAY
        except Exception as error:  # what decodes a damaged file may fail in any way
            raise ConfigError(f"{path!r} cannot be read as an image: {first_line(error)}") from error
        sizes[height, width] = sizes.get((height, width), 0) + 1
    return sizes, gray


def _common(sizes: dict[Size, int]) -> Size:
    """Returns a size for images that differ, or are large: the median, not too large, of about the same proportions."""
    height, width = (statistics.median_low(size[side] for size in sizes for _ in range(sizes[size])) for side in (0, 1))
    scale = min(1.0, LARGEST / max(height, width))
    return _rounded(height * scale), _rounded(width * scale)


def _rounded(side: float) -> int:
    return max(SMALLEST, round(side / STEP) * STEP)


def _notes(sizes: dict[Size, int], size: Size) -> list[str]:
    if set(sizes) == {size}:
        return []
    (low, high) = min(sizes), max(sizes)
    given = f"from {low[0]} x {low[1]} to {high[0]} x {high[1]}" if len(sizes) > 1 else f"{low[0]} x {low[1]}"
    return [f"images of {given} pixels are resized to {size[0]} x {size[1]}"]
