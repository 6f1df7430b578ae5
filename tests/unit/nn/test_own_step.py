"""Modules with a training step of their own: several models and optimizers, stopped, continued, scored, and used."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from runner.errors import ConfigError, RunError, StateError
from runner.snapshots.restoring.restore import restore
from tests.networks import LAYERS, extended, network, stopped, trained
from tests.states import differences, workflow_state


class Distilled(nn.Module):
    """A small network learns from a larger one, which learns from labels; each has its optimizer, and drops values."""

    fault: Any = None

    def __init__(self, fault: str | None = None) -> None:
        super().__init__()
        self.fault = fault
        self.teacher = nn.Sequential(nn.Flatten(), nn.Linear(6, 16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 3))
        self.student = nn.Sequential(nn.Flatten(), nn.Linear(6, 3))
        self.of_teacher = torch.optim.AdamW(self.teacher.parameters(), lr=0.01)
        self.of_student = torch.optim.SGD(self.student.parameters(), lr=0.05, momentum=0.9)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.of_student, 4, 0.5)

    def forward(self, samples: Tensor) -> Tensor:
        return self.student(samples)

    def evaluation_step(self, samples: Tensor, labels: Tensor) -> dict[str, Tensor]:
        taught, learned = self.teacher(samples), self.student(samples)
        apart = nn.functional.mse_loss(learned, taught.detach())
        numbers = {"loss": apart, "teaching": nn.functional.cross_entropy(taught, labels)}
        faults = {
            "other names": {"loss": apart, "other": apart},
            "no loss": {"teaching": apart},
            "a text": {"loss": "x"},
            "many": {"loss": learned},
            "taken": {"loss": apart, "error": apart},
            "nothing": None,
            "whole": {"loss": torch.tensor(1)},
            "complex": {"loss": apart, "wave": torch.tensor(1j)},
            "odd name": {"loss": apart, "a b": apart},
        }
        if self.fault == "raises":
            raise ValueError("out of luck")
        if self.fault == "later" and self.training and self.schedule.last_epoch > 2:
            raise ValueError("out of luck")
        if self.fault == "sometimes" and len(samples) == 2:
            numbers["further"] = apart
        return numbers if self.fault not in faults or (self.fault == "other names" and self.training) else faults[self.fault]

    def training_step(self, samples: Tensor, labels: Tensor) -> dict[str, Tensor]:
        numbers = self.evaluation_step(samples, labels)
        for optimizer, loss in ((self.of_teacher, "teaching"), (self.of_student, "loss")):
            if (
                isinstance(numbers, dict)
                and isinstance(numbers.get(loss), Tensor)
                and numbers[loss].requires_grad
                and numbers[loss].numel() == 1
            ):
                optimizer.zero_grad()
                numbers[loss].backward(retain_graph=True)
                optimizer.step()
        self.schedule.step()
        return numbers


class Plain(nn.Linear):
    """Only trains, and returns a loss alone."""

    def __init__(self) -> None:
        super().__init__(3, 1)
        self.optimizer = torch.optim.SGD(self.parameters(), lr=0.01)

    def training_step(self, samples: Tensor, labels: Tensor) -> Tensor:
        loss = self(samples).square().mean()
        if self.training:
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return loss


class Steps(torch.optim.SGD):
    """Slows down, by attributes that are neither in its groups nor in its state."""

    k: float = 0

    def __init__(self, parameters: Any, lr: float) -> None:
        super().__init__(parameters, lr)
        self.count = 0

    def step(self, closure: Any = None) -> None:
        self.k += 1
        self.count += 1
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.data.add_(parameter.grad, alpha=-group["lr"] / (self.k + self.count))


class Gathering(nn.Linear):
    """Gathers the gradients of several minibatches, or goes back to its optimizer's attributes."""

    def __init__(self, fault: str) -> None:
        super().__init__(6, 3)
        self.fault, self.n = fault, 0
        kinds = {"own": Steps, "lbfgs": torch.optim.LBFGS}
        self.optimizer = kinds.get(fault, torch.optim.SGD)(self.parameters(), lr=0.1)
        if fault == "hook":
            self.weight.register_hook(halved)
        elif fault == "post hook":
            self.weight.register_post_accumulate_grad_hook(print)
        elif fault == "step hook":
            self.optimizer.register_step_pre_hook(print)

    def forward(self, samples: Tensor) -> Tensor:
        return super().forward(samples.flatten(1))

    def evaluation_step(self, samples: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(self(samples), labels)

    def training_step(self, samples: Tensor, labels: Tensor) -> Tensor:
        def closure() -> float:
            self.optimizer.zero_grad()
            again = self.evaluation_step(samples, labels)
            again.backward()
            return again.item()

        loss = self.evaluation_step(samples, labels)
        if self.fault == "lbfgs":
            self.optimizer.step(closure)
            return loss.detach()
        self.n += 1
        loss.backward()
        if self.fault != "gathered" or self.n % 3 == 0:
            self.optimizer.step()
            self.optimizer.zero_grad()
        return loss


def halved(gradient: Tensor) -> Tensor:
    return gradient / 2


def run(fault: str | None = None, cls: str = "Distilled", **more: Any) -> dict[str, Any]:
    module = {"_target_": f"{__name__}.{cls}"} | ({"fault": fault} if fault else {})
    return {"layers": {"model": module}, "decision_config": {"max_epochs": 3, "monitor": "loss"}} | more


def whole_state(workflow: Any) -> dict[str, bytes]:
    """The state of a workflow, and of the optimizers and schedulers that its module holds."""
    module = workflow["model"].module
    held = {name: getattr(module, name).state_dict() for name in ("of_teacher", "of_student", "schedule")}
    return workflow_state(workflow) | {name: repr(value).encode() for name, value in held.items()}


@pytest.mark.parametrize("at", [1, 6, 9, 11, 20])
def test_a_stop_changes_nothing(at: int, tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", **run())
    assert whole.decision.records.epochs[-2]["teaching"] < whole.decision.records.epochs[0]["teaching"]
    location = stopped(tmp_path / "half", at, **run())
    again = extended(restore(location, trusted=["tests"]).workflow, epochs=3)
    assert again.decision.records.epochs == whole.decision.records.epochs
    assert differences(whole_state(whole), whole_state(again)) == []


def test_numbers_are_means_over_the_samples_and_any_of_them_may_decide(tmp_path: Path) -> None:
    workflow = trained(tmp_path, **run(decision_config={"max_epochs": 4, "monitor": "teaching"}))
    found = [row["teaching"] for row in workflow.decision.records.epochs if row["split"] == "validation"]
    assert workflow.decision.best == min(found)
    assert workflow.evaluate()["validation"] == pytest.approx(found[-1])
    module, loader = workflow["model"].module.eval(), workflow.loader
    with torch.no_grad():
        expected = module.evaluation_step(loader.data_[1], loader.labels_[1])["teaching"]
    assert found[-1] == pytest.approx(float(expected), rel=1e-5)
    model = restore(workflow.snapshotter.last_location, trusted=["tests"]).model()
    raw = torch.from_numpy(loader.load_data()[1].data)
    torch.testing.assert_close(model(raw), module(loader.data_[1]).detach())


def test_a_step_may_return_a_loss_alone(tmp_path: Path) -> None:
    workflow = trained(tmp_path, **run(cls="Plain"))
    assert workflow.decision.history[-1]["train"] < workflow.decision.history[0]["train"]


FAULTS = {
    "raises": r"Distilled.training_step\) fails: ValueError: out of luck \(tests/unit/nn/test_own_step.py:\d+\)",
    "other names": r"\(Distilled\) returns loss, other to be evaluated, and loss, teaching in training",
    "no loss": "one of the numbers is 'loss'",
    "a text": "returns 'loss' of type str: a step returns a tensor",
    "many": r"returns 'loss' of shape \(\d+, 3\): it is one number",
    "taken": "returns 'error', which rows of metrics",
    "whole": "returns 'loss' as torch.int64: it is a real number",
    "complex": "returns 'wave' as torch.complex64: it is a real number",
    "odd name": "returns a number called 'a b'",
    "nothing": "returns 'loss' of type NoneType: a step returns a tensor",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_told_before_the_first_epoch(fault: str) -> None:
    workflow = network(**run(fault))
    with pytest.raises(ConfigError, match=FAULTS[fault]) as raised:
        workflow.initialize()
    assert "\n" not in str(raised.value)


def test_an_error_in_a_step_names_the_line() -> None:
    workflow = network(**run("later"))
    workflow.initialize()
    with pytest.raises(RunError, match=r"training_step\) fails: ValueError.*test_own_step.py:\d+.*in a minibatch of 8"):
        workflow.run()


def test_a_number_that_only_some_minibatches_have_is_not_averaged() -> None:
    workflow = network(**run("sometimes"))
    workflow.initialize()
    with pytest.raises(RunError, match=r"step of layers.model returns loss, teaching, further for a minibatch of 2"):
        workflow.run()


@pytest.mark.parametrize("at", [4, 8])
@pytest.mark.parametrize("kind", ["own", "gathered", "lbfgs"])
def test_what_gradients_and_optimizers_hold_goes_on(kind: str, at: int, tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", **run(kind, "Gathering"))
    location = stopped(tmp_path / "half", at, **run(kind, "Gathering"))
    again = extended(restore(location, trusted=["tests"]).workflow, epochs=3)
    assert again.decision.records.epochs == whole.decision.records.epochs
    assert differences(workflow_state(whole), workflow_state(again)) == []


@pytest.mark.parametrize("kind", ["hook", "post hook", "step hook"])
def test_a_hook_that_would_be_lost_is_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"OwnStep\('model'\)\.module.* has a hook, which no snapshot keeps"):
        trained(tmp_path, **run(kind, "Gathering"))


BESIDE = {
    "loss": {"loss_config": {"_target_": "torch.nn.MSELoss"}},
    "optimizer": {"optimizer_config": {"_target_": "torch.optim.SGD"}},
    "freeze": {"freeze": ["*"]},
    "ema": {"ema": 0.5},
    "scores": {"scores_config": {"a": {"_target_": "torchmetrics.R2Score"}}},
    "lr_adjuster": {"lr_adjuster_config": {"policy": "exp", "parameters": {"gamma": 0.5}}},
    "rollback": {"rollback_config": {"fail_iterations": 1}},
}


@pytest.mark.parametrize("section", BESIDE)
def test_what_it_does_itself_is_said_nowhere_else(section: str) -> None:
    with pytest.raises(ConfigError, match=rf"{section} changes nothing: Distilled.training_step"):
        network(**run(**BESIDE[section]))


def test_it_is_the_whole_network() -> None:
    with pytest.raises(ConfigError, match=r"layers\.model has a training_step of its own"):
        network(layers={"fc1": LAYERS["fc1"], **run()["layers"]})
