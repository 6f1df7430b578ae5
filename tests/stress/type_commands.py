"""Types random settings, goes on with their runs by what is printed or typed again, and compares them with unbroken runs.

`python -m tests.stress.type_commands SEED COUNT` prints what the command lines came to. A run that goes on must have the same
records of metrics, in all digits, as the run that was not stopped, and a job of a sweep those of a run by itself. A setting
that should matter, and is taken, must change a record. A snapshot has the score that its name says.
"""

import json
import os
import random
import re
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from runner.targets import TARGET
from tests import forked
from tests.stress.rounds import Failure, Refused, naming, rounds

NETWORK = """
loader: {name: wine, minibatch_size: 10, normalization: pointwise, validation_ratio: 0.25}
layers:
  fc1: {type: all2all_tanh, output_sample_shape: 8, learning_rate: 0.3}
  dropout1: {type: dropout, dropout_ratio: 0.2}
  out: {type: softmax, output_sample_shape: 3, learning_rate: 0.3}
decision: {max_epochs: 3, fail_iterations: 20}
seed: 5
"""
FILES = {
    "conf/network.yaml": NETWORK,
    "conf/module.yaml": """
loader: {name: wine, minibatch_size: 24, normalization: pointwise, validation_ratio: 0.25}
model: {_target_: nets.Net, width: 6, dropout: 0.1}
loss: {_target_: torch.nn.CrossEntropyLoss, label_smoothing: 0.1}
optimizer: {_target_: torch.optim.AdamW, lr: 0.01}
decision: {max_epochs: 3, fail_iterations: 20}
seed: 5
""",
    "conf/own.yaml": NETWORK + "workflow: {_target_: noisy.NoisyWorkflow, noise: 0.2}\n",
    "conf/listed.yaml": """
defaults: [network, _self_]
layers:
- {name: fc1, type: all2all_tanh, "->": {output_sample_shape: 8}, "<-": {learning_rate: 0.1}}
- {name: out, type: softmax, "->": {output_sample_shape: 3}, "<-": {learning_rate: 0.1}}
""",
    "conf/coder.yaml": """
loader: {name: wine, minibatch_size: 10, validation_ratio: 0.25}
loss_function: mse
layers:
  fc1: {type: all2all_tanh, output_sample_shape: 4, learning_rate: 0.01}
  dropout1: {type: dropout, dropout_ratio: 0.2}
  out: {type: all2all, output_sample_shape: 13, learning_rate: 0.01}
decision: {max_epochs: 3, fail_iterations: 20}
seed: 5
""",
    "conf/setup/high.yaml": "# @package _global_\ndecision: {max_epochs: 4}\nlayers: {fc1: {learning_rate: 0.01}}\n",
    "conf/setup/low.yaml": "# @package _global_\nlayers: {fc1: {learning_rate: 0.001}}\n",
    "conf/recipe/a.yaml": "# @package _global_\nlayers: {dropout1: {dropout_ratio: 0.7}}\n",
    "conf/loader/small.yaml": "name: wine\nminibatch_size: 20\nvalidation_ratio: 0.5\n",
    "nets.py": """
import torch

class Net(torch.nn.Module):
    def __init__(self, width, dropout=0.0, slope=0.0):
        super().__init__()
        self.trunk = torch.nn.Sequential(torch.nn.Linear(13, width), torch.nn.BatchNorm1d(width))
        self.drop = torch.nn.Dropout(dropout)
        self.head = torch.nn.Linear(width, 3)
        self.slope = slope
    def forward(self, x):
        return self.head(self.drop(torch.nn.functional.leaky_relu(self.trunk(x), self.slope)))
""",
    "noisy.py": Path("examples/noisy.py").read_text(),
}
CHANGES = (
    *("loader.minibatch_size=12", "loader.shuffle_limit=1", "loader.split_seed=3", "loader.normalization=standardize"),
    *("loader.train_size=90", "loader.validation_size=20", "loader.validation_ratio=0.4"),
    *("precision=float64", "seed=7", "seed=${loader.minibatch_size}", "ema=0.9", "loader=small", "freeze=['*bias']"),
    *("metrics.every=3", "metrics={every: 2, gradient_norm: true}", "metrics.gradient_norm=true", "metrics.every=1"),
)
"""Settings that change what is recorded, wherever they are taken."""
SCORES = (
    "scores.f1={_target_: torchmetrics.F1Score, task: multiclass, num_classes: 3}",
    "scores={acc: {_target_: torchmetrics.Accuracy, task: multiclass, num_classes: 3}}",
)
OPTIMIZERS = (
    *("optimizer=adamw", "optimizer=sgd", "optimizer=adam", "optimizer={_target_: torch.optim.RMSprop, lr: 0.02}"),
    "optimizer._target_=torch.optim.NAdam",
)
OF_OPTIMIZERS = (
    *("optimizer.clip_norm=0.1", "optimizer.accumulate=3", "optimizer.clip_value=0.01"),
    *(
        "optimizer.groups=[{pattern: '*bias', lr: 0.2}]",
        "optimizer.weight_decay=0.01",
        "+optimizer.lr=0.05",
        "optimizer.lr=${loader.validation_ratio}",
    ),
    "scheduler={_target_: torch.optim.lr_scheduler.CosineAnnealingLR, T_max: 9}",
    "scheduler={_target_: torch.optim.lr_scheduler.CosineAnnealingLR, T_max: '${decision.max_epochs}'}",
    "scheduler={_target_: torch.optim.lr_scheduler.StepLR, step_size: 2, by_minibatch: true}",
    "scheduler={_target_: torch.optim.lr_scheduler.OneCycleLR, max_lr: 0.1, total_steps: 900, by_minibatch: true}",
)
LAYERS = (
    *("setup=low", "+setup=low", "recipe=a", "+recipe=a", "~layers.fc1.learning_rate", "layers.fc1.learning_rate=0.2"),
    *("layers.out.learning_rate=${layers.fc1.learning_rate}", "layers.fc1.weights_stddev=0.3"),
    *("layers.dropout1.dropout_ratio=0.4", "~layers.dropout1", "layers.fc1.output_sample_shape=${loader.minibatch_size}"),
    *("layer_defaults.weights_decay=0.001", "layer_defaults={gradient_momentum: 0.5}", "+layer_defaults.gradient_momentum=0.3"),
    "layers.fc1={type: all2all_relu, output_sample_shape: 6, learning_rate: 0.1}",
    *("+layers.fc1.factor_ortho=0.01", "++layers.fc1.learning_rate=0.15", "layers.fc1.learning_rate_bias=0.01"),
    *("lr_adjuster.policy=exp", "lr_adjuster={policy: inv, gamma: 0.1}", "lr_adjuster={policy: step_exp, gamma: 0.5, step: 1}"),
    *("lr_adjuster={policy: cosine, period: '${decision.max_epochs}'}", "lr_adjuster.by_minibatch=true"),
    *("layers.fc1.type=all2all_sigmoid", "layers.fc1.include_bias=false", "layers.fc1.weights_filling=gaussian"),
    *("layers.fc1.weights_decay_bias=0.1", "layers.fc1.l1_vs_l2=0.5", "layers.fc1.gradient_momentum_bias=0.4"),
)
OTHERS = (
    "scheduler={_target_: torch.optim.lr_scheduler.ReduceLROnPlateau, patience: 0, factor: 0.5}",
    *("setup=high", "decision.fail_iterations=50", "decision.monitor=loss", "decision.on_nan=ignore", "threads=1"),
    *("rollback.fail_iterations=1", "snapshotter.compression=none", "snapshotter.directory=sn", "snapshotter.prefix='a b'"),
    *("snapshotter.keep_last=1", "snapshotter.keep_best=1", "snapshotter.interval=2", "snapshotter.at_most_lost=1"),
    *("workflow.name=x", "workflow.name='${seed} %d=1'", "snapshotter.compression=zst", "snapshotter.compression=xz"),
    *("decision.mode=max", "snapshotter.keep_code=false", "snapshotter.blocking=true", "data=null", "device=cpu"),
    *("plotters=null", "snapshotter.compression_level=1", "loader.name=wine", "snapshotter.workers=1", "snapshotter.mode=0600"),
    *("snapshotter.max_overhead=0.5", "snapshotter.on_signal={USR1: continue}", "snapshotter.spool=sp", "report=null"),
)
"""Settings that may leave the records as they are."""
OF_CONFS = {
    "network": LAYERS,
    "listed": (),
    "coder": LAYERS,
    "own": (*LAYERS, "workflow.noise=0.25", "workflow={_target_: noisy.NoisyWorkflow, noise: 0.9}"),
    "module": (
        *("model.width=9", "model.dropout=0.5", "+model.slope=0.3", "loss.label_smoothing=0.3", "~loss.label_smoothing"),
        *("optimizer.lr=0.03", "optimizer.betas=[0.8,0.9]", "freeze=['*trunk*']", "model={_target_: nets.Net, width: 4}"),
        *("loss={_target_: torch.nn.NLLLoss}", "++model.width=${loader.minibatch_size}"),
    ),
}
SWEPT = {
    "network": ("layers.fc1.learning_rate=0.1,0.2", "layers.fc1.type=all2all_tanh,all2all_relu", "setup=low,high"),
    "listed": ("loader.minibatch_size=9,12",),
    "coder": ("layers.fc1.output_sample_shape=3,7", "layer_defaults.gradient_momentum=0,0.5"),
    "own": ("workflow.noise=0.1,0.3", "workflow.name=a,b"),
    "module": ("model.width=5,6", "optimizer=adamw,sgd", "optimizer.lr=0.1,0.01", "loss.label_smoothing=0,0.2"),
}
SWEPT_ANYWHERE = (
    *("seed=1,2", "precision=float32,float64", "ema=null,0.9", "decision.max_epochs=1,2", "snapshotter.compression=xz,bz2"),
)
OF_LENGTH = "${decision.max_epochs}"
TWICE = " times: "
"""What is told of a setting that counts for nothing, since its key is typed again."""
WRONG, STOPPED = 2, 75
"""Exit codes."""
QUIET = ("plotters=false", "report=false")


