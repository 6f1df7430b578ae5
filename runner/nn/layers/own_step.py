"""A module that trains itself: its own step has models, losses and optimizers as it likes."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from runner import places
from runner.errors import ConfigError, RunError
from runner.graph import Linked, Workflow
from runner.nn.core.own_state import copied
from runner.nn.layers.base import Forward
from runner.nn.layers.module import SAMPLES, Module
from runner.nn.loading.loader import FullBatchLoader
from runner.targets import TARGET, find

log = logging.getLogger(__name__)

STEP, EVALUATION = "training_step", "evaluation_step"
"""The methods of such a module; without the second, the first is called without gradients to evaluate."""
LOSS = "loss"


def layer_of(workflow: Workflow, name: str, *, seed: int, module: Mapping[str, Any]) -> Forward:
    """Returns the layer for a module: `OwnStep` if its class has a training step, else `Module`."""
    try:
        trains_itself = hasattr(find(f"layers.{name}.{TARGET}", str(module.get(TARGET))), STEP)
    except ConfigError:
        trains_itself = False  # what is wrong is said when it is made
    return (OwnStep if trains_itself else Module)(workflow, name, seed=seed, module=module)


class OwnStep(Module):
    """Calls the module's own step with each minibatch: it computes its losses, and updates what it has with its optimizers.

    `training_step(samples, wanted)` and `evaluation_step(samples, wanted)` get the labels, or the targets if there are no
    labels, and return a loss, or numbers by name, of which one is `loss`. `forward(samples)` is what the network gives in use.
    Optimizers are attributes of the module, so they are part of snapshots.

    Linked attributes:
        labels_, targets_: what the minibatch has.
        label_count: the number of classes; 0 if there are no labels.

    Attributes for others:
        numbers_: what the step has returned, by name.

    Raises:
        ConfigError: at `initialize()`, `forward` does not take samples; at `check_data()`, a step fails, or returns no numbers.
    """

    labels_: Linked[Tensor]
    targets_: Linked[Tensor]
    label_count: Linked[int]
    numbers_: dict[str, Tensor]

    def init_unpickled(self) -> None:
        super().init_unpickled()
        self.idle_, self.is_watched_ = 0, True

    def chosen(self, result: Any) -> list[Tensor]:
        if not isinstance(result, Tensor):
            raise TypeError(
                f"returns a {type(result).__name__}: forward() is what predictions are made with, and ends with a tensor"
            )
        return super().chosen(result)

    def run(self) -> None:
        training = not self.evaluating
        if self.module.training != training:
            self.module.train(training)
        samples = self.given(self.input_.to(self.taken_))
        own = samples if self.input_parts and self.targets_ is self.input_ else self.targets_
        step = self._step(self.module, training)
        wanted = self.labels_ if self.label_count else own
        before = self._sums() if training and self.is_watched_ else None
        try:
            numbers = self._called(step, training, samples, wanted)
        except _StepError as error:
            raise RunError(f"{error}, in a minibatch of {len(self.input_)}") from error.__cause__
        if self.is_watched_:
            self._watch(before)
        self.numbers_ = {name: value.detach() for name, value in numbers.items()}

    def _watch(self, before: list[float] | None) -> None:
        """Says once that the training step changes nothing, when what it has come to is first evaluated.

        Args:
            before: the sums of the parameters before the step; None if it was one to evaluate.
        """
        if before is not None:
            self.idle_ += 1
            self.is_watched_ = before == self._sums() != []
        elif self.idle_:
            self.is_watched_ = False
            log.warning(
                "layers.%s: %s.%s has changed no parameter in %d minibatches: it is to update them, with optimizers of its own",
                *(self.name, type(self.module).__name__, STEP, self.idle_),
            )

    def _sums(self) -> list[float]:
        return [float(value.detach().sum(dtype=torch.float64)) for value in self.module.parameters()]

    @staticmethod
    def _step(module: Any, training: bool) -> Callable[..., Any]:
        step: Callable[..., Any] = getattr(module, STEP if training or not hasattr(module, EVALUATION) else EVALUATION)
        return step

    def _called(self, step: Callable[..., Any], training: bool, samples: Any, wanted: Any) -> dict[str, Tensor]:
        """Returns the numbers that a step gives.

        Raises:
            _StepError: it fails, or gives something else.
        """
        where = f"layers.{self.name} ({type(self.module).__name__}.{step.__name__})"
        try:
            with torch.set_grad_enabled(training), _quiet():
                returned = step(samples, wanted)
        except Exception as error:  # the user's own class may fail in any way
            raise _StepError(f"{where} fails: {places.told(error)}") from error
        numbers: dict[Any, Any] = returned if isinstance(returned, dict) else {LOSS: returned}
        if (wrong := _wrong(numbers)) is not None:
            raise _StepError(f"{where} {wrong}")
        return numbers

    def check_data(self, loader: FullBatchLoader) -> list[str]:
        """Tries both steps with a copy of the module; returns the names of the numbers that both return.

        Raises:
            ConfigError: a step fails, returns something other than numbers, or the steps return others.
        """
        key = next(iter(loader.data_))
        found = []
        for training in (True, False):
            # Copies for each step, which may change them in place.
            samples = self.given(loader.data_[key][:SAMPLES].clone().to(self.taken_))
            own = samples if self.input_parts and loader.targets_ is loader.data_ else loader.targets_[key][:SAMPLES].clone()
            wanted = loader.labels_[key][:SAMPLES].clone() if self.label_count else own
            try:
                module = copied(self.module).train(training)
            except Exception as error:
                raise ConfigError(f"{self._told} holds what cannot be copied: {places.told(error)}") from error
            step = self._step(module, training)
            try:
                with torch.random.fork_rng(devices=[]):
                    found.append(list(self._called(step, training, samples, wanted)))
            except _StepError as error:
                raise ConfigError(str(error)) from error.__cause__
        if set(found[0]) != set(found[1]):
            raise ConfigError(
                f"layers.{self.name} ({type(self.module).__name__}) returns {', '.join(found[1])} to be evaluated, and"
                f" {', '.join(found[0])} in training: both are the same names"
            )
        return found[0]


@contextmanager
def _quiet() -> Iterator[None]:
    """Within it, torch does not say that the optimizer of a scheduler is another: a restored one has taken its steps before."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Seems like `optimizer.step")
        yield


