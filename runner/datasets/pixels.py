"""Images of pillow as arrays: all modes, right way up, without transparency."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

log = logging.getLogger(__name__)

Pixels = npt.NDArray[Any]

ORIENTATION = 0x0112
"""The EXIF tag that says how a camera was held."""

PHOTOMETRIC, WHITE_IS_ZERO = 0x0106, 0
SAMPLE_FORMAT, SIGNED = 0x0153, 2
"""Tags of TIFF, and the values of them that count here."""


def pixels(image: Image.Image, grayscale: bool, size: tuple[int, int] | None) -> Pixels:
    """Returns an image as an array of shape (3, height, width), or (height, width) in grayscale.

    Args:
        image: the image, as it was opened.
        grayscale: whether to convert to grayscale.
        size: height and width to resize to.

    Raises:
        ValueError: it has a color space that pillow cannot convert, values that are not finite, or nothing to see.
    """
    if getattr(image, "is_animated", False) and image.format != "MPO":
        log.warning("%r has several frames: the first one is taken", getattr(image, "filename", ""))
    _check_tiff(image)
    image = _converted(image, "L" if grayscale else "RGB")
    if image.getexif().get(ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if size is not None:
        image = image.resize(size[::-1], Image.Resampling.BICUBIC)
    array = np.asarray(image)
    if array.dtype == np.float32 and not np.isfinite(array).all():
        raise ValueError("it has values that are not finite")
    if array.ndim == 3:
        return array.transpose(2, 0, 1)
    return array if grayscale else np.broadcast_to(array, (3, *array.shape))


def _check_tiff(image: Image.Image) -> None:
    """Raises a ValueError if the numbers in a TIFF file are of a kind that pillow reads as others."""
    tags: Any = getattr(image, "tag_v2", {})
    signed = tags.get(SAMPLE_FORMAT, (1,))[0] == SIGNED
    if signed and image.mode == "L":
        raise ValueError("it has signed bytes: convert it to 16 bits")
    if tags and not signed and image.mode == "I" and np.asarray(image).min() < 0:
        raise ValueError("it has numbers from 2^31 up: convert it to floats")
    if image.mode.startswith("I") and tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        raise ValueError("0 means white in it, with more than 8 bits: invert it")


def _converted(image: Image.Image, mode: str) -> Image.Image:
    """Returns an image in a mode of bytes, or as 32-bit numbers if bytes cannot hold its values."""
    if image.mode == "F":
        return image
    if image.mode.startswith("I"):
        if "transparency" in image.info:
            raise ValueError("one of its 16-bit values is transparent: put it on a background")
        return image if image.mode == "I" else image.convert("I")
    if image.has_transparency_data:
        image = _on_white(image)
    return image if image.mode == mode else image.convert(mode)


def _on_white(image: Image.Image) -> Image.Image:
    """Returns an image on a white background."""
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    white.alpha_composite(rgba)
    result = white.convert("RGB")
    lowest, highest = rgba.getchannel("A").getextrema()
    if lowest != highest and result.getextrema() == ((255, 255),) * 3:
        raise ValueError("it is white on a transparent background: put it on another one")
    return result
