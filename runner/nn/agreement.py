"""Whether all processes have come to the same weights, as they must."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from runner.errors import DriftError
from runner.graph import Workflow
from runner.nn.core.network_unit import NetworkUnit
from runner.nn.core.random_stream import Stream
from runner.nn.evaluators.loss import LossEvaluator
from runner.nn.layers.base import Forward
from runner.nn.layers.weighted import Step, WeightedGradient
from runner.nn.network_optimizer import NetworkOptimizer
from runner.nn.training.held import Held
from runner.nn.training.sgd import SGD
from runner.nn.training.torch_optim import TorchStep
from runner.parallel.processes import ALONE, Processes


class Agreement(NetworkUnit):
    """Compares digests of all that training changes, of all processes.

    Attributes:
        forwards: the layers, and a loss that learns.
        gradients: the units that update them.
        optimizer: the network's, if it has one.

    Raises:
        DriftError: at `run()`, a process has something else than process 0.
    """

    view_group = "trainer"

    forwards: list[Forward | LossEvaluator]
    gradients: list[WeightedGradient]
    optimizer: NetworkOptimizer | None

    def __init__(
        self,
        workflow: Workflow,
        forwards: Sequence[Forward | LossEvaluator],
        gradients: Sequence[WeightedGradient],
        optimizer: NetworkOptimizer | None,
    ) -> None:
        super().__init__(workflow, "agreement")
        self.forwards, self.gradients, self.optimizer = list(forwards), list(gradients), optimizer

    def initialize(self) -> None:
        launcher = None if self.workflow is None else self.workflow.launcher
        self.processes_: Processes = ALONE if launcher is None else launcher.processes

    def run(self) -> None:
        if self.processes_.size == 1:
            return
        found = {name: _digest(value) for name, value in self._changing()}
        digests = self.processes_.gather(torch.tensor(list(found.values()), dtype=torch.int64))
        differing = (digests != digests[0]).nonzero()
        if len(differing):
            rank, number = differing[0].tolist()
            raise DriftError(
                f"{list(found)[number]} of process {rank} is not that of process 0, so no snapshot of it is taken: the"
                " processors or libraries of their machines differ, or your own code draws or keeps something in each process"
            )

    def _changing(self) -> Iterator[tuple[str, Tensor]]:
        for forward in self.forwards:
            where = "loss" if isinstance(forward, LossEvaluator) else f"layers.{forward.name}"
            for name, value in forward.tensors().items():
                yield f"{where}.{name}", value
            for name, value in vars(forward).items():
                if isinstance(value, Stream):
                    yield f"{where}.{name}", value.generator_.get_state()
        for gradient in self.gradients:
            for name, step in gradient.steps.items():
                for number, value in enumerate(_remembered(step)):
                    yield f"the optimizer's state {number} of {gradient.full_name(name)}", value
        if self.optimizer is not None:
            for number, value in enumerate(_state_of(self.optimizer.optimizer)):
                yield f"the optimizer's state {number}", value
        yield "torch's global generator", torch.random.get_rng_state()


def _remembered(step: Step) -> list[Tensor]:
    """Returns what a step remembers of the gradients so far."""
    if isinstance(step, SGD):
        return [] if step.velocity is None else [step.velocity]
    if isinstance(step, Held):
        return [] if step.gradient is None else [step.gradient]
    return _state_of(step.optimizer) if isinstance(step, TorchStep) else []


def _state_of(optimizer: torch.optim.Optimizer | None) -> list[Tensor]:
    states = () if optimizer is None else optimizer.state_dict()["state"].values()
    return [value for state in states for value in state.values() if isinstance(value, Tensor)]


def _digest(value: Tensor) -> int:
    """Returns a digest as a signed integer of 64 bits."""
    data = value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()
    return int.from_bytes(hashlib.blake2b(data.data, digest_size=8).digest(), "little", signed=True)
