"""Several processes share a run: the bits are the same whatever their number, and nothing hangs when one of them is lost."""

import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.snapshots.restoring.restore import header_of, restore
from tests.conftest import Run
from tests.states import differences, state_of, workflow_state
from tests.system.test_resume import final_snapshot
from tests.together import Together, run_together

BASE = ("conf=net", "seed=3", "plotters=false", "report=false", "metrics={every: 1, gradient_norm: true}")
DATA = "loader: {name: mnist, train_size: 100, validation_size: 40, minibatch_size: 24}\nparallel: {shards: 8, timeout: 20}\n"
NETWORKS = {
    "dense": """
layers:
  fc1: {type: all2all_tanh, output_sample_shape: 20, learning_rate: 0.1, gradient_momentum: 0.5, weights_decay: 0.001}
  drop: {type: dropout, dropout_ratio: 0.25}
  out: {type: softmax, learning_rate: 0.1}
lr_adjuster: {policy: inv, gamma: 0.1, power: 1, by_minibatch: true}
""",
    "conv": """
layers:
  conv: {type: conv_relu, n_kernels: 4, kx: 5, ky: 5, sliding: 2, learning_rate: 0.05}
  norm: {type: batch_norm, learning_rate: 0.05}
  pool: {type: stochastic_pooling, kx: 2, ky: 2}
  large: {type: all2all_relu, output_sample_shape: 8000, learning_rate: 0.01}  # so it is exchanged before the others
  out: {type: softmax, learning_rate: 0.05}
""",
    "module": """
layers:
  conv:
    _target_: torch.nn.Sequential
    _args_:
    - {_target_: torch.nn.Unflatten, dim: 1, unflattened_size: [1, 28]}
    - {_target_: torch.nn.Conv2d, in_channels: 1, out_channels: 4, kernel_size: 5, stride: 3}
    - {_target_: torch.nn.BatchNorm2d, num_features: 4}
    - {_target_: torch.nn.ReLU}
    - {_target_: torch.nn.Dropout, p: 0.2}
    - {_target_: torch.nn.Flatten}
    - {_target_: torch.nn.Linear, in_features: 256, out_features: 10}
loss: {_target_: torch.nn.CrossEntropyLoss, label_smoothing: 0.1}
scores:
  f1: {_target_: torchmetrics.F1Score, task: multiclass, num_classes: 10, average: macro}
optimizer: {_target_: torch.optim.AdamW, lr: 0.3}
rollback: {fail_iterations: 1}
""",
}
"""A last minibatch of 4 samples leaves half of the shards empty."""
LONG = (*BASE, "decision={max_epochs: 9999, fail_iterations: null}", "hydra.run.dir=outputs/net/run")
"""A run that goes on until it is stopped."""


@pytest.fixture
def conf(tmp_path: Path) -> Callable[[str], Path]:
    def write(network: str) -> Path:
        (tmp_path / "conf").mkdir(exist_ok=True)
        (tmp_path / "conf" / "net.yaml").write_text("# @package _global_\n" + DATA + NETWORKS[network])
        return tmp_path

    return write


