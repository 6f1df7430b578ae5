import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from runner.errors import SnapshotMismatchError, SnapshotRefusedError, StateError
from runner.graph import Workflow
from runner.launcher import Launcher
from runner.metrics import Records, history_of, records_of, rows_so_far
from runner.nn.loading.samples import TRAIN, VALIDATION
from runner.snapshots.capture.pickler import dump
from runner.snapshots.restoring.restore import Restored, restore
from tests.fuzz.trial import written
from tests.networks import extended, network, trained
from tests.stored import HERE, ROOT
from tests.units import LoggedWorkflow, Recorder

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
    half.snapshotter.exporter_.pace.is_due = lambda settings: half.decision.minibatches == 10 and not half.stop()
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


def test_rows_of_several_units_are_by_epoch_and_minibatch() -> None:
    workflow = LoggedWorkflow()
    first, second = (Recorder(workflow, name) for name in ("first", "second"))
    for unit, before in ((second, workflow.start_point), (first, second)):
        unit.link_from(before)
        unit.records = Records()
    for epoch in (1, 2):
        for minibatch in (2 * epoch - 1, 2 * epoch):
            first.records.add_minibatches(epoch=epoch, minibatch=minibatch, loss=1.0)
        for minibatch in (2 * epoch - 1, 2 * epoch):
            second.records.add_minibatches(epoch=epoch, minibatch=minibatch, speed=2.0)
        first.records.add_epoch(epoch=epoch, split="train", minibatch=2 * epoch)
    workflow.end_point.link_from(first)
    assert [(row["minibatch"], next(iter({*row} & {"loss", "speed"}), "end")) for row in rows_so_far(workflow)] == [
        *((1, "speed"), (1, "loss"), (2, "speed"), (2, "loss"), (2, "end")),
        *((3, "speed"), (3, "loss"), (4, "speed"), (4, "loss"), (4, "end")),
    ]


@pytest.mark.parametrize("place", [{}, {"minibatch": None}])
def test_a_row_without_a_minibatch_comes_after_those_with_one(place: dict[str, None]) -> None:
    workflow = LoggedWorkflow()
    before = workflow.start_point
    for name, own in (("first", place), ("second", {"minibatch": 4})):
        before = Recorder(workflow, name).link_from(before)
        before.records = Records()
        before.records.epochs = [{"epoch": 1, "split": "train", **own}]
    assert [row.get("minibatch") for row in rows_so_far(workflow)] == [4, None]


def changed(folder: Path, change: Callable[[Records], None]) -> Restored:
    """Restores a snapshot of a run whose records somebody has changed."""
    workflow = network(loader_config={"minibatch_size": 50}, decision_config={"max_epochs": 1})
    workflow.decision.records.configure(every=1, gradient_norm=False)
    Launcher(device="cpu").run(workflow)
    workflow.decision.max_epochs = 2
    assert len(list(workflow.decision.records.rows())) == 3
    change(workflow.decision.records)
    buffer = io.BytesIO()
    dump(workflow, buffer)
    return restore(written(folder / "hostile", buffer.getvalue()), trusted=["tests"])


