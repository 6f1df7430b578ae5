"""Images in folders, one for each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from runner.datasets.files import check_folder, needs
from runner.errors import ConfigError

Bytes = npt.NDArray[np.uint8]

ENDINGS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})


def classes_of(key: str, folder: str) -> list[str]:
    """Returns the names of the classes, which are those of the sub-folders, in alphabetical order.

    Raises:
        ConfigError: there are none.
    """
    names = sorted(path.name for path in check_folder(key, folder).iterdir() if path.is_dir() and path.name[0] != ".")
    if not names:
        raise ConfigError(f"{key}={folder!r} has no sub-folders: each class has one of its own")
    return names


def load(
    key: str, folder: str, classes: list[str], *, grayscale: bool = False, size: tuple[int, int] | None = None
) -> tuple[Bytes, npt.NDArray[np.int64]]:
    """Returns images of shape (samples, 3, height, width), or (samples, height, width) in shades of grey, and their labels.

    Args:
        key: the key of the configuration that names the folder.
        folder: the folder.
        classes: the sub-folders; a label is the number of one.
        grayscale: whether to load shades of grey.
        size: height and width to resize to.

    Raises:
        ConfigError: a folder is no class, there are no images, one cannot be read, or they are not of one size.
    """
    if unknown := sorted(set(classes_of(key, folder)) - set(classes)):
        raise ConfigError(f"{key}={folder!r} has a class {unknown[0]!r}, which the training set has not")
    files = [
        (path, label)
        for label, name in enumerate(classes)
        for path in sorted((Path(folder) / name).glob("**/*"))
        if path.suffix.lower() in ENDINGS
    ]
    if not files:
        raise ConfigError(f"{key}={folder!r} has no images in its sub-folders ({', '.join(sorted(ENDINGS))})")
    images = [_read(path, grayscale, size) for path, _ in files]
    for (path, _), image in zip(files, images, strict=True):
        if image.shape != images[0].shape:
            raise ConfigError(
                f"{str(path)!r} has {image.shape[0]} x {image.shape[1]} pixels, and {str(files[0][0])!r}"
                f" {images[0].shape[0]} x {images[0].shape[1]}: loader.image_size=[height,width] makes them alike"
            )
    data = np.stack(images)
    return data if grayscale else data.transpose(0, 3, 1, 2), np.array([label for _, label in files])


def _read(path: Path, grayscale: bool, size: tuple[int, int] | None) -> Bytes:
    with needs("pillow", "loader.name='images'"):
        from PIL import Image
    try:
        with Image.open(path) as image:
            converted = image.convert("L" if grayscale else "RGB")
            return np.asarray(converted if size is None else converted.resize(size[::-1]))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ConfigError(f"{str(path)!r} cannot be read as an image: {error}") from error
