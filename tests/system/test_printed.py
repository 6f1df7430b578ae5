"""What is printed to be typed works when it is typed into a shell."""

import os
import re
import shlex
from pathlib import Path

import pytest

from runner.cli.overrides import as_override
from runner.snapshots.restoring.restore import header_of, restore
from tests import forked
from tests.conftest import Run
from tests.system.test_evaluate import CONF, write_table

NAMES = ["it's {x: 'y'} a,b c=d", "it's a\ttab", 'naïve [1] (2)\\ ${oc.env:X} "q"']
"""Names of folders and conf files, with what a shell and Hydra read something else in."""


@pytest.fixture(autouse=True)
def tables(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "c.yaml").write_text(CONF)
    for seed, name in enumerate(("tr", "va"), 1):
        write_table(tmp_path / f"{name}.csv", seed, 60)


def typed(title: str, output: str, folder: Path) -> str:
    """Types the printed command into bash; returns its output."""
    (command,) = re.findall(rf"^{title}: veles-run (.*)$", output, re.MULTILINE)
    return forked.typed(
        f"veles-run {command}", "plotters=false", "report=false", cwd=folder, environment=os.environ | {"X": "another"}
    )


@pytest.mark.parametrize("name", NAMES)
def test_names_of_any_characters(name: str, veles_run: Run, tmp_path: Path) -> None:
    conf = "c" if "$" in name else name
    (tmp_path / "conf" / f"{conf}.yaml").write_text(CONF)
    output = veles_run(as_override("conf", conf), as_override("snapshotter.directory", name), "decision.max_epochs=1").stdout
    again = typed("Extend", output, tmp_path)
    assert re.search("^Epoch 2: ", again, re.MULTILINE)
    # It goes on in the same folder, and there is no other.
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"conf", "outputs", name}
    assert len([path for path in (tmp_path / name).iterdir() if not path.is_symlink()]) >= 2


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (["lr_adjuster.period=2"], "decision.max_epochs=4 lr_adjuster.period=4"),
        (["lr_adjuster.period=6", "lr_adjuster.by_minibatch=true"], "decision.max_epochs=4 lr_adjuster.period=12"),
        (["lr_adjuster.period=1", "lr_adjuster.floor=0.1"], "decision.max_epochs=4 lr_adjuster.period=4"),
        (["lr_adjuster.period=9"], "decision.max_epochs=4"),
    ],
)
def test_an_extended_run_has_a_learning_rate(policy: list[str], expected: str, veles_run: Run, tmp_path: Path) -> None:
    output = veles_run("conf=c", "seed=1", "lr_adjuster.policy=cosine", *policy).stdout
    assert re.search(rf"^Extend: .* {re.escape(expected)}$", output, re.MULTILINE)


def test_the_weights_move_again(veles_run: Run, tmp_path: Path) -> None:
    output = veles_run("conf=c", "seed=1", "lr_adjuster.policy=cosine", "lr_adjuster.period=2").stdout
    again = typed("Extend", output, tmp_path)
    assert re.search("^Epoch 4: ", again, re.MULTILINE)
    ends = [re.findall(r"^Snapshot written: (\S+) ", text, re.MULTILINE)[-1] for text in (output, again)]
    before, after = (restore(tmp_path / end).workflow["fc1"].weights for end in ends)
    assert not before.equal(after)


@pytest.mark.parametrize("name", ["true", "a,b c=d"])
def test_the_name_of_a_workflow_is_part_of_the_command(name: str, veles_run: Run, tmp_path: Path) -> None:
    output = veles_run(
        "conf=c", as_override("workflow.name", name), "decision.max_epochs=1", "snapshotter.directory=here"
    ).stdout
    assert "Epoch 2" in typed("Extend", output, tmp_path)


