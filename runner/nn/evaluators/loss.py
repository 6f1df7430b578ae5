"""Any loss of torch, or of your own: autograd gives the error at the network's output."""

from __future__ import annotations

import copy
import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from runner import places
from runner.checks import choices
from runner.errors import ConfigError, RunError
from runner.graph import Linked, Workflow
from runner.nn.core.random_stream import Stream
from runner.nn.core.torch_modules import made, place
from runner.nn.evaluators.answer_forms import AS_CLASSES, AS_THEY_ARE, AS_VALUES, as_wanted
from runner.nn.evaluators.class_evaluator import ERROR, ClassEvaluator
from runner.nn.evaluators.evaluator import Found, Metric
from runner.nn.loading.loader import FullBatchLoader
from runner.nn.loading.samples import TRAIN

log = logging.getLogger(__name__)

SAMPLES = 3
"""The number of samples with which a loss is tried out."""
BALANCED = "balanced"
WEIGHTS = ("weight", "pos_weight")
"""Arguments of losses that torch wants as tensors."""
OF_PROBABILITIES = (torch.nn.BCELoss, torch.nn.MSELoss, torch.nn.L1Loss, torch.nn.SmoothL1Loss, torch.nn.HuberLoss)
"""Losses by which one output comes to be the probability itself; others take its logit."""
OF_CLASSES = (torch.nn.CrossEntropyLoss, torch.nn.NLLLoss)
"""Losses that take outputs of one dimension for those of one sample."""


