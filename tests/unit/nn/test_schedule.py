import math

import pytest

from runner.config.training import LearningRateConfig
from runner.nn.schedule import POLICIES

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
