"""What is typed for a section of the conf counts, or is refused; snapshots and jobs are ranked by what is to be high or low."""

import json
import re
from pathlib import Path

import pandas
import yaml

from tests.conftest import Run

INLINE = """
defaults: [mnist_small, _self_]
loader: {train_size: 100, validation_size: 50}
optimizer: {_target_: torch.optim.RMSprop, lr: 0.01, alpha: 0.9}
decision: {max_epochs: 1}
seed: 1
"""


def test_an_option_of_another_class_takes_the_place_of_what_the_conf_has(veles_run: Run, tmp_path: Path) -> None:
    (tmp_path / "conf" / "tuned").mkdir(parents=True)
    (tmp_path / "conf" / "inline.yaml").write_text(INLINE)
    (tmp_path / "conf" / "optimizer").mkdir()
    (tmp_path / "conf" / "optimizer" / "slow.yaml").write_text("lr: 0.0001\n")
    (tmp_path / "conf" / "after.yaml").write_text("defaults: [inline, optimizer: sgd, _self_]\noptimizer: {lr: 0.5}\n")
    sgd = {"_target_": "torch.optim.SGD", "lr": 0.01, "momentum": 0.9}
    for words, wanted in (
        (["inline", "optimizer=sgd"], sgd),
        (["inline", "optimizer=sgd", "optimizer.lr=2"], sgd | {"lr": 2}),
        (["inline", "optimizer=none"], {}),
        (["inline", "optimizer=slow"], {"_target_": "torch.optim.RMSprop", "lr": 0.0001, "alpha": 0.9}),
        (["after"], sgd | {"lr": 0.5}),
        (["after", "optimizer=adamw"], {"_target_": "torch.optim.AdamW", "lr": 0.5}),
    ):
        assert yaml.safe_load(veles_run(*words, "--cfg", "job").stdout)["optimizer"] == wanted, words
    veles_run("-m", "inline", "optimizer=none,adamw", "hydra.sweep.dir=sweep", "report=false", "plotters=false")
    veles_run("inline", "~optimizer", "hydra.run.dir=without")
    last = [
        json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[-1])
        for name in ("sweep/0", "without", "sweep/1")
    ]
    assert last[0]["loss"] == last[1]["loss"] != last[2]["loss"]


def test_an_empty_mapping_that_changes_nothing_is_refused(veles_run: Run, tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "inline.yaml").write_text(INLINE)
    veles_run("inline", "hydra.run.dir=run")
    snapshot = "snapshot=run/inline_current.5.pickle.gz"
    for words in (["inline"], ["inline", snapshot, "mode=evaluate"], [snapshot, "decision.max_epochs=2"]):
        line = veles_run(*words, "optimizer={}", code=2).stderr
        assert "optimizer={} changes nothing, since it is merged into what is there: ~optimizer takes that away" in line
    assert "layers.fc1={}" in veles_run("inline", "layers={fc1: {}}", code=2).stderr
    veles_run("inline", "model={}", "layer_defaults={}")


SCORED = """
defaults: [mnist_small, _self_]
loader: {train_size: 300, validation_size: 100}
scores: {f1: {_target_: torchmetrics.F1Score, task: multiclass, num_classes: 10, average: macro}}
decision: {monitor: f1, max_epochs: 3}
seed: 1
"""


def test_snapshots_are_ranked_by_what_their_run_was_to_make_high(veles_run: Run, tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "scored.yaml").write_text(SCORED)
    veles_run("scored", "hydra.run.dir=run")
    found = {
        path.name: float(re.search(r"validation_([0-9.]+)_", path.name)[1]) for path in (tmp_path / "run").glob("*_train_*.gz")
    }
    assert len(set(found.values())) > 1
    paths = ",".join(f"run/{name}" for name in sorted(found, key=found.get))
    done = veles_run("-m", "scored", "mode=evaluate", f"snapshot={paths}", "hydra.sweep.dir=sweep", "report=false")
    table = pandas.read_csv(tmp_path / "sweep" / "sweep.csv")
    assert list(table["objective"].round(4)) == sorted(-value for value in found.values())
    assert set(table["measure"]) == {"validation f1"}
    best = max(found, key=found.get)
    assert re.search(r"^Best: job \d+ \(snapshot=run/(\S+)\)", done.stdout, re.MULTILINE)[1] == best


def test_jobs_that_are_measured_by_different_things_have_no_best(veles_run: Run, tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "scored.yaml").write_text(SCORED)
    swept = ("decision.monitor=f1,loss,null", "decision.max_epochs=1", "hydra.sweep.dir=sweep", "plotters=false")
    done = veles_run("-m", "scored", *swept)
    assert "Best:" not in done.stdout
    assert "measured by different things: validation f1, validation loss, validation error" in done.stdout
    table = pandas.read_csv(tmp_path / "sweep" / "sweep.csv")
    assert list(table["measure"]) == ["validation f1", "validation loss", "validation error"]
    assert json.loads((tmp_path / "sweep" / "sweep.json").read_text())["best"] is None
    assert "Best objective" not in (tmp_path / "sweep" / "report.html").read_text()
