"""Jobs of sweeps in several processes: the bits of one, and a sweep that is killed and stopped goes on to them."""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Run
from tests.forked import VELES_RUN
from tests.states import differences, state_of

CONF = """
loader: {name: mnist, train_size: 100, validation_size: 40, minibatch_size: 24}
parallel: {timeout: 20}
decision: {max_epochs: 30, fail_iterations: null}
layers:
  fc1: {type: all2all_tanh, output_sample_shape: 20, learning_rate: 0.1}
  drop: {type: dropout, dropout_ratio: 0.25}
  out: {type: softmax, learning_rate: 0.1}
"""
SWEEP = ("-m", "conf=net", "seed=1", "layers.fc1.learning_rate=0.1", "plotters=false", "report=false")
SHARED = ("parallel.shards=4", "snapshotter.at_most_lost=0", "snapshotter.max_overhead=1")
SEARCH = (
    "hydra/sweeper=optuna",
    "hydra.sweeper.n_trials=2",
    "hydra.sweeper.pruner=median",
    "layers.out.learning_rate=interval(0.1, 0.2)",
)
TASKS = ("hydra/launcher=submitit_local", "hydra.launcher.tasks_per_node=2", "hydra.launcher.timeout_min=9")
ON_RAY = ("hydra/launcher=ray", "hydra.launcher.ray.processes=2", "hydra.launcher.ray.init.num_cpus=2")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "net.yaml").write_text(CONF)
    return tmp_path


def state(job: Path) -> dict[str, bytes]:
    return state_of(max(job.glob("*.pickle.gz"), key=lambda path: path.stat().st_mtime_ns))


def result(job: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((job / "result.json").read_text())
    return found


def task(folder: Path, variable: str) -> int:
    """Returns the process of the job that runs which has a variable in its environment."""
    wanted = variable.encode()
    for process in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError):  # of somebody else, or gone by now
            here = os.readlink(f"/proc/{process}/cwd") == str(folder)
            if here and wanted in Path(f"/proc/{process}/environ").read_bytes().split(b"\0"):
                return int(process)
    raise AssertionError("there is no such process")


def wait_for(seen: Callable[[], Any]) -> None:
    end = time.monotonic() + 150  # Ray takes its time where the cores are busy
    while not seen():
        assert time.monotonic() < end
        time.sleep(0.01)


def interrupted(folder: Path, arguments: tuple[str, ...], interrupt: Callable[[int], None], seen: Callable[[], Any]) -> int:
    """Starts a sweep, and interrupts it once something is seen; returns its exit code."""
    command = [*VELES_RUN, *SWEEP, *SHARED, *TASKS, *arguments]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: process.poll() is not None or seen())
        interrupt(process.pid)
        return process.wait(60)


def test_a_sweep_of_jobs_in_two_processes_goes_on_to_the_bits_of_one(folder: Path, veles_run: Run) -> None:
    there = folder / "there"

    def lose_a_task(sweep: int) -> None:
        os.kill(task(folder, "SUBMITIT_LOCAL_GLOBALID=1"), signal.SIGKILL)
        wait_for(lambda: "process 1 of 2 has ended" in (there / "0" / "veles-run.log").read_text())
        os.kill(sweep, signal.SIGKILL)  # which waits long for the result of the task

    interrupted(folder, ("hydra.sweep.dir=there",), lose_a_task, lambda: [*there.glob("0/*_current*")])
    wait_for(lambda: not (there / "0" / ".lock").exists())
    assert not (there / "0" / "result.json").exists()  # the job has not failed
    before = (there / "0" / "metrics.jsonl").stat().st_mtime_ns
    stopped = interrupted(
        folder,
        ("sweep=there",),
        lambda process: os.kill(process, signal.SIGTERM),
        lambda: (there / "0" / "metrics.jsonl").stat().st_mtime_ns > before,
    )
    assert stopped == 75
    assert result(there / "0")["status"] == "stopped"
    veles_run(*SWEEP, *SHARED, "sweep=there")  # in one process
    veles_run(*SWEEP, *SHARED, "hydra.sweep.dir=alone")
    assert result(there / "0")["status"] == "finished"
    assert differences(state(there / "0"), state(folder / "alone" / "0")) == []
    assert {path.name for path in (there / "0" / ".hydra").iterdir()} == {"config.yaml", "hydra.yaml", "overrides.yaml"}


def test_a_job_of_ray_in_two_processes_goes_on_when_one_is_killed_to_the_bits_of_one(folder: Path, veles_run: Run) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:  # Ray has sockets there, whose paths must not be long
        command = [*VELES_RUN, *SWEEP, *SHARED, *ON_RAY, "hydra.sweep.dir=there"]
        with subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | {"RAY_TMPDIR": short},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            wait_for(lambda: process.poll() is not None or [*folder.glob("there/0/*_current*")])
            os.kill(task(folder, "RANK=1"), signal.SIGKILL)
            told, _ = process.communicate(timeout=120)
    assert process.returncode == 0, told
    assert "process 1 of 2 has ended" in (folder / "there" / "0" / "veles-run.log").read_text()
    veles_run(*SWEEP, *SHARED, "hydra.sweep.dir=alone")
    assert result(folder / "there" / "0")["status"] == "finished"
    assert differences(state(folder / "there" / "0"), state(folder / "alone" / "0")) == []


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        (TASKS, "parallel.shards=N"),
        ((*TASKS, "parallel.shards=1"), "parallel.shards=1"),
        (("hydra/launcher=ray", "hydra.launcher.ray.processes=2"), "hydra.launcher.ray.processes=2: parallel.shards=N"),
        (("hydra/launcher=ray", "hydra.launcher.ray.processes=x"), "hydra.launcher.ray.processes=x"),
        ((*TASKS, "parallel.shards=2", *SEARCH), "hydra.sweeper.pruner"),
    ],
)
def test_what_the_processes_of_a_job_cannot_share_is_refused(
    typed: tuple[str, ...], named: str, folder: Path, veles_run: Run
) -> None:
    done = veles_run(*SWEEP, *typed, code=2)
    assert done.stderr.startswith("veles-run: ")
    assert done.stderr.count("\n") == 1
    assert named in done.stderr
    assert [path.name for path in folder.iterdir()] == ["conf"]
