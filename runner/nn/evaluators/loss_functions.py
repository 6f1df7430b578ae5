"""The evaluators, by `loss_function` in the configuration."""

from runner.nn.evaluators.evaluator import Evaluator
from runner.nn.evaluators.mse import MSEEvaluator
from runner.nn.evaluators.softmax import SoftmaxEvaluator

EVALUATORS: dict[str, type[Evaluator]] = {"mse": MSEEvaluator, "softmax": SoftmaxEvaluator}
