"""Signals at the moments when a run has nothing to show yet, or everything at stake: start-up, a save, a restore."""

import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests import forked
from tests.conftest import VELES_RUN, Run
from tests.states import differences, state_of
from tests.system.test_resume import final_snapshot

SMALL = ("conf=mnist_small", "loader.train_size=600", "loader.validation_size=200", "decision.max_epochs=10", "seed=7")
LARGE = (
    *SMALL[:-2],
    *("layers.fc1.output_sample_shape=1000", "layers.fc1.learning_rate=0.01", "layers.fc1.gradient_momentum=0.5", "seed=7"),
)
"""Takes about a second to compress with xz, and a fraction of one to restore."""
EPOCHS = "decision.max_epochs=6"


PLAIN = ("report=false", "plotters=false")
MOMENTS = 4
"""Into which the time of the start is cut."""


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Starts the command in a process that imports everything itself."""
    return subprocess.Popen(
        [*VELES_RUN, *arguments, *PLAIN],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> tuple[str, str]:
    with process:
        return process.communicate(timeout=120)


def processor_time(process: subprocess.Popen[str]) -> float:
    """Returns the seconds that a process has computed, which other processes of the machine do not change."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def digests(folder: Path) -> dict[str, str]:
    """Returns what is in the files of a folder."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")] if folder.is_dir() else []


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], float]:
    """The final state of a run without signals, and the seconds of processor time until it trains."""
    folder = tmp_path_factory.mktemp("whole")
    with start(folder, *SMALL) as process:
        lines = iter(process.stdout.readline, "")
        first = next(line for line in lines if line.startswith("Training"))
        seconds = processor_time(process)
        output = first + process.stdout.read()
    return state_of(folder / final_snapshot(output)), seconds


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_sigterm_during_the_start(moment: int, tmp_path: Path, rng: random.Random, whole, veles_run: Run) -> None:
    """Imports, composing, restoring, data, building, initialize: it ends the process, or has the run take a snapshot."""
    state, seconds = whole
    settings = ("snapshot=auto", "snapshotter.directory=snapshots")
    resumed = moment % 2 == 1
    if resumed:
        veles_run(*SMALL[:-2], "decision.max_epochs=1", SMALL[-1], *settings)
    folder = tmp_path / "snapshots"
    before = digests(folder) if resumed else {}
    process = start(tmp_path, *SMALL, *settings)
    # The first hundredths of a second are those of Python itself, before it runs anything of ours.
    until = max(seconds * (moment + rng.random()) / MOMENTS, 0.1)
    while processor_time(process) < until:
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    output, errors = end(process)
    assert process.returncode == 75, (output, errors)
    assert "Traceback" not in errors
    began = "it has taken no snapshot yet" not in errors
    assert began == ("Snapshot written" in output)
    assert [name for name in hidden(folder) if not name.endswith(".lock")] == []  # a lock is the kernel's, and not its file's
    assert not resumed or {name for name in before if "current" not in name} <= set(digests(folder))
    done = veles_run(*SMALL, *settings)
    assert ("Resuming from" in done.stdout) == (resumed or began)
    assert differences(state, state_of(tmp_path / final_snapshot(done.stdout))) == []


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """A folder with the snapshots of a run's first epoch, and its final state."""
    folder = tmp_path_factory.mktemp("large")
    outputs = []
    for epochs, directory in (("decision.max_epochs=1", "snapshots"), (EPOCHS, "whole")):
        outputs.append(forked.output([*LARGE, epochs, f"snapshotter.directory={directory}", *PLAIN], cwd=folder))
    return folder / "snapshots", state_of(folder / final_snapshot(outputs[1]))


@pytest.mark.parametrize("signals", [1, 2])
def test_sigterm_while_a_snapshot_is_written(signals: int, tmp_path: Path, veles_run: Run, large) -> None:
    """One signal lets it and the last one be finished. A second one ends the process with the older ones intact."""
    made, state = large
    folder = shutil.copytree(made, tmp_path / "snapshots", symlinks=True)
    settings = ("snapshot=latest", "snapshotter.directory=snapshots", EPOCHS)
    before = {name: digest for name, digest in digests(folder).items() if "current" not in name}
    with forked.Started(["conf=mnist_small", *settings, "snapshotter.compression=xz", *PLAIN], cwd=tmp_path) as started:
        started.wait_for(lambda: any(folder.glob(".*.tmp")))
        started.send_signal(signal.SIGTERM)
        if signals == 2:
            started.wait_for(lambda: "stopping at the next safe point" in started.errors)
            while started.process.exitcode is None:  # at first it counts as the same one
                started.send_signal(signal.SIGTERM)
                time.sleep(0.01)
        done = started.end(120)
    assert done.returncode == (75 if signals == 1 else -signal.SIGTERM), done
    assert before.items() <= digests(folder).items()
    written = re.findall(r"^Snapshot written: (\S+) ", done.stdout, re.MULTILINE)
    assert all((tmp_path / path).is_file() for path in written)
    if signals == 1:
        assert len(written) >= 2
        assert hidden(folder) == []
    done = veles_run("conf=mnist_small", *settings, "snapshotter.compression=gz")
    assert hidden(folder) == []
    assert differences(state, state_of(tmp_path / final_snapshot(done.stdout))) == []


def opened(process: int, path: Path) -> bool:
    """Whether the process has the file open."""
    try:
        return any(link.exists() and link.samefile(path) for link in Path(f"/proc/{process}/fd").iterdir())
    except OSError:
        return False  # a descriptor that was closed meanwhile


def test_sigkill_during_a_restore(tmp_path: Path, rng: random.Random, veles_run: Run, large) -> None:
    made, state = large
    folder = shutil.copytree(made, tmp_path / "snapshots", symlinks=True)
    (path,) = [path for path in folder.iterdir() if not path.is_symlink()]
    before = digests(folder)
    resume = ("conf=mnist_small", "snapshot=latest", "snapshotter.directory=snapshots", EPOCHS)
    for _ in range(3):
        with forked.Started([*resume, *PLAIN], cwd=tmp_path) as started:
            started.wait_for(lambda: opened(started.pid, path))
            time.sleep(rng.uniform(0, 0.1))
            started.send_signal(signal.SIGKILL)
            done = started.end(120)
        assert done.returncode == -signal.SIGKILL, done
        assert "Snapshot written" not in done.stdout
        assert digests(folder) == before
    done = veles_run(*resume)
    assert f"Resuming from {path.relative_to(tmp_path)}" in done.stdout
    assert differences(state, state_of(tmp_path / final_snapshot(done.stdout))) == []
