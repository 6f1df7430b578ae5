"""Numbers that are not finite, and errors that do not move, are told."""

import functools
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from runner.errors import ConfigError, DivergedError
from runner.nn import StandardWorkflow
from runner.nn.loading.samples import TRAIN, VALIDATION
from runner.snapshots.pace import Pace
from runner.snapshots.restoring.restore import restore
from tests.networks import BlobsLoader, network, trained


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> Callable[..., StandardWorkflow]:
    return functools.partial(_poisoned, monkeypatch)


def _poisoned(
    patch: pytest.MonkeyPatch, epoch: int, minibatch: int, value: float = float("inf"), **settings: Any
) -> StandardWorkflow:
    """Returns a network; the update of a training minibatch, counted from 0, puts a value into its weights."""
    workflow = network(**settings)
    workflow.initialize()
    cls, run = type(workflow.gradients[-1]), type(workflow.gradients[-1]).run

    def wrong_at_the_right_time(unit: Any) -> None:
        run(unit)
        if (workflow.loader.epoch_number, workflow.loader.position - 1) == (epoch - 1, minibatch):
            workflow.forwards[0].weights[0, 0] = value

    patch.setattr(cls, "run", wrong_at_the_right_time)
    return workflow


def test_no_snapshot_within_an_epoch_has_what_went_wrong(
    poisoned: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The update of minibatch 1 makes the weights infinite; an autosave is due after each minibatch."""
    workflow = poisoned(2, 1, folder=tmp_path)
    monkeypatch.setattr(Pace, "is_due", lambda self, settings: True)
    workflow.snapshotter.configure(blocking=True)
    with pytest.raises(DivergedError, match=r"epoch 2: layers\.fc1\.weights is infinite"):
        workflow.run()
    assert workflow.loader.epoch_number == 1
    assert workflow.loader.position == 2
    restored = restore(workflow.snapshotter.last_location, trusted=["tests"]).workflow
    assert (restored.loader.epoch_number, restored.loader.position) == (1, 1)
    assert restored.forwards[0].weights.isfinite().all()


def test_the_last_update_of_an_epoch_is_in_no_snapshot_if_it_goes_wrong(
    poisoned: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a validation set, it comes after the end of the epoch has been looked at."""
    monkeypatch.setattr(BlobsLoader, "sizes", {VALIDATION: 0, TRAIN: 50})
    workflow = poisoned(2, -1, folder=tmp_path)
    with pytest.raises(DivergedError, match=r"epoch 1: layers\.fc1\.weights is infinite"):
        workflow.run()
    assert not list(tmp_path.glob("*.pickle"))


def test_the_samples_of_the_minibatch_are_named(poisoned: Any) -> None:
    layers = {"out": {"type": "softmax", "output_sample_shape": 3, "learning_rate": 0.1}}
    workflow = poisoned(2, 3, layers=layers)
    with pytest.raises(DivergedError) as caught:
        workflow.run()
    found = re.search(r"samples 32 to 39 of the epoch's order on \(samples ([\d, ]*), counted from 0\)", str(caught.value))
    assert found is not None
    assert found[1] == ", ".join(map(str, workflow.loader.permutation[32:40].tolist()))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_the_run_ends_and_names_the_first_minibatch_that_shows_it(poisoned: Any, tmp_path: Path, value: float) -> None:
    """The loss shows in minibatch 4 what the update of minibatch 3 did; the best state is in the snapshot of epoch 1."""
    layers = {"out": {"type": "softmax", "output_sample_shape": 3, "learning_rate": 0.1}}
    workflow = poisoned(2, 3, value, folder=tmp_path, layers=layers)
    with pytest.raises(DivergedError, match=r"epoch 2: the loss .* samples 32 to 39 .*learning rate.*on_nan=stop"):
        workflow.run()
    restored = restore(workflow.snapshotter.last_location, trusted=["tests"]).workflow
    assert len(restored.decision.history) == 1
    assert restored.forwards[0].weights.isfinite().all()
    assert len(list(tmp_path.glob("*.pickle"))) == 2  # and the link to it


def test_the_update_of_the_last_minibatch_counts_too(poisoned: Any) -> None:
    workflow = poisoned(1, 6)
    with pytest.raises(DivergedError, match=r"epoch 1: layers\.fc1\.weights"):
        workflow.run()


def test_a_weight_that_no_loss_shows(poisoned: Any) -> None:
    """tanh(inf) is 1: the loss stays finite."""
    with pytest.raises(DivergedError, match=r"epoch 1: layers\.fc1\.weights is infinite"):
        poisoned(1, 2).run()


def test_weights_whose_sum_is_too_large_are_finite(poisoned: Any) -> None:
    """tanh(3e38) is 1: nothing goes wrong but the sum."""
    workflow = poisoned(1, 2, 3e38)
    workflow.forwards[0].weights[1] = 3e38
    workflow.run()
    assert workflow.complete


def test_a_squared_error_that_is_too_large() -> None:
    layers = {"out": {"type": "all2all", "output_sample_shape": [2, 3], "learning_rate": 1e10}}
    with pytest.raises(DivergedError, match=r"epoch 1: the loss .*minibatch of training samples \d+ to \d+"):
        trained(loss_function="mse", layers=layers)


def test_roll_back_puts_the_best_weights_back(poisoned: Any, caplog: pytest.LogCaptureFixture) -> None:
    settings = {"max_epochs": 4, "on_nan": "rollback"}
    workflow = poisoned(3, 5, decision_config=settings, rollback_config={"fail_iterations": 50, "lr_minus": 0.5})
    with caplog.at_level(logging.INFO):
        workflow.run()
    assert workflow.complete
    assert all(value.isfinite().all() for unit in workflow.forwards for value in unit.tensors().values())
    assert workflow.lr_adjuster.scale == 0.5
    assert "on_nan=rollback" in caplog.text
    assert "Rolled back" in caplog.text


def test_there_may_be_nothing_to_roll_back_to(poisoned: Any) -> None:
    settings = {"max_epochs": 4, "on_nan": "rollback"}
    with pytest.raises(DivergedError, match="epoch 1"):
        poisoned(1, 5, decision_config=settings, rollback_config={"fail_iterations": 50}).run()
    with pytest.raises(ConfigError, match=r"rollback\.fail_iterations"):
        network(decision_config=settings).initialize()
    with pytest.raises(ConfigError, match=r"decision\.on_nan='x'.*ignore, rollback, stop"):
        network(decision_config={"on_nan": "x"})


def test_it_may_be_meant_so(poisoned: Any, caplog: pytest.LogCaptureFixture) -> None:
    workflow = poisoned(1, 0, float("nan"), decision_config={"max_epochs": 2, "on_nan": "ignore"})
    workflow.run()
    assert workflow.complete
    assert caplog.text.count("on_nan=ignore") == 1


@pytest.mark.parametrize(
    ("rate", "scale", "cause"),
    [(0, 1.0, "may be too low"), (0, 1e5, r"weights have grown to .*, so the learning rate is too high")],
)
def test_errors_that_do_not_move_are_told_once(rate: float, scale: float, cause: str, caplog: Any) -> None:
    layers = {"out": {"type": "softmax", "output_sample_shape": 3, "learning_rate": rate}}
    workflow = network(layers=layers, decision_config={"max_epochs": 25})
    workflow.initialize()
    workflow.forwards[0].weights.mul_(scale)
    workflow.run()
    told = [record.getMessage() for record in caplog.records if "not moved for 10 epochs" in record.getMessage()]
    assert len(told) == 1
    assert re.search(cause, told[0])


def test_errors_that_move_or_are_gone_are_no_news(caplog: pytest.LogCaptureFixture) -> None:
    trained(decision_config={"max_epochs": 15})
    workflow = network(decision_config={"max_epochs": 15})
    workflow.initialize()
    workflow.loader.data_[2].copy_(torch.nn.functional.one_hot(workflow.loader.labels_[2], 6).view(-1, 2, 3) * 9.0)
    workflow.run()
    assert workflow.decision.history[-1]["train"] == 0
    assert "not moved" not in caplog.text
