import math
import pickle
from typing import Any

import pytest

from runner.errors import ConfigError
from runner.nn.decision import Decision
from runner.nn.evaluators.evaluator import Metric
from runner.nn.evaluators.loss_functions import EVALUATORS
from runner.nn.loading.minibatches import Minibatch
from runner.nn.loading.samples import SPLIT_NAMES, TEST, TRAIN, VALIDATION
from tests.units import Holder, LoggedWorkflow


class Tally:
    """Measures what it is told."""

    metric: Metric = EVALUATORS["softmax"].metric
    extra_names = ()

    def __init__(self) -> None:
        self.errors: dict[int, float] = {}

    def compute(self, split: int) -> float:
        return self.errors[split]

    def loss(self, split: int) -> float:
        return self.errors[split] / 100

    def sums(self, split: int) -> list[float]:
        return [1.0]

    def extras(self, split: int) -> dict[str, float]:
        return {}

    def reset(self, split: int) -> None:
        pass

    def first_not_finite(self) -> Minibatch | None:
        return None


class Epochs:
    """A decision and what it looks at: 200 training and 100 validation samples."""

    def __init__(self, *, validation: int = 100, test: int = 0, **settings: Any) -> None:
        self.workflow = LoggedWorkflow()
        self.tally = Tally()
        self.loader = Holder(self.workflow, "loader", split_lengths=[test, validation, 200], epoch_number=0, position=0)
        self.decision = Decision(self.workflow, self.tally, **settings)
        self.decision.link_attrs(self.loader, "minibatch", "split_lengths", "epoch_number", "position")

    def run(self, train: float, validation: float | None = None, test: float | None = None) -> Decision:
        errors = {TRAIN: train, VALIDATION: validation, TEST: test}
        self.tally.errors = {key: value for key, value in errors.items() if value is not None}
        *_, final = self.tally.errors
        for key in self.tally.errors:
            for last in (False, True):
                self.loader.position += 1
                ends = last and key == final
                self.loader.minibatch = Minibatch(key, 0, 1, last, ends)
                if ends:
                    self.loader.position, self.loader.epoch_number = 0, self.loader.epoch_number + 1
                self.decision.run()
                assert ends or not self.decision.improved
        return self.decision


def test_an_epoch_has_an_error_for_each_class_of_samples() -> None:
    decision = Epochs().run(10, 7)
    assert decision.history == [{"train": 10.0, "validation": 7.0}]
    assert decision.snapshot_suffix == "validation_7.00_train_10.00"


def test_improved_is_true_at_the_end_of_a_better_epoch() -> None:
    epochs, seen = Epochs(), []
    for validation in (7, 5, 5, 6, 4):
        decision = epochs.run(0, validation)
        seen.append((bool(decision.improved), decision.best, decision.best_epoch))
    assert seen == [(True, 7.0, 1), (True, 5.0, 2), (False, 5.0, 2), (False, 5.0, 2), (True, 4.0, 5)]


def test_without_a_validation_set_the_training_error_is_monitored() -> None:
    epochs = Epochs(validation=0)
    assert epochs.run(10).monitor == "train"
    assert epochs.decision.best == 10.0
    assert epochs.decision.snapshot_suffix == "train_10.00"


def test_the_error_of_a_test_set_is_kept_and_not_monitored() -> None:
    decision = Epochs(test=50).run(10, 7, 2)
    assert decision.history == [{"train": 10.0, "validation": 7.0, "test": 2.0}]
    assert decision.best == 7.0
    assert decision.metric.line(decision.history[0]) == "train 10.00 %, validation 7.00 %, test 2.00 %"
    assert SPLIT_NAMES[TEST] == "test"


def test_a_name_has_the_digits_of_the_metric() -> None:
    epochs = Epochs()
    epochs.tally.metric = EVALUATORS["mse"].metric
    decision = epochs.run(0.51234, 0.48125)
    assert decision.snapshot_suffix == "validation_0.4813_train_0.5123"
    assert decision.metric.line(decision.history[0]) == "train 0.5123, validation 0.4813"


def test_an_error_that_is_no_number_is_no_improvement() -> None:
    epochs, seen = Epochs(on_nan="ignore"), []
    for validation in (math.nan, 3, math.inf, math.nan, 2):
        decision = epochs.run(0, validation)
        seen.append((bool(decision.improved), decision.best, decision.best_epoch))
    assert seen == [(False, None, 0), (True, 3, 2), (False, 3, 2), (False, 3, 2), (True, 2, 5)]


def test_a_run_is_complete_after_max_epochs() -> None:
    epochs = Epochs(max_epochs=3)
    assert [bool(epochs.run(0, 9).complete) for _ in range(3)] == [False, False, True]
    assert epochs.decision.ending.limit == ("max_epochs", 3)


def test_a_run_is_complete_after_fail_iterations_without_improvement() -> None:
    epochs = Epochs(fail_iterations=2, max_epochs=50)
    complete = [bool(epochs.run(0, validation).complete) for validation in (5, 6, 4, 4, 4)]
    assert complete == [False, False, False, False, True]
    assert epochs.decision.ending.limit == ("fail_iterations", 2)


def test_without_limits_a_run_is_never_complete() -> None:
    epochs = Epochs(max_epochs=None, fail_iterations=None)
    assert not any(epochs.run(0, 9).complete for _ in range(300))


@pytest.mark.parametrize(("limit", "complete"), [(5, False), (3, True), (2, True), (None, False)])
def test_a_changed_limit_counts_at_once(limit: int | None, complete: bool) -> None:
    epochs = Epochs(max_epochs=3)
    for _ in range(3):
        epochs.run(0, 9)
    epochs.decision.reconfigure(max_epochs=limit)
    assert bool(epochs.decision.complete) is complete


@pytest.mark.parametrize("name", ["max_epochs", "fail_iterations"])
def test_a_limit_below_one_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"decision.{name}=0 must be at least 1 \(epochs\)"):
        Epochs(**{name: 0})
    with pytest.raises(
        ConfigError, match=r"bogus of Decision\('decision'\) is fixed .* \(can change: fail_iterations, max_epochs"
    ):
        Epochs().decision.reconfigure(bogus=1)


def test_within_an_epoch_the_suffix_is_the_position() -> None:
    epochs = Epochs()
    epochs.run(20, 7)
    epochs.loader.position = 3
    assert epochs.decision.snapshot_suffix == "epoch_2_minibatch_3"


def test_the_books_of_an_open_epoch_survive_pickling() -> None:
    epochs = Epochs()
    epochs.tally.errors = {TRAIN: 10.0}
    epochs.loader.minibatch = Minibatch(TRAIN, 0, 1, True, False)
    epochs.decision.run()
    restored = pickle.loads(pickle.dumps(epochs.workflow))["decision"]
    assert restored.errors == {"train": 10.0}
    assert restored.history == []
