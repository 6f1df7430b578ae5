"""Optimizers of torch as the steps of gradient units."""

import pickle
from pathlib import Path

import pytest
import torch

from runner.config import normalized_layers
from runner.config.training import check_optimizer
from runner.errors import ConfigError
from runner.nn.training.torch_optim import TorchStep, torch_step
from runner.snapshots.restoring.restore import restore
from tests.networks import extended, network, trained
from tests.states import differences, workflow_state

PLAIN = {
    "fc1": {"type": "all2all_tanh", "output_sample_shape": 8},
    "norm": {"type": "batch_norm"},
    "drop": {"_target_": "torch.nn.Dropout", "p": 0.25},
    "lin": {"_target_": "torch.nn.Linear", "in_features": 8, "out_features": 6},
    "out": {"type": "softmax", "output_sample_shape": 3},
}
OPTIMIZERS = [
    {"_target_": "torch.optim.AdamW", "lr": 0.01},
    {"_target_": "torch.optim.SGD", "lr": 0.05, "momentum": 0.9, "nesterov": True},
    {"_target_": "torch.optim.RMSprop", "lr": 0.01},
]


@pytest.mark.parametrize("settings", OPTIMIZERS, ids=lambda settings: settings["_target_"])
def test_steps_are_those_of_one_optimizer_of_all_parameters(settings: dict[str, object]) -> None:
    parameters = [torch.randn(3, 2), torch.randn(4)]
    mine = [value.clone() for value in parameters]
    steps = [torch_step(settings), torch_step(settings)]
    own = {key: value for key, value in settings.items() if key != "_target_"}
    optimizer = type(steps[0].optimizer)([value.requires_grad_() for value in parameters], **own)
    for factor in (1.0, 0.5, 0.25):
        optimizer.param_groups[0]["lr"] = own["lr"] * factor
        for value, theirs, step in zip(mine, parameters, steps, strict=True):
            theirs.grad = torch.randn(theirs.shape)
            step.update(value, theirs.grad.clone(), factor)
        optimizer.step()
    for value, theirs in zip(mine, parameters, strict=True):
        torch.testing.assert_close(value, theirs.detach(), rtol=0, atol=0)
        assert value.grad is None


@pytest.mark.parametrize("settings", OPTIMIZERS, ids=lambda settings: settings["_target_"])
def test_a_run_with_it_continues_identically(settings: dict[str, object], tmp_path: Path) -> None:
    run = {"layers": PLAIN, "optimizer_config": settings, "lr_adjuster_config": {"policy": "exp", "parameters": {"gamma": 0.9}}}
    torch.manual_seed(1)
    whole = trained(tmp_path / "whole", **run, decision_config={"max_epochs": 5})
    torch.manual_seed(1)
    trained(tmp_path / "half", **run, decision_config={"max_epochs": 2})
    half = extended(restore(tmp_path / "half" / "blobs_current.5.pickle", trusted=["tests"]).workflow, epochs=5)
    assert half.decision.history == whole.decision.history
    assert differences(workflow_state(whole), workflow_state(half)) == []


def test_its_settings_can_change_on_resume() -> None:
    workflow = pickle.loads(pickle.dumps(trained(layers=PLAIN, optimizer_config=OPTIMIZERS[0])))
    workflow.override("optimizer.lr", 0.5)
    workflow.override("optimizer.weight_decay", 0.25)
    step = workflow["gd_out"].steps["weights"]
    assert (step.rate, step.optimizer.param_groups[0]["weight_decay"]) == (0.5, 0.25)
    with pytest.raises(ConfigError, match=r"optimizer._target_ cannot change on resume"):
        workflow.override("optimizer._target_", "torch.optim.SGD")
    with pytest.raises(ConfigError, match=r"optimizer: torch.optim.adamw.AdamW refuses its settings: .*bogus"):
        workflow.override("optimizer.bogus", 1)
    with pytest.raises(ConfigError, match=r"optimizer.lr cannot change on resume: the snapshot has no optimizer"):
        network().override("optimizer.lr", 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 1}, "optimizer has no _target_: name a class, such as optimizer._target_=torch.optim.AdamW"),
        ({"_target_": "torch.optim.Bogus"}, "optimizer._target_='torch.optim.Bogus': the module 'torch.optim' has no 'Bogus'"),
        ({"_target_": "torch.Size"}, "optimizer._target_='torch.Size' is not a subclass of torch.optim.optimizer.Optimizer"),
        ({"_target_": "torch.optim.LBFGS"}, "LBFGS does not take a step for each minibatch's gradient"),
        ({"_target_": "torch.optim.AdamW", "lr": -1}, "torch.optim.adamw.AdamW refuses its settings: Invalid learning rate"),
    ],
)
def test_wrong_optimizers_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        torch_step(settings)


