"""What a run leaves in its folder for programs: `metrics.jsonl` and `result.json`."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from runner.metrics import read_metrics, read_result
from runner.snapshots.restoring.restore import restore
from tests.conftest import Run
from tests.system.test_full_disk import mounted

BASE = ("mnist_small", "loader.train_size=600", "loader.validation_size=200", "seed=7", "plotters=false", "hydra.run.dir=out")
TIMES = ("seconds", "samples_per_second")


def rows(folder: Path, kind: str = "") -> list[dict[str, Any]]:
    """Returns the rows as Python's own JSON reads them, without times; each line must be one."""
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: row[name] for name in row if name not in TIMES} for row in found if kind in row["kind"]]


def test_a_run_has_rows_and_a_result(veles_run: Run, tmp_path: Path) -> None:
    veles_run(*BASE, "decision.max_epochs=3", "metrics.every=4", "metrics.gradient_norm=true")
    epochs, minibatches = rows(tmp_path / "out", "epoch"), rows(tmp_path / "out", "minibatches")
    assert [(row["epoch"], row["split"], row["minibatch"]) for row in epochs] == [
        (epoch, split, 10 * epoch) for epoch in (1, 2, 3) for split in ("train", "validation")
    ]
    assert [row["minibatch"] for row in minibatches] == [4, 8, 12, 16, 20, 24, 28]
    assert [row["epoch"] for row in rows(tmp_path / "out")] == [1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 3]
    # Rows 12 to 20 cover the second epoch's minibatches.
    losses = [row["loss"] * weight for row, weight in zip(minibatches[2:5], (2, 4, 4), strict=True)]
    assert sum(losses) / 10 == pytest.approx(epochs[2]["loss"])
    assert all(row["gradient_norm"] > 0 for row in [*minibatches, *epochs[::2]])
    assert all(row["seconds"] > 0 and row["samples_per_second"] > 0 for row in read_metrics(tmp_path / "out"))

    result = json.loads((tmp_path / "out" / "result.json").read_text())
    best = min(epochs[1::2], key=lambda row: row["error"])
    assert (result["status"], result["exit_code"], result["seed"], result["error"]) == ("finished", 0, 7, None)
    assert (result["objective"], result["best_epoch"], result["best"]["validation"]["loss"]) == (
        best["error"],
        best["epoch"],
        best["loss"],
    )
    assert "metrics.every=4" in result["overrides"]
    best_snapshot, last = (restore(tmp_path / result[name]) for name in ("best_snapshot", "last_snapshot"))
    assert best_snapshot.header.epoch == best["epoch"]
    assert [{**row} for row in last.history] == [{name: row[name] for name in row if name != "kind"} for row in epochs]


def test_a_run_that_goes_on_elsewhere_has_all_rows(veles_run: Run, tmp_path: Path) -> None:
    """The folder of the first part is gone, and what was measured changes on the way."""
    veles_run(*BASE, "decision.max_epochs=4", "metrics.every=4")
    whole = rows(tmp_path / "out")
    snapshot = tmp_path / "kept.pickle.gz"
    veles_run(*BASE[:-1], "hydra.run.dir=first", "decision.max_epochs=2", "metrics.every=4")
    (tmp_path / read_result(tmp_path / "first")["last_snapshot"]).rename(snapshot)
    (tmp_path / "out" / "metrics.jsonl").write_text("of another run")
    veles_run(f"snapshot={snapshot}", "decision.max_epochs=4", "hydra.run.dir=out", "snapshotter.directory=out")
    assert rows(tmp_path / "out") == whole
    assert [row["seconds"] is None for row in read_metrics(tmp_path / "out")] == [True] * 9 + [False] * 9


def test_a_failed_run_says_so(veles_run: Run, tmp_path: Path) -> None:
    veles_run(*BASE, "layers.fc1.learning_rate=1e38", "layers.out.learning_rate=1e38", code=1)
    result = read_result(tmp_path / "out")
    assert (result["status"], result["exit_code"], result["objective"]) == ("failed", 1, None)
    assert "epoch 1" in result["error"]
    assert {row["loss"] is None or row["loss"] > 0 for row in rows(tmp_path / "out")} == {True}


def test_jobs_of_a_sweep_have_theirs_and_an_evaluation_has_one_where_it_has_a_folder(veles_run: Run, tmp_path: Path) -> None:
    veles_run("-m", *BASE[:-1], "decision.max_epochs=1,2", "hydra.sweep.dir=sweep")
    results = [read_result(tmp_path / "sweep" / job) for job in "01"]
    assert [result["best_epoch"] for result in results] == [1, 2]
    assert [len(rows(tmp_path / "sweep" / job)) for job in "01"] == [2, 4]
    snapshot = results[1]["last_snapshot"]
    veles_run(f"snapshot={snapshot}", "mode=evaluate", "hydra.run.dir=score")
    score = read_result(tmp_path / "score")
    assert (score["mode"], score["scores"]["validation"]) == ("evaluate", results[1]["best"]["validation"]["error"])
    veles_run(f"snapshot={snapshot}", "mode=evaluate")
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("options", ["size=64k", "ro"])
def test_a_disk_that_takes_no_metrics_costs_a_warning(options: str, veles_run: Run, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=64k") as disk:
        (disk / "run").mkdir()
        places = ("hydra.run.dir=disk/run", "snapshotter.directory=good", "hydra.output_subdir=null", "decision.max_epochs=3")
        if options == "ro":
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        else:
            (disk / "filler").write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - 8192))
        output = veles_run(*BASE[:-1], *places, "hydra/job_logging=stdout", "metrics.every=1")
        told = [line for line in (output.stdout + output.stderr).splitlines() if "metrics cannot be written" in line]
        assert len(told) == 1, output.stdout + output.stderr
        assert ("No space" if options != "ro" else "Read-only") in told[0]
    assert len(list((tmp_path / "good").glob("*.pickle*"))) >= 1
