"""The evaluators, by `loss_function` in the configuration; `loss` has one of its own."""

from collections.abc import Mapping
from typing import Any

from runner.errors import ConfigError
from runner.nn.evaluators.evaluator import Evaluator
from runner.nn.evaluators.mse import MSEEvaluator
from runner.nn.evaluators.softmax import SoftmaxEvaluator
from runner.targets import TARGET

EVALUATORS: dict[str, type[Evaluator]] = {"mse": MSEEvaluator, "softmax": SoftmaxEvaluator}

SOFTMAX = "softmax"
"""The type of layer whose gradient unit knows that its error comes from `SoftmaxEvaluator`."""


def check_softmax(layers: Mapping[str, Mapping[str, Any]], loss_function: str, loss: Mapping[str, Any]) -> None:
    """Checks that a softmax layer is the last one and has its own loss, and that this loss has its layer.

    Raises:
        ConfigError: they do not fit together.
    """
    *before, (name, last) = layers.items()
    is_softmax = last["type"] == SOFTMAX
    if loss and is_softmax:
        raise ConfigError(
            f"layers.{name} is of type softmax, whose probabilities are for loss_function=softmax alone:"
            f" layers.{name}.type=all2all with output_sample_shape gives loss.{TARGET}={loss.get(TARGET)} what it takes"
        )
    if not loss and loss_function == SOFTMAX and not is_softmax:
        raise ConfigError(
            f"loss_function=softmax needs a last layer of type softmax, and layers.{name} is {last['type']!r}; any other"
            f" network has a loss of its own: loss.{TARGET}=torch.nn.CrossEntropyLoss"
        )
    if not loss and loss_function != SOFTMAX and is_softmax:
        raise ConfigError(f"layers.{name} is of type softmax, which is for loss_function=softmax alone")
    for name, settings in before:
        if settings["type"] == SOFTMAX:
            raise ConfigError(f"layers.{name} is of type softmax, which only the last layer can be")
