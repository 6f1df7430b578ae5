import pickle
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from runner.errors import ConfigError
from runner.launcher import Launcher
from runner.nn.loading.samples import TRAIN, VALIDATION
from runner.snapshots.restoring.restore import restore
from tests.data import write_idx
from tests.networks import LAYERS, extended, network, trained
from tests.states import differences, workflow_state
from tests.units import recursion_limit

PLAIN = {
    "fc1": {"type": "all2all_tanh", "output_sample_shape": 8, "learning_rate": 0.1},
    "out": {"type": "softmax", "output_sample_shape": 3, "learning_rate": 0.1},
}


def test_units_run_in_the_order_of_the_design(tmp_path: Path) -> None:
    names = [unit.name for unit in network(tmp_path).units_in_dependency_order]
    assert names == [
        *("start_point", "repeater", "loader", "fc1", "drop", "out", "evaluator", "decision"),
        *("gd_out", "gd_drop", "gd_fc1", "lr_adjuster"),
        *("plot_errors", "plot_weights", "plot_confusion", "snapshotter", "end_point"),
    ]


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_training_is_that_of_plain_torch(precision: str) -> None:
    workflow = network(layers=PLAIN, precision=precision)
    workflow.initialize()
    dtype = getattr(torch, precision)
    parameters = [value.clone().requires_grad_() for unit in workflow.forwards for value in (unit.weights, unit.bias)]
    assert {value.dtype for value in parameters} == {dtype}
    permutations = pickle.loads(pickle.dumps(workflow.loader.stream))
    workflow.run()
    data, labels = workflow.loader.data_, workflow.loader.labels_

    def output(x: torch.Tensor) -> torch.Tensor:
        hidden = 1.7159 * torch.tanh(0.6666 * functional.linear(x.flatten(1), *parameters[:2]))
        return functional.linear(hidden, *parameters[2:])

    for record in workflow.decision.history:
        order, wrong = permutations.permutation(50).long(), 0
        for begin in range(0, 50, 8):
            chosen = order[begin : begin + 8]
            scores = output(data[TRAIN][chosen])
            wrong += int((scores.argmax(1) != labels[TRAIN][chosen]).sum())
            functional.cross_entropy(scores, labels[TRAIN][chosen]).backward()
            with torch.no_grad():
                for value in parameters:
                    value -= 0.1 * value.grad
                    value.grad = None
        with torch.no_grad():
            missed = int((output(data[VALIDATION]).argmax(1) != labels[VALIDATION]).sum())
        assert record == {"train": 100 * wrong / 50, "validation": 100 * missed / 21}
    ours = [value for unit in workflow.forwards for value in (unit.weights, unit.bias)]
    for mine, theirs in zip(ours, parameters, strict=True):
        torch.testing.assert_close(mine, theirs.detach())


def test_a_seed_repeats_a_run_and_another_does_not() -> None:
    first, again, other = trained(), trained(), trained(seed=4)
    assert differences(workflow_state(first), workflow_state(again)) == []
    assert not torch.equal(first.forwards[0].weights, other.forwards[0].weights)


@pytest.mark.parametrize("loader_name", ["blobs", "tested_blobs"])
def test_a_snapshot_named_after_an_error_scores_exactly_that(loader_name: str, tmp_path: Path) -> None:
    workflow = trained(tmp_path, loader_name=loader_name)
    for path in tmp_path.glob("blobs_validation_*.pickle"):
        restored = restore(path, trusted=["tests"])
        restored.workflow.initialize()
        errors = restored.workflow.evaluate()
        assert errors == {key: restored.header.metrics[key] for key in errors}
        assert f"_validation_{errors['validation']:.2f}_" in path.name
        assert len(errors) == (1 if loader_name == "blobs" else 2)
    assert workflow.decision.complete


def test_a_snapshot_from_within_an_evaluation_is_scored_on_all_samples(tmp_path: Path) -> None:
    workflow = network(tmp_path)
    workflow.initialize()
    while not (workflow.loader.evaluating and workflow.loader.position == 9):
        step(workflow)
    restored = pickle.loads(pickle.dumps(workflow))
    restored.initialize()
    once = restored.evaluate()
    assert once == restored.evaluate()
    assert 0 <= once["validation"] <= 100
    assert not restored.evaluator.counts[VALIDATION].any()


