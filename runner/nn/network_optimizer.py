"""One optimizer of torch for all parameters of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any

import torch
from torch import Tensor

from runner.checks import LARGEST, within
from runner.errors import ConfigError, SnapshotMismatchError
from runner.graph import Linked, Unit, Workflow
from runner.nn.layers.weighted import WeightedGradient
from runner.nn.loading.minibatches import Minibatch
from runner.nn.training.held import Held
from runner.nn.training.patterns import matching
from runner.nn.training.torch_optim import made, placeholder
from runner.targets import TARGET, locate

OWN = ("groups", "clip_norm", "clip_value", "accumulate")
"""Keys of `optimizer` that are not arguments of its class."""
PATTERN = "pattern"


class NetworkOptimizer(Unit):
    """Runs after the gradient units, which have kept their gradients: clips them, and updates all parameters.

    Gradients of several minibatches are averaged. The last minibatch of an epoch is followed by an update in any case.

    Linked attributes:
        minibatch: which minibatch this is.

    Attributes:
        optimizer: torch's, which holds the parameters and what it remembers of them; None before `initialize()`.
        gathered: minibatches since the last update.
        stepped: whether this minibatch was followed by an update.

    Args:
        gradients: the units whose gradients are kept for it, from the last layer to the first.
        settings: `_target_`, the arguments of the class, and `groups`: mappings with a `pattern` for names of parameters such
            as `fc1.bias`, and what is different for them; the first pattern that matches counts.
        clip_norm: the highest norm of all gradients together.
        clip_value: the highest absolute value in a gradient.
        accumulate: minibatches for each update.

    Raises:
        ConfigError: the class is no optimizer or does not take a setting, or a pattern matches nothing.
    """

    view_group = "trainer"
    adjustable = frozenset({"clip_norm", "clip_value", "accumulate"})

    minibatch: Linked[Minibatch]
    gradients: list[WeightedGradient]
    settings: dict[str, Any]
    groups: list[dict[str, Any]]
    clip_norm: float | None
    clip_value: float | None
    accumulate: int
    gathered: int
    stepped: bool
    optimizer: torch.optim.Optimizer | None
    class_: type[torch.optim.Optimizer] | None

    def __init__(
        self,
        workflow: Workflow,
        gradients: Sequence[WeightedGradient],
        settings: Mapping[str, Any],
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        accumulate: int = 1,
    ) -> None:
        super().__init__(workflow, "optimizer")
        self.gradients = list(gradients)
        self.settings = {key: value for key, value in settings.items() if key not in (TARGET, "groups")}
        self.groups = [dict(group) for group in _groups(settings.get("groups"))]
        self.class_ = locate(f"optimizer.{TARGET}", str(settings.get(TARGET)), torch.optim.Optimizer)
        self.gathered, self.stepped, self.optimizer = 0, False, None
        self.reconfigure(clip_norm=clip_norm, clip_value=clip_value, accumulate=accumulate)
        self._grouped(self._names())
        self.tried()
        self.demand("minibatch")

    def init_unpickled(self) -> None:
        super().init_unpickled()
        self.class_ = None

    def reconfigure(self, **changes: Any) -> None:
        for key, value in changes.items():
            whole = key == "accumulate"
            if type(value) is not int and (whole or type(value) not in (float, NoneType)):
                raise ConfigError(f"optimizer.{key}={value!r} must be {'a whole number' if whole else 'a number'}")
            if value is not None and not 0 < value <= LARGEST:
                raise ConfigError(f"optimizer.{key}={value} must be above 0")
        super().reconfigure(**changes)

    def tried(self) -> torch.optim.Optimizer:
        """Returns an optimizer like this one, with a parameter in each group that is no part of the network."""
        assert self.class_ is not None
        groups = [{}, *({key: value for key, value in group.items() if key != PATTERN} for group in self.groups)]
        for group in groups:
            made(self.class_, [placeholder()], self.settings | group)  # torch checks the settings of no group
        return made(self.class_, [group | {"params": [placeholder()]} for group in groups], self.settings)

    def initialize(self) -> None:
        learning = [(unit, name, value) for unit in reversed(self.gradients) for name, value in unit.parameters().items()]
        learning = [item for item in learning if isinstance(item[0].steps[item[1]], Held)]
        self.held_: list[tuple[Held, Tensor]] = [(unit.steps[name], value) for unit, name, value in learning]  # type: ignore[misc]
        self.parameters_ = list({id(value): value for _, _, value in learning}.values())  # tied weights are there twice
        groups = self._with_parameters({unit.full_name(name): value for unit, name, value in learning})
        if self.optimizer is None:
            if self.class_ is None:
                raise SnapshotMismatchError("the network's optimizer in the snapshot was never made")
            self.optimizer = made(self.class_, groups, self.settings)
        self._take([group["params"] for group in groups])

    def _with_parameters(self, named: Mapping[str, Tensor]) -> list[dict[str, Any]]:
        """Returns the groups that have parameters, as torch takes them."""
        seen: set[int] = set()
        found = []
        for own, names in self._grouped(list(named)):
            parameters = list({id(value): value for value in map(named.__getitem__, names) if id(value) not in seen}.values())
            seen |= {id(value) for value in parameters}
            if parameters:
                found.append(own | {"params": parameters})
        return found

    def _names(self) -> list[str]:
        """Returns the names of the parameters that are not frozen, from the first layer to the last."""
        return [name for unit in reversed(self.gradients) for name in unit.full_names(Held)]

    def _grouped(self, names: list[str]) -> list[tuple[dict[str, Any], list[str]]]:
        """Returns for each group its own settings and the names of its parameters: first those that no pattern matches."""
        left = list(names)
        found: list[tuple[dict[str, Any], list[str]]] = []
        for number, group in enumerate(self.groups):
            own = {key: value for key, value in group.items() if key != PATTERN}
            matched = matching(f"optimizer.groups[{number}].{PATTERN}", group.get(PATTERN), names)
            found.append((own, [name for name in matched if name in left]))
            left = [name for name in left if name not in matched]
        return [({}, left), *found]

    def _take(self, parameters: list[list[Tensor]]) -> None:
        """Makes the network's tensors those of the optimizer: on another device they are others than those in the snapshot."""
        assert self.optimizer is not None
        groups = self.optimizer.param_groups
        held = [group["params"] for group in groups]
        if [list(map(_what, group)) for group in held] != [list(map(_what, group)) for group in parameters]:
            raise SnapshotMismatchError("the network's optimizer in the snapshot has other parameters than the network")
        if [list(map(id, group)) for group in held] == [list(map(id, group)) for group in parameters]:
            return
        remembered = self.optimizer.state_dict()
        for group, values in zip(groups, parameters, strict=True):
            group["params"] = values
        self.optimizer.load_state_dict(remembered)

    def run(self) -> None:
        self.gathered += 1
        self.stepped = self.gathered >= self.accumulate or self.minibatch.last
        if not self.stepped:
            return
        self._collect()
        if self.clip_value is not None:
            torch.nn.utils.clip_grad_value_(self.parameters_, self.clip_value)
        if self.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters_, self.clip_norm)
        self._step()
        for parameter in self.parameters_:
            parameter.grad = None
        self.gathered = 0

    def _collect(self) -> None:
        for step, parameter in self.held_:
            if (gradient := step.take()) is not None:
                gradient = gradient if self.gathered == 1 else gradient / self.gathered
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient

    def _step(self) -> None:
        assert self.optimizer is not None
        groups, factor = self.optimizer.param_groups, self.rate_factor
        rates = [group["lr"] for group in groups]
        for group, rate in zip(groups, rates, strict=True):
            within("optimizer: lr times the factor of lr_adjuster", float(rate) * factor)
            group["lr"] = rate * factor
        self.optimizer.step()
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate

    @property
    def rate_factor(self) -> float:
        """What multiplies the learning rates: the same for all layers."""
        return self.gradients[0].rate_factor

    def rates(self) -> list[float]:
        """Returns the learning rate of each group that is in force."""
        groups = [self.settings] if self.optimizer is None else self.optimizer.param_groups
        return [float(group["lr"]) * self.rate_factor for group in groups if "lr" in group]

    def reset(self) -> None:
        """Forgets what the optimizer remembers; its settings and learning rates stay."""
        assert self.optimizer is not None
        groups = [dict(group) for group in self.optimizer.param_groups]
        self.optimizer.state = made(type(self.optimizer), groups, self.settings).state
        self.gathered = 0

    def change(self, key: str, value: Any) -> None:
        """Changes a setting on resume, for all groups that have none of their own.

        Raises:
            ConfigError: it is fixed, or the optimizer refuses it.
        """
        if key in self.adjustable:
            self.reconfigure(**{key: value})
            return
        cls = self.class_ if self.optimizer is None else type(self.optimizer)
        if key in OWN or cls is None:
            raise ConfigError(f"optimizer.{key} is fixed once the network is built, so it cannot change on resume")
        settings = self.settings | {key: value}
        (group,) = made(cls, [placeholder()], settings).param_groups
        self.settings = settings
        if self.optimizer is None:
            return
        own = [own for own, names in self._grouped(self._names()) if names]
        for held, mine in zip(self.optimizer.param_groups, own, strict=True):
            if key not in mine:
                held[key] = group[key]


def _what(value: Tensor) -> tuple[torch.Size, torch.dtype]:
    return value.shape, value.dtype


def _groups(value: Any) -> Sequence[Mapping[str, Any]]:
    groups = [] if value is None else value
    if not isinstance(groups, list | tuple) or not all(isinstance(group, Mapping) for group in groups):
        raise ConfigError(
            f"optimizer.groups={value!r} must be a list of mappings with a {PATTERN}, such as"
            f" [{{{PATTERN}: '*.bias', lr: 0.1}}]"
        )
    return groups


def split(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns what is for the optimizer's class, with its groups, and what else `optimizer` says."""
    own = {key: settings[key] for key in OWN if key in settings and key != "groups"}
    return {key: value for key, value in settings.items() if key not in own}, own
