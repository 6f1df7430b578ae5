"""How good predictions are: every metric, for each class or each value."""

from __future__ import annotations

import copy
import math
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from runner.errors import ConfigError
from runner.nn import StandardWorkflow
from runner.nn.evaluators.answer_forms import AS_CLASSES, AS_VALUES, as_wanted
from runner.nn.evaluators.class_evaluator import CONFUSION_LIMIT, ERROR
from runner.nn.evaluators.evaluator import Evaluator, Metric
from runner.nn.evaluators.loss import LossEvaluator
from runner.nn.evaluators.mse import MSEEvaluator
from runner.nn.evaluators.softmax import LEAST, SoftmaxEvaluator
from runner.nn.inference.model import Signature
from runner.nn.loading.samples import Array
from runner.text import shown
from runner.use.own_metrics import OwnMetrics
from runner.use.predicting import as_tensor

Counts = npt.NDArray[np.int64]
Told = dict[str, Any]
"""What JSON can hold, by name."""


def share(part: float, whole: float) -> float | None:
    """Returns a share; None of nothing."""
    return float(part / whole) if whole else None


class ClassScores:
    """Scores of a classification.

    Args:
        names: of the classes.
        entropy: whether the loss of the run is the cross-entropy, which the probabilities tell.
        further: the run's own metrics.

    Attributes:
        confusion: how often each class, a row, was given each answer, a column; None above 1,000 classes.
        samples, answers, right: for each class how many samples it has, how often it was the answer, and rightly so.
    """

    metric: ClassVar[Metric] = ERROR

    def __init__(self, names: tuple[str, ...], *, entropy: bool = False, further: OwnMetrics | None = None) -> None:
        self.names = [shown(name) for name in names]
        self.confusion: Counts | None = np.zeros((len(names), len(names)), np.int64) if len(names) <= CONFUSION_LIMIT else None
        self.samples: Counts = np.zeros(len(names), np.int64)
        self.answers, self.right = self.samples.copy(), self.samples.copy()
        self._loss: float | None = 0.0 if entropy else None
        self._further = further

    @classmethod
    def of_confusion(cls, names: tuple[str, ...], confusion: Counts) -> ClassScores:
        """Returns the scores that a confusion matrix tells."""
        found = cls(names)
        found.confusion = confusion
        found.samples, found.answers, found.right = confusion.sum(1), confusion.sum(0), confusion.diagonal()
        return found

    def add(self, outputs: Array, labels: Counts) -> None:
        """Counts some more samples.

        Raises:
            ConfigError: a label is that of no class.
        """
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(self.names):
            wrong = labels.min() if labels.min() < 0 else labels.max()
            raise ConfigError(f"the data have the label {wrong}, and the network has {len(self.names)} classes, from 0 on")
        finite = np.isfinite(outputs).all(1)
        outputs, labels = outputs[finite], labels[finite]  # the others are told of, and are no answers
        if self._further is not None:
            self._further.add(outputs, labels)
        answers, size = outputs.argmax(1), len(self.names)
        if self.confusion is not None:
            self.confusion += np.bincount(labels * size + answers, minlength=size * size).reshape(size, size)
        self.samples += np.bincount(labels, minlength=size)
        self.answers += np.bincount(answers, minlength=size)
        self.right += np.bincount(labels[labels == answers], minlength=size)
        if self._loss is not None:
            chosen = np.take_along_axis(outputs, labels[:, None], 1).astype(np.float64)
            self._loss -= float(np.log(np.maximum(chosen, LEAST)).sum())

    @property
    def count(self) -> int:
        """The number of samples."""
        return int(self.samples.sum())

    @property
    def objective(self) -> float:
        """The error in percent, as log lines have it; NaN without samples."""
        right, count = int(self.right.sum()), self.count
        return 100 * (count - right) / count if count else math.nan

    def classes(self) -> list[Told]:
        """Returns what is told of each class."""
        found = []
        counts = (values.tolist() for values in (self.samples, self.answers, self.right))
        for name, samples, answers, right in zip(self.names, *counts, strict=True):
            f1 = share(2 * right, samples + answers)
            found.append(
                {
                    "name": name,
                    "samples": samples,
                    "answers": answers,
                    "precision": share(right, answers),
                    "recall": share(right, samples),
                    "f1": f1,
                }
            )
        return found

    def told(self) -> Told:
        """Returns all scores."""
        classes = self.classes()
        return {
            "samples": self.count,
            "error": self.objective if self.count else None,
            "accuracy": share(int(self.right.sum()), self.count),
            "balanced_accuracy": _mean([item["recall"] for item in classes]),
            "macro_f1": _mean([item["f1"] for item in classes]),  # of what is neither a label nor an answer, there is none
            **({} if self._loss is None else {"loss": share(self._loss, self.count)}),
            **({} if self._further is None else {"scores": self._further.told()}),
            "classes": classes,
            "confusion": None if self.confusion is None else {"names": self.names, "matrix": self.confusion.tolist()},
        }

    def confused(self) -> list[tuple[str, str, int]]:
        """Returns right class, answer and how often, of wrong answers, the most frequent first."""
        if self.confusion is None:
            return []
        wrong = self.confusion - np.diag(self.confusion.diagonal())
        order = np.argsort(-wrong, axis=None, kind="stable")[:10]
        rows, columns = np.unravel_index(order, wrong.shape)
        return [
            (self.names[row], self.names[column], int(wrong[row, column]))
            for row, column in zip(rows, columns, strict=True)
            if wrong[row, column]
        ]


