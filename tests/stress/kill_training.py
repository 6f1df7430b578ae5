"""Kills `veles-run` while it trains, each time at a random moment, and resumes it until it ends.

`python -m tests.stress.kill_training SEED COUNT [TRACKER ...]` prints how many kills there were in how many runs. Each run must
end in the state, byte for byte, of the same run without interruption, and every snapshot that it said was written must be
there. The metrics in its last folder must be, but for times, those of the run without interruption, and the curves in the
trackers must be these rows. Each process is forked from one that has imported everything, and goes through the command's own
`main()`.
"""

import gc
import json
import os
import random
import re
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
import torch  # noqa: F401 imported before the fork

from runner.cli import job, run  # noqa: F401 imported before the fork
from runner.loggers.logger import Run
from runner.metrics import read_metrics, read_result
from runner.snapshots.codecs import CODECS
from runner.snapshots.restoring.restore import header_of
from tests.states import differences, state_of
from tests.trackers import in_mlflow, in_rows, in_tensorboard, in_trackio, in_wandb

BASE = (
    "conf=mnist_small",
    "loader.train_size=600",
    "loader.validation_size=200",
    "layers.fc1.output_sample_shape=20",
    "layers.fc1.gradient_momentum=0.5",
    "decision.max_epochs=8",
    "threads=1",
)
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
MEASURED = ("metrics.every=4", "metrics.gradient_norm=true")
AUTOSAVES = (["snapshotter.at_most_lost=null"], ["snapshotter.at_most_lost=0", "snapshotter.max_overhead=1"])
"""None, and as many as possible."""
EXAMPLES = Path(__file__).parents[2] / "examples"
OURS = tuple(path.stem for path in EXAMPLES.glob("*.py"))
"""The examples' modules, which may be in snapshots."""
LONGEST = 1.2
"""Of the time that an uninterrupted run takes, how long one lives at most; each tracker needs an eighth of it again."""


class Failure(AssertionError):
    """A run that did not end as it should have."""


def start(folder: Path, arguments: list[str], output: Path, limit: tuple[int, int] = UNLIMITED) -> int:
    """Starts the command in a process of its own, whose files may have so many bytes."""
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)  # before anything can kill the process
    process = os.fork()
    if process == 0:
        code = 1
        try:
            os.chdir(folder)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
            sys.argv = ["veles-run", *arguments]
            run.main()
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    os.close(descriptor)
    return process


def killed(process: int, delay: float) -> bool:
    """Kills the process after a while; returns whether it was still there."""
    ended = os.pidfd_open(process)
    try:
        select.select([ended], [], [], delay)
    finally:
        os.close(ended)
    os.kill(process, signal.SIGKILL)  # not waited for yet, so that the number is still its own
    status = os.waitpid(process, 0)[1]
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0:
        raise Failure(f"exit code {os.WEXITSTATUS(status)}")
    return os.WIFSIGNALED(status)


def acknowledged(output: Path) -> list[str]:
    return re.findall(r"^Snapshot written: (\S+) ", output.read_text(), re.MULTILINE)


