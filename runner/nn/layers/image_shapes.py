"""Images: minibatches of shape (samples, channels, height, width), in memory with the channels last."""

from __future__ import annotations

import torch
from torch import Tensor

from runner.errors import ConfigError
from runner.nn.layers.base import Forward, Shape


def image_shape(forward: Forward) -> tuple[int, int, int]:
    """Returns channels, height and width of the samples that a layer gets; one of (height, width) has one channel.

    Raises:
        ConfigError: the samples are not images.
    """
    shape = forward.input_shape
    if len(shape) not in (2, 3):
        raise ConfigError(
            f"layers.{forward.name} needs images of (channels, height, width) or (height, width), and gets samples of {shape}"
        )
    channels, height, width = (1, *shape)[-3:]
    return channels, height, width


def as_images(values: Tensor, shape: Shape) -> Tensor:
    """Returns values as images of the shape (channels, height, width): several times faster to pool with channels last."""
    if values.dim() != 4:
        values = values.reshape(-1, *shape)
    return values.contiguous(memory_format=torch.channels_last)


def windows(size: int, window: int, step: int, partial: bool = False) -> int:
    """Returns how many windows there are in a row of `size`; with `partial`, one that sticks out at the end counts."""
    left = size - window
    return (-(-left // step) if partial else left // step) + 1


def check_fits(forward: Forward, sizes: tuple[int, int], window: tuple[int, int]) -> None:
    """Raises a ConfigError if a window (height, width) is larger than the image (height, width), padding included."""
    if window[0] > sizes[0] or window[1] > sizes[1]:
        raise ConfigError(
            f"layers.{forward.name}: its window of {window[0]} x {window[1]} (ky x kx) does not fit into images of"
            f" {sizes[0]} x {sizes[1]}"
        )
