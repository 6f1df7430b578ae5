"""The optimizer of a network: its groups, its settings, what it remembers, and what is frozen; and how it once was one step."""

import operator
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from runner.config import normalized_layers
from runner.config.training import check_optimizer
from runner.errors import ConfigError, RunError, SnapshotMismatchError
from runner.nn.loading.loader_types import LOADERS
from runner.nn.loading.samples import Samples
from runner.nn.training.torch_optim import TorchStep, made, placeholder
from runner.snapshots.restoring.restore import restore
from tests.networks import BlobsLoader, extended, network, stopped, trained
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


class TokensLoader(BlobsLoader):
    """Samples of whole numbers."""

    def load_data(self) -> dict[int, Samples]:
        found = super().load_data()
        return {key: Samples(np.abs(value.data).astype(int) % 9, value.labels) for key, value in found.items()}

    def default_normalization(self, train: object) -> str:
        return "none"


LOADERS["whole_numbers"] = TokensLoader


def torch_step(settings: dict[str, object]) -> TorchStep:
    """Returns the step of one parameter that runs had before there was one optimizer for all; old snapshots hold such."""
    own = {key: value for key, value in settings.items() if key != "_target_"}
    cls = getattr(torch.optim, str(settings["_target_"]).rpartition(".")[2])
    return TorchStep(made(cls, [placeholder()], own), own)


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
    whole = trained(tmp_path / "whole", **run, decision_config={"max_epochs": 5})
    trained(tmp_path / "half", **run, decision_config={"max_epochs": 2})
    half = extended(restore(tmp_path / "half" / "blobs_current.5.pickle", trusted=["tests"]).workflow, epochs=5)
    assert half.decision.history == whole.decision.history
    assert differences(workflow_state(whole), workflow_state(half)) == []


def test_its_settings_can_change_on_resume() -> None:
    workflow = pickle.loads(pickle.dumps(trained(layers=PLAIN, optimizer_config=OPTIMIZERS[0])))
    workflow.override("optimizer.lr", 0.5)
    workflow.override("optimizer.weight_decay", 0.25)
    (group,) = workflow.optimizer.optimizer.param_groups
    assert (group["lr"], group["weight_decay"], workflow.optimizer.rates()) == (0.5, 0.25, [0.5])
    with pytest.raises(ConfigError, match=r"optimizer._target_ cannot change on resume"):
        workflow.override("optimizer._target_", "torch.optim.SGD")
    with pytest.raises(ConfigError, match=r"optimizer: torch.optim.adamw.AdamW refuses its settings: .*bogus"):
        workflow.override("optimizer.bogus", 1)
    with pytest.raises(ConfigError, match=r"optimizer.lr cannot change on resume: the snapshot has no optimizer"):
        network().override("optimizer.lr", 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"_target_": "torch.optim.Bogus"}, "optimizer._target_='torch.optim.Bogus': the module 'torch.optim' has no 'Bogus'"),
        ({"_target_": "torch.Size"}, "optimizer._target_='torch.Size' is not a subclass of torch.optim.optimizer.Optimizer"),
        ({"_target_": "torch.optim.LBFGS"}, "LBFGS does not take a step for each minibatch's gradient"),
        ({"_target_": "torch.optim.AdamW", "lr": -1}, "torch.optim.adamw.AdamW refuses its settings: Invalid learning rate"),
    ],
)
def test_wrong_optimizers_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        network(optimizer_config=settings)


def test_settings_of_a_layer_that_would_have_no_meaning_are_refused() -> None:
    check_optimizer({}, {"fc": {"learning_rate": 3}})
    check_optimizer({"_target_": "x"}, normalized_layers({"fc": {"type": "softmax"}}))
    for key, value in {"learning_rate": 0.01, "weights_decay_bias": 0, "factor_ortho": 0.0}.items():
        with pytest.raises(ConfigError, match=rf"layers.fc.{key} has no meaning beside optimizer._target_=x"):
            check_optimizer({"_target_": "x"}, normalized_layers({"fc": {"type": "softmax", key: value}}))
    with pytest.raises(ConfigError, match=r"optimizer has no _target_"):
        check_optimizer({"lr": 1}, {})


@pytest.mark.parametrize("settings", OPTIMIZERS, ids=lambda settings: settings["_target_"])
def test_a_step_that_was_reset_begins_anew(settings: dict[str, object]) -> None:
    gradients = [torch.randn(3, 2) for _ in range(3)]

    def steps(step: TorchStep) -> torch.Tensor:
        parameter = torch.ones(3, 2)
        for gradient in gradients:
            step.update(parameter, gradient.clone(), 0.5)
        return parameter

    used = torch_step(settings)
    expected = steps(used)
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