class LossEvaluator(ClassEvaluator):
    """The value of a loss, which is a module of torch, for the outputs of a minibatch and what they should be.

    Labels are given to the loss as whole numbers of shape (samples,). A network with one output for a sample tells two classes
    apart; it gets them as 0 and 1, in the shape of its output. Targets are given in the shape of the output if they have as
    many values, else as they are, or as whole numbers if the loss takes nothing else.

    The metric is the share of wrong answers where there are labels, and an output for each class; else the loss itself.

    Linked attributes:
        further_: what else the last module has returned for the loss, which takes it after the output, and leaves its gradients
            there.
        labels_, targets_: what the outputs should be.
        label_count: the number of classes; 0 if there are no labels.

    Attributes for others:
        err_output_: the gradient of the loss with respect to the output.
        loss_module: the loss.

    Args:
        seed: the seed of the run.
        settings: `_target_` and the arguments of the loss. `weight` and `pos_weight` may be lists; `weight` may be `balanced`,
            which gives each class the same weight in the training set, 1 on average.
        targets: whether the outputs are compared with targets, even where there are labels.

    Raises:
        ConfigError: it cannot be made; at `initialize()`, it does not fit the outputs.
    """

    by_shard: ClassVar = True
    wants: ClassVar = "targets_"

    further_: Linked[Sequence[Tensor]] = ()
    labels_: Linked[Tensor]
    targets_: Linked[Tensor]
    label_count: Linked[int]
    loss_module: torch.nn.Module
    balanced: bool
    of_targets: bool

    def __init__(self, workflow: Workflow, *, seed: int, settings: Mapping[str, Any], targets: bool = False) -> None:
        super().__init__(workflow)
        given = dict(settings)
        self.balanced = given.get("weight") == BALANCED
        self.of_targets = targets
        self.loss_module = _made(seed, given)

    def init_unpickled(self) -> None:
        super().init_unpickled()
        self.told_ = False

    @property
    def metric(self) -> Metric:  # type: ignore[override]  # which one depends on the data
        return ERROR if self.class_count() else Metric("loss", 4, "")

    @property
    def outputs_are(self) -> str:  # type: ignore[override]
        if not self.class_count():
            return "values"
        if math.prod(self.output_shape) == 1:
            return "probability" if isinstance(self.loss_module, OF_PROBABILITIES) else "logit"
        return "log_probabilities" if isinstance(self.loss_module, torch.nn.NLLLoss) else "logits"

    def scale(self, name: str) -> str:
        if name != "loss":
            return ""
        settings = {key: value for key, value in vars(self.loss_module).items() if isinstance(value, bool | int | float | str)}
        told = ", ".join(f"{key}={value}" for key, value in settings.items() if key != "training" and not key.startswith("_"))
        return f" of {type(self.loss_module).__name__}({told})"

    def class_count(self) -> int:
        if self.of_targets or not self.label_count:
            return 0
        outputs = math.prod(self.output_shape)
        return 2 if outputs == 1 else outputs if len(self.output_shape) == 1 else 0

    @property
    def learns(self) -> bool:
        """Whether the loss has parameters to train, and not only those of a network that it judges by, which is as it is."""
        return any(parameter.requires_grad for parameter in self.loss_module.parameters())

    def tensors(self) -> dict[str, Tensor]:
        """Returns what training changes in the loss, by name."""
        return {name: value for name, value in self.loss_module.state_dict().items() if isinstance(value, Tensor)}

    def initialize(self) -> None:
        super().initialize()
        place(self.loss_module, self.device, self.dtype)

    def check_data(self, loader: FullBatchLoader) -> None:
        loader.check_answers(labels=self._of_labels)
        if self.classes_:
            self.check_labels(loader)
        if self.balanced and getattr(self.loss_module, "weight", None) is None:
            self.loss_module.weight = self._balanced_weights(loader)
        self.form_ = self._form(loader)

    def _balanced_weights(self, loader: FullBatchLoader) -> Tensor:
        """Returns a weight for each class: samples / (classes * samples of the class)."""
        if not self.classes_:
            raise ConfigError("loss.weight=balanced needs labels, and an output for each class: give a list of weights")
        counts = loader.labels_[TRAIN].bincount(minlength=self.classes_)
        if 0 in counts:
            raise ConfigError(
                f"loss.weight=balanced: no training sample has the label {int(counts.argmin())}: give a list of weights"
            )
        return (counts.sum() / (len(counts) * counts.double())).to(self.dtype)

    def _form(self, loader: FullBatchLoader) -> str:
        """Returns the form in which the loss takes labels or targets; raises a ConfigError if it takes none."""
        with torch.random.fork_rng(devices=[]):
            tried = {form: self._fault(form, loader) for form in self._forms(loader)}
        fitting = [form for form, fault in tried.items() if fault is None]
        if not fitting:
            what = "labels" if self._of_labels else f"targets of shape {loader.target_shape}"
            further = f", {len(self.further_)} further ones" if self.further_ else ""
            raise ConfigError(
                f"loss: {self._name} does not take outputs of shape {tuple(self.output_shape)}{further} and {what}:"
                f" {next(iter(tried.values()))}"
            )
        return fitting[0]

    @property
    def _of_labels(self) -> bool:
        return bool(self.label_count) and not self.of_targets

    @property
    def _name(self) -> str:
        return type(self.loss_module).__name__

    def _forms(self, loader: FullBatchLoader) -> tuple[str, ...]:
        outputs = math.prod(self.output_shape)
        if self._of_labels:
            return (AS_VALUES,) if outputs == 1 else (AS_CLASSES,)
        return (AS_VALUES,) if outputs == math.prod(loader.target_shape) else (AS_THEY_ARE, AS_CLASSES)

    def _fault(self, form: str, loader: FullBatchLoader) -> str | None:
        """Returns what is wrong with the loss of some training samples in a form, if anything. Its state does not change."""
        if not self.output_shape and type(self.loss_module).forward in [cls.forward for cls in OF_CLASSES]:
            return (
                "the network gives one number for a sample, so it would take the samples of a minibatch for the classes;"
                " torch.nn.BCEWithLogitsLoss is for one output of two classes"
            )
        wanted = next(iter((loader.labels_ if self._of_labels else loader.targets_).values()))[:SAMPLES].cpu()
        shape, generator = (len(wanted), *self.output_shape), torch.Generator().manual_seed(0)
        drawn = torch.rand(shape, dtype=self.dtype, generator=generator)  # as probabilities, which some losses want
        further = [value[: len(wanted)].cpu().requires_grad_() for value in self.further_]
        loss = copy.deepcopy(self.loss_module).cpu()

        def gradient(outputs: Tensor) -> float:
            """Returns the largest gradient at outputs."""
            given = [outputs.requires_grad_(), *further]
            return _largest_gradient(loss(*given, as_wanted(wanted, form, outputs)), given)

        try:
            with warnings.catch_warnings():
                # Sizes that torch makes fit by repeating values are not meant to.
                warnings.filterwarnings("error", "Using a target size")
                flat = gradient(drawn) == 0
        except _UnusableError as error:
            return str(error)
        except Exception as error:  # the user's own class may fail in any way
            return places.told(error)
        with suppress(Exception):
            if flat and gradient(40 * drawn.detach() - 20) == 0:
                hint = "; of one output for two classes, torch.nn.BCEWithLogitsLoss is not" if drawn[0].numel() == 1 else ""
                return f"it is the same whatever the outputs are, so nothing could be learned{hint}"
        return None

    def run(self) -> None:
        output, training = self.output_, not self.evaluating
        wanted = self.labels_ if self._of_labels else self.targets_
        leaf = output.detach().view(len(output), *self.output_shape).requires_grad_(training)
        further = [value.requires_grad_(training) for value in self.further_]
        if self.loss_module.training != training:
            self.loss_module.train(training)
        with torch.set_grad_enabled(training):
            try:
                value = self.loss_module(leaf, *further, as_wanted(wanted, self.form_, leaf))
            except Exception as error:
                raise RunError(f"loss: {self._name} fails on a minibatch of {len(output)}: {places.told(error)}") from error
            if training:
                # The loss of a minibatch in shards is the mean of theirs, weighed by their samples.
                share = len(output) / self.minibatch.samples
                (value if share == 1 else value * share).backward()
                self.err_output_ = (torch.zeros_like(leaf) if leaf.grad is None else leaf.grad).view(output.shape)
        value = value.detach().double().reshape(())
        # Without classes, all samples are counted in one cell.
        if self.classes_:
            cells = self.cells(self._answers(output), self.labels_, value, partial(_missing, output))
        else:
            cells = output.new_ones(len(output)).long()
        self.note(Found(value * len(output), value if training else None, cells))

    def _answers(self, output: Tensor) -> Tensor:
        if math.prod(self.output_shape) > 1:
            return output.argmax(1)
        return (output.reshape(-1) > (0.5 if self.outputs_are == "probability" else 0.0)).long()

    def compute(self, split: int) -> float:
        if isinstance(self.loss_module, torch.nn.NLLLoss) and self.loss(split) < 0 and not self.told_:
            self.told_ = True
            log.warning(
                "The loss is negative: %s takes log-probabilities, and not outputs of any size; end the network with a"
                " torch.nn.LogSoftmax, or take torch.nn.CrossEntropyLoss",
                self._name,
            )
        return super().compute(split) if self.classes_ else self.loss(split)

    def measured(self, sums: Sequence[float]) -> dict[str, float]:
        return super().measured(sums) if self.classes_ else {"loss": sums[2] / sums[0]}


