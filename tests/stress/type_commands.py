"""Types random settings, goes on with their runs by what is printed or typed again, and compares them with unbroken runs.

`python -m tests.stress.type_commands SEED COUNT` prints what the command lines came to. A run that goes on must have the records
of metrics, in all digits, of the run that was not stopped. A setting that should matter, and is taken, must change a record.
"""

import json
import os
import random
import re
import shlex
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from tests import forked

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
    *("loader.minibatch_size=7", "loader.shuffle_limit=1", "loader.split_seed=3", "loader.normalization=standardize"),
    *("loader.train_size=90", "loader.validation_size=20", "loader.validation_ratio=0.4"),
    *("precision=float64", "seed=7", "seed=${loader.minibatch_size}", "ema=0.9", "loader=small", "freeze=['*bias']"),
    *("metrics.every=3", "metrics={every: 2, gradient_norm: true}", "metrics.gradient_norm=true", "seed=${decision.fail_iterations}"),
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
    *("optimizer.clip_norm=0.1", "optimizer.accumulate=3", "optimizer.clip_value=0.01", "optimizer.groups={'*bias': {lr: 0.2}}"),
    *("optimizer.weight_decay=0.01", "+optimizer.lr=0.05", "optimizer.lr=${loader.validation_ratio}", "optimizer.clip_norm=1"),
    "scheduler={_target_: torch.optim.lr_scheduler.CosineAnnealingLR, T_max: 9}",
    "scheduler={_target_: torch.optim.lr_scheduler.CosineAnnealingLR, T_max: '${decision.max_epochs}'}",
    "scheduler={_target_: torch.optim.lr_scheduler.StepLR, step_size: 2, by_minibatch: true}",
    "scheduler={_target_: torch.optim.lr_scheduler.OneCycleLR, max_lr: 0.1, total_steps: 90, by_minibatch: true}",
)
LAYERS = (
    *("setup=low", "+setup=low", "recipe=a", "+recipe=a", "~layers.fc1.learning_rate", "layers.fc1.learning_rate=0.2"),
    *("layers.out.learning_rate=${layers.fc1.learning_rate}", "layers.fc1.weights_stddev=0.3"),
    *("layers.dropout1.dropout_ratio=0.4", "~layers.dropout1", "layers.fc1.output_sample_shape=${loader.minibatch_size}"),
    *("layer_defaults.weights_decay=0.001", "layer_defaults={gradient_momentum: 0.5}", "+layer_defaults.gradient_momentum=0.3"),
    "layers.fc1={type: all2all_relu, output_sample_shape: 6, learning_rate: 0.1}",
    *("+layers.fc1.factor_ortho=0.01", "++layers.fc1.learning_rate=0.15", "layers.fc1.learning_rate_bias=0.01"),
    *("lr_adjuster.policy=exp", "lr_adjuster={policy: inv, gamma: 0.1}", "lr_adjuster={policy: step_exp, gamma: 0.5, step: 2}"),
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
OF_LENGTH = "${decision.max_epochs}"
QUIET = ("plotters=false", "report=false")


class Failure(Exception):
    """A command line that did not hold what the promise says."""


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
        words = [*words, *QUIET, f"hydra.run.dir={out}"]
        return forked.run(words, cwd=self.folder, environment=os.environ, timeout=300), out

    def records(self, words: Sequence[str]) -> list[dict[str, Any]] | None:
        """Returns the records of a run, or None if it is refused."""
        done, out = self.type(words)
        return None if done.returncode else records(out)

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
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in ("seconds", "samples_per_second")} for row in rows]


def printed(text: str, what: str) -> list[str] | None:
    """Returns the arguments of a command that is printed to be typed."""
    found = re.search(rf"^{what}: veles-run (.*)$", text, re.MULTILINE)
    return shlex.split(found[1]) if found else None


def check(place: Place, rng: random.Random, found: Counter[str]) -> None:
    """Types one random command line, and goes on in one of the ways, or leaves a setting out."""
    conf = rng.choice(list(OF_CONFS))
    words = [conf, *chosen(conf, rng)]
    way = rng.choice(("extend", "again", "auto", "stop", "stop again", "leave out"))
    if way == "leave out":
        return leave_out(place, words, rng, found)
    if way.startswith("stop"):
        whole = [*words, "decision.max_epochs=4"]
        done, out = place.stopped(whole, rng.randint(1, 40))
    else:
        done, out = place.type([*words, "decision.max_epochs=2"])
    if done.returncode not in (0, 75):
        found["refused"] += 1
        if os.environ.get("WHY"): print(words, done.stderr[-300:])
        return
    snapshot = printed(done.stdout + done.stderr, "Continue" if done.returncode else "Extend")
    if snapshot is None:
        found["nothing to go on with"] += 1
        return
    if done.returncode == 0:
        if any(OF_LENGTH in word for word in words):
            found["of another length"] += 1  # which is another run than one that is extended
            return
        whole = [*words, next(word for word in snapshot if word.startswith("decision.max_epochs="))]
    if way in ("extend", "stop"):
        again = snapshot
    elif way == "auto":
        again = [*whole, "snapshot=auto"]
    else:
        again = [*whole, next(word for word in snapshot if word.startswith("snapshot="))]
    unbroken = place.records(whole)
    next_done, next_out = place.type(again)
    if unbroken is None and next_done.returncode:
        found["no longer run"] += 1
    elif unbroken is None or next_done.returncode:
        raise Failure(f"{way}: {words}: one of {whole} and {again} is refused: {next_done.stderr[-600:]}")
    elif (rows := records(next_out)) != unbroken:
        at = next((pair for pair in zip(rows, unbroken, strict=False) if pair[0] != pair[1]), (len(rows), len(unbroken)))
        raise Failure(f"{way}: {words}: {again} has other records: {at}")
    else:
        found[way] += 1


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


def leave_out(place: Place, words: list[str], rng: random.Random, found: Counter[str]) -> None:
    """Compares a run with one without a setting that should matter."""
    matter = [word for word in words[1:] if word not in OTHERS]
    full = place.records([*words, "decision.max_epochs=2"])
    if full is None or not matter:
        found["refused"] += 1
        return
    word = rng.choice(matter)
    less = place.records([*[other for other in words if other != word], "decision.max_epochs=2"])
    if less == full:
        raise Failure(f"{word} of {words} counts for nothing")
    found["leave out"] += 1


def main(seed: int, count: int) -> int:
    rng = random.Random(seed)
    found: Counter[str] = Counter()
    failures = []
    with tempfile.TemporaryDirectory() as name:
        place = Place(Path(name))
        for number in range(count):
            try:
                check(place, rng, found)
            except Failure as failure:
                failures.append(f"{number}: {failure}")
    for failure in failures:
        print(failure, file=sys.stderr)
    print(dict(found))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
