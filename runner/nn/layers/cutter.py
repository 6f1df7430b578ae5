"""The cutter: crops images."""

from __future__ import annotations

from collections.abc import Sequence

from torch.nn import functional

from runner.config.layers.image_layers import spread
from runner.errors import ConfigError
from runner.graph import Workflow
from runner.nn.layers.base import Forward, Gradient
from runner.nn.layers.image_shapes import as_images, image_shape


class Cutter(Forward):
    """Cuts rows and columns off.

    Args:
        padding: how many: one number, or (left, top, right, bottom).

    Raises:
        ConfigError: at `initialize()`, the inputs are not images, or nothing would be left of them.
    """

    padding: tuple[int, ...]

    def __init__(self, workflow: Workflow, name: str, *, seed: int, padding: int | Sequence[int]) -> None:
        super().__init__(workflow, name)
        self.padding = spread("padding", padding, 4, 0)

    def initialize(self) -> None:
        channels, height, width = self.image_shape_ = image_shape(self)
        left, top, right, bottom = self.padding
        self.output_shape = channels, height - top - bottom, width - left - right
        if min(self.output_shape) < 1:
            raise ConfigError(f"layers.{self.name}.padding={list(self.padding)} leaves nothing of {height} x {width} images")

    def run(self) -> None:
        left, top, _, _ = self.padding
        _, rows, columns = self.output_shape
        self.output_ = as_images(self.input_, self.image_shape_)[:, :, top : top + rows, left : left + columns]


class CutterGradient(Gradient):
    """The backward step of `Cutter`."""

    forward: Cutter

    def run(self) -> None:
        left, top, right, bottom = self.forward.padding
        error = as_images(self.err_output_, self.forward.output_shape)
        self.err_input_ = functional.pad(error, (left, right, top, bottom)).reshape(self.forward.input_.shape)