def _missing(output: Tensor) -> Tensor:
    """Returns for which samples an output is NaN."""
    return output.view(len(output), -1).isnan().any(1)


class _UnusableError(Exception):
    """A loss gives what training cannot use."""


def _largest_gradient(value: object, outputs: Sequence[Tensor]) -> float:
    """Returns the largest gradient of the value of a loss.

    Raises:
        _UnusableError: it is none that training can use.
    """
    if not isinstance(value, Tensor):
        raise _UnusableError(f"it gives a {type(value).__name__} instead of a tensor")
    if value.numel() != 1:
        raise _UnusableError(
            f"it gives values of shape {tuple(value.shape)}, and training needs one number: reduction=mean, or .mean()"
        )
    gradients = torch.autograd.grad(value.sum(), outputs, allow_unused=True) if value.requires_grad else [None]
    found = [float(gradient.abs().max()) for gradient in gradients if gradient is not None and gradient.numel()]
    if not found:
        raise _UnusableError("its value does not depend on the outputs: it must not use .detach(), .item(), argmax or numpy")
    return max(found)


def _made(seed: int, settings: dict[str, Any]) -> torch.nn.Module:
    """Returns the loss that settings describe; weights in lists become tensors."""
    if settings.get("weight") == BALANCED:
        settings["weight"] = None
    for name in WEIGHTS:
        value = settings.get(name)
        if isinstance(value, str):
            hint = choices(value, [BALANCED]) if name == "weight" else f"such as loss.{name}=[3]"
            raise ConfigError(f"loss.{name}={value!r} must be a list of numbers; {hint}")
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = [value]
        if isinstance(value, list | tuple):
            settings[name] = _tensor(f"loss.{name}", value)
    return made("loss", settings, Stream(seed, "loss"))


def _tensor(where: str, values: Sequence[Any]) -> Tensor:
    if not values or any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        raise ConfigError(f"{where}={list(values)!r} must be a list of numbers")
    return torch.tensor(values, dtype=torch.float64)
