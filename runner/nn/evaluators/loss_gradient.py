"""The update of a loss that learns, too."""

from __future__ import annotations

import torch

from runner.graph import Workflow
from runner.nn.evaluators.loss import LossEvaluator
from runner.nn.layers.module import ModuleWeights


class LossGradient(ModuleWeights):
    """Updates the parameters of a loss, whose gradients the evaluator has made, by the network's optimizer.

    Args:
        evaluator: has the loss.
    """

    forward: LossEvaluator  # type: ignore[assignment]  # it takes the place of a layer

    def __init__(self, workflow: Workflow, evaluator: LossEvaluator) -> None:
        super().__init__(workflow, evaluator, needs_err_input=False, held=True)  # type: ignore[arg-type]
        self.name = "gd_loss"

    @property
    def module(self) -> torch.nn.Module:
        return self.forward.loss_module

    def full_name(self, parameter: str) -> str:
        return f"loss.{parameter}"

    def run(self) -> None:
        self.apply_gradients()
