"""The further metrics of a run, of new data."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from runner import places
from runner.errors import RunError
from runner.nn.evaluators.answer_forms import as_wanted
from runner.nn.evaluators.torch_metrics import TorchMetrics
from runner.nn.inference.steps import Answers
from runner.nn.loading.samples import Array
from runner.use.predicting import as_tensor

if TYPE_CHECKING:
    import torchmetrics

log = logging.getLogger(__name__)


class OwnMetrics:
    """Metrics that are named in `scores`, updated by minibatches as the run does.

    A metric whose class this call does not name is left out, and told of.

    Args:
        unit: that of the run.
        size: samples of a minibatch.
        forms: in which labels or targets may be wanted; of several, a metric gets the first that it takes.
    """

    def __init__(self, unit: TorchMetrics, size: int, forms: tuple[str, ...]) -> None:
        self._metrics, self._size = unit.made(), size
        self._is_binary = unit.evaluator.outputs_are in Answers.BINARY
        self._forms = dict.fromkeys(self._metrics, forms)
        for name, cls in unit.classes.items():
            if name not in self._metrics:
                package = cls.partition(".")[0]
                text = (
                    "scores.%s is left out: this call does not name its class, %s; the conf file does, or restore.trusted=[%s]"
                )
                log.warning(text, name, cls, package)

    def add(self, outputs: Array, wanted: Array) -> None:
        """Counts some more samples.

        Args:
            outputs: of shape (samples, classes), probabilities, or (samples, ...), values.
            wanted: labels, or targets with as many values as outputs.

        Raises:
            RunError: a metric fails.
        """
        given, right = as_tensor(outputs), as_tensor(wanted)
        given = given[:, 1] if self._is_binary else given
        for begin in range(0, len(given), self._size):
            part = slice(begin, begin + self._size)
            for name, metric in self._metrics.items():
                with _failing(name):
                    self._update(name, metric, given[part], right[part])

    def _update(self, name: str, metric: torchmetrics.Metric, outputs: Tensor, wanted: Tensor) -> None:
        if len(self._forms[name]) > 1:
            self._forms[name] = (_form(metric, outputs, wanted, self._forms[name]),)
        (form,) = self._forms[name]
        metric.update(outputs, as_wanted(wanted, form, outputs))

    def told(self) -> dict[str, float]:
        """Returns each metric by its name."""
        found = {}
        for name, metric in self._metrics.items():
            with _failing(name):
                found[name] = float(metric.compute())
        return found


def _form(metric: torchmetrics.Metric, outputs: Tensor, wanted: Tensor, forms: tuple[str, ...]) -> str:
    """Returns the first form that a metric takes, or the last."""
    for form in forms[:-1]:
        try:
            copy.deepcopy(metric).update(outputs, as_wanted(wanted, form, outputs))
        except Exception:  # the user's own class may refuse in any way
            continue
        return form
    return forms[-1]


@contextmanager
def _failing(name: str) -> Iterator[None]:
    """Within it a metric works; what it raises is a RunError that names it."""
    try:
        with torch.inference_mode():
            yield
    except Exception as error:  # the user's own class may fail in any way
        raise RunError(f"scores.{name} fails: {places.told(error)}") from error
