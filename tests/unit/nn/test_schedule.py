import math
from typing import Any

import pytest

from runner.config.training import LearningRateConfig
from runner.errors import ConfigError
from runner.nn.schedule import POLICIES
from tests.networks import network

CASES = {
    "fixed": ({}, [1, 1, 1, 1]),
    "exp": ({"gamma": 0.5}, [1, 0.5, 0.25, 0.125]),
    "step_exp": ({"gamma": 0.5, "step": 2}, [1, 1, 0.5, 0.5, 0.25]),
    "inv": ({"gamma": 1.0, "power": 2.0}, [1, 1 / 4, 1 / 9]),
    "cosine": ({"period": 4, "floor": 0.5}, [1, 0.75 + math.sqrt(2) / 8, 0.75, 0.75 - math.sqrt(2) / 8, 0.5, 0.5, 0.5]),
    "arbitrary_step": ({"lrs_with_lengths": [[1, 2], [0.5, 1], [0.1, 1]]}, [1, 1, 0.5, 0.1, 0.1, 0.1]),
}


def test_every_policy_has_a_case_and_settings() -> None:
    assert POLICIES.keys() == CASES.keys() == LearningRateConfig.NEEDS.keys()


@pytest.mark.parametrize("policy", POLICIES)
def test_factors_by_epoch(policy: str) -> None:
    given, factors = CASES[policy]
    parameters = LearningRateConfig(policy=policy, **given).parameters()
    assert parameters == given
    assert [POLICIES[policy](epoch, **parameters) for epoch in range(len(factors))] == pytest.approx(factors)


def test_cosine_falls_to_zero_unless_told_otherwise() -> None:
    assert POLICIES["cosine"](10, period=10) == 0


@pytest.mark.parametrize(
    ("settings", "epochs"),
    [
        ({"policy": "cosine", "parameters": {"period": 2}}, [3]),
        ({"policy": "cosine", "parameters": {"period": 14}, "by_minibatch": True}, [3]),
        ({"policy": "cosine", "parameters": {"period": 4}}, []),
        ({"policy": "cosine", "parameters": {"period": 2, "floor": 0.1}}, []),
        ({"policy": "arbitrary_step", "parameters": {"lrs_with_lengths": [[0, 1], [1, 9]]}}, [1]),
    ],
)
def test_an_epoch_that_changes_nothing_is_told_once(
    settings: dict[str, Any], epochs: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    workflow = network(lr_adjuster_config=settings, decision_config={"max_epochs": 4})
    workflow.initialize()
    workflow.run()
    told = [record.args for record in caplog.records if "The learning rate was 0" in record.message]
    assert told == [(epoch,) for epoch in epochs]


def test_a_policy_that_counts_minibatches_of_training() -> None:
    settings = {"policy": "inv", "by_minibatch": True, "parameters": {"gamma": 1.0, "power": 1.0}}
    workflow = network(lr_adjuster_config=settings, decision_config={"max_epochs": 2})
    workflow.initialize()
    factors: list[float] = []
    run = workflow["gd_out"].run

    def noted() -> None:
        factors.append(workflow["gd_out"].rate_factor)
        run()

    workflow["gd_out"].run = noted
    workflow.run()
    assert factors == [1 / (1 + count) for count in range(2 * 7)]
    assert workflow.lr_adjuster.minibatches == len(factors)
    with pytest.raises(ConfigError, match=r"lr_adjuster.by_minibatch is fixed once the network is built"):
        workflow.lr_adjuster.reconfigure(by_minibatch=False)


def test_a_lower_scale_counts_from_the_next_minibatch_on() -> None:
    settings = {"policy": "fixed", "by_minibatch": True, "parameters": {}}
    rollback = {"fail_iterations": 1, "lr_minus": 0.5}
    workflow = network(lr_adjuster_config=settings, rollback_config=rollback, decision_config={"max_epochs": 30})
    workflow.initialize()
    workflow.run()
    assert workflow.lr_adjuster.scale < 1
    assert {unit.rate_factor for unit in workflow.lr_adjuster.gradients} == {workflow.lr_adjuster.scale}


def test_messages_name_what_is_counted() -> None:
    with pytest.raises(ConfigError, match=r"lr_adjuster.step=0 must be at least 1 \(minibatches\)"):
        LearningRateConfig(policy="step_exp", gamma=0.5, step=0, by_minibatch=True)