def measured(folder: Path) -> list[dict[str, Any]]:
    """Returns the rows of a run, but for how long they took."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if "second" not in key} for row in rows]


@pytest.mark.parametrize("network", NETWORKS)
def test_the_bits_do_not_depend_on_the_number_of_processes(network: str, conf: Callable[[str], Path]) -> None:
    folder, states, rows = conf(network), {}, {}
    sizes = (1, 2, 4) if network == "dense" else (1, 2)
    for size in sizes:
        output = run_together([*BASE, "decision.max_epochs=3", f"hydra.run.dir=w{size}"], size=size, cwd=folder)
        states[size] = state_of(folder / final_snapshot(output))
        rows[size] = measured(folder / f"w{size}")
    assert len(rows[1]) == 3 * (5 + 2)
    for size in sizes[1:]:
        assert differences(states[size], states[1]) == []
        assert rows[size] == rows[1]
    # Process 0 alone has left anything.
    left = [{re.sub(r"net_.*|.*\.code", "", path.name) for path in (folder / f"w{size}").iterdir()} for size in sizes]
    assert left == [{"", ".hydra", "metrics.jsonl", "result.json", "veles-run.log"}] * len(sizes)


def test_a_run_goes_on_with_another_number_of_processes(conf: Callable[[str], Path]) -> None:
    folder = conf("dense")
    begun = final_snapshot(run_together([*BASE, "decision.max_epochs=1"], size=1, cwd=folder))
    more = run_together([*BASE, f"snapshot={begun}", "decision.max_epochs=2"], size=2, cwd=folder)
    end = run_together([*BASE, f"snapshot={final_snapshot(more)}", "decision.max_epochs=3"], size=1, cwd=folder)
    whole = run_together([*BASE, "decision.max_epochs=3"], size=1, cwd=folder)
    assert differences(*(state_of(folder / final_snapshot(output)) for output in (end, whole))) == []


def wait_for(seen: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < end
        time.sleep(0.01)


def has_snapshot(folder: Path) -> Callable[[], bool]:
    return lambda: bool(list(folder.glob("outputs/net/run/net_validation*")))


def test_a_signal_to_one_process_stops_all_at_the_same_minibatch(conf: Callable[[str], Path]) -> None:
    folder = conf("dense")
    arguments = [*LONG, "snapshotter.keep_last=1"]
    with Together(arguments, size=2, cwd=folder) as together:
        wait_for(has_snapshot(folder))
        os.kill(together.processes[1].process.pid, signal.SIGTERM)
        ended = together.end()
    assert [one.returncode for one in ended] == [75] * 2
    stopped = folder / final_snapshot(ended[0].stdout)
    on, epochs = {}, header_of(stopped).epoch + 1
    for size in (2, 1):
        last = [*BASE, f"decision={{max_epochs: {epochs}, fail_iterations: null}}"]
        on[size] = state_of(folder / final_snapshot(run_together([*last, f"snapshot={stopped}"], size=size, cwd=folder)))
    assert differences(on[2], on[1]) == []


def test_a_process_that_hangs_is_named_and_ends_the_others(conf: Callable[[str], Path]) -> None:
    folder = conf("dense")
    with Together([*LONG, "parallel.timeout=2"], size=2, cwd=folder) as together:
        wait_for(has_snapshot(folder))
        os.kill(together.processes[0].process.pid, signal.SIGSTOP)
        ended = together.processes[1].end(60)
    assert ended.returncode == 1
    assert "process 0 " in ended.stderr


def test_a_process_that_is_killed_is_named_by_the_others_and_no_other_that_is_busy(conf: Callable[[str], Path]) -> None:
    folder = conf("dense")
    # On busy cores, who was stopped may need most of the file's 20 seconds to notice.
    with Together([*LONG, "parallel.timeout=60"], size=4, cwd=folder) as together:
        wait_for(has_snapshot(folder))
        _, busy, lost, _ = (one.process.pid for one in together.processes)
        os.kill(busy, signal.SIGSTOP)
        os.kill(lost, signal.SIGKILL)
        time.sleep(7)  # the others have waited for it by then
        os.kill(busy, signal.SIGCONT)
        ended = [one.end(60) for one in together.processes]
    assert [one.returncode for one in ended] == [1, 1, -signal.SIGKILL, 1]
    said = [line for one in ended for line in one.stderr.splitlines()]
    assert said  # by process 0, and by those that have not heard it from there
    assert all("process 2 of 4 has ended" in line for line in said), said


@pytest.mark.parametrize(
    ("arguments", "size", "named"),
    [
        (["parallel.shards=null"], 2, "parallel.shards"),
        (["parallel.shards=2"], 4, "1, 2 processes"),
        (["-m"], 2, "-m"),
        (["mode=evaluate", "snapshot=x"], 2, "mode=evaluate"),
    ],
)
def test_what_several_processes_cannot_do_is_refused_once(
    arguments: list[str], size: int, named: str, conf: Callable[[str], Path]
) -> None:
    folder = conf("dense")
    with Together([*BASE, *arguments], size=size, cwd=folder) as together:
        ended = together.end()
    assert [one.returncode for one in ended] == [2] * size
    said = [line for one in ended for line in one.stderr.splitlines()]
    assert len(said) == 1
    assert named in said[0]
    assert [path.relative_to(folder).as_posix() for path in folder.rglob("*") if "conf" not in path.parts] == []


def test_shards_are_fixed_once_a_run_has_begun(conf: Callable[[str], Path], veles_run: Run) -> None:
    folder = conf("dense")
    begun = final_snapshot(run_together([*BASE, "decision.max_epochs=1"], size=1, cwd=folder))
    again = [*BASE, f"snapshot={begun}", "decision.max_epochs=2"]
    with Together([*again, "parallel.shards=4"], size=1, cwd=folder) as together:
        (refused,) = together.end()
    assert (refused.returncode, "parallel.shards" in refused.stderr) == (2, True)
    run_together([*again, "parallel.timeout=9"], size=1, cwd=folder)


MODULE = """
import os
import torch


