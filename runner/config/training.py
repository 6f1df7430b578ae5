"""How a network is trained, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from runner.checks import LARGEST, at_least, choices, within
from runner.config.layers.weighted_layers import MatrixGradientConfig
from runner.errors import ConfigError


@dataclass(kw_only=True)
class LearningRateConfig:
    """How learning rates change from epoch to epoch, or from minibatch to minibatch."""

    policy: str = "fixed"
    """`fixed`, `exp`, `step_exp`, `inv`, `cosine` or `arbitrary_step`."""
    by_minibatch: bool = False
    """Whether the policy counts minibatches of training, as in VELES, rather than epochs."""
    gamma: float | None = None
    """Base of `exp` and `step_exp`; slope of `inv`."""
    step: int | None = None
    """Epochs (minibatches) in a step of `step_exp`."""
    power: float | None = None
    """Exponent of `inv`."""
    period: int | None = None
    """Epochs (minibatches) in which `cosine` falls from 1 to `floor`."""
    floor: float | None = None
    """Where `cosine` ends. Default: 0."""
    lrs_with_lengths: list[Any] | None = None
    """Pairs [factor, epochs (minibatches)] of `arbitrary_step`."""

    NEEDS = {
        "fixed": ((), ()),
        "exp": (("gamma",), ()),
        "step_exp": (("gamma", "step"), ()),
        "inv": (("gamma", "power"), ()),
        "cosine": (("period",), ("floor",)),
        "arbitrary_step": (("lrs_with_lengths",), ()),
    }

    def __post_init__(self) -> None:
        if self.policy not in self.NEEDS:
            raise ConfigError(f"lr_adjuster.policy={self.policy!r} is unknown; {choices(self.policy, self.NEEDS)}")
        required, optional = self.NEEDS[self.policy]
        own = ("policy", "by_minibatch")
        given = {item.name for item in fields(self) if item.name not in own and getattr(self, item.name) not in (None, [])}
        if missing := set(required) - given:
            raise ConfigError(f"lr_adjuster.policy={self.policy!r} needs lr_adjuster.{min(missing)}")
        if extra := given - set(required) - set(optional):
            raise ConfigError(f"lr_adjuster.{min(extra)} does not belong to lr_adjuster.policy={self.policy!r}")
        for name in ("step", "period"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ConfigError(f"lr_adjuster.{name}={value} must be at least 1 ({self.unit})")
        for name in ("gamma", "power", "floor"):
            within(f"lr_adjuster.{name}", getattr(self, name), -LARGEST)
        for pair in self.lrs_with_lengths or ():
            numbers = isinstance(pair, list) and len(pair) == 2 and all(isinstance(number, int | float) for number in pair)
            if not numbers or pair[1] < 1:
                raise ConfigError(f"lr_adjuster.lrs_with_lengths has {pair!r}, which is not a pair [factor, {self.unit}]")
            within("lr_adjuster.lrs_with_lengths: a factor", pair[0], -LARGEST)

    @property
    def unit(self) -> str:
        """What the policy counts."""
        return "minibatches" if self.by_minibatch else "epochs"

    def parameters(self) -> dict[str, Any]:
        """Returns the parameters of the policy."""
        return {
            name: getattr(self, name) for names in self.NEEDS[self.policy] for name in names if getattr(self, name) is not None
        }

    def settings(self) -> dict[str, Any]:
        """Returns what the learning-rate adjuster is made with."""
        return {"policy": self.policy, "by_minibatch": self.by_minibatch, "parameters": self.parameters()}


ON_NAN = ("stop", "rollback", "ignore")
"""What a run can do about numbers that are not finite."""


def check_mode(mode: str | None) -> None:
    """Raises a ConfigError for a `decision.mode` that there is not."""
    if mode not in (None, "min", "max"):
        raise ConfigError(f"decision.mode={mode!r} is unknown; {choices(mode, ('min', 'max'))}")


def check_on_nan(value: object) -> None:
    """Raises a ConfigError for a value of `decision.on_nan` that is unknown."""
    if value not in ON_NAN:
        raise ConfigError(f"decision.on_nan={value!r} is unknown; {choices(value, ON_NAN)}")


@dataclass(kw_only=True)
class DecisionConfig:
    """When a run is over, and what is the best."""

    monitor: str | None = None
    """What decides which weights are the best: `loss`, a name of `scores`, or the default: `error`, `RMSE` or `loss`."""
    mode: str | None = None
    """Whether that is to be low or high: `min` or `max`. Default: what the score says of itself."""
    max_epochs: int | None = None
    """Epochs in all. Default: no limit."""
    fail_iterations: int | None = 100
    """Patience of early stopping: the run is over after this many epochs without an improvement."""
    on_nan: str = "stop"
    """What follows when a loss or a weight is infinite or not a number: `stop` ends the run with an error, `rollback` puts the
    best weights back (it needs `rollback.fail_iterations`), `ignore` goes on."""

    def __post_init__(self) -> None:
        check_on_nan(self.on_nan)
        check_mode(self.mode)
        at_least("decision.max_epochs", self.max_epochs, 1, "epochs")
        at_least("decision.fail_iterations", self.fail_iterations, 1, "epochs")


@dataclass(kw_only=True)
class MetricsConfig:
    """What is measured, for `metrics.jsonl` and the loggers."""

    every: int | None = None
    """A row for each N minibatches of training. Default: only for each epoch and split."""
    gradient_norm: bool = False
    """Whether rows of training have the norm of the gradient of their last minibatch."""

    def __post_init__(self) -> None:
        at_least("metrics.every", self.every, 1, "minibatches")


@dataclass(kw_only=True)
class RollbackConfig:
    """Going back to the best weights."""

    fail_iterations: int | None = None
    """Put the best weights back after this many epochs without an improvement. Default: never."""
    lr_minus: float = 0.65
    """Factor on all learning rates each time, above 0, at most 1."""

    def __post_init__(self) -> None:
        at_least("rollback.fail_iterations", self.fail_iterations, 1, "epochs")
        if not 0 < self.lr_minus <= 1:
            raise ConfigError(f"rollback.lr_minus={self.lr_minus} must be above 0 and at most 1")


def check_target(key: str, settings: Any, example: str) -> None:
    """Raises a ConfigError if a section that is not empty names no class."""
    if settings and (not isinstance(settings, Mapping) or not isinstance(settings.get("_target_"), str)):
        raise ConfigError(f"{key} has no _target_: name a class, such as {key}._target_={example}")


def check_optimizer(optimizer: Mapping[str, Any], layers: Mapping[str, Mapping[str, Any]]) -> None:
    """Checks that no layer has settings of gradient descent beside an optimizer, which takes its place.

    Raises:
        ConfigError: a layer has some, or the optimizer has no class or no possible rate.
    """
    if not optimizer:
        return
    check_target("optimizer", optimizer, "torch.optim.AdamW")
    if isinstance(rate := optimizer.get("lr"), int | float):
        within("optimizer.lr", rate)
    for name, settings in layers.items():
        for item in fields(MatrixGradientConfig):
            if item.name in settings:
                raise beside_optimizer(f"layers.{name}", item.name, optimizer)


def beside_optimizer(section: str, name: str, optimizer: Mapping[str, Any]) -> ConfigError:
    """Returns the error for a setting of gradient descent beside an optimizer."""
    hint = ", or type optimizer.lr" if name == "learning_rate" else ""
    return ConfigError(
        f"{section}.{name} has no meaning beside optimizer._target_={optimizer['_target_']}, which updates all weights: remove"
        f" one of them{hint}"
    )
