"""The moving average of the parameters: that of torch, scored, in snapshots, and in what is made of them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from runner.errors import ConfigError
from runner.nn.loading.samples import VALIDATION
from runner.snapshots.restoring.restore import restore
from tests.networks import LAYERS, extended, network, stopped, trained
from tests.states import differences, workflow_state
from tests.unit.nn.test_plain_loop import ADAMW, CROSS_ENTROPY, NET


def run(**more: Any) -> dict[str, Any]:
    own = {"layers": {"model": NET}, "loss_config": CROSS_ENTROPY, "optimizer_config": ADAMW, "ema": 0.9}
    return own | {"decision_config": {"max_epochs": 3}} | more


@pytest.mark.parametrize("accumulate", [1, 2])
def test_it_is_that_of_torch(accumulate: int) -> None:
    settings = run(
        optimizer_config=ADAMW | {"accumulate": accumulate},
        loader_config={"minibatch_size": 10, "validation_size": 0},
        decision_config={"max_epochs": 10},
    )
    workflow, other = network(**settings), network(**settings | {"ema": None})
    other.initialize()
    workflow.initialize()
    workflow.run()
    averaged = AveragedModel(other["model"].module, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    step = other.optimizer.run

    def stepped() -> None:
        step()
        if other.optimizer.stepped:
            averaged.update_parameters(other["model"].module)

    other.optimizer.run = stepped
    other.run()
    assert all(map(torch.equal, workflow["model"].module.parameters(), other["model"].module.parameters()))
    with workflow.ema.averages():
        assert all(map(torch.equal, workflow["model"].module.parameters(), averaged.module.parameters()))


@pytest.mark.parametrize(
    "settings",
    [{}, {"layers": LAYERS, "loss_config": None, "optimizer_config": None}, {"optimizer_config": ADAMW | {"accumulate": 3}}],
    ids=["model", "layers of ours", "accumulated"],
)
@pytest.mark.parametrize("at", [1, 5, 8, 10, 17])
def test_a_stop_changes_nothing(settings: dict[str, Any], at: int, tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", **run(**settings))
    location = stopped(tmp_path / "half", at, **run(**settings))
    again = extended(restore(location, trusted=["tests"]).workflow, epochs=3)
    assert again.decision.history == whole.decision.history
    assert differences(workflow_state(whole), workflow_state(again)) == []


@pytest.mark.parametrize("at", [6, 20, None], ids=["in training", "in evaluation", "at the end"])
def test_a_snapshot_is_scored_and_used_with_the_average(at: int | None, tmp_path: Path) -> None:
    workflow = trained(tmp_path, **run()) if at is None else None
    location = stopped(tmp_path, at, **run()) if workflow is None else workflow.snapshotter.last_location
    restored = restore(location, trusted=["tests"])
    model = restored.model()
    restored.workflow.initialize()
    scored = restored.workflow.evaluate()["validation"]
    loader = restored.workflow.loader
    with torch.no_grad():
        answers = model(torch.from_numpy(loader.load_data()[VALIDATION].data)).argmax(1)
    assert scored == pytest.approx(100 * float((answers != loader.labels_[VALIDATION]).double().mean()))
    if workflow is not None:
        assert scored == restored.workflow.decision.history[-1]["validation"]


def test_the_decay_may_change_on_resume_and_wrong_ones_are_refused(tmp_path: Path) -> None:
    workflow = restore(stopped(tmp_path, 3, **run()), trusted=["tests"]).workflow
    workflow.override("ema", 0.5)
    assert extended(workflow, 3).ema.decay == 0.5
    for value in (0, 1, -1, float("nan"), "a", None, True):
        with pytest.raises(ConfigError, match="ema="):
            workflow.override("ema", value)
    with pytest.raises(ConfigError, match="ema=2"):
        network(**run(ema=2))
    with pytest.raises(ConfigError, match=r"ema and rollback\.fail_iterations"):
        network(**run(rollback_config={"fail_iterations": 1}))