class Place:
    """A folder with confs and modules, in which command lines are typed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        for name, text in FILES.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def type(self, words: Sequence[str]) -> tuple[CompletedProcess[str], Path]:
        """Returns how a run ends, and its folder."""
        self.count += 1
        out = self.folder / f"runs/{self.count}"
        words = [*words, *QUIET, f"hydra.{'sweep' if '-m' in words else 'run'}.dir={out}"]
        return forked.run(words, cwd=self.folder, environment=os.environ, timeout=300), out

    def records(self, words: Sequence[str]) -> list[dict[str, Any]]:
        """Returns the records of a run.

        Raises:
            Refused: it is refused.
        """
        done, out = self.type(words)
        check(done)
        return records(out)

    def stopped(self, words: Sequence[str], rows: int) -> tuple[CompletedProcess[str], Path]:
        """Stops a run as soon as so many records are written, or later."""
        self.count += 1
        out = self.folder / f"runs/{self.count}"
        log = out / "metrics.jsonl"
        with forked.Started([*words, *QUIET, f"hydra.run.dir={out}"], cwd=self.folder) as started:
            while started.process.exitcode is None and not (log.exists() and log.read_text().count("\n") >= rows):
                started.process.join(0.002)
            started.send_signal(signal.SIGTERM)
            return started.end(300), out


def records(folder: Path) -> list[dict[str, Any]]:
    """Returns the metrics of a run without what the clock says."""
    path = folder / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [{name: value for name, value in row.items() if name not in ("seconds", "samples_per_second")} for row in rows]


def printed(text: str, what: str) -> list[str] | None:
    """Returns the arguments of a command that is printed to be typed."""
    found = re.search(rf"^{what}: veles-run (.*)$", text, re.MULTILINE)
    return shlex.split(found[1]) if found else None


def check(done: CompletedProcess[str], *codes: int) -> None:
    """Raises Refused if a command line is refused, and Failure if the run ends with another exit code than 0 and these."""
    if done.returncode == WRONG or TWICE in done.stderr:
        raise Refused(done.stderr)
    if done.returncode not in (0, *codes):
        raise Failure(f"{shlex.join(done.args)} fails: {done.stderr}")


def go_on(place: Place, words: list[str], rng: random.Random, way: str) -> str:
    """Ends or stops a run, goes on with it, and compares it with one that was not stopped; returns what was done."""
    if way.startswith("stop"):
        whole = [*words, "decision.max_epochs=4"]
        done, _ = place.stopped(whole, rng.randint(1, 40))
    else:
        done, _ = place.type([*words, "decision.max_epochs=2"])
    check(done, STOPPED)
    command = printed(done.stdout + done.stderr, "Continue" if done.returncode else "Extend")
    if command is None:
        return "nothing to go on with"
    if done.returncode == 0:
        if any(OF_LENGTH in word for word in words):
            return "of another length"  # which is another run than one that is extended
        whole = [*words, next(word for word in command if word.startswith("decision.max_epochs="))]
    if way.endswith("again"):
        command = [*whole, next(word for word in command if word.startswith("snapshot="))]
    elif way == "auto":
        command = [*whole, "snapshot=auto"]
    unbroken = place.records(whole)
    again, out = place.type(command)
    if again.returncode:
        raise Failure(f"{shlex.join(command)} is refused: {again.stderr}")
    if (rows := records(out)) != unbroken:
        at = next((pair for pair in zip(rows, unbroken, strict=False) if pair[0] != pair[1]), (len(rows), len(unbroken)))
        raise Failure(f"{shlex.join(command)} has other records: {at}")
    return way


def stands_alone(word: str, words: Sequence[str]) -> bool:
    """Whether no other word may say all that a word says: an option, or a mapping, of the same section."""
    same = [other for other in words if section(other) == section(word)]
    return len(same) == 1 or all("." in other.partition("=")[0] and "={" not in other for other in same)


def section(word: str) -> str:
    """Returns the section of the configuration that a word sets."""
    first = word.lstrip("+~").partition("=")[0].partition(".")[0]
    return "layers" if first in ("setup", "recipe", "layer_defaults") else first


def leave_out(place: Place, words: list[str], rng: random.Random, way: str) -> str:
    """Compares a run with one without a setting that should matter."""
    matter = [word for word in words[1:] if word not in OTHERS and stands_alone(word, words[1:])]
    full = place.records([*words, "decision.max_epochs=2"])
    if not matter:
        return "nothing to leave out"
    word = rng.choice(matter)
    if place.records([*(other for other in words if other != word), "decision.max_epochs=2"]) == full:
        raise Failure(f"{word} counts for nothing")
    return way


def sweep(place: Place, words: list[str], rng: random.Random, way: str) -> str:
    """Compares the jobs of a sweep with runs by themselves."""
    swept = rng.choice((*SWEPT[words[0]], *SWEPT_ANYWHERE))
    key, _, values = swept.partition("=")
    whole = [*words, swept] if "max_epochs" in swept else [*words, "decision.max_epochs=2", swept]
    rng.shuffle(whole)
    done, out = place.type(["-m", *whole])
    check(done)
    for number, value in enumerate(values.split(",")):
        if place.records([f"{key}={value}" if word == swept else word for word in whole]) != records(out / str(number)):
            raise Failure(f"job {number} of -m {shlex.join(whole)} has other records than the run by itself")
    return way


def evaluate(place: Place, words: list[str], rng: random.Random, way: str) -> str:
    """Compares the score of a snapshot with the one in its name."""
    done, _ = place.type([*words, "decision.max_epochs=2"])
    check(done)
    paths = re.findall(r"^Snapshot written: (.+) \([0-9.]+ k?B -> ", done.stdout, re.MULTILINE)
    path = rng.choice([path for path in paths if (place.folder / path).exists()])
    needed = [word for word in words if TARGET in word or word.startswith("workflow.name=")]
    scored, _ = place.type([words[0], *needed, "mode=evaluate", f"snapshot={path}", "output=scores.json"])
    if scored.returncode:
        raise Failure(f"to evaluate {path} is refused: {scored.stderr}")
    scores = json.loads((place.folder / "scores.json").read_text())
    (told,) = re.findall(r"_validation_([0-9.]+)_", path)
    if f"{scores['errors']['validation']:.{len(told.partition('.')[2])}f}" != told:
        raise Failure(f"{path} has the scores {scores}")
    return way


WAYS: dict[str, Callable[[Place, list[str], random.Random, str], str]] = {
    **dict.fromkeys(("extend", "again", "auto", "stop", "stop again"), go_on),
    "leave out": leave_out,
    "sweep": sweep,
    "evaluate": evaluate,
}
"""What is done with a command line, each so often."""


def chosen(conf: str, rng: random.Random) -> list[str]:
    """Returns a few settings for a conf, in any order."""
    pool = [*CHANGES, *OTHERS, *OF_CONFS[conf], *OF_CONFS[conf], *(() if conf == "coder" else SCORES)]
    words = rng.sample(pool, rng.randint(1, 4))
    if conf == "module":
        words += rng.sample(OPTIMIZERS, rng.randint(0, 1)) + rng.sample(OF_OPTIMIZERS, rng.randint(0, 2))
    elif rng.random() < 0.3:
        words += [rng.choice(OPTIMIZERS), *rng.sample(OF_OPTIMIZERS, rng.randint(0, 2))]
    rng.shuffle(words)
    return words


def play(folder: Path, rng: random.Random, done: list[str]) -> None:
    conf, way = rng.choice(list(OF_CONFS)), rng.choice(list(WAYS))
    words = [conf, *chosen(conf, rng)]
    with naming(f"{way} of {shlex.join(words)}"):
        done.append(WAYS[way](Place(folder), words, rng, way))


if __name__ == "__main__":
    sys.exit(rounds(play, *map(int, sys.argv[1:3])))
