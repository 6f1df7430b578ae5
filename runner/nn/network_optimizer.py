"""One optimizer of torch for all parameters of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import NoneType
from typing import Any

import torch
from torch import Tensor

from runner import places
from runner.checks import LARGEST, choices, within
from runner.errors import ConfigError, RunError, SnapshotMismatchError
from runner.graph import Linked, Unit, Workflow
from runner.nn.layers.module import ModuleWeights
from runner.nn.layers.weighted import WeightedGradient
from runner.nn.loading.minibatches import Minibatch
from runner.nn.training.held import Held
from runner.nn.training.patterns import matching
from runner.nn.training.torch_optim import arguments, full_name, made, placeholder
from runner.nn.training.trial import try_out
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
        ConfigError: the class is no optimizer or does not take a setting, or a pattern matches nothing, or nothing that no
            pattern before it matches; at `initialize()`, its steps fail.
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
        self._check_groups()
        self.tried()
        self.untried_ = True
        self.demand("minibatch")

    def init_unpickled(self) -> None:
        super().init_unpickled()
        self.class_ = None
        self.untried_ = False

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
        groups, device = self._own(), self.gradients[0].device
        for where, own in groups.items():
            made(self.class_, [placeholder(device)], self.settings, where=where, own=own)  # torch checks those of no group
        return made(self.class_, [own | {"params": [placeholder(device)]} for own in groups.values()], self.settings)

    def _own(self) -> dict[str, dict[str, Any]]:
        """Returns what is set for each group alone, by its key: first for the parameters that no pattern matches."""
        own = [{key: value for key, value in group.items() if key != PATTERN} for group in self.groups]
        return {"optimizer": {}} | {f"optimizer.groups[{number}]": group for number, group in enumerate(own)}

    def _check_groups(self) -> None:
        """Raises a ConfigError if a group has no pattern, or no parameters."""
        assert self.class_ is not None
        for number, group in enumerate(self.groups):
            if PATTERN not in group:
                names = [PATTERN, *arguments(self.class_)]
                unknown = "".join(f"; {key!r} is unknown: {choices(key, names)}" for key in group if key not in names)
                raise ConfigError(
                    f"optimizer.groups[{number}] has no {PATTERN}, which says which parameters it is for:"
                    f" {PATTERN}: '*.bias'{unknown}"
                )
        for number, (_, names) in enumerate(self._grouped(self._names())[1:]):
            if not names:
                raise ConfigError(
                    f"optimizer.groups[{number}].{PATTERN}={self.groups[number][PATTERN]!r} matches only parameters that groups"
                    " before it have: put it before them, or take it away"
                )

    def try_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Takes a step with an optimizer of parameters that are no part of the network."""
        if self._may_be_sparse:
            return  # nobody knows which gradients it will get
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.ones_like(parameter)
        optimizer.step()

    @property
    def _may_be_sparse(self) -> bool:
        """Whether a module may make a sparse gradient, as embeddings do that are told to."""
        modules = [unit.module for unit in self.gradients if isinstance(unit, ModuleWeights)]
        return any(getattr(part, "sparse", False) for module in modules for part in module.modules())

    def _try_out(self, cls: type[torch.optim.Optimizer]) -> None:
        """Raises a ConfigError if steps with the settings of a group fail."""
        for where, own in self._own().items():
            optimizer = made(cls, [placeholder(self.gradients[0].device)], self.settings, where=where, own=own)
            for _ in range(2):  # some settings are looked at when there is something to remember
                try_out(where, full_name(cls), own or self.settings, partial(self.try_step, optimizer))
        self.untried_ = False

    def initialize(self) -> None:
        learning = [(unit, name, value) for unit in reversed(self.gradients) for name, value in unit.parameters().items()]
        learning = [item for item in learning if isinstance(item[0].steps[item[1]], Held)]
        self.held_: list[tuple[Held, Tensor]] = [(unit.steps[name], value) for unit, name, value in learning]  # type: ignore[misc]
        self.parameters_ = list({id(value): value for _, _, value in learning}.values())  # tied weights are there twice
        groups = self._with_parameters({unit.full_name(name): value for unit, name, value in learning})
        cls = self._optimizer_class
        if cls is None:
            raise SnapshotMismatchError("the network's optimizer in the snapshot was never made")
        if self.untried_:
            self._try_out(cls)
        if self.optimizer is None:
            self.optimizer = made(cls, groups, self.settings)
        self._take([group["params"] for group in groups])

    @property
    def _optimizer_class(self) -> type[torch.optim.Optimizer] | None:
        """The class of the optimizer; None if it was not made before a snapshot was."""
        return self.class_ if self.optimizer is None else type(self.optimizer)

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
            matched = matching(f"optimizer.groups[{number}].{PATTERN}", group[PATTERN], names)
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
            whose = "lr by its scheduler" if factor == 1 else "lr times the factor of lr_adjuster"
            within(f"optimizer: {whose}", float(rate) * factor)
            group["lr"] = rate * factor
        try:
            self.optimizer.step()
        except Exception as error:  # the user's own class may fail in any way
            raise RunError(f"optimizer: {full_name(type(self.optimizer))} fails: {places.told(error)}") from error
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
        cls = self._optimizer_class
        if key in OWN or cls is None:
            raise ConfigError(f"optimizer.{key} is fixed once the network is built, so it cannot change on resume")
        settings = self.settings | {key: value}
        (group,) = made(cls, [placeholder()], settings).param_groups
        self.settings, self.untried_ = settings, True
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
