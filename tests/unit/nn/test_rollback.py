import pickle
from pathlib import Path

import pytest
import torch

from runner.config.training import RollbackConfig
from runner.errors import ConfigError
from runner.graph import Bool
from runner.snapshots.restoring.restore import header_of, restore
from tests.networks import extended, network, trained
from tests.states import differences, workflow_state

LAYERS = {
    "fc1": {"type": "all2all_tanh", "output_sample_shape": 8, "learning_rate": 3, "gradient_momentum": 0.9},
    "norm": {"type": "batch_norm", "learning_rate": 3},
    "lin": {"_target_": "torch.nn.Linear", "in_features": 8, "out_features": 8, "learning_rate": 3},
    "out": {"type": "softmax", "output_sample_shape": 3, "learning_rate": 3},
}
SETTINGS = {"layers": LAYERS, "rollback_config": {"fail_iterations": 2, "lr_minus": 0.5}}


def test_the_best_weights_come_back_with_lower_rates() -> None:
    workflow = network(**SETTINGS, decision_config={"max_epochs": 12, "on_nan": "ignore"})
    workflow.initialize()
    states, scales = {}, []
    run = workflow.lr_adjuster.run

    def after_each_epoch() -> None:
        run()
        states[len(workflow.decision.history)] = pickle.dumps([unit.tensors() for unit in workflow.forwards])
        scales.append(workflow.lr_adjuster.scale)

    workflow.lr_adjuster.run = after_each_epoch
    workflow.run()
    best, failed, scale = 0, 0, 1.0
    errors = [record["validation"] for record in workflow.decision.history]
    went_back = 0
    for epoch, error in enumerate(errors, 1):
        if not best or error < errors[best - 1]:
            best, failed = epoch, 0
        else:
            failed += 1
        if failed == 2:
            failed, scale, went_back = 0, scale / 2, went_back + 1
            for mine, theirs in zip(pickle.loads(states[epoch]), pickle.loads(states[best]), strict=True):
                assert mine.keys() == theirs.keys()
                assert all(torch.equal(mine[name], theirs[name]) for name in mine)
        assert scales[epoch - 1] == scale
    assert went_back
    assert {unit.rate_factor for unit in workflow.lr_adjuster.gradients} == {scale}
    assert any("running_mean" in tensors or "mean" in tensors for tensors in workflow.rollback.best)


@pytest.mark.parametrize("optimizer", [None, {"_target_": "torch.optim.AdamW", "lr": 1.0}])
def test_a_run_that_rolls_back_continues_identically(optimizer: dict[str, object] | None, tmp_path: Path) -> None:
    layers = LAYERS
    if optimizer:
        own = ("learning_rate", "gradient_momentum")
        layers = {name: {key: value for key, value in layer.items() if key not in own} for name, layer in LAYERS.items()}
    settings = SETTINGS | {"layers": layers, "optimizer_config": optimizer}
    whole = trained(tmp_path / "whole", **settings, decision_config={"max_epochs": 12, "on_nan": "ignore"})
    assert whole.lr_adjuster.scale < 1
    trained(tmp_path / "half", **settings, decision_config={"max_epochs": 7, "on_nan": "ignore"})
    half = extended(restore(tmp_path / "half" / "blobs_current.5.pickle", trusted=["tests"]).workflow, epochs=12)
    assert half.decision.history == whole.decision.history
    assert differences(workflow_state(whole), workflow_state(half)) == []


WILD = {
    "layers": {name: layer | {"learning_rate": 0.5} for name, layer in LAYERS.items()},
    "rollback_config": {"fail_iterations": 2, "lr_minus": 0.8},
    "decision_config": {"max_epochs": 12},
}


@pytest.mark.parametrize("loader", ["blobs", "tested_blobs"])
def test_every_snapshot_scores_what_its_name_says(loader: str, tmp_path: Path) -> None:
    workflow = network(tmp_path, loader_name=loader, **WILD)
    workflow.snapshotter.skip = Bool(False)  # after each epoch
    workflow.initialize()
    workflow.run()
    errors = [record["validation"] for record in workflow.decision.history]
    went_back = 0
    paths = {header_of(path).epoch: path for path in tmp_path.glob("*.pickle*") if not path.is_symlink()}
    assert sorted(paths) == [*range(1, 13)]
    for epoch, path in paths.items():
        restored = restore(path, trusted=["tests"])
        restored.workflow.initialize()
        score = restored.workflow.evaluate()["validation"]
        assert (score, restored.header.metrics["validation"]) == (restored.header.score, restored.header.score)
        assert f"_validation_{score:.2f}_train_" in path.name
        # Either of the epoch, or of the best one so far, whose weights are back.
        assert score in (errors[epoch - 1], min(errors[:epoch]))
        went_back += score != errors[epoch - 1]
    assert went_back


def test_the_best_that_are_kept_are_the_best(tmp_path: Path) -> None:
    settings = {"directory": str(tmp_path), "compression": "none", "keep_best": 3}
    workflow = network(**WILD, snapshotter_config=settings)
    workflow.snapshotter.skip = Bool(False)
    workflow.initialize()
    workflow.run()
    kept = []
    for path in (path for path in tmp_path.glob("*.pickle*") if not path.is_symlink()):
        restored = restore(path, trusted=["tests"])
        restored.workflow.initialize()
        kept.append(restored.workflow.evaluate()["validation"])
    best, second, *_ = sorted(record["validation"] for record in workflow.decision.history)
    assert sorted(kept)[:3] == [best, second, second]  # a roll-back to the second comes after it


def test_without_a_number_of_epochs_there_is_no_roll_back() -> None:
    assert network(rollback_config={"fail_iterations": None, "lr_minus": 0.5}).rollback is None
    assert network().rollback is None


def test_its_settings_can_change_on_resume() -> None:
    workflow = network(**SETTINGS)
    workflow.override("rollback.fail_iterations", 5)
    assert workflow.rollback.fail_iterations == 5
    with pytest.raises(ConfigError, match=r"rollback.fail_iterations cannot change on resume"):
        network().override("rollback.fail_iterations", 5)


@pytest.mark.parametrize(("key", "value"), [("fail_iterations", 0), ("lr_minus", 0.0), ("lr_minus", 1.5)])
def test_wrong_settings_are_refused(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"rollback.{key}={value} must be"):
        RollbackConfig(**{key: value})