@pytest.mark.parametrize("limit", ["decision.fail_iterations=1"])
def test_a_limit_that_was_passed_is_extended_beyond_what_is_done(limit: str, veles_run: Run, tmp_path: Path) -> None:
    small = ("conf=mnist_small", "loader.train_size=200", "loader.validation_size=100", "seed=1", "snapshotter.directory=here")
    veles_run(*small, "decision.max_epochs=6", "layers.fc1.learning_rate=1e-9", "plotters=false")
    done = veles_run(*small, "snapshot=latest", "layers.fc1.learning_rate=1e-9", limit, "plotters=false").stdout
    assert "The run is complete" in done
    command = re.search("^Extend it: (.*)$", done, re.MULTILINE)[1].removeprefix("veles-run ")
    assert "Epoch 7" in veles_run(*shlex.split(command), "plotters=false").stdout


def test_what_is_typed_on_a_complete_run_is_checked_and_part_of_the_command(veles_run: Run, tmp_path: Path) -> None:
    (tmp_path / "conf" / "c.yaml").write_text(CONF + "layer_defaults: {learning_rate: 0.1}\n")  # each layer has its own
    ended = re.findall(r"^Snapshot written: (\S+) ", veles_run("conf=c", "seed=1").stdout, re.MULTILINE)[-1]
    complete = ("conf=c", f"snapshot={ended}")
    done = veles_run(*complete, "layers.fc1.learning_rate=0.5", "layer_defaults.weights_decay=0.25", "decision.on_nan=ignore")
    again = typed("Extend it", done.stdout, tmp_path)
    for key, value in {"layers.fc1.learning_rate": 0.5, "layers.out.weights_decay": 0.25, "decision.on_nan": "ignore"}.items():
        assert re.search(rf"{re.escape(key)} .* {value} ", again)
    assert "Epoch 4: " in again
    for wrong, message in {
        "loader.data_file=none.csv": "loader.data_file='none.csv' is not a file",
        "optimizer=adamw": "optimizer._target_=torch.optim.AdamW: what updates the weights is fixed",
        "layer_defaults.learning_rate=1": "layer_defaults.learning_rate changes nothing: each layer has its own",
    }.items():
        output = veles_run(*complete, wrong, code=2)
        assert message in output.stderr
        assert "What conf=c" not in output.stdout


def test_a_run_without_something_goes_on_without_it(veles_run: Run, tmp_path: Path) -> None:
    (tmp_path / "conf" / "c.yaml").write_text(CONF + "layer_defaults: {weights_decay: 0.1}\n")
    without = ("conf=c", "~layers.fc1", "~layer_defaults", "seed=1")
    veles_run(*without)
    again = veles_run(*without, "snapshot=auto", "decision.max_epochs=4")
    assert "Resuming from" in again.stdout
    assert "Epoch 4: " in again.stdout
    whole = veles_run(*without, "snapshot=latest", "decision.max_epochs=4").stdout
    assert "Epoch 8: " in typed("Extend it", whole, tmp_path)
    ended = re.findall(r"^Snapshot written: (\S+) ", again.stdout, re.MULTILINE)[-1]
    assert "~layers.out: what a snapshot has" in veles_run("conf=c", f"snapshot={ended}", "~layers.out", code=2).stderr


@pytest.mark.parametrize(
    "model", [["model=mine"], ["model={_target_: own_net.Net, outputs: 2}"], ["model._target_=own_net.Net"]]
)
def test_a_class_of_ones_own_is_part_of_the_command_however_it_was_typed(
    model: list[str], veles_run: Run, tmp_path: Path
) -> None:
    (tmp_path / "own_net.py").write_text(
        "import torch\n\n\nclass Net(torch.nn.Linear):\n"
        "    def __init__(self, outputs=2):\n        super().__init__(2, outputs)\n"
    )
    (tmp_path / "conf" / "model").mkdir()
    (tmp_path / "conf" / "model" / "mine.yaml").write_text("_target_: own_net.Net\noutputs: 2\n")
    (tmp_path / "conf" / "c.yaml").write_text(re.sub("learning_rate: [0-9.]+", "", CONF))  # which could go on as it is
    whole = ["conf=c", "~layers", *model, "optimizer=sgd", "loss._target_=torch.nn.CrossEntropyLoss"]
    output = veles_run(*whole, "decision.max_epochs=1").stdout
    extended = typed("Extend", output, tmp_path)
    assert re.search("^Epoch 2: ", extended, re.MULTILINE)
    assert "both describe" not in extended
    # So does what was typed, again.
    again = veles_run(*whole, "decision.max_epochs=3", "snapshot=latest").stdout
    assert re.search("^Epoch 3: ", again, re.MULTILINE)