class _StepError(Exception):
    """A step has failed, or does not return numbers."""


def _wrong(numbers: Mapping[Any, Any]) -> str | None:
    """Returns what is wrong with the numbers that a step has returned, by name; None if nothing is."""
    for name, value in numbers.items():
        if not isinstance(name, str) or not name.isidentifier():
            return f"returns a number called {name!r}: names are like those of variables"
        if not isinstance(value, Tensor):
            return f"returns {name!r} of type {type(value).__name__}: a step returns a tensor of one number, or several by name"
        if value.numel() != 1:
            return f"returns {name!r} of shape {tuple(value.shape)}: it is one number, such as .mean()"
        if value.is_complex() or (name == LOSS and not value.is_floating_point()):
            return f"returns {name!r} as {value.dtype}: it is a real number"
    return None if LOSS in numbers else f"returns {', '.join(numbers) or 'nothing'}: one of the numbers is {LOSS!r}"


def check_own_step(layers: Sequence[Forward], beside: Mapping[str, Any]) -> None:
    """Checks that a module with a step of its own is the whole network, and that nothing is said of what it does itself.

    Args:
        layers: the layers.
        beside: by section what is said there.

    Raises:
        ConfigError: there is another layer, or a section that would change nothing.
    """
    own = next((layer for layer in layers if isinstance(layer, OwnStep)), None)
    if own is None:
        return
    if len(layers) > 1:
        raise ConfigError(f"layers.{own.name} has a {STEP} of its own, so it is the whole network: take the other layers away")
    if (section := next((key for key, value in beside.items() if value), None)) is not None:
        raise ConfigError(f"{section} changes nothing: {type(own.module).__name__}.{STEP} does all that itself")
