"""A clock that jumps back: names, what `latest` is, and the time between snapshots do not depend on it.

Debian's package `libfaketime` lies to the process about the time of day. Its monotonic clock is the real one.
"""

import re
import subprocess
from pathlib import Path

import pytest

from runner.snapshots.restoring.restore import header_of
from tests.conftest import VELES_RUN, Run
from tests.states import differences, state_of
from tests.system.test_resume import final_snapshot

SMALL = ("conf=mnist_small", "loader.train_size=120", "loader.validation_size=60", "seed=7")
IN_FOLDER = "snapshotter.directory=snapshots"
BACK = "-400d"


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that says by how much the clock is wrong, for the processes that the test starts."""
    (library,) = Path("/usr/lib").rglob("libfaketime.so.1")
    path = tmp_path / "clock"
    path.write_text("+0d\n")
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(path))
    monkeypatch.setenv("DONT_FAKE_MONOTONIC", "1")
    return path


def times(folder: Path, output: str) -> list[str]:
    """Returns when the snapshots were taken, in the order in which they were acknowledged."""
    return [header_of(folder / path).time for path in re.findall(r"^Snapshot written: (\S+) ", output, re.MULTILINE)]


@pytest.fixture
def begun(tmp_path: Path, veles_run: Run) -> tuple[str, str]:
    """What a run has printed, and the beginning of the same, when the clock was right."""
    whole = veles_run(*SMALL, "decision.max_epochs=6").stdout
    return whole, veles_run(*SMALL, "decision.max_epochs=2", IN_FOLDER).stdout


def test_a_run_that_is_resumed_before_it_was_begun(begun: tuple[str, str], clock: Path, tmp_path: Path, veles_run: Run) -> None:
    whole, first = begun
    clock.write_text(f"{BACK}\n")
    second = veles_run("conf=mnist_small", "snapshot=latest", "decision.max_epochs=4", IN_FOLDER).stdout
    clock.write_text("-800d\n")
    third = veles_run("conf=mnist_small", "snapshot=latest", "decision.max_epochs=6", IN_FOLDER).stdout
    assert f"Resuming from {final_snapshot(first)}" in second
    assert f"Resuming from {final_snapshot(second)}" in third
    taken = [*times(tmp_path, first), *times(tmp_path, second), *times(tmp_path, third)]
    assert taken == sorted(set(taken))
    assert differences(state_of(tmp_path / final_snapshot(whole)), state_of(tmp_path / final_snapshot(third))) == []


def test_a_clock_that_jumps_while_a_run_goes_on(
    clock: Path, tmp_path: Path, veles_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Snapshots go on to be taken, `time_interval` after one another, and retention keeps the newest."""
    monkeypatch.setenv("FAKETIME_NO_CACHE", "1")  # the file is read at each look at the clock
    settings = ("decision.max_epochs=12", "snapshotter.time_interval=0.01", IN_FOLDER)
    command = [*VELES_RUN, "conf=mnist_small", "seed=7", *settings]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        before = ""
        while "Snapshot written" not in before:
            before += (line := process.stdout.readline())
            assert line
        clock.write_text(f"{BACK}\n")
        after = process.stdout.read()
    assert process.returncode == 0
    taken = times(tmp_path, before + after)
    assert len(times(tmp_path, after)) > 1
    assert taken == sorted(set(taken))
    log = next((tmp_path / "outputs").rglob("*.log")).read_text()
    assert len({line[:4] for line in re.findall(r"^\d{4}-.*Epoch.*", log, re.MULTILINE)}) == 2, "the clock has not jumped"
    resumed = veles_run("conf=mnist_small", "snapshot=latest", "decision.max_epochs=13", IN_FOLDER, "snapshotter.keep_last=1")
    assert f"Resuming from {final_snapshot(after)}" in resumed.stdout
    kept = [path for path in (tmp_path / "snapshots").iterdir() if not path.is_symlink()]
    assert kept == [tmp_path / final_snapshot(resumed.stdout)]
