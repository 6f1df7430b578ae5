"""Any scheduler of `torch.optim.lr_scheduler`, by epoch or by minibatch."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import CellType, FunctionType, SimpleNamespace
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from runner import places
from runner.errors import ConfigError, RunError, SnapshotMismatchError
from runner.graph import Linked, Unit, Workflow
from runner.nn.evaluators.evaluator import Metric
from runner.nn.network_optimizer import NetworkOptimizer
from runner.nn.training.trial import try_out
from runner.targets import TARGET, find, locate

FUNCTION, HELD, CHAINED = "lr_lambda", "lr_lambdas", "_schedulers"
"""The argument of schedulers that is a function, the attribute that holds it, and that which holds other schedulers."""
PARTIAL = "_partial_"
"""As for `hydra.utils.instantiate`: the target is the function itself, with further arguments, and does not make one."""
MOST_STEPS = 10_000
"""How far ahead of a complete run its scheduler is looked at."""


class Scheduler(Unit):
    """Changes the learning rates of the network's optimizer, and whatever else the scheduler changes.

    Linked attributes:
        history: for each epoch, the error of each split.
        monitor: the split whose error `ReduceLROnPlateau` gets.

    Functions, such as those of `LambdaLR`, are in no snapshot: it names them, and they are made again. Of objects that are
    called it has what has changed since they were made.

    Attributes:
        scheduler: torch's; None before `initialize()`.
        functions: what the configuration says of them, for each scheduler that has any, in the order of the schedulers.
        states: what has changed in each of them until the snapshot, in the same order.

    Args:
        optimizer: the network's.
        settings: `_target_` and the arguments without the optimizer. An argument that has a `_target_` itself, or is a list of
            such, is another scheduler of the same optimizer, except for `lr_lambda`, which is a function.
        by_minibatch: whether it takes a step after each update, instead of each epoch.

    Raises:
        ConfigError: a class is no scheduler, or does not take the arguments; at `initialize()`, its first step fails.
    """

    view_group = "trainer"

    history: Linked[list[dict[str, float]]]
    monitor: Linked[str]
    optimizer: NetworkOptimizer
    by_minibatch: bool
    scheduler: LRScheduler | None
    functions: Sequence[Any] = ()
    states: Sequence[Sequence[dict[str, Any]]] = ()

    def __init__(
        self, workflow: Workflow, optimizer: NetworkOptimizer, settings: Mapping[str, Any], *, by_minibatch: bool = False
    ) -> None:
        super().__init__(workflow, "scheduler")
        self.optimizer = optimizer
        self.by_minibatch = by_minibatch
        self.scheduler = None
        self.settings_: Mapping[str, Any] | None = settings
        if functions := list(_named(settings)):
            self.functions = functions
            for name in self.missing_functions():
                self.provide_function(name, find(f"scheduler.{FUNCTION}.{TARGET}", name))
        made = self._made("scheduler", settings, optimizer.tried())
        if by_minibatch and isinstance(made, ReduceLROnPlateau):
            raise ConfigError("scheduler.by_minibatch=true: ReduceLROnPlateau looks at the error of an epoch")
        self.demand("history", "monitor")

    def init_unpickled(self) -> None:
        super().init_unpickled()
        self.settings_ = None
        self.found_: dict[str, Callable[..., Any]] = {}
        self.fresh_: dict[int, dict[str, Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        if self.functions and self.scheduler is not None:
            state["scheduler"] = _without_functions(self.scheduler)
            if self.fresh_:  # else what was restored has its functions yet to be made
                schedulers = _with_functions(self.scheduler)
                state["states"] = [[self._changed(function) for function in getattr(one, HELD)] for one in schedulers]
        return state

    def _changed(self, function: Any) -> dict[str, Any]:
        """Returns the attributes of an object that is called which have changed since it was made."""
        fresh, now = self.fresh_.get(id(function), {}), _attributes(function)
        return {name: value for name, value in now.items() if name not in fresh or not _same(fresh[name], value)}

    def missing_functions(self) -> list[str]:
        return sorted({call[TARGET] for call in _calls(self.functions)} - self.found_.keys())

    def provide_function(self, name: str, function: Callable[..., Any]) -> None:
        self.found_[name] = function

    def initialize(self) -> None:
        if self.scheduler is None:
            if self.settings_ is None or self.optimizer.optimizer is None:
                raise SnapshotMismatchError("the scheduler in the snapshot was never made")
            self._try_out(self.settings_)
            self.scheduler = self._made("scheduler", self.settings_, self.optimizer.optimizer)
        elif self.functions and self.settings_ is None:
            self._put_functions(self.scheduler)

    def check_mode(self, metric: Metric) -> None:
        """Raises a ConfigError if a new `ReduceLROnPlateau` waits for what decides to go the wrong way."""
        if self.settings_ is None or not isinstance(self.scheduler, ReduceLROnPlateau):
            return
        mode, right = self.scheduler.mode, "max" if metric.higher else "min"
        if mode != right:
            default = "" if "mode" in self.settings_ else ", its default,"
            raise ConfigError(
                f"scheduler.mode={mode}{default} lowers the learning rate while the {metric.name} gets better, which is to be"
                f" {'high' if metric.higher else 'low'} (decision.mode={right}): scheduler.mode={right}"
            )

    def _try_out(self, settings: Mapping[str, Any]) -> None:
        """Raises a ConfigError if the first step fails. Only the first: some end with a run that takes no other."""
        optimizer = self.optimizer.tried()
        scheduler = self._made("scheduler", settings, optimizer)

        def step() -> None:
            self.optimizer.try_step(optimizer)
            _take_step(scheduler, lambda: 1.0)

        given = {key: value for key, value in settings.items() if key != TARGET}
        try_out("scheduler", settings[TARGET], given, step)

    def run(self) -> None:
        assert self.scheduler is not None
        if self.by_minibatch and not self.optimizer.stepped:
            return
        with warnings.catch_warnings():
            # Torch does not know that a restored optimizer has taken its steps before.
            warnings.simplefilter("ignore", UserWarning)
            try:
                _take_step(self.scheduler, lambda: self.history[-1][self.monitor])
            except Exception as error:  # the user's own class may fail in any way
                name = type(self.scheduler).__name__
                raise RunError(f"scheduler: {name} fails: {places.told(error)}{_advice(self.scheduler)}") from error

    def note_after(self, epochs: int, further: int) -> str | None:
        """Returns what is to be said of more epochs, if anything: that there are no more steps, or that nothing learns in them.

        Args:
            epochs: how many the run has had.
            further: how many more there would be.
        """
        assert self.scheduler is not None
        name, rates = type(self.scheduler).__name__, []
        try:
            ahead, groups = _copied(self.scheduler)
        except Exception:  # the user's own class may be one that cannot be copied: then nobody knows
            return None
        try:
            for _ in range(min(MOST_STEPS, math.ceil(ahead.last_epoch / max(1, epochs) * further))):
                _take_step(ahead, lambda: 1.0)
                rates.append(max(float(group["lr"]) for group in groups))
        except Exception as error:  # the user's own class may fail in any way
            return f"scheduler: {name} takes no more such steps ({places.told(error)}): only a fresh run can be longer"
        if rates and not any(rates):
            return f"scheduler: {name} gives the learning rate 0 from here on: only a fresh run can be longer"
        return None

    def _made(self, where: str, settings: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> LRScheduler:
        own = {key: self._argument(f"{where}.{key}", value, optimizer) for key, value in settings.items() if key != TARGET}
        target = settings.get(TARGET)
        if not isinstance(target, str):
            raise ConfigError(f"{where} has no {TARGET}: name a class, such as torch.optim.lr_scheduler.CosineAnnealingLR")
        cls: Any = locate(f"{where}.{TARGET}", target, LRScheduler)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                made: LRScheduler = cls(optimizer=optimizer, **own)
        except Exception as error:  # the user's own class may fail in any way
            raise ConfigError(f"{where}: {target} cannot be made: {places.told(error)}") from error
        return made

    def _argument(self, where: str, value: Any, optimizer: torch.optim.Optimizer) -> Any:
        if where.endswith(f".{FUNCTION}"):
            return self._functions(where, value)
        if isinstance(value, Mapping) and TARGET in value:
            return self._made(where, value, optimizer)
        if isinstance(value, list | tuple):
            return [self._argument(f"{where}[{number}]", item, optimizer) for number, item in enumerate(value)]
        return value

    def _functions(self, where: str, value: Any) -> Any:
        """Returns the function that settings describe, or those of a list."""
        if isinstance(value, list | tuple):
            return [self._functions(f"{where}[{number}]", item) for number, item in enumerate(value)]
        if not isinstance(value, Mapping) or not isinstance(value.get(TARGET), str):
            raise ConfigError(f"{where}={value!r} must be a function: {where}.{TARGET}=my_module.warmup")
        name = value[TARGET]
        if (function := self.found_.get(name)) is None:
            raise ConfigError(
                f"the snapshot names the function {name} of {where}, and this call does not: name it in the conf file, or with"
                f" restore.trusted=[{name}]"
            )
        if not callable(function):
            raise ConfigError(f"{where}: {name} is no function")
        own = {str(key): item for key, item in value.items() if key not in (TARGET, PARTIAL)}
        if value.get(PARTIAL):
            return partial(function, **own)
        try:
            made = function(**own)
        except Exception as error:  # the user's own function may fail in any way
            raise ConfigError(
                f"{where}: {name} makes no function: {places.told(error)} ({PARTIAL}: true says that it is the function itself)"
            ) from error
        if not callable(made):
            raise ConfigError(
                f"{where}: {name} makes {made!r}, and no function: {PARTIAL}: true says that it is the function itself"
            )
        self.fresh_[id(made)] = _copies(_attributes(made))
        return made

    def _put_functions(self, scheduler: LRScheduler) -> None:
        """Gives a restored scheduler its functions."""
        schedulers = _with_functions(scheduler)
        if len(schedulers) != len(self.functions):
            raise SnapshotMismatchError("the scheduler in the snapshot has other functions than its settings")
        for number, (one, settings) in enumerate(zip(schedulers, self.functions, strict=True)):
            made = self._functions(f"scheduler.{FUNCTION}", settings)
            held = made if isinstance(made, list) else [made] * len(self._groups)
            for function, state in zip(held, self.states[number] if self.states else (), strict=False):
                _put_back(function, copy.deepcopy(state))
            setattr(one, HELD, held)

    @property
    def _groups(self) -> list[dict[str, Any]]:
        assert self.optimizer.optimizer is not None
        return self.optimizer.optimizer.param_groups


def _named(settings: Any) -> Iterator[Any]:
    """Yields what settings say of functions, scheduler by scheduler."""
    if isinstance(settings, list | tuple):
        for value in settings:
            yield from _named(value)
    elif isinstance(settings, Mapping):
        for key, value in settings.items():
            if key == FUNCTION:
                yield value
            else:
                yield from _named(value)


def _calls(functions: Any) -> Iterator[Mapping[str, Any]]:
    """Yields the settings of each function."""
    if isinstance(functions, list | tuple):
        for value in functions:
            yield from _calls(value)
    elif isinstance(functions, Mapping) and isinstance(functions.get(TARGET), str):
        yield functions


def _take_step(scheduler: LRScheduler, error: Callable[[], float]) -> None:
    """Takes a step of a scheduler, which gets the error of the epoch if it looks at it."""
    if isinstance(scheduler, ReduceLROnPlateau):
        scheduler.step(error())
    else:
        scheduler.step()


def _copied(scheduler: LRScheduler) -> tuple[LRScheduler, list[dict[str, Any]]]:
    """Returns a copy of a scheduler that takes steps without an optimizer, and the groups whose rates it sets."""
    own = scheduler.optimizer
    groups = [{key: value for key, value in group.items() if key != "params"} for group in own.param_groups]
    stand_in = SimpleNamespace(param_groups=copy.deepcopy(groups), defaults=own.defaults, step=None)
    return copy.deepcopy(scheduler, {id(own): stand_in}), stand_in.param_groups


def _advice(scheduler: LRScheduler) -> str:
    """Returns what to do where a scheduler that knows its last step is to take another one."""
    if scheduler.last_epoch <= getattr(scheduler, "total_steps", math.inf):
        return ""
    return "; scheduler.total_steps must be the steps of the whole run: its epochs, or its updates with scheduler.by_minibatch"


def _schedulers(scheduler: LRScheduler) -> list[LRScheduler]:
    """Returns a scheduler, or those that it chains, in their order."""
    inner = getattr(scheduler, CHAINED, None)
    return [scheduler] if inner is None else [one for own in inner for one in _schedulers(own)]


def _with_functions(scheduler: LRScheduler) -> list[LRScheduler]:
    return [one for one in _schedulers(scheduler) if hasattr(one, HELD)]


def _attributes(function: Any) -> dict[str, Any]:
    """Returns what a function holds: the attributes of an object, or the variables around one that was made within another."""
    if isinstance(function, FunctionType):
        return {name: cell.cell_contents for name, cell in _cells(function).items()}
    found: dict[str, Any] = {} if isinstance(function, partial) else getattr(function, "__dict__", {})
    return found


def _cells(function: FunctionType) -> dict[str, CellType]:
    """Returns the variables around a function that have a value."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return {name: cell for name, cell in cells if cell != CellType()}


