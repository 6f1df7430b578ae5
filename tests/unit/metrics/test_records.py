import math
from pathlib import Path

import pytest
from torch.nn import functional

from runner.nn.loading.samples import TRAIN, VALIDATION
from runner.snapshots.restoring.restore import restore
from tests.networks import extended, network, trained
from tests.stored import HERE, ROOT

PLAIN = {"out": {"type": "softmax", "output_sample_shape": 3, "learning_rate": 0.1, "learning_rate_bias": 0.2}}


def test_each_epoch_and_split_has_a_row(tmp_path: Path) -> None:
    workflow = trained(tmp_path, layers=PLAIN, lr_adjuster_config={"policy": "exp", "parameters": {"gamma": 0.5}})
    rows = restore(workflow.snapshotter.last_location, trusted=["tests"]).history
    assert [list(row) for row in rows] == [["epoch", "minibatch", "split", "loss", "error", "learning_rate"]] * 6
    assert [(row["epoch"], row["minibatch"], row["split"]) for row in rows] == [
        (epoch, 7 * epoch, split) for epoch in (1, 2, 3) for split in ("train", "validation")
    ]
    assert [row["learning_rate"] for row in rows[::2]] == [0.2, 0.1, 0.05]
    assert [{row["split"]: row["error"]} for row in rows] == [
        {split: error} for errors in workflow.decision.history for split, error in errors.items()
    ]


def test_the_loss_is_that_of_plain_torch() -> None:
    workflow = trained(layers=PLAIN, loader_config={"minibatch_size": 50}, decision_config={"max_epochs": 1})
    before = network(layers=PLAIN, loader_config={"minibatch_size": 50})
    before.initialize()
    train, validation = workflow.decision.records.epochs
    for split, row, (layer,) in ((TRAIN, train, before.forwards), (VALIDATION, validation, workflow.forwards)):
        scores = functional.linear(workflow.loader.data_[split].flatten(1), layer.weights, layer.bias)
        assert row["loss"] == pytest.approx(float(functional.cross_entropy(scores, workflow.loader.labels_[split])))


def test_a_loss_stays_finite_where_a_probability_is_rounded_to_zero() -> None:
    workflow = network(layers={"out": {"type": "softmax", "learning_rate": 1000}}, decision_config={"max_epochs": 1})
    workflow.initialize()
    workflow.run()
    assert 10 < workflow.decision.records.epochs[-1]["loss"] < 88


def test_rows_go_on_after_a_restore_from_within_an_epoch(tmp_path: Path) -> None:
    whole = trained()
    half = network(tmp_path)
    half.snapshotter.configure(blocking=True)
    half.initialize()
    half.snapshotter.pace_.is_due = lambda settings: half.decision.minibatches == 10 and not half.stop()
    half.run()
    (within,) = (path for path in tmp_path.iterdir() if "autosave" in path.name)
    restored = restore(within, trusted=["tests"])
    assert [row["epoch"] for row in restored.history] == [1, 1]
    assert extended(restored.workflow, 3).decision.records.epochs == whole.decision.records.epochs


def test_rows_make_a_table(tmp_path: Path) -> None:
    table = restore(trained(tmp_path).snapshotter.last_location, trusted=["tests"]).history.to_pandas()
    assert table.pivot(index="epoch", columns="split", values="loss").shape == (3, 2)
    assert str(table.loss.dtype) == "float64"


def test_a_snapshot_from_before_losses_were_recorded_has_rows_of_its_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    restored = restore(HERE / "format2" / "dense_gz.pickle.gz")
    restored.workflow.initialize()
    errors = restored.workflow.decision.history[0]
    assert restored.history[0] == {"epoch": 1, "split": "train", "error": errors["train"]}


def test_nobody_knows_the_loss_of_an_epoch_that_began_before_it_was_recorded() -> None:
    workflow = network()
    workflow.initialize()
    workflow.evaluator.counts[TRAIN, 0] = 3
    workflow.evaluator.losses = None
    workflow.evaluator.initialize()
    assert math.isnan(workflow.evaluator.loss(TRAIN))
    workflow.evaluator.reset(TRAIN)
    workflow.run()
    assert all(math.isfinite(row["loss"]) for row in workflow.decision.records.epochs)