@pytest.mark.parametrize(
    "state",
    [
        {"epochs": [{"epoch": 1}]},
        {"epochs": [{"split": "train"}]},
        {"epochs": [{"epoch": 1.5, "split": "train"}]},
        {"epochs": [{"epoch": "1", "split": "train"}]},
        {"epochs": [{"epoch": 1, "split": 2}]},
        {"epochs": [{"epoch": 1, "split": "train", "minibatch": "x"}]},
        {"epochs": [{"epoch": 1, "split": "train", "kind": "epoch"}]},
        {"epochs": [{"epoch": 1, "split": "train", "loss": [1]}]},
        {"epochs": [{"epoch": 1, "split": "train", 5: 1}]},
        {"names": ["loss", "loss", "x", "y"]},
        {"names": ["loss", "error", "split", "y"]},
        {"names": ["loss", "error", "epoch", "y"]},
        {"epochs": [{"epoch": 1, "split": "\ud800"}]},
        {"epochs": [{"epoch": 1, "split": "train", "\ud800": 1}]},
        {"names": ["loss"]},
        {"names": [b"loss", "error", "x", "y"]},
        {"minibatches": np.ones((1, 6), np.float32)},
        {"minibatches": np.ones((1, 6), complex)},
        {"minibatches": np.ones(6)},
        {"minibatches": np.ones((3, 2, 1))},
        {"minibatches": np.full((1, 6), math.nan)},
        {"minibatches": np.full((1, 6), math.inf)},
        {"minibatches": np.full((1, 6), -1.0)},
        {"every": "x"},
    ],
    ids=ascii,
)
def test_what_is_no_row_is_refused(state: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(SnapshotRefusedError) as caught:
        changed(tmp_path, lambda records: vars(records).update(state))
    assert "records" in str(caught.value).lower()
    assert str(tmp_path) in str(caught.value)


def test_names_that_the_run_does_not_measure_are_refused_before_it_goes_on(tmp_path: Path) -> None:
    restored = changed(tmp_path, lambda records: vars(records).update(names=["loss", "error", "learning_rate", "other"]))
    with pytest.raises(SnapshotMismatchError, match="other"):
        Launcher(device="cpu").run(restored.workflow)


def test_a_snapshot_from_before_minibatches_had_rows_goes_on(tmp_path: Path) -> None:
    def older(records: Records) -> None:
        for name in ("every", "gradient_norm", "names", "minibatches"):
            del vars(records)[name]

    workflow = changed(tmp_path, older).workflow
    workflow.decision.records.configure(every=1, gradient_norm=False)
    Launcher(device="cpu").run(workflow)
    rows = [(row["kind"], row["epoch"]) for row in workflow.decision.records.rows()]
    assert rows == [("epoch", 1), ("epoch", 1), ("minibatches", 2), ("epoch", 2), ("epoch", 2)]


def test_numbers_of_libraries_are_kept_as_plain_ones() -> None:
    records = Records()
    given = {"loss": torch.tensor(0.5), "error": np.float32(0.25), "right": np.int64(3), "best": np.bool_(True), "note": "x"}
    records.add_epoch(epoch=np.int64(1), split="train", minibatch=torch.tensor(7), whole=2**80, nothing=None, **given)
    (row,) = records.epochs
    wanted = {"epoch": 1, "minibatch": 7, "split": "train", "whole": 2.0**80, "nothing": None}
    assert row == wanted | {"loss": 0.5, "error": 0.25, "right": 3, "best": True, "note": "x"}
    assert {type(value) for value in row.values()} == {int, str, float, bool, type(None)}
    records.add_minibatches(epoch=1, minibatch=7, loss=torch.tensor([0.5]), error=np.float16(2))
    assert [(row["loss"], row["error"]) for row in records.rows() if row["kind"] == "minibatches"] == [(0.5, 2.0)]


@pytest.mark.parametrize(
    "row",
    [
        {"loss": torch.ones(2)},
        {"loss": [1]},
        {"loss": 1j},
        {"kind": "mine"},
        {"epoch": "one"},
        {"split": 1},
        {"minibatch": 0.5},
    ],
    ids=ascii,
)
def test_what_no_row_can_have_is_refused_when_it_is_added(row: dict[str, Any]) -> None:
    with pytest.raises(StateError):
        Records().add_epoch(**{"epoch": 1, "split": "train"} | row)


def test_rows_of_minibatches_name_the_same_numbers() -> None:
    records = Records()
    records.add_minibatches(epoch=1, minibatch=1, loss=1.0)
    for row in ({"loss": 1.0, "error": 1.0}, {"error": 1.0}, {"loss": None}, {"loss": "high"}):
        with pytest.raises(StateError):
            records.add_minibatches(epoch=1, minibatch=2, **row)


def test_records_are_found_however_deeply_workflows_stand_in_workflows() -> None:
    outer = workflow = Workflow(name="outer")
    for _ in range(3000):
        workflow = Workflow(workflow)
    workflow.records = Records()
    Workflow(workflow).records = workflow.records
    assert list(records_of(outer)) == [workflow.records]


def test_the_weights_do_not_depend_on_what_is_measured() -> None:
    plain, measured = trained(), network()
    measured.decision.records.configure(every=2, gradient_norm=True)
    measured.initialize()
    measured.run()
    assert len(list(measured.decision.records.rows())) > len(plain.decision.records.epochs)
    for layer in ("fc1", "out"):
        assert plain[layer].weights.equal(measured[layer].weights)


def test_a_minibatch_whose_gradients_were_not_computed_has_no_row_without_their_norm() -> None:
    rows = []
    for broken in (False, True):
        workflow = network()
        workflow.decision.records.configure(every=1, gradient_norm=True)
        workflow.initialize()
        if broken:
            last, runs = workflow.gradients[0], []

            def lose(run: Callable[[], None] = last.run, runs: list[int] = runs) -> None:
                runs.append(1)
                if len(runs) == 4:
                    raise ConnectionError
                run()

            last.run = lose
            with pytest.raises(ConnectionError):
                workflow.run()
        else:
            workflow.run()
        rows.append([(row["minibatch"], row["loss"], row.get("gradient_norm")) for row in workflow.decision.records.rows()])
    assert rows[1] == rows[0][:3]


def test_any_workflow_has_a_history() -> None:
    workflow = LoggedWorkflow()
    first, second = Recorder(workflow), Recorder(workflow)
    for number, unit in enumerate((first, second, first)):
        unit.records = getattr(unit, "records", Records())
        unit.records.add_epoch(epoch=number + 1, split="train", loss=1 / (number + 1))
    rows = history_of(workflow)
    assert [(row["epoch"], row["loss"]) for row in rows] == [(1, 1.0), (3, 1 / 3), (2, 0.5)]
    assert rows.to_pandas()["epoch"].tolist() == [1, 3, 2]
    assert history_of(LoggedWorkflow()) == []
