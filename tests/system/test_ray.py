"""A sweep on Ray loses nothing: not when a process of its jobs is killed, nor when all of it is stopped."""

import json
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from runner.snapshots.restoring.restore import restore
from tests.conftest import VELES_RUN, Run

SWEEP = (
    *("-m", "conf=mnist_small", "loader.train_size=200", "loader.validation_size=100", "plotters=false", "report=false"),
    *("decision.fail_iterations=9999", "layers.fc1.learning_rate=0.1,0.2", "seed=1", "hydra.sweep.dir=sweep"),
)
ON_RAY = ("hydra/launcher=ray", "hydra.launcher.ray.init.num_cpus=2", "decision.max_epochs=99999")


def test_jobs_go_on_when_their_process_is_killed_and_stop_with_the_sweep(veles_run: Run, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:  # Ray has sockets there, whose paths must not be long
        environment = os.environ | {"RAY_TMPDIR": short}
        command, output = [*VELES_RUN, *SWEEP, *ON_RAY], tmp_path / "output"
        with (
            output.open("w") as file,
            subprocess.Popen(
                command, cwd=tmp_path, env=environment, stdout=file, stderr=file, start_new_session=True
            ) as process,
        ):

            def until(is_so: Callable[[], object]) -> None:
                while not is_so():
                    assert process.poll() is None, output.read_text()
                    time.sleep(0.1)

            until(lambda: all(list(tmp_path.glob(f"sweep/{job}/*.pickle.gz")) for job in (0, 1)))
            os.kill(int(processes_in(tmp_path, "ray::job")[0]), signal.SIGKILL)
            until(lambda: any("Resuming from" in path.read_text() for path in tmp_path.glob("sweep/*/veles-run.log")))
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
    assert process.returncode == 75, output.read_text()
    assert processes_in(tmp_path, "") == []
    told = output.read_text()
    ((job,),) = [re.findall("Job ([01]): its process is lost", told)]
    assert re.search("^Continue the sweep: veles-run .*hydra/launcher=ray", told, re.MULTILINE)
    assert [result(tmp_path, job)["status"] for job in (0, 1)] == ["stopped"] * 2
    reached = [restore(tmp_path / result(tmp_path, job)["last_snapshot"]).header for job in (0, 1)]
    limit = max(header.epoch for header in reached) + 2
    veles_run(*SWEEP[:-1], f"decision.max_epochs={limit}", "sweep=sweep")
    ends = [restore(tmp_path / result(tmp_path, job)["last_snapshot"]).header for job in (0, 1)]
    assert [(end.epoch, end.log_id) for end in ends] == [(limit, header.log_id) for header in reached]
    # The job whose process was killed has one curve: no epoch is missing, and none is there twice.
    rows = map(json.loads, (tmp_path / "sweep" / job / "metrics.jsonl").read_text().splitlines())
    epochs = [row["epoch"] for row in rows if row["kind"] == "epoch" and row["split"] == "validation"]
    assert epochs == list(range(1, limit + 1))


def test_what_ray_does_not_take_is_one_line(veles_run: Run) -> None:
    wrong = ("hydra.launcher.ray.init.num_cpus=1", "hydra.launcher.ray.init.address=127.0.0.1:1")
    done = veles_run(*SWEEP, "hydra/launcher=ray", *wrong, code=2)
    assert done.stderr.startswith("veles-run: hydra.launcher.ray.init: ")
    assert done.stderr.count("\n") == 1


def result(folder: Path, job: int) -> dict[str, object]:
    return json.loads((folder / "sweep" / f"{job}" / "result.json").read_text())


def processes_in(folder: Path, name: str) -> list[str]:
    """Returns the processes that work in the folder, by the beginning of their names."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder and (process / "cmdline").read_text().startswith(name):
                found.append(process.name)
        except OSError:
            continue
    return found
