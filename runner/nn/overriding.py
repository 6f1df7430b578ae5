"""Changed keys of the configuration, applied to a restored network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.checks import known, meant
from runner.errors import ConfigError
from runner.graph import Unit
from runner.nn.layers.weighted import WeightedGradient
from runner.nn.training.torch_optim import TorchStep
from runner.targets import TARGET

if TYPE_CHECKING:
    from runner.nn.standard_workflow import StandardWorkflow


def apply(workflow: StandardWorkflow, key: str, value: object) -> bool:
    """Applies one changed key; returns whether it is one that can change.

    Raises:
        ConfigError: a setting of a layer or of the optimizer that cannot change, or a wrong value.
    """
    section, _, rest = key.partition(".")
    own = rest.removeprefix("arguments.")
    if section == "decision" and rest in workflow.decision.adjustable:
        workflow.decision.reconfigure(**{rest: value})
    elif section == "loader" and own in workflow.loader.adjustable:
        workflow.loader.reconfigure(**{own: value})
    elif section == "rollback" and workflow.rollback is not None and value is not None:
        workflow.rollback.reconfigure(**{rest: value})
    elif key == "ema" and workflow.ema is not None:
        workflow.ema.reconfigure(decay=value)
    elif section == "optimizer" and rest and rest != TARGET:
        _override_optimizer(workflow, rest, value)
    elif section == "layers" and rest.count("."):
        name, _, setting = rest.partition(".")
        _override_layer(workflow, name, setting, value)
    else:
        return False
    return True


def can_change(workflow: StandardWorkflow, key: str) -> bool:
    """Whether a key is one that can change in a restored network."""
    section, _, rest = key.partition(".")
    match section:
        case "lr_adjuster":
            return True
        case "decision":
            return rest in workflow.decision.adjustable
        case "loader":
            return rest.removeprefix("arguments.") in workflow.loader.adjustable
        case "rollback":
            return workflow.rollback is not None and rest in workflow.rollback.adjustable
        case "ema":
            return workflow.ema is not None
        case "optimizer":
            return bool(rest) and rest != TARGET
        case "layers":
            name, _, setting = rest.partition(".")
            return any(setting in unit.adjustable for unit in _units_of(workflow, name))
        case _:
            return False


def _units_of(workflow: StandardWorkflow, layer: str) -> list[Unit]:
    return [unit for unit in (*workflow.forwards, *workflow.gradients) if unit.name in (layer, f"gd_{layer}")]


def _override_layer(workflow: StandardWorkflow, name: str, key: str, value: object) -> None:
    if name not in workflow.layer_settings:
        layers = workflow.layer_settings
        raise ConfigError(f"layers.{name} is not in the snapshot; {meant(name, layers)}it has {known(layers)}")
    units = _units_of(workflow, name)
    for unit in units:
        if key in unit.adjustable:
            unit.reconfigure(**{key: value})
            return
    can = known(set().union(*(unit.adjustable for unit in units)))
    raise ConfigError(f"layers.{name}.{key} is fixed once the network is built, so it cannot change on resume (can: {can})")


def _override_optimizer(workflow: StandardWorkflow, key: str, value: object) -> None:
    if workflow.optimizer is not None:
        if key == "lr" and workflow.scheduler is not None:
            raise ConfigError("optimizer.lr cannot change on resume beside a scheduler, which has it now")
        workflow.optimizer.change(key, value)
        return
    for gradient in workflow.gradients:
        for step in gradient.steps.values() if isinstance(gradient, WeightedGradient) else ():
            if not isinstance(step, TorchStep):
                raise ConfigError(f"optimizer.{key} cannot change on resume: the snapshot has no optimizer")
            step.reconfigure(key, value)
