"""What a sweep has come to is told: as a table, and in files that other programs read."""

import base64
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pandas
import pytest
from PIL import Image

from runner.snapshots.restoring.restore import restore
from tests.conftest import VELES_RUN, Run

SMALL = ("conf=mnist_small", "loader.train_size=200", "loader.validation_size=100", "plotters=false")
SHORT = (*SMALL, "decision.max_epochs=1")


def test_codecs_are_compared(veles_run: Run, tmp_path: Path) -> None:
    drawn = (text for text in SHORT if text != "plotters=false")
    output = veles_run("-m", *drawn, "snapshotter.compression=gz,none,xz", "hydra.sweep.dir=sweep").stdout
    head, *rows = output[output.index("job  compression") :].splitlines()[:4]
    assert head.split("  ")[-1] == "status"
    assert [row.split()[:2] for row in rows] == [["0", "gz"], ["1", "none"], ["2", "xz"]]
    assert all(row.endswith("finished") for row in rows)
    assert re.search(r"^Best: 3 jobs have the same error; the first of them is job 0  sweep/0/\S+\.gz$", output, re.MULTILINE)
    table = pandas.read_csv(tmp_path / "sweep" / "sweep.csv")
    assert list(table["snapshotter.compression"]) == ["gz", "none", "xz"]
    for row in table.itertuples():
        assert row.stored_bytes == os.path.getsize(tmp_path / row.snapshot)
        assert row.restore_seconds > 0
    (objective,) = set(table["objective"])
    assert f"Best validation error: {objective:.2f} %" in output
    jobs = json.loads((tmp_path / "sweep" / "sweep.json").read_text())["jobs"]
    assert [job["overrides"]["snapshotter.compression"] for job in jobs] == ["gz", "none", "xz"]
    assert output.count("was drawn for all jobs of the sweep") == 1
    assert "Picture: sweep/sweep.png" in output.splitlines()
    with Image.open(tmp_path / "sweep" / "sweep.png") as picture:
        assert picture.width > 1000  # three panels
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 100
    encoded = base64.b64encode((tmp_path / "sweep" / "sweep.png").read_bytes()).decode()
    assert encoded in (tmp_path / "sweep" / "report.html").read_text()


def test_the_best_job_comes_first_and_those_that_fail_last(veles_run: Run, tmp_path: Path) -> None:
    swept = ("loader.minibatch_size=0,10", "layers.out.learning_rate=1e-9,0.1")
    done = veles_run("-m", *SHORT, *swept, "seed=1", "hydra.sweep.dir=sweep", "report=false", code=2)
    assert all(line.startswith("veles-run: job ") for line in done.stderr.splitlines())
    table = pandas.read_csv(tmp_path / "sweep" / "sweep.csv")
    assert sorted(table["job"][:2]) == [2, 3]
    assert table["objective"][0] < table["objective"][1]
    assert list(table["job"][2:]) == [0, 1]
    assert list(table["objective"].isna()) == [False, False, True, True]
    best = json.loads((tmp_path / "sweep" / "sweep.json").read_text())["best"]
    assert best == str(table["job"][0])
    rate = table["layers.out.learning_rate"][0]
    told = re.findall(r"^Best: job (\d) \(loader.minibatch_size=10 layers.out.learning_rate=(\S+)\)", done.stdout, re.MULTILINE)
    assert [(job, float(value)) for job, value in told] == [(best, rate)]
    assert not {"report.html", "sweep.png"} & {path.name for path in (tmp_path / "sweep").iterdir()}


