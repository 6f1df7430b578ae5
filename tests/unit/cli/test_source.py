"""What a job takes from its own configuration, and what it does not take from a snapshot's."""

from typing import Any

import pytest
from omegaconf import OmegaConf

from runner.cli.source import named_modules
from runner.config import Config


def modules(settings: dict[str, Any]) -> list[str]:
    return named_modules(OmegaConf.merge(OmegaConf.structured(Config), settings))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, []),
        ({"workflow": {"_target_": "flow.Flow"}}, ["flow"]),
        ({"workflow": {"_target_": "my_pkg.flow.Flow"}}, ["my_pkg"]),
        ({"workflow": {"_target_": "my_pkg.deep.flow.Flow"}}, ["my_pkg.deep"]),
        ({"layers": {"a": {"_target_": "x.y.z.Layer"}, "b": {"type": "softmax"}}}, ["x.y.z"]),
        (
            {"workflow": {"parts": [{"_target_": "alone.Thing"}]}, "loader": {"train": {"_target_": "a.b.Set"}}},
            ["a.b", "alone"],
        ),
        ({"optimizer": {"_target_": "torch.optim.SGD"}, "workflow": {"_target_": "runner.nn.StandardWorkflow"}}, []),
        ({"workflow": {"_target_": "Nothing"}, "loader": {"train": {"_target_": "${oc.env:NAME}.Set"}}}, []),
        ({"workflow": {"_target_": 3, "deep": {"_target_": None}}}, []),
    ],
)
def test_classes_that_the_user_names_declare_their_modules_and_no_more(settings: dict[str, Any], expected: list[str]) -> None:
    assert modules(settings) == expected
