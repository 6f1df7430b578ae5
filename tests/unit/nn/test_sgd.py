"""Stochastic gradient descent against its formula, element by element."""

import itertools
import random

import pytest
import torch

from runner.nn.training.sgd import SGD

SETTINGS = [
    {"rate": rate, "decay": decay, "l1": l1, "momentum": momentum, "ortho": ortho}
    for rate, decay, l1, momentum, ortho in itertools.product([0.3], [0, 0.2], [0, 0.4, 1], [0, 0.9], [0, 0.7])
]


class Reference:
    """v = m v - rate (g + decay ((1 - l1) w + l1 sign(w) / 2) + ortho (sum of the column - w) / rows); w += v."""

    def __init__(self, weights: list[float], columns: int) -> None:
        self.weights = weights
        self.columns = columns
        self.velocity = [0.0] * len(weights)

    def step(
        self, gradient: list[float], factor: float, *, rate: float, decay: float, l1: float, momentum: float, ortho: float
    ) -> None:
        sums = [sum(self.weights[column :: self.columns]) for column in range(self.columns)]
        rows = len(self.weights) // self.columns
        for position, (w, g) in enumerate(zip(self.weights, gradient, strict=True)):
            penalty = decay * ((1 - l1) * w + l1 * ((w > 0) - (w < 0)) / 2)
            penalty += ortho * (sums[position % self.columns] - w) / rows
            self.velocity[position] = momentum * self.velocity[position] - rate * factor * (g + penalty)
            self.weights[position] += self.velocity[position]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_weights_and_bias_follow_the_formula(settings: dict[str, float], rng: random.Random) -> None:
    numbers = torch.Generator().manual_seed(rng.randrange(2**32))
    weights = torch.randn((3, 4), dtype=torch.float64, generator=numbers)
    weights[0, 0] = 0
    bias = torch.randn(3, dtype=torch.float64, generator=numbers)
    expected = Reference(weights.flatten().tolist(), 4), Reference(bias.tolist(), 1)
    steps = SGD(**settings), SGD(**settings)
    for factor in (1.0, 0.5, 0.0, 0.25):
        error = torch.randn((5, 3), dtype=torch.float64, generator=numbers)
        inputs = torch.randn((5, 4), dtype=torch.float64, generator=numbers)
        steps[0].update_fused(weights, error, inputs, factor)
        steps[1].update(bias, error.sum(0), factor)
        expected[0].step((error.t() @ inputs).flatten().tolist(), factor, **settings)
        expected[1].step(error.sum(0).tolist(), factor, **settings)
        for actual, wanted in zip((weights, bias), expected, strict=True):
            torch.testing.assert_close(actual.flatten(), torch.tensor(wanted.weights, dtype=torch.float64))


def test_without_momentumum_no_velocity_is_kept() -> None:
    step = SGD(0.1)
    step.update_fused(torch.ones(2, 2), torch.ones(1, 2), torch.ones(1, 2), 1.0)
    step.update(torch.ones(2), torch.ones(2), 1.0)
    assert step.velocity is None


def test_kernels_are_driven_apart_as_rows_of_a_matrix_are() -> None:
    kernels = torch.randn((3, 2, 2, 2), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    matrix = kernels.flatten(1).clone()
    for weights in (kernels, matrix):
        SGD(0.1, ortho=0.5).update(weights, torch.zeros_like(weights), 1.0)
    assert torch.equal(kernels.flatten(1), matrix)


def test_the_velocity_follows_the_parameter_to_another_device() -> None:
    step = SGD(0.1, momentum=0.9)
    step.update(torch.ones(2), torch.ones(2), 1.0)
    step.update(torch.ones(2, device="meta"), torch.ones(2, device="meta"), 1.0)
    assert step.velocity.device.type == "meta"