def _put_back(function: Any, state: dict[str, Any]) -> None:
    """Gives a function that was made again what had changed in the one before."""
    if isinstance(function, FunctionType):
        cells = _cells(function)
        if lacking := state.keys() - cells.keys():
            raise SnapshotMismatchError(
                f"scheduler: {function.__qualname__} has no {min(lacking)!r} around it, and had in the run"
            )
        for name, value in state.items():
            cells[name].cell_contents = value
    else:
        _attributes(function).update(state)


def _copies(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns copies of values, as far as they can be copied."""
    found = {}
    for name, value in attributes.items():
        try:
            found[name] = copy.deepcopy(value)
        except Exception:  # the user's own class may fail in any way
            found[name] = value
    return found


def _same(before: Any, now: Any) -> bool:
    try:
        return before is now or (type(before) is type(now) and bool(before == now))
    except Exception:  # such as of arrays, which are compared one by one
        return False


def _without_functions(scheduler: LRScheduler) -> LRScheduler:
    """Returns a copy for a snapshot."""
    own = copy.copy(scheduler)
    if (inner := getattr(own, CHAINED, None)) is not None:
        setattr(own, CHAINED, [_without_functions(one) for one in inner])
    if hasattr(own, HELD):
        setattr(own, HELD, [])
    return own