def step(workflow) -> None:
    """Runs one minibatch."""
    for unit in (workflow.loader, *workflow.forwards, workflow.evaluator, workflow.decision):
        unit.run()
    if not workflow.loader.evaluating:
        for unit in workflow.gradients:
            unit.run()


def test_a_run_without_a_validation_set_monitors_the_training_error(tmp_path: Path) -> None:
    workflow = trained(tmp_path, loader_config={"minibatch_size": 8, "validation_size": 0})
    assert [list(record) for record in workflow.decision.history] == [["train"]] * 3
    assert workflow.decision.best == min(record["train"] for record in workflow.decision.history)
    assert list(tmp_path.glob("blobs_train_*.pickle"))
    assert workflow.evaluate() == {}


def test_a_pickle_of_a_finished_run_can_be_extended() -> None:
    whole = trained(decision_config={"max_epochs": 5})
    restored = extended(pickle.loads(pickle.dumps(trained())), epochs=5)
    assert restored.decision.history == whole.decision.history
    assert differences(workflow_state(whole), workflow_state(restored)) == []


def test_learning_rates_follow_the_policy_from_epoch_to_epoch() -> None:
    workflow = network(lr_adjuster_config={"policy": "exp", "parameters": {"gamma": 0.5}})
    workflow.initialize()
    assert [unit.rate_factor for unit in workflow.lr_adjuster.gradients] == [1, 1]
    workflow.run()
    assert [unit.rate_factor for unit in workflow.lr_adjuster.gradients] == [0.125, 0.125]


@pytest.mark.parametrize(
    ("key", "value", "read"),
    [
        ("decision.max_epochs", 9, lambda workflow: workflow.decision.max_epochs),
        ("layers.fc1.learning_rate", 0.5, lambda workflow: workflow["gd_fc1"].steps["weights"].rate),
        ("layers.fc1.gradient_momentum_bias", 0.5, lambda workflow: workflow["gd_fc1"].steps["bias"].momentum),
        ("layers.drop.dropout_ratio", 0.5, lambda workflow: workflow["drop"].dropout_ratio),
    ],
)
def test_overrides_that_can_change_on_resume(key: str, value: float, read) -> None:
    workflow = network()
    workflow.override(key, value)
    assert read(workflow) == value


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (
            "layers.fc1.output_sample_shape",
            r"layers.fc1.output_sample_shape is fixed once the network is built.*can: factor_ortho",
        ),
        ("layers.fc9.learning_rate", "layers.fc9 is not in the snapshot; did you mean 'fc1'. it has drop, fc1, out"),
        ("loader.minibatch_size", "loader.minibatch_size cannot change on resume"),
        ("layers.fc1", "layers.fc1 cannot change on resume"),
        ("seed", "seed cannot change on resume"),
        ("decision.bogus", r"decision.bogus cannot change on resume"),
    ],
)
def test_overrides_that_cannot_change_on_resume(key: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        network().override(key, 1)


def test_data_that_have_moved_can_be_named_anew(tmp_path: Path) -> None:
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
        write_idx(tmp_path / name)
    workflow = network(loader_name="mnist", loader_config={"data_dir": str(tmp_path / "before")})
    workflow.initialize()
    (tmp_path / "before").rename(tmp_path / "gone")
    restored = pickle.loads(pickle.dumps(workflow))
    restored.override("loader.data_dir", str(tmp_path / "after"))
    restored.initialize()
    assert restored.loader.fingerprint == workflow.loader.fingerprint


def layers(**changes: object) -> dict[str, object]:
    return {"layers": LAYERS | changes}


OUT = LAYERS["out"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": {}}, "layers is empty: a network has at least one layer"),
        ({"layers": []}, "layers is empty"),
        ({"layers": {"fc": LAYERS["fc1"]}}, "needs a last layer of type softmax, and layers.fc is 'all2all_tanh'"),
        (layers(fc1=OUT), "layers.fc1 is of type softmax, which only the last layer can be"),
        ({"layers": {"loader": LAYERS["fc1"], "out": OUT}}, "layers.loader has a name that another unit needs"),
        ({"layers": {"decision": OUT}}, r"layers.decision has a name that another .*\(taken: decision, .*start_point\)"),
        ({"layers": {"gd_out": LAYERS["fc1"], "out": OUT}}, "layers.(gd_)?out has a name that another unit needs"),
        ({"layers": {"a.b": LAYERS["fc1"], "out": OUT}}, r"a layer named 'a\.b': a name has no dots"),
        (
            {"loader_name": "cifar"},
            "loader.name='cifar' is not a loader; did you mean 'cifar10'. known: blobs, cifar10, dataset",
        ),
    ],
)
def test_what_makes_no_network_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        network(**settings)