def test_an_option_of_a_group_of_ones_own_is_part_of_the_command(veles_run: Run, tmp_path: Path) -> None:
    (tmp_path / "conf" / "net").mkdir()
    (tmp_path / "conf" / "net" / "wide.yaml").write_text(
        "# @package _global_\nlayers: {out: {learning_rate: 0.25}}\ndecision: {fail_iterations: 77}\n"
    )
    output = veles_run("conf=c", "net=wide", "seed=1").stdout
    extended = typed("Extend", output, tmp_path)
    assert re.search("^Epoch 3: ", extended, re.MULTILINE)
    again = veles_run("conf=c", "net=wide", "seed=1", "snapshot=latest", "decision.max_epochs=9").stdout
    assert re.search("^Epoch 9: ", again, re.MULTILINE)
    newest = max(tmp_path.glob("**/*.pickle*"), key=lambda path: path.stat().st_mtime_ns)
    assert header_of(newest).config["layers"]["out"]["learning_rate"] == 0.25


def test_a_policy_that_no_key_extends_is_told(veles_run: Run) -> None:
    typed = ["lr_adjuster.policy=arbitrary_step", "lr_adjuster.lrs_with_lengths=[[1,1],[0,1]]"]
    output = veles_run("conf=c", *typed).stdout
    assert re.search(r"^lr_adjuster.policy=arbitrary_step gives the learning rate 0", output, re.MULTILINE)
    assert "learning rate 0" not in veles_run("conf=c", "lr_adjuster.policy=exp", "lr_adjuster.gamma=0.5").stdout


@pytest.mark.parametrize(
    ("scheduler", "told"),
    [
        ("OneCycleLR, max_lr: 0.1, total_steps: 2", "OneCycleLR takes no more such steps"),
        ("PolynomialLR, total_iters: 2", "PolynomialLR gives the learning rate 0 from here on"),
        ("CosineAnnealingLR, T_max: 2", None),
        ("ReduceLROnPlateau, patience: 0", None),
    ],
)
def test_a_scheduler_that_is_over_is_told(scheduler: str, told: str | None, veles_run: Run, tmp_path: Path) -> None:
    words = ("optimizer=adamw", f"scheduler={{_target_: torch.optim.lr_scheduler.{scheduler}}}")
    output = veles_run("conf=c", "seed=1", *words).stdout
    assert re.findall("^scheduler: (.*?)(?: \\(|:)", output, re.MULTILINE) == ([] if told is None else [told])
    if told is None:
        assert re.findall("^Epoch ([0-9]+): ", typed("Extend", output, tmp_path), re.MULTILINE) == ["3", "4"]


def test_a_state_that_the_default_restore_refuses_goes_on_with_the_command(veles_run: Run, tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(
        "import itertools\n"
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self):\n"
        "        super().__init__(nn.Linear(2, 2))\n"
        "        self.order = itertools.cycle([1, 2])\n"
    )
    own = ("~layers", "+model._target_=nets.Net", "loss._target_=torch.nn.CrossEntropyLoss", "optimizer=adamw")
    done = veles_run("conf=c", "seed=1", *own, code=1)
    assert "Module('model').module.order could not be restored" in done.stderr
    assert "leave it out in its __getstate__(), or make it where it is used" in done.stderr
    again = typed("Continue", done.stdout, tmp_path)
    assert re.findall("^Epoch ([0-9]+): ", again, re.MULTILINE) == ["2"]
    assert re.findall("^Epoch ([0-9]+): ", typed("Extend", again, tmp_path), re.MULTILINE) == ["3", "4"]


HI = "# @package _global_\nlayers: {fc1: {learning_rate: 0.01}}\n"
"""An option of a group of one's own."""


