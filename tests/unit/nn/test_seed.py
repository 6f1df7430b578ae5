"""A seed is that of everything random, also of what modules draw from the global generators, and of a class of one's own."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from runner.graph import random_state
from runner.nn import StandardWorkflow
from tests.networks import extended, network, trained
from tests.states import differences, workflow_state

SETTINGS: dict[str, Any] = {
    "loader_name": "blobs",
    "loader_config": {"minibatch_size": 8},
    "layers": {
        "flat": {"_target_": "torch.nn.Flatten"},
        "fc1": {"_target_": "torch.nn.Linear", "in_features": 6, "out_features": 8, "learning_rate": 0.1},
        "drop": {"_target_": "torch.nn.Dropout", "p": 0.3},
        "out": {"type": "softmax", "output_sample_shape": 3, "learning_rate": 0.1},
    },
    "decision_config": {"max_epochs": 2},
}


class Own(StandardWorkflow):
    """Draws after the units of the standard workflow are made."""

    def __init__(self, name: str, **settings: Any) -> None:
        super().__init__(name, **settings)
        self.drawn = [torch.rand(3).tolist(), random.random(), np.random.rand()]


def drawn_elsewhere() -> None:
    torch.rand(5)
    random.random()
    np.random.rand()


def run_to_its_end(workflow: StandardWorkflow) -> list[Any]:
    drawn_elsewhere()
    workflow.initialize()
    drawn_elsewhere()
    workflow.run()
    return [workflow.history, workflow["fc1"].module.weight.tolist()]


def test_modules_are_as_the_seed_says_whatever_else_is_drawn() -> None:
    first, again, other = (run_to_its_end(network(seed=seed, **SETTINGS)) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_what_a_class_of_ones_own_draws_is_as_the_seed_says() -> None:
    first, again = Own("own", seed=3, **SETTINGS), Own("own", seed=3, **SETTINGS)
    assert first.drawn == again.drawn
    assert first["fc1"].module.weight.flatten()[:3].tolist() != first.drawn[0]
    assert run_to_its_end(first) == run_to_its_end(again)


def test_who_makes_and_runs_workflows_draws_on_as_before() -> None:
    def drawn(between: Callable[[], object]) -> list[tuple[float, float, float]]:
        random_state.seed_all(1)
        return [(torch.rand(1).item(), random.random(), float(np.random.rand())) for _ in range(3) if between()]

    assert drawn(lambda: network(seed=3, **SETTINGS)) == drawn(lambda: True)
    assert drawn(lambda: trained(seed=3, **SETTINGS)) == drawn(lambda: True)


def test_a_run_that_is_extended_draws_on_as_if_it_had_not_ended() -> None:
    whole, parts = (network(seed=3, **SETTINGS | {"decision_config": {"max_epochs": epochs}}) for epochs in (4, 2))
    run_to_its_end(whole)
    run_to_its_end(parts)
    drawn_elsewhere()
    extended(parts, epochs=4)
    assert differences(workflow_state(whole), workflow_state(parts)) == []
