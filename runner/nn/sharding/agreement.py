"""Whether all processes have come to the same weights, as they must."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from runner.errors import DriftError
from runner.nn.core.random_stream import Stream
from runner.nn.layers.base import Forward
from runner.nn.layers.weighted import WeightedGradient
from runner.nn.training.sgd import SGD
from runner.parallel.processes import Processes


def check_equal(processes: Processes, forwards: Sequence[Forward], gradients: Sequence[WeightedGradient]) -> None:
    """Compares digests of all that training changes.

    Raises:
        DriftError: a process has something else than process 0.
    """
    if processes.size == 1:
        return
    found = {name: _digest(value) for name, value in _changing(forwards, gradients)}
    digests = processes.gather(torch.tensor(list(found.values()), dtype=torch.int64))
    differing = (digests != digests[0]).nonzero()
    if len(differing):
        rank, number = differing[0].tolist()
        raise DriftError(
            f"{list(found)[number]} of process {rank} is not that of process 0, so no snapshot of it is taken: the processors"
            " or libraries of their machines differ, or code of your own draws or keeps something in each process"
        )


def _changing(forwards: Sequence[Forward], gradients: Sequence[WeightedGradient]) -> Iterator[tuple[str, Tensor]]:
    for forward in forwards:
        for name, value in forward.tensors().items():
            yield f"layers.{forward.name}.{name}", value
        for name, value in vars(forward).items():
            if isinstance(value, Stream):
                yield f"layers.{forward.name}.{name}", value.generator_.get_state()
    for gradient in gradients:
        for name, step in gradient.steps.items():
            for number, value in enumerate(_remembered(step)):
                yield f"the optimizer's state {number} of layers.{gradient.forward.name}.{name}", value
    yield "torch's global generator", torch.random.get_rng_state()


def _remembered(step: object) -> list[Tensor]:
    """Returns what an optimizer remembers of the gradients so far."""
    if isinstance(step, SGD):
        return [] if step.velocity is None else [step.velocity]
    states = step.optimizer.state_dict()["state"].values()  # type: ignore[attr-defined]
    return [value for state in states for value in state.values() if isinstance(value, Tensor)]


def _digest(value: Tensor) -> int:
    """Returns a digest as a signed integer of 64 bits."""
    data = value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()
    return int.from_bytes(hashlib.blake2b(data.data, digest_size=8).digest(), "little", signed=True)