def test_too_few_outputs_are_refused_before_the_run() -> None:
    workflow = network(layers={"out": OUT | {"output_sample_shape": 2}})
    with pytest.raises(ConfigError, match="last layer has 2 outputs, but the labels go up to 2"):
        workflow.initialize()


def test_several_dimensions_of_outputs_are_as_many_classes() -> None:
    workflow = trained(layers={"out": OUT | {"output_sample_shape": [3, 1]}})
    assert len(workflow.decision.history) == 3


def test_threads_are_kept_by_a_run_and_given_by_the_launcher() -> None:
    workflow = network()
    before = torch.get_num_threads()
    try:
        Launcher(device="cpu").prepare(workflow)
        assert workflow.threads == torch.get_num_threads() == 1
        restored = pickle.loads(pickle.dumps(workflow))
        Launcher(device="cpu", threads=2).prepare(restored)
        assert restored.threads == torch.get_num_threads() == 2
        again = pickle.loads(pickle.dumps(restored))
        Launcher(device="cpu").prepare(again)
        assert again.threads == 2
    finally:
        torch.set_num_threads(before)


def test_a_deep_network_needs_no_recursion() -> None:
    many = {f"fc{number}": LAYERS["fc1"] for number in range(60)} | {"out": OUT}
    workflow = network(layers=many, decision_config={"max_epochs": 1})
    with recursion_limit(60):
        workflow.initialize()
        workflow.run()
        pickle.loads(pickle.dumps(workflow))


def test_a_limit_that_is_set_by_hand_extends_a_complete_run(caplog: pytest.LogCaptureFixture) -> None:
    workflow, whole = (trained(decision_config={"max_epochs": epochs}) for epochs in (2, 4))
    Launcher(device="cpu").run(workflow)
    assert len(workflow.decision.history) == 2
    assert "is complete: it has reached decision.max_epochs=2" in caplog.text
    workflow.decision.max_epochs = 4
    Launcher(device="cpu").run(workflow)
    assert workflow.decision.history == whole.decision.history


def test_a_complete_run_stands_at_the_end_of_its_last_epoch() -> None:
    workflow = trained()
    assert workflow.current_step == ("Epoch 3/3", workflow.loader.steps, workflow.loader.steps)


WRONG = {
    r"decision\.mode='mx' is unknown; .*known: max, min": {"decision_config": {"mode": "mx"}},
    r"decision\.max_epochs=2\.5 must be a whole number": {"decision_config": {"max_epochs": 2.5}},
    r"decision\.max_epochs='7' must be a whole number": {"decision_config": {"max_epochs": "7"}},
    r"decision\.fail_iterations=True must be a whole number": {"decision_config": {"fail_iterations": True}},
    r"loader\.minibatch_size=1\.5 must be a whole number": {"loader_config": {"minibatch_size": 1.5}},
    r"'rollback\.fail_iteration' is not a key; did you mean 'fail_iterations'": {"rollback_config": {"fail_iteration": 1}},
    r"precision='half' is unknown; .*known: float32, float64": {"precision": "half"},
    r"freeze='fc1' must be a list": {"freeze": "fc1"},
}


@pytest.mark.parametrize("told", WRONG)
def test_what_a_script_gives_is_checked_as_what_is_typed(told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        network(**WRONG[told])
