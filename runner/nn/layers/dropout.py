"""Dropout: in training, a share of the values is set to zero and the others are scaled up."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from runner.errors import ConfigError
from runner.graph import Workflow
from runner.nn.core.random_stream import Stream
from runner.nn.layers.base import Forward, Gradient


class Dropout(Forward):
    """Drops values in training; passes them on unchanged in evaluation.

    Args:
        dropout_ratio: the share that is dropped, from 0 to below 1, exact to 1 / 65,536.

    Raises:
        ConfigError: a ratio out of range.
    """

    adjustable = frozenset({"dropout_ratio"})

    dropout_ratio: float
    stream: Stream

    def __init__(self, workflow: Workflow, name: str, *, seed: int, dropout_ratio: float) -> None:
        super().__init__(workflow, name)
        self.reconfigure(dropout_ratio=dropout_ratio)
        self.stream = Stream(seed, name)

    def reconfigure(self, **changes: Any) -> None:
        self.check_adjustable(changes)
        for ratio in changes.values():
            self.dropout_ratio = float(ratio)
        self._check()

    def _check(self) -> None:
        if not 0 <= self.dropout_ratio < 1:
            raise ConfigError(f"layers.{self.name}.dropout_ratio={self.dropout_ratio} must be at least 0 and below 1")

    def initialize(self) -> None:
        self._check()
        self.output_shape = self.input_shape

    def run(self) -> None:
        if self.evaluating:
            self.output_ = self.input_
            return
        kept = self._kept(self.input_.shape) if self.rows_ is None else self.kept_[self.rows_]
        self.mask_: Tensor = kept.to(self.input_.device, self.input_.dtype).mul_(1 / (1 - self.dropout_ratio))
        self.output_ = self.input_ * self.mask_

    def draw(self, samples: int) -> None:
        self.kept_ = self._kept(torch.Size((samples, *self.input_shape)))

    def _kept(self, shape: torch.Size) -> Tensor:
        return self.stream.bernoulli(shape, 1 - self.dropout_ratio)


class DropoutGradient(Gradient):
    """The backward step of `Dropout`."""

    forward: Dropout

    def run(self) -> None:
        self.err_input_ = self.err_output_ * self.forward.mask_