MODULES = {
    "fc": {"_target_": "torch.nn.Linear", "in_features": 6, "out_features": 8},
    "act": {"type": "activation_tanh"},
    "out": {"type": "all2all", "output_sample_shape": 3},
}
ADAMW = {"_target_": "torch.optim.AdamW", "lr": 0.01}
LOSS = {"_target_": "torch.nn.CrossEntropyLoss"}
FLAT = {"flat": {"_target_": "torch.nn.Flatten"}}


def run(**settings: object) -> dict[str, object]:
    return {"layers": FLAT | MODULES, "loss_config": LOSS, "optimizer_config": ADAMW} | settings


def test_groups_have_the_parameters_that_their_patterns_match_first() -> None:
    groups = [{"pattern": "out.*", "lr": 0.5}, {"pattern": "*.bias", "weight_decay": 0.25}]
    workflow = network(**run(optimizer_config=ADAMW | {"groups": groups}))
    workflow.initialize()
    found = [(len(group["params"]), group["lr"], group["weight_decay"]) for group in workflow.optimizer.optimizer.param_groups]
    assert found == [(1, 0.01, 0.01), (2, 0.5, 0.01), (1, 0.01, 0.25)]
    workflow.override("optimizer.lr", 0.125)
    assert [group["lr"] for group in workflow.optimizer.optimizer.param_groups] == [0.125, 0.5, 0.125]
    assert workflow.optimizer.rates() == [0.125, 0.5, 0.125]


@pytest.mark.parametrize("optimizer", [ADAMW, {}], ids=["optimizer", "of the layers"])
def test_what_is_frozen_stays_as_it_is(optimizer: dict[str, object], tmp_path: Path) -> None:
    settings = run(optimizer_config=optimizer, freeze=["fc.*", "out.bias"])
    begin = network(**settings)
    begin.initialize()
    workflow = trained(tmp_path, **settings)
    for layer, names in {"fc": ("module.weight", "module.bias"), "out": ("bias",)}.items():
        for name in names:
            before, after = (operator.attrgetter(name)(one[layer]) for one in (begin, workflow))
            assert torch.equal(before, after)
    assert not torch.equal(begin["out"].weights, workflow["out"].weights)
    longer = trained(tmp_path / "longer", **settings, decision_config={"max_epochs": 5})
    again = extended(restore(workflow.snapshotter.last_location, trusted=["tests"]).workflow, epochs=5)
    assert differences(workflow_state(longer), workflow_state(again)) == []


def test_a_network_whose_first_layer_takes_integers_can_be_frozen_there() -> None:
    layers = {
        "embed": {"_target_": "torch.nn.Embedding", "num_embeddings": 9, "embedding_dim": 2},
        **FLAT,
        "out": MODULES["out"],
    }
    workflow = network(**run(layers=layers, freeze=["embed.*"], loader_name="whole_numbers"))
    workflow.initialize()
    before = workflow["embed"].module.weight.detach().clone()
    workflow.run()
    assert torch.equal(before, workflow["embed"].module.weight)


def test_a_roll_back_resets_what_the_optimizer_remembers(tmp_path: Path) -> None:
    settings = run(
        optimizer_config={"_target_": "torch.optim.Adagrad", "lr": 3.0},
        scheduler_config={"_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau", "patience": 0},
        rollback_config={"fail_iterations": 1, "lr_minus": 0.5},
        decision_config={"max_epochs": 12},
    )
    whole = trained(tmp_path / "whole", **settings)
    assert whole.lr_adjuster.scale < 1
    assert whole.scheduler.scheduler.get_last_lr()[0] < 3
    location = stopped(tmp_path / "half", 65, **settings)
    again = extended(restore(location, trusted=["tests"]).workflow, epochs=12)
    assert differences(workflow_state(whole), workflow_state(again)) == []


def halved(step: int) -> float:
    return 0.5**step


def of_function(function: Any) -> dict[str, Any]:
    return {"scheduler_config": {"_target_": "torch.optim.lr_scheduler.LambdaLR", "lr_lambda": function}}


