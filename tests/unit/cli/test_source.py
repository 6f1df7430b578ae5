"""What a job takes from its own configuration, and what it does not take from a snapshot's."""

from typing import Any

import pytest
from omegaconf import OmegaConf

from runner.cli.source import differing, named_modules, overridden
from runner.config import Config
from runner.errors import ConfigError


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


BEFORE = OmegaConf.merge(
    OmegaConf.structured(Config), {"layers": {"model": {"type": "module", "_target_": "nets.Net", "classes": 10}}}
)
"""The configuration in a snapshot of a run that was typed with a model: that is a layer since."""


@pytest.mark.parametrize(
    ("typed", "differs"),
    [
        (["~layers", "model={_target_: nets.Net, classes: 10}"], []),
        (["model._target_=nets.Net", "model.classes=10"], []),
        (["+model.classes=10"], []),
        (["model={_target_: nets.Net, classes: 11}", "~layers"], ["layers.model.classes"]),
        (["model.width=3"], ["layers.model.width"]),
    ],
)
def test_a_model_that_is_typed_again_is_the_one_in_the_snapshot(typed: list[str], differs: list[str]) -> None:
    now = overridden(BEFORE, typed, OmegaConf.structured(Config))
    assert differing(BEFORE, now) == differs
    assert not now.model


def test_what_a_snapshot_has_cannot_be_taken_away() -> None:
    with pytest.raises(ConfigError, match="~layers: what a snapshot has cannot be taken away"):
        overridden(BEFORE, ["~layers"], OmegaConf.structured(Config))