def metrics_of(folder: Path) -> list[str]:
    """Returns the lines of the metrics in a run's last folder, without times; those in the others must be how they begin."""
    *killed_runs, last = sorted(folder.glob("outputs/*/*/*/metrics.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    # One that was killed after its last snapshot, but before its end, has nothing left to do, and so no further folder.
    result = read_result(last.parent) or {"status": "finished"}
    if result["status"] != "finished":
        raise Failure(f"the result in {last.parent} is {result}")
    lines = lines_of(last)
    if len(lines) != len(last.read_bytes().splitlines()):
        raise Failure(f"a line of {last} is no row")
    for path in killed_runs:
        # One that has ended may have left something for its trackers to the next one.
        ended = read_result(path.parent) is not None
        if lines[: len(lines) if ended else len(lines_of(path))] != lines_of(path):
            raise Failure(f"{path} is not how {last} begins")
    return lines


def lines_of(path: Path) -> list[str]:
    times = ("seconds", "samples_per_second")
    return [json.dumps({name: value for name, value in row.items() if name not in times}) for row in read_metrics(path)]


def whole_run(folder: Path, seed: int, keys: Sequence[str] = (), base: Sequence[str] = BASE) -> tuple[dict[str, bytes], float]:
    """Runs without interruption; returns the final state, and how long it took."""
    folder.mkdir(exist_ok=True)
    output = folder / "output"
    began = time.monotonic()
    if killed(start(folder, [*base, *keys, f"seed={seed}"], output), 600):
        raise Failure("the uninterrupted run did not end")
    return state_of(folder / acknowledged(output)[-1], OURS), time.monotonic() - began


def interrupted_run(
    folder: Path,
    seed: int,
    keys: Sequence[str],
    rng: random.Random,
    longest: float,
    kills: int,
    base: Sequence[str] = BASE,
) -> tuple[dict[str, bytes], int]:
    """Runs, is killed and resumed; returns the final state, and how many kills there were."""
    folder.mkdir(exist_ok=True)
    output = folder / "output"
    done = 0
    while True:
        codec = f"snapshotter.compression={rng.choice(list(CODECS))}"
        process = start(folder, [*base, *keys, f"seed={seed}", "snapshot=auto", codec, *rng.choice(AUTOSAVES)], output)
        alive = killed(process, rng.uniform(0, longest) if done < kills else 600)
        written = acknowledged(output)
        lasting = [location for location in written if "autosave" not in location or location == written[-1]]
        if missing := [location for location in lasting if not (folder / location).is_file()]:
            raise Failure(f"acknowledged and lost: {missing}")
        if not alive and "has not got all" not in output.read_text():
            break
        done += 1
    last = re.findall(r" snapshot=(\S+)", output.read_text())[-1]
    return state_of(folder / last, OURS), done


def check_curves(name: str, folder: Path, project: str) -> None:
    """Compares the curves in a tracker with the rows of the same run.

    One that was killed before its first snapshot is another run there: nothing of it could go on.
    """
    outputs = folder / "outputs"
    last = max(folder.glob("outputs/*/*/*/metrics.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    wanted = in_rows(read_metrics(last))
    snapshot = max(outputs.glob("*/*/*/*.pickle*"), key=lambda path: path.stat().st_mtime_ns)
    header = header_of(snapshot)
    run_id = Run(name=header.workflow, log_id=header.log_id, identity=header.identity or "", folder="").id
    found = {
        "tensorboard": lambda: in_tensorboard(outputs / "tensorboard", run_id),
        "mlflow": lambda: in_mlflow(outputs / "mlflow.db", run_id)[0],
        "trackio": lambda: in_trackio(project, run_id)[0],
        "wandb": lambda: in_wandb(outputs / "wandb", run_id),
    }[name]()
    if name == "tensorboard":  # which has single precision
        wanted = {curve: [(step, float(np.float32(value))) for step, value in points] for curve, points in wanted.items()}
    if found != wanted:
        wrong = {curve for curve in found.keys() | wanted.keys() if found.get(curve) != wanted.get(curve)}
        raise Failure(
            f"{name} has other curves in {folder}: {[(curve, found.get(curve), wanted.get(curve)) for curve in wrong]}"
        )


def main(seed: int, count: int, trackers: Sequence[str] = ()) -> int:
    rng = random.Random(seed)
    gc.freeze()  # a collection would copy all that is shared with this process
    found = Counter(kills=0, runs=0)
    with tempfile.TemporaryDirectory() as name:
        os.environ["TRACKIO_DIR"] = f"{name}/trackio"
        for package in {"mlflow", "trackio"} & {*trackers}:  # before the fork
            import_module(package)
        while found["kills"] < count:
            project, run_seed = f"run-{found['runs']}", rng.randrange(2**32)
            folder = Path(name, project)
            folder.mkdir()
            keys = [
                *MEASURED,
                f"logger=[{','.join(trackers)}]",
                "loggers.wandb.mode=offline",
                f"loggers.trackio.project={project}",
            ]
            whole, seconds = whole_run(folder / "whole", run_seed, MEASURED)
            state, kills = interrupted_run(
                folder / "killed", run_seed, keys, rng, LONGEST * (1 + len(trackers) / 8) * seconds, count - found["kills"]
            )
            if different := differences(whole, state):
                raise Failure(f"run {found['runs']}, seed {run_seed}: {different}")
            if metrics_of(folder / "whole") != metrics_of(folder / "killed"):
                raise Failure(f"run {found['runs']}, seed {run_seed}: other metrics")
            for tracker in trackers:
                check_curves(tracker, folder / "killed", project)
            found["kills"] += kills
            found["runs"] += 1
            shutil.rmtree(folder)
    print(dict(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