WRONG = [
    (
        {"optimizer_config": ADAMW | {"groups": [{"pattern": "trunk.*"}]}},
        r"groups\[0\].pattern='trunk.\*' matches no.*fc.weight",
    ),
    ({"optimizer_config": ADAMW | {"groups": [{"lr": 1}]}}, r"groups\[0\] has no pattern, .*'\*.bias'$"),
    (
        {"optimizer_config": ADAMW | {"groups": [{"patern": "fc.*", "lr": 1}]}},
        r"groups\[0\] has no pattern, .*'patern' is unknown: did you mean 'pattern'\?",
    ),
    (
        {"optimizer_config": ADAMW | {"groups": [{"pattern": "fc.*", "lrr": 1}]}},
        r"groups\[0\]: .*'lrr'; did you mean 'lr'\?",
    ),
    (
        {"optimizer_config": ADAMW | {"groups": [{"pattern": "*"}, {"pattern": "out.bias", "lr": 3}]}},
        r"groups\[1\].pattern='out.bias' matches only parameters that groups before it have",
    ),
    (
        {"optimizer_config": ADAMW | {"groups": [{"pattern": "fc.*", "betas": [0.5]}]}},
        r"groups\[0\]: .*AdamW refuses its settings optimizer.groups\[0\].betas=\[0.5\]: IndexError",
    ),
    (
        {"optimizer_config": ADAMW | {"foreach": True, "fused": True}},
        "AdamW refuses its settings optimizer.lr=0.01, optimizer.foreach=True, optimizer.fused=True: RuntimeError",
    ),
    ({"optimizer_config": ADAMW | {"groups": {"pattern": "fc.*"}}}, "optimizer.groups=.*list of mappings"),
    (
        {"optimizer_config": ADAMW | {"groups": [{"pattern": "fc.*", "lr": -1}]}},
        "AdamW refuses its settings: Invalid learning rate",
    ),
    ({"optimizer_config": ADAMW | {"clip_norm": 0}}, "optimizer.clip_norm=0 must be above 0"),
    ({"optimizer_config": ADAMW | {"clip_value": float("nan")}}, "optimizer.clip_value=nan"),
    ({"optimizer_config": ADAMW | {"accumulate": 0}}, "optimizer.accumulate=0 must be above 0"),
    ({"optimizer_config": ADAMW | {"accumulate": "two"}}, "optimizer.accumulate='two' must be a whole number"),
    ({"optimizer_config": ADAMW | {"clip_norm": "a"}}, "optimizer.clip_norm='a' must be a number"),
    ({"freeze": ["trunk.*"]}, r"freeze='trunk.\*' matches no parameter.*fc.weight"),
    ({"freeze": ["*"]}, "freeze leaves the optimizer no parameter"),
    ({"freeze": ["*"], "optimizer_config": {}}, "freeze leaves the optimizer no parameter"),
    ({"scheduler_config": {"_target_": "torch.optim.lr_scheduler.StepLR"}}, "scheduler: .*StepLR cannot be made.*step_size"),
    ({"scheduler_config": {"_target_": "torch.optim.lr_scheduler.StepL"}}, "scheduler._target_=.*did you mean 'StepLR'"),
    ({"scheduler_config": {"_target_": "torch.optim.SGD"}}, "scheduler._target_='torch.optim.SGD' is not a subclass"),
    (
        {
            "scheduler_config": {
                "_target_": "torch.optim.lr_scheduler.ChainedScheduler",
                "schedulers": [{"_target_": "torch.optim.lr_scheduler.StepLR", "step_size": "x", "gama": 1}],
            }
        },
        r"scheduler.schedulers\[0\]: torch.optim.lr_scheduler.StepLR cannot be made",
    ),
    (
        {"scheduler_config": {"_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau", "by_minibatch": True}},
        "by_minibatch=true",
    ),
    (of_function("x"), "scheduler.lr_lambda='x' must be a function: scheduler.lr_lambda._target_="),
    (of_function({"_target_": f"{__name__}.halved"}), r"scheduler.lr_lambda: .*halved makes no function: .*_partial_: true"),
    (of_function({"_target_": "math.nan", "_partial_": True}), "scheduler.lr_lambda"),
    (of_function({"_target_": f"{__name__}.halve"}), "scheduler.lr_lambda._target_='.*halve'.*no 'halve'"),
    (of_function({"_target_": f"{__name__}.halved", "step": 1}), r"halved makes 0.5, and no function: _partial_: true"),
    (of_function([{"_target_": f"{__name__}.halved", "_partial_": True}] * 2), "LambdaLR cannot be made.*2"),
    ({"scheduler_config": {"_target_": "x"}, "optimizer_config": {}}, "scheduler needs an optimizer"),
    (
        {
            "scheduler_config": {"_target_": "torch.optim.lr_scheduler.StepLR", "step_size": 3},
            "lr_adjuster_config": {"policy": "exp", "parameters": {"gamma": 0.5}},
        },
        "scheduler and lr_adjuster.policy='exp' both",
    ),
]