class Counting(torch.nn.Linear):
    \"\"\"Counts its calls, in evaluation, too; one of its parameters is not always used.\"\"\"

    def __init__(self):
        super().__init__(784, 20)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.factor = torch.nn.Parameter(torch.ones(20))
        self.unused = torch.nn.Parameter(torch.ones(3))

    def forward(self, x):
        self.calls += 1
        values = super().forward(x.flatten(1))
        return values * self.factor if x.mean() > -0.745 else values


class Failing(Counting):
    def forward(self, x):
        if self.training and os.environ.get("RANK") == "1":
            raise ValueError("no more")
        return super().forward(x)


class Drifting(Counting):
    def forward(self, x):
        torch.rand(1) if os.environ.get("RANK") == "1" and not self.training else None
        return super().forward(x)
"""


def with_module(folder: Path, name: str) -> list[str]:
    (folder / "mods.py").write_text(MODULE)
    (folder / "conf" / "net.yaml").write_text(
        f"# @package _global_\n{DATA}layers:\n  fc: {{_target_: mods.{name}, learning_rate: 0.1, gradient_momentum: 0.5,"
        " weights_decay: 0.01}\n  out: {type: softmax, learning_rate: 0.1}\n"
    )
    return [*BASE, "decision.max_epochs=2"]


def test_what_modules_keep_and_leave_out(conf: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A parameter without a gradient stays as it is, though others decay, and one that some shards use is updated."""
    folder = conf("dense")
    arguments, states = with_module(folder, "Counting"), []
    monkeypatch.syspath_prepend(folder)
    for size in (1, 2):
        location = folder / final_snapshot(run_together(arguments, size=size, cwd=folder))
        restored = restore(location, trusted=["mods"]).workflow
        states.append(workflow_state(restored))
    assert differences(*states) == []
    module = restored.forwards[0].module
    assert module.unused.tolist() == [1, 1, 1]
    assert module.calls == 2 * 5  # one for each minibatch of training, and none for what was tried on a copy of it


@pytest.mark.parametrize(("name", "told"), [("Failing", "no more"), ("Drifting", "generator of process 1")])
def test_what_goes_wrong_in_one_process_ends_all(name: str, told: str, conf: Callable[[str], Path]) -> None:
    folder = conf("dense")
    with Together(with_module(folder, name), size=2, cwd=folder) as together:
        ended = together.end()
    assert [one.returncode for one in ended] == [1, 1]
    assert told in ended[0].stderr
    assert not list(folder.glob("outputs/**/*.pickle*"))