class OwnLoss:
    """The value of a run's own loss, which is taken of minibatches as the run does.

    Args:
        evaluator: the run's.
        size: samples of a minibatch.

    Attributes:
        known: whether it can be told: not if the loss takes what the network alone does not give.
    """

    def __init__(self, evaluator: LossEvaluator, size: int) -> None:
        self.metric = evaluator.metric
        self.known = True
        self._module = copy.deepcopy(evaluator.loss_module).cpu().eval()
        self._size, self._sum = size, 0.0

    def add(self, outputs: Array, targets: Array) -> None:
        """Adds the loss of some more samples; targets have as many values as outputs."""
        given = as_tensor(outputs)
        wanted = as_tensor(targets)
        module = self._module.to(given.dtype)
        try:
            with torch.inference_mode():
                for begin in range(0, len(given), self._size):
                    output, target = given[begin : begin + self._size], wanted[begin : begin + self._size]
                    self._sum += float(module(output, as_wanted(target, AS_VALUES, output))) * len(output)
        except Exception:  # the user's own class may want anything
            self.known = False

    def mean(self, count: int) -> float | None:
        """Returns the mean over so many samples; None if it is not known."""
        return share(self._sum, count) if self.known else None


class ValueScores:
    """Scores of values: root mean squared and mean absolute error, and the share of the variance that is explained.

    Args:
        names: of the values.
        own: the run's loss, which is then what is scored by; half the squared error without one.
        squares: whether the run's loss is that half.
        further: the run's own metrics.
    """

    def __init__(
        self, names: list[str], *, own: OwnLoss | None = None, squares: bool = False, further: OwnMetrics | None = None
    ) -> None:
        self.names = names
        self._own, self._is_of_squares, self._further = own, squares, further
        self.count = 0
        self._squares, self._distances, self._sums, self._of_squares = (np.zeros(len(names)) for _ in range(4))
        self._about: npt.NDArray[np.float64] | None = None

    def add(self, outputs: Array, targets: Array) -> None:
        """Counts some more samples.

        Raises:
            ConfigError: the targets have another number of values.
        """
        if not len(outputs):
            return
        given = np.asarray(outputs, np.float64).reshape(len(outputs), -1)
        wanted = np.asarray(targets, np.float64).reshape(len(targets), -1)
        if given.shape != wanted.shape:
            raise ConfigError(f"the data have {wanted.shape[1]} values for a sample, and the network gives {given.shape[1]}")
        if self._own is not None:
            self._own.add(outputs, targets)
        if self._further is not None:
            self._further.add(outputs, targets)
        self.count += len(given)
        self._squares += np.square(given - wanted).sum(0)
        self._distances += np.abs(given - wanted).sum(0)
        if self._about is None:
            self._about = wanted.mean(0)  # values that are large and close together would leave no digits of their variance
        self._sums += (wanted - self._about).sum(0)
        self._of_squares += np.square(wanted - self._about).sum(0)

    @property
    def metric(self) -> Metric:
        """What the objective is: as in the log of the run, if that can be told."""
        return MSEEvaluator.metric if self._own is None or not self._own.known else self._own.metric

    @property
    def objective(self) -> float:
        """The run's own loss, if it can be told, else the RMSE over all values; NaN without samples."""
        own = None if self._own is None else self._own.mean(self.count)
        return self._rmse if own is None else own

    @property
    def _rmse(self) -> float:
        return math.sqrt(self._squares.sum() / self.count / len(self.names)) if self.count else math.nan

    def _loss(self) -> float | None:
        if self._own is not None:
            return self._own.mean(self.count)
        return share(self._squares.sum() / 2, self.count) if self._is_of_squares else None

    @property
    def _spread(self) -> npt.NDArray[np.float64]:
        """The sum of the squared distances of each value from its mean."""
        spread: npt.NDArray[np.float64] = self._of_squares - np.square(self._sums) / max(1, self.count)
        return spread

    def classes(self) -> list[Told]:
        """Returns what is told of each value."""
        return [
            {
                "name": name,
                "rmse": math.sqrt(square / self.count) if self.count else None,
                "mae": share(distance, self.count),
                "r2": _explained(square, around),
            }
            for name, square, distance, around in zip(self.names, self._squares, self._distances, self._spread, strict=True)
        ]

    def told(self) -> Told:
        """Returns all scores."""
        values = self.count * len(self.names)
        return {
            "samples": self.count,
            "rmse": self._rmse if self.count else None,
            "mae": share(self._distances.sum(), values),
            "r2": _explained(self._squares.sum(), self._spread.sum()),
            "loss": self._loss(),
            **({} if self._further is None else {"scores": self._further.told()}),
            "values": self.classes(),
        }


