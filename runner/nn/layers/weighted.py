"""What the forward units of layers with weights have in common."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from runner.graph import Workflow
from runner.nn.layer import Forward
from runner.nn.stream import Stream

Filling = tuple[str, float | None]


class WeightedForward(Forward):
    """A layer with weights and a bias, which are filled when they are first needed.

    Attributes:
        weights: the weights, on the device.
        bias: the bias, or None.

    Args:
        workflow: the workflow.
        name: the layer's name.
        seed: the seed of the run.
        weights_filling, bias_filling: `uniform`, `gaussian` or `constant`.
        weights_stddev, bias_stddev: the limit of a uniform filling, the standard deviation of a gaussian one, the value of a
            constant one; 1 / sqrt(inputs of an output) unless given.
        include_bias: whether there is a bias.
    """

    def __init__(
        self,
        workflow: Workflow,
        name: str,
        *,
        seed: int,
        weights_filling: str = "uniform",
        weights_stddev: float | None = None,
        bias_filling: str = "uniform",
        bias_stddev: float | None = None,
        include_bias: bool = True,
    ) -> None:
        super().__init__(workflow, name)
        self.fillings: tuple[Filling, Filling] = ((weights_filling, weights_stddev), (bias_filling, bias_stddev))
        self.include_bias = include_bias
        self.stream = Stream(seed, name)
        self.weights: Tensor | None = None
        self.bias: Tensor | None = None

    def fill(self, shape: tuple[int, ...], outputs: int, memory_format: torch.memory_format = torch.contiguous_format) -> None:
        """Fills the weights and the bias if there are none yet, and brings them to the device.

        Args:
            shape: of the weights; what follows the first dimension are the inputs of an output.
            outputs: the length of the bias.
            memory_format: of the weights.
        """
        if self.weights is None:
            inputs, dtype = math.prod(shape[1:]), getattr(self.workflow, "dtype", torch.float32)
            weights_filling, bias_filling = self.fillings
            # `contiguous` would leave the strides of a single channel alone, from which torch tells the format of the output.
            self.weights = self.filled(shape, weights_filling, inputs, dtype).to(memory_format=memory_format)
            self.bias = self.filled((outputs,), bias_filling, inputs, dtype) if self.include_bias else None
        self.weights = self.weights.to(self.device)
        self.bias = None if self.bias is None else self.bias.to(self.device)

    def filled(self, shape: tuple[int, ...], filling: Filling, inputs: int, dtype: torch.dtype) -> Tensor:
        """Returns a filled tensor; `inputs` are those of an output."""
        kind, size = filling
        size = 1 / math.sqrt(inputs) if size is None else size
        match kind:
            case "uniform":
                return self.stream.uniform(shape, size, dtype)
            case "gaussian":
                return self.stream.gaussian(shape, size, dtype)
            case _:
                return torch.full(shape, size, dtype=dtype)