def test_settings_of_a_layer_that_would_have_no_meaning_are_refused() -> None:
    check_optimizer({}, {"fc": {"learning_rate": 3}})
    check_optimizer({"_target_": "x"}, normalized_layers({"fc": {"type": "softmax"}}))
    for key, value in {"learning_rate": 0.01, "weights_decay_bias": 0, "factor_ortho": 0.0}.items():
        with pytest.raises(ConfigError, match=rf"layers.fc.{key} has no meaning beside optimizer._target_=x"):
            check_optimizer({"_target_": "x"}, normalized_layers({"fc": {"type": "softmax", key: value}}))
    with pytest.raises(ConfigError, match=r"optimizer has no _target_"):
        check_optimizer({"lr": 1}, {})


@pytest.mark.parametrize("settings", OPTIMIZERS, ids=lambda settings: settings["_target_"])
def test_a_clone_and_a_step_that_was_reset_begin_anew(settings: dict[str, object]) -> None:
    gradients = [torch.randn(3, 2) for _ in range(3)]

    def steps(step: TorchStep) -> torch.Tensor:
        parameter = torch.ones(3, 2)
        for gradient in gradients:
            step.update(parameter, gradient.clone(), 0.5)
        return parameter

    used = torch_step(settings)
    expected = steps(used)
    assert torch.equal(steps(used.clone()), expected)
    used.reset()
    assert torch.equal(steps(used), expected)


def test_a_step_holds_an_optimizer_from_the_beginning_and_no_class() -> None:
    step = torch_step(OPTIMIZERS[0])
    restored = pickle.loads(pickle.dumps(step))
    assert type(restored.optimizer) is torch.optim.AdamW
    assert not any(isinstance(value, type) for value in vars(step).values())
    mine, theirs = torch.ones(2), torch.ones(2)
    step.update(mine, torch.ones(2), 1.0)
    restored.update(theirs, torch.ones(2), 1.0)
    assert torch.equal(mine, theirs)


def test_a_setting_that_is_refused_leaves_the_step_as_it_was() -> None:
    step = torch_step(OPTIMIZERS[0])
    with pytest.raises(ConfigError):
        step.reconfigure("lr", -1)
    assert (step.rate, step.settings) == (0.01, {"lr": 0.01})
    step.clone()


@pytest.mark.parametrize("settings", OPTIMIZERS, ids=lambda settings: settings["_target_"])
def test_what_it_remembers_follows_the_parameter_to_another_device(settings: dict[str, object]) -> None:
    step = torch_step(settings)
    parameter = torch.randn(3, 2)
    step.update(parameter, torch.ones(3, 2), 1.0)
    remembered = step.optimizer.state_dict()["state"][0]
    moved = parameter.to("meta")
    step.update(moved, torch.ones(3, 2, device="meta"), 0.5)
    (group,) = step.optimizer.param_groups
    assert group["params"] == [moved]
    assert group["lr"] == settings["lr"] * 0.5
    state = step.optimizer.state[moved]
    assert {name: value.shape for name, value in state.items()} == {name: value.shape for name, value in remembered.items()}
    assert {value.device.type for value in state.values() if value.shape == moved.shape} == {"meta"}