Scores = ClassScores | ValueScores


def _explained(error: float, spread: float) -> float | None:
    """Returns the share of a variance that is explained; None if there is none."""
    return float(1 - error / spread) if spread > 0 else None


def _mean(values: list[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return sum(numbers) / len(numbers) if numbers else None


def scores_for(workflow: StandardWorkflow, signature: Signature, names: list[str]) -> Scores:
    """Returns empty scores for what a network gives.

    Args:
        workflow: the network's, whose evaluator says what the loss is.
        signature: of the network.
        names: of its values, if it gives values.
    """
    evaluator, size = workflow.evaluator, workflow.loader.minibatch_size
    forms = (AS_CLASSES,) if signature.class_names else (AS_VALUES, AS_CLASSES)
    further = None if workflow.scores is None else OwnMetrics(workflow.scores, size, forms)
    if signature.class_names:
        return ClassScores(signature.class_names, entropy=_is_entropy(evaluator), further=further)
    own = OwnLoss(evaluator, size) if isinstance(evaluator, LossEvaluator) else None
    return ValueScores(names, own=own, squares=isinstance(evaluator, MSEEvaluator), further=further)


def _is_entropy(evaluator: Evaluator) -> bool:
    """Whether the loss of a run is the mean of -log(probability of the right class), without weights."""
    if not isinstance(evaluator, LossEvaluator):
        return isinstance(evaluator, SoftmaxEvaluator)
    module = evaluator.loss_module
    plain = type(module) in (torch.nn.CrossEntropyLoss, torch.nn.NLLLoss) and module.reduction == "mean"
    return plain and module.weight is None and not getattr(module, "label_smoothing", 0)