@pytest.mark.parametrize(("settings", "message"), WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_told_when_the_network_is_built(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        network(**run(**settings))
    assert "\n" not in str(raised.value)


class Noisy(torch.optim.SGD):
    """Draws random numbers in its steps, of which there is a third only if it is asked to."""

    def __init__(self, params: Any, lr: float, last: int = 1000) -> None:
        super().__init__(params, lr)
        self.left = last

    def step(self, closure: Any = None) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyError("spent")
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad += torch.randn(()) * random.random() * np.random.random()
        super().step()


class Bag(torch.nn.Module):
    """Has sparse gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.EmbeddingBag(9, 3, sparse=True)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.table(tokens.long())


def of_scheduler(name: str, **arguments: object) -> dict[str, object]:
    return {"scheduler_config": {"_target_": f"torch.optim.lr_scheduler.{name}"} | arguments}


PLATEAU = "ReduceLROnPlateau"
SCORED = {
    "scores_config": {"f1": {"_target_": "torchmetrics.F1Score", "task": "multiclass", "num_classes": 3}},
    "decision_config": {"max_epochs": 2, "monitor": "f1"},
}
FAILING = [
    (of_scheduler("StepLR", step_size=0), "scheduler: .*StepLR fails .*scheduler.step_size=0: ZeroDivisionError"),
    (of_scheduler("StepLR", step_size="2"), "scheduler: .*StepLR fails .*scheduler.step_size='2': TypeError"),
    (of_scheduler("CosineAnnealingLR", T_max=0), "scheduler: .*CosineAnnealingLR fails .*scheduler.T_max=0: ZeroDivisionError"),
    (of_scheduler(PLATEAU, patience="2"), f"scheduler: .*{PLATEAU} fails .*scheduler.patience='2': TypeError"),
    (
        of_scheduler(
            "ChainedScheduler", schedulers=[{"_target_": "torch.optim.lr_scheduler.StepLR", "step_size": 0, "gamma": 0.5}]
        ),
        r"ChainedScheduler fails .*schedulers\[0\].step_size=0, scheduler.schedulers\[0\].gamma=0.5: ZeroDivisionError",
    ),
    (
        {"optimizer_config": {"_target_": "torch.optim.SGD", "lr": 0.1, "momentum": 0.9, "dampening": "0.1"}},
        "optimizer: .*SGD fails .*optimizer.dampening='0.1': TypeError",
    ),
    (
        {"optimizer_config": {"_target_": "torch.optim.SGD", "groups": [{"pattern": "*", "momentum": 1, "dampening": "x"}]}},
        r"optimizer.groups\[0\]: .*SGD fails .*optimizer.groups\[0\].dampening='x': TypeError",
    ),
    ({"optimizer_config": {"_target_": "torch.optim.SparseAdam"}}, "optimizer: .*SparseAdam fails .*dense gradients"),
    (
        {"optimizer_config": {"_target_": f"{__name__}.Noisy", "lr": 0.1, "last": 1}},
        r"optimizer: .*Noisy fails .*optimizer.last=1: KeyError: 'spent' \(tests/unit/nn/test_optimizer.py:\d+\)",
    ),
    (of_scheduler(PLATEAU, mode="max"), "scheduler.mode=max lowers .* error gets better, .*low .*: scheduler.mode=min$"),
    (of_scheduler(PLATEAU) | SCORED, "scheduler.mode=min, its default, lowers .* f1 gets .*high .*: scheduler.mode=max$"),
    (of_scheduler(PLATEAU, mode="min") | SCORED, "scheduler.mode=min lowers .* f1 gets .*: scheduler.mode=max$"),
]


@pytest.mark.parametrize(("settings", "message"), FAILING, ids=range(len(FAILING)))
def test_what_would_go_wrong_in_a_step_is_told_before_the_first_epoch(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        network(**run(**settings)).initialize()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "settings", [of_scheduler(PLATEAU, mode="max") | SCORED, of_scheduler(PLATEAU, mode="min"), of_scheduler(PLATEAU)]
)
def test_a_plateau_of_what_decides_can_be_waited_for(settings: dict[str, object]) -> None:
    assert len(trained(**run(**settings)).decision.history) >= 2


def test_steps_that_are_tried_leave_the_random_generators_and_the_optimizer_alone() -> None:
    noisy = {"_target_": f"{__name__}.Noisy", "lr": 0.1}
    workflow = network(**run(optimizer_config=noisy, **of_scheduler("ExponentialLR", gamma=0.5)))
    before = workflow.random_states_
    workflow.initialize()
    after = workflow.random_states_
    assert after["python"] == before["python"]
    assert all(map(np.array_equal, after["numpy"], before["numpy"]))
    assert after["torch"].equal(before["torch"])
    optimizer = workflow.optimizer.optimizer
    assert (optimizer.left, optimizer.param_groups[0]["lr"], dict(optimizer.state)) == (1000, 0.1, {})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (of_scheduler("OneCycleLR", max_lr=0.1, total_steps=2), "scheduler: OneCycleLR fails: .*; scheduler.total_steps must"),
        ({"optimizer_config": {"_target_": f"{__name__}.Noisy", "lr": 0.1, "last": 2}}, "optimizer: .*Noisy fails: KeyError"),
    ],
    ids=["scheduler", "optimizer"],
)
def test_a_step_that_fails_in_the_run_is_told_with_its_class(settings: dict[str, object], message: str) -> None:
    workflow = network(**run(**settings))
    workflow.initialize()
    with pytest.raises(RunError, match=message):
        workflow.run()


def test_a_scheduler_may_know_no_step_after_the_last_of_the_run() -> None:
    trained(**run(**of_scheduler("OneCycleLR", max_lr=0.1, total_steps=1), decision_config={"max_epochs": 1}))


def test_gradients_that_are_sparse_have_an_optimizer_of_their_own() -> None:
    sparse = {"layers": {**FLAT, "out": {"_target_": f"{__name__}.Bag"}}, "loader_name": "whole_numbers"}
    workflow = trained(**run(**sparse, optimizer_config={"_target_": "torch.optim.SparseAdam", "lr": 0.1}))
    assert len(workflow.decision.history) == 3


def test_what_changes_on_resume_is_tried_before_the_run_goes_on(tmp_path: Path) -> None:
    settings = run(optimizer_config={"_target_": "torch.optim.SGD", "lr": 0.1, "momentum": 0.9})
    workflow = restore(stopped(tmp_path, 3, **settings), trusted=["tests"]).workflow
    workflow.override("optimizer.dampening", "0.1")
    with pytest.raises(ConfigError, match=r"optimizer: .*SGD fails .*optimizer.dampening='0.1': TypeError"):
        workflow.initialize()


def test_what_may_change_on_resume(tmp_path: Path) -> None:
    settings = run(scheduler_config={"_target_": "torch.optim.lr_scheduler.StepLR", "step_size": 1})
    workflow = restore(stopped(tmp_path, 3, **settings), trusted=["tests"]).workflow
    workflow.override("optimizer.clip_norm", 0.5)
    workflow.override("optimizer.accumulate", 2)
    workflow.override("optimizer.weight_decay", 0.5)
    for key, value in {
        "optimizer.lr": 1,
        "optimizer.groups": [],
        "optimizer.clip_norm": -1,
        "optimizer.accumulate": 1.5,
    }.items():
        with pytest.raises(ConfigError, match=key):
            workflow.override(key, value)
    workflow = extended(workflow, epochs=3)
    assert workflow.optimizer.optimizer.param_groups[0]["weight_decay"] == 0.5
    assert workflow.optimizer.rates() == [pytest.approx(1e-5)]


def test_a_function_is_called_only_if_the_call_names_it(tmp_path: Path) -> None:
    settings = run(**of_function({"_target_": f"{__name__}.halved", "_partial_": True}))
    location = stopped(tmp_path, 3, **settings)
    with pytest.raises(ConfigError, match=rf"the function {__name__}.halved of .*restore.trusted=\[{__name__}.halved\]"):
        restore(location, trusted=["tests"]).workflow.initialize()
    workflow = restore(location, trusted=["tests", f"{__name__}.halved"]).workflow
    workflow.initialize()
    assert workflow.scheduler.scheduler.lr_lambdas[0](3) == 0.125
    workflow.scheduler.functions *= 2
    with pytest.raises(SnapshotMismatchError, match="other functions"):
        workflow.scheduler._put_functions(workflow.scheduler.scheduler)
