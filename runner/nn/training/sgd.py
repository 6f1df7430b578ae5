"""Stochastic gradient descent as in VELES: momentum, decay that mixes L1 and L2, and a push towards orthogonal weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from runner.checks import within


@dataclass
class SGD:
    """Updates one parameter in place.

    With gradient g, weight w and momentum m: v = m v - rate (g + decay ((1 - l1) w + l1 sign(w) / 2) + ortho o); w += v. For
    the weights of n outputs, o is 1/n times the sum of the other outputs' weights of the same input.

    Attributes:
        rate: learning rate.
        decay: strength of the weight decay.
        l1: share of L1 in the decay, 0 to 1.
        momentum: m of the formula.
        ortho: strength of the regularizer that drives the weights of the outputs apart, VELES's `factor_ortho`.
        velocity: v of the formula, of the parameter's shape; None until it is first needed.
    """

    rate: float
    decay: float = 0.0
    l1: float = 0.0
    momentum: float = 0.0
    ortho: float = 0.0
    velocity: Tensor | None = None

    def check(self, where: str) -> None:
        """Raises a ConfigError for a setting that is not a number, or that no training has."""
        for name in ("rate", "decay", "ortho"):
            within(f"{where}: {name}", getattr(self, name))
        for name in ("l1", "momentum"):
            within(f"{where}: {name}", getattr(self, name), high=1)
        within(f"{where}: rate times decay", self.rate * max(self.decay, self.ortho))

    def update(self, parameter: Tensor, gradient: Tensor, factor: float) -> None:
        """Updates a parameter with its gradient, of the same shape; `factor` multiplies the learning rate."""
        rate = self.rate * factor
        if not self.momentum and not self.decay and not self.ortho:
            parameter.sub_(gradient, alpha=rate)
            return
        velocity = self._velocity(parameter).mul_(self.momentum)
        velocity.sub_(gradient, alpha=rate)
        self._apply(parameter, velocity, rate)

    def update_fused(self, parameter: Tensor, error: Tensor, inputs: Tensor, factor: float) -> None:
        """Updates a matrix whose gradient is error^T inputs, in the matrix product itself.

        Args:
            parameter: weights of shape (outputs, inputs).
            error: of shape (samples, outputs).
            inputs: of shape (samples, inputs).
            factor: multiplies the learning rate.
        """
        rate = self.rate * factor
        if self.momentum or self.ortho:
            velocity = self._velocity(parameter)
            velocity.addmm_(error.t(), inputs, beta=self.momentum, alpha=-rate)
            self._apply(parameter, velocity, rate)
            return
        signs = torch.sign(parameter) if self.decay and self.l1 else None
        # L2 decay is part of the same pass over the weights.
        parameter.addmm_(error.t(), inputs, beta=1 - rate * self.decay * (1 - self.l1), alpha=-rate)
        if signs is not None:
            parameter.sub_(signs, alpha=rate * self.decay * self.l1 / 2)

    def reset(self) -> None:
        """Forgets the velocity."""
        self.velocity = None

    def _velocity(self, parameter: Tensor) -> Tensor:
        if self.velocity is None:
            self.velocity = torch.zeros_like(parameter)
        elif self.velocity.device != parameter.device:  # resumed on another
            self.velocity = self.velocity.to(parameter.device)
        return self.velocity

    def _apply(self, parameter: Tensor, velocity: Tensor, rate: float) -> None:
        if self.ortho:
            velocity.sub_(parameter.sum(0) - parameter, alpha=rate * self.ortho / len(parameter))
        if self.decay:
            velocity.sub_(parameter, alpha=rate * self.decay * (1 - self.l1))
            if self.l1:
                velocity.sub_(torch.sign(parameter), alpha=rate * self.decay * self.l1 / 2)
        parameter.add_(velocity)
