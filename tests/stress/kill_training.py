"""Kills `veles-run` while it trains, each time at a random moment, and resumes it until it ends.

`python -m tests.stress.kill_training SEED COUNT` prints how many kills there were in how many runs. Each run must end in the
state, byte for byte, of the same run without interruption, and every snapshot that it said was written must be there. The
metrics in its last folder must be, but for times, those of the run without interruption, and so must the curves in TensorBoard.
Each process is forked from one that has imported everything, and goes through the command's own `main()`.
"""

import gc
import json
import os
import random
import re
import select
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch  # noqa: F401 imported before the fork
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from runner.cli import job, run  # noqa: F401 imported before the fork
from runner.metrics import read_metrics, read_result
from runner.snapshots.codecs import CODECS
from tests.states import differences, state_of

BASE = (
    "conf=mnist_small",
    "loader.train_size=600",
    "loader.validation_size=200",
    "layers.fc1.output_sample_shape=20",
    "layers.fc1.gradient_momentum=0.5",
    "decision.max_epochs=8",
    "threads=1",
    "metrics.every=4",
    "metrics.gradient_norm=true",
    "logger=tensorboard",
)
AUTOSAVES = (["snapshotter.at_most_lost=null"], ["snapshotter.at_most_lost=0", "snapshotter.max_overhead=1"])
"""None, and as many as possible."""
LONGEST = 1.2
"""Of the time that an uninterrupted run takes, how long one lives at most."""


class Failure(AssertionError):
    """A run that did not end as it should have."""


def start(folder: Path, arguments: list[str], output: Path) -> int:
    """Starts the command in a process of its own."""
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)  # before anything can kill the process
    process = os.fork()
    if process == 0:
        code = 1
        try:
            os.chdir(folder)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
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
        if read_result(path.parent) is not None or lines[: len(lines_of(path))] != lines_of(path):
            raise Failure(f"{path} is not how {last} begins")
    return lines


def curves_of(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Returns the curves of a run as TensorBoard shows them."""
    (run,) = (folder / "outputs" / "tensorboard").iterdir()
    events = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


def lines_of(path: Path) -> list[str]:
    times = ("seconds", "samples_per_second")
    return [json.dumps({name: value for name, value in row.items() if name not in times}) for row in read_metrics(path)]


def whole_run(folder: Path, seed: int) -> tuple[dict[str, bytes], float]:
    """Runs without interruption; returns the final state, and how long it took."""
    folder.mkdir()
    output = folder / "output"
    began = time.monotonic()
    if killed(start(folder, [*BASE, f"seed={seed}"], output), 600):
        raise Failure("the uninterrupted run did not end")
    return state_of(folder / acknowledged(output)[-1]), time.monotonic() - began


def interrupted_run(folder: Path, seed: int, rng: random.Random, longest: float, kills: int) -> tuple[dict[str, bytes], int]:
    """Runs, is killed and resumed; returns the final state, and how many kills there were."""
    folder.mkdir()
    output = folder / "output"
    done = 0
    while True:
        codec = f"snapshotter.compression={rng.choice(list(CODECS))}"
        process = start(folder, [*BASE, f"seed={seed}", "snapshot=auto", codec, *rng.choice(AUTOSAVES)], output)
        alive = killed(process, rng.uniform(0, longest) if done < kills else 600)
        written = acknowledged(output)
        lasting = [location for location in written if "autosave" not in location or location == written[-1]]
        if missing := [location for location in lasting if not (folder / location).is_file()]:
            raise Failure(f"acknowledged and lost: {missing}")
        if not alive:
            break
        done += 1
    last = re.findall(r" snapshot=(\S+)", output.read_text())[-1]
    return state_of(folder / last), done


def main(seed: int, count: int) -> int:
    rng = random.Random(seed)
    gc.freeze()  # a collection would copy all that is shared with this process
    found = Counter(kills=0, runs=0)
    while found["kills"] < count:
        run_seed = rng.randrange(2**32)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            whole, seconds = whole_run(folder / "whole", run_seed)
            state, kills = interrupted_run(folder / "killed", run_seed, rng, LONGEST * seconds, count - found["kills"])
            if different := differences(whole, state):
                raise Failure(f"run {found['runs']}, seed {run_seed}: {different}")
            if metrics_of(folder / "whole") != metrics_of(folder / "killed"):
                raise Failure(f"run {found['runs']}, seed {run_seed}: other metrics")
            if curves_of(folder / "whole") != curves_of(folder / "killed"):
                raise Failure(f"run {found['runs']}, seed {run_seed}: other curves in TensorBoard")
        found["kills"] += kills
        found["runs"] += 1
    print(dict(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
