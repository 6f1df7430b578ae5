"""Models, losses, optimizers and metrics in conf files: the examples, trained, stopped, continued, scored and fine-tuned."""

import random
import re
import signal
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.states import differences
from tests.system.test_own_workflow import state_of, user_folder
from tests.system.test_resume import epoch_lines, final_snapshot, run_until_signal

BEST = re.compile(r"^Best validation \S+: ([\d.]+)", re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return user_folder(tmp_path)


def test_a_residual_network_is_stopped_continued_exported_and_fine_tuned(
    folder: Path, veles_run: Run, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = ["conf=resnet", "seed=5", "decision.max_epochs=3"]
    whole = veles_run(*short, f"hydra.run.dir={folder / 'whole'}").stdout
    assert float(BEST.search(whole)[1]) > 0.9
    code, output = run_until_signal(folder, short, signal.SIGTERM, rng)
    assert code == 75, output
    seen = epoch_lines(output)
    output = veles_run("conf=resnet", f"snapshot={final_snapshot(output)}").stdout
    assert seen + epoch_lines(output) == epoch_lines(whole)
    modules = ("resnet", "torchmetrics")
    ends = [state_of(folder, final_snapshot(text), monkeypatch, *modules) for text in (whole, output)]
    assert differences(*ends) == []
    tuned = veles_run("conf=parity", f"init_from={final_snapshot(output)}", "seed=1", "decision.max_epochs=3").stdout
    assert "26 of 28 tensors" in tuned
    assert float(BEST.search(tuned)[1]) < 15
    scored = veles_run("conf=parity", "snapshot=latest", "mode=evaluate").stdout
    assert re.search(r"validation [\d.]+ %", scored)


def test_a_residual_network_learns_mnist(folder: Path, veles_run: Run) -> None:
    few = ["loader.train_size=2000", "loader.validation_size=300", "decision.max_epochs=2", "scheduler.total_steps=40"]
    assert float(BEST.search(veles_run("conf=resnet_mnist", "seed=1", *few).stdout)[1]) < 25


def test_a_transformer_learns_to_sort(folder: Path, veles_run: Run) -> None:
    assert float(BEST.search(veles_run("conf=sorting", "seed=1").stdout)[1]) > 0.9


def test_classes_of_a_table_weigh_the_same(folder: Path, veles_run: Run) -> None:
    assert float(BEST.search(veles_run("conf=weighted", "seed=1").stdout)[1]) > 0.9


def test_two_networks_against_one_another(folder: Path, veles_run: Run) -> None:
    output = veles_run("conf=gan", "seed=1", "decision.max_epochs=3").stdout
    assert float(BEST.search(output)[1]) < 1
    again = veles_run("conf=gan", "snapshot=latest", "decision.max_epochs=4").stdout
    assert [line.split(",")[0][:7] for line in epoch_lines(again)] == ["Epoch 4"]


@pytest.mark.parametrize("conf", ["distilled", "contrasted"])
def test_a_step_of_several_losses_goes_on_as_if_it_had_not_been_stopped(conf: str, folder: Path, veles_run: Run) -> None:
    def epochs(*typed: str) -> list[str]:
        output = veles_run(f"conf={conf}", *typed, "report=false", "plotters=false").stdout
        return [re.sub(r", [\d.]+ s.*", "", line) for line in epoch_lines(output)]

    whole = epochs("seed=1", "decision.max_epochs=4")
    half = epochs("seed=1", "decision.max_epochs=2", "hydra.run.dir=half")
    assert half == whole[:2]
    assert epochs(f"snapshot=half/{conf}_current.5.pickle.gz", "decision.max_epochs=4") == whole[2:]
    errors = [float(re.search(r"validation ([\d.]+)", line)[1]) for line in whole]
    assert errors[3] < errors[0] / 2


WRONG = {
    ("conf=resnet", "freeze=[model.stem.*]"): r"freeze='model\.stem\.\*' matches no parameter.*model\.head\.weight",
    ("conf=resnet", "layers.out.type=softmax"): "model and layers both",
}


@pytest.mark.parametrize("typed", WRONG, ids=" ".join)
def test_what_is_wrong_is_one_line(typed: tuple[str, ...], folder: Path, veles_run: Run) -> None:
    result = veles_run(*typed, code=2)
    assert re.search(WRONG[typed], result.stdout + result.stderr)
    assert "Epoch 1" not in result.stdout


WARNS = """import warnings
import torch

class Net(torch.nn.Linear):
    def __init__(self):
        super().__init__(13, 3)

    def forward(self, data):
        warnings.warn("the slow\\nway")
        return super().forward(data)
"""


def test_what_own_code_warns_of_is_one_line(tmp_path: Path, veles_run: Run) -> None:
    (tmp_path / "warns.py").write_text(WARNS)
    model = ("~layers", "model._target_=warns.Net", "loss._target_=torch.nn.CrossEntropyLoss", "decision.max_epochs=3")
    done = veles_run("wine", *model)
    said = "UserWarning: the slow way (warns.py:9)"
    assert (done.stdout + done.stderr).count(said) == 1
    assert "warnings.warn" not in done.stdout + done.stderr
    (log, *_) = tmp_path.rglob("veles-run.log")
    assert said in log.read_text()


STATES = """import torch

class Net(torch.nn.Linear):
    def __init__(self, way):
        super().__init__(13, 3)
        self.way = way

    def __getstate__(self):
        if self.way == "gives none":
            raise ValueError("no state")
        if self.way == "loses all":
            return None
        if self.way == "loses some":
            return self.__dict__ | {"extra": [1], "_parameters": {"weight": self.weight}}
        return self.__dict__ | {"extra": [1]}

    def __setstate__(self, state):
        if state and state["way"] == "takes none":
            raise ValueError("no way back")
        state.pop("extra").clear()
        super().__setstate__(state)
"""


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("gives none", "ValueError: no state (own.py:10)"),
        ("takes none", "ValueError: no way back (own.py:19)"),
        ("loses all", "what its __getstate__ gives is without bias"),
        ("loses some", "what its __getstate__ gives is without bias"),
    ],
)
def test_a_module_that_could_not_be_restored_is_refused_before_it_learns(
    way: str, said: str, tmp_path: Path, veles_run: Run
) -> None:
    (tmp_path / "own.py").write_text(STATES)
    model = ("wine", "~layers", "model._target_=own.Net", "loss._target_=torch.nn.CrossEntropyLoss", "decision.max_epochs=2")
    (line,) = veles_run(*model, f"model.way={way}", code=2).stderr.splitlines()
    assert f"layers.model: own.Net cannot be kept in a snapshot: {said}" in line
    veles_run(*model, "model.way=well")
    assert "Epoch 3" in veles_run(*model, "model.way=well", "snapshot=latest", "decision.max_epochs=3").stdout