@pytest.mark.parametrize(
    "words",
    [
        ("setup=hi", "layers.fc1.learning_rate=0.3"),
        ("layers.fc1.learning_rate=0.3", "+setup=hi"),
        ("loader=small", "loader.minibatch_size=11"),
        ("setup=hi", "layer_defaults.weights_decay=0.001"),
        ("setup=hi", "~layers.fc1"),
        ("~layers", "+layers={a: {type: softmax, learning_rate: 0.1}}"),
        ("optimizer={_target_: torch.optim.SGD, lr: 0.1}", "optimizer.lr=0.3", "optimizer.lr=0.01"),
        ("loader.minibatch_size=9", "seed=${loader.minibatch_size}", "seed=3"),
        ("layers.fc1={type: all2all_tanh, output_sample_shape: '${seed}'}", "layers.fc1.output_sample_shape=6"),
        (
            "optimizer=adamw",
            "+scheduler._target_=torch.optim.lr_scheduler.StepLR",
            "+scheduler.step_size=${decision.max_epochs}",
        ),
        ("optimizer=adamw", "scheduler={_target_: torch.optim.lr_scheduler.StepLR, step_size: '${decision.max_epochs}'}"),
    ],
)
def test_what_was_typed_over_an_option_or_a_reference_goes_on_so(
    words: tuple[str, ...], veles_run: Run, tmp_path: Path
) -> None:
    for group, text in (("setup/hi", HI), ("loader/small", "name: table\nminibatch_size: 30\n")):
        path = tmp_path / "conf" / f"{group}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    again = typed("Extend", veles_run("conf=c", "seed=1", *words).stdout, tmp_path)
    if "optimizer=adamw" not in words:  # whose scheduler would have another length from the start
        whole = veles_run("conf=c", "seed=1", *words, "decision.max_epochs=4", "snapshotter.directory=whole").stdout
        before, after = (re.findall(r"^Epoch 4: (.*), rate", text, re.MULTILINE) for text in (whole, again))
        assert before == after != []
    assert re.findall("^Epoch ([0-9]+): ", again, re.MULTILINE) == ["3", "4"]


@pytest.mark.parametrize("words", [("layer_defaults.weights_decay=0.001",), ("~layers.fc1",), ("setup=hi", "seed=5")])
def test_what_was_typed_may_be_typed_again(words: tuple[str, ...], veles_run: Run, tmp_path: Path) -> None:
    (tmp_path / "conf" / "setup").mkdir()
    (tmp_path / "conf" / "setup" / "hi.yaml").write_text(HI)
    veles_run("conf=c", "seed=1", *words)
    again = veles_run("conf=c", "seed=1", *words, "snapshot=latest", "decision.max_epochs=3").stdout
    assert re.findall("^Epoch ([0-9]+): ", again, re.MULTILINE) == ["3"]


def test_an_option_that_counts_is_not_said_to_be_passed_over(veles_run: Run, tmp_path: Path) -> None:
    (tmp_path / "conf" / "setup").mkdir()
    (tmp_path / "conf" / "setup" / "hi.yaml").write_text(HI)
    ended = re.findall(r"^Snapshot written: (\S+) ", veles_run("conf=c", "seed=1").stdout, re.MULTILINE)[-1]
    again = veles_run("conf=c", f"snapshot={ended}", "+setup=hi", "decision.max_epochs=3").stdout
    assert "which it keeps" not in again
    assert re.search(r"layers\.fc1\.learning_rate .* 0\.01 ", again)


def test_a_layer_may_refer_to_another_section_and_layer(veles_run: Run, tmp_path: Path) -> None:
    words = ("layers.fc1.output_sample_shape=${loader.minibatch_size}", "layers.fc1.learning_rate=${layers.out.learning_rate}")
    output = veles_run("conf=c", "seed=1", *words).stdout
    assert "fc1 all2all_tanh 20," in output
    assert re.findall("^Epoch ([0-9]+): ", typed("Extend", output, tmp_path), re.MULTILINE) == ["3", "4"]
    for wrong in ("${nothing.here}", "${loader.name}"):
        message = veles_run("conf=c", f"layers.fc1.output_sample_shape={wrong}", code=2).stderr
        assert "layers.fc1" in message
        assert "output_sample_shape" in message