def test_snapshots_are_compared_on_other_data(veles_run: Run, tmp_path: Path) -> None:
    veles_run("-m", *SHORT, "seed=1,2", "hydra.sweep.dir=sweep")
    snapshots = [f"sweep/{job}/mnist_small_current.5.pickle.gz" for job in "01"]
    scored = ("-m", f"snapshot={','.join(snapshots)}", "mode=evaluate", "loader.validation_size=300", "hydra.sweep.dir=scored")
    output = veles_run(*scored).stdout
    told = {path: float(error) for path, error in re.findall(r"^(\S+): validation ([\d.]+) %$", output, re.MULTILINE)}
    table = pandas.read_csv(tmp_path / "scored" / "sweep.csv")
    assert dict(zip(table["typed.snapshot"], table["objective"].round(2), strict=True)) == told
    assert sorted(told) == snapshots
    assert list(table["objective"]) == sorted(told.values())


@pytest.mark.parametrize(
    "launcher", [("joblib", "hydra.launcher.n_jobs=2"), ("submitit_local", "hydra.launcher.timeout_min=9")]
)
def test_jobs_in_other_processes_stop_with_the_sweep_and_go_on(
    launcher: tuple[str, str], veles_run: Run, tmp_path: Path
) -> None:
    """The process that the sweep was started from is stopped alone; the jobs, which would go on for minutes, hear of it."""
    sweep = ("-m", *SMALL, "decision.fail_iterations=9999", "layers.fc1.learning_rate=0.1,0.2", "seed=1")
    elsewhere = (f"hydra/launcher={launcher[0]}", launcher[1], "decision.max_epochs=9999")
    with subprocess.Popen([*VELES_RUN, *sweep, *elsewhere], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        while len(list(tmp_path.glob("multirun/*/*/*/*/metrics.jsonl"))) < 2:
            assert process.poll() is None
            time.sleep(0.1)
        process.terminate()
        output = process.communicate()[0]
    assert process.returncode == 75
    stopped = results(tmp_path)
    assert [result["status"] for result in stopped] == ["stopped"] * 2
    assert re.search("^Continue the sweep: veles-run .*hydra/launcher=", output, re.MULTILINE)
    reached = [restore(tmp_path / result["last_snapshot"]).header for result in stopped]
    limit = max(header.epoch for header in reached) + 2
    veles_run(*sweep, f"decision.max_epochs={limit}", "snapshot=auto")
    # Each has gone on from its own snapshot.
    ends = [restore(tmp_path / result["last_snapshot"]).header for result in results(tmp_path)[2:]]
    assert [(end.epoch, end.log_id) for end in ends] == [(limit, header.log_id) for header in reached]


@pytest.mark.parametrize("typed", ["nodes=2", "tasks_per_node=2"])
def test_a_job_without_shards_is_one_process(typed: str, veles_run: Run, tmp_path: Path) -> None:
    done = veles_run("-m", *SHORT, "seed=1,2", "hydra/launcher=submitit_slurm", f"hydra.launcher.{typed}", code=2)
    assert done.stderr.startswith(f"veles-run: hydra.launcher.{typed}: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_process_of_jobs_that_is_killed_is_told_in_one_line(tmp_path: Path) -> None:
    sweep = ("-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", *SMALL, "decision.fail_iterations=9999", "seed=1,2")
    command = [*VELES_RUN, *sweep, "decision.max_epochs=9999"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while len(list(tmp_path.glob("multirun/*/*/*/*/*.pickle.gz"))) < 2:
            assert process.poll() is None
            time.sleep(0.1)
        jobs = subprocess.run(
            ["pgrep", "-P", f"{process.pid}", "-f", "LokyProcess"], capture_output=True, text=True, check=True
        )
        os.kill(int(jobs.stdout.split()[0]), signal.SIGKILL)
        output, errors = process.communicate()
    assert process.returncode == 1
    assert [line for line in errors.splitlines() if line.startswith("veles-run: hydra/launcher has failed (TerminatedWorker")]
    assert "Traceback" not in errors
    assert re.search("^Continue the sweep: ", output, re.MULTILINE)


def results(folder: Path) -> list[dict[str, Any]]:
    """Returns how the jobs have ended, sweep by sweep."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("multirun/*/*/*/*/result.json"))]
