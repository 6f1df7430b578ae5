"""Output is never a reason to stop, and every signal that asks to stop is a snapshot: in real pipes, terminals and shells."""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner.cli.output import PIECE
from runner.snapshots.restoring.restore import restore
from tests import forked
from tests.conftest import VELES_RUN, Run
from tests.states import differences, state_of

SETTINGS = (
    *("conf=mnist_small", "loader.train_size=600", "loader.validation_size=200", "decision.max_epochs=100", "seed=7"),
    *("layers.fc1.output_sample_shape=20", "snapshotter.directory=snapshots", "snapshot=auto"),
    *("plotters=false", "report=false"),
)
COMMAND = " ".join([*VELES_RUN, *SETTINGS])
# Shells outlive the signals that the whole group gets, and one writes the exit code of the command into a file.
OUTLIVE = "trap : INT TERM HUP USR1 USR2 XCPU"
RUN = f"({OUTLIVE}; {COMMAND}; echo $? > code)"


@contextmanager
def shell(script: str, folder: Path, **settings: object) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a script in a process group of its own, as a shell does with what is typed; nothing of it is left afterwards."""
    settings = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} | settings
    with subprocess.Popen(["bash", "-c", f"{OUTLIVE}; {script}"], cwd=folder, start_new_session=True, **settings) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def wait_for(condition: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    while not condition():
        assert process.poll() is None, "the run has ended too early"
        time.sleep(0.001)


def has_snapshots(folder: Path) -> Callable[[], object]:
    return lambda: any(folder.glob("snapshots/*.pickle.gz"))


def newest(folder: Path) -> Path:
    return (folder / "snapshots" / "mnist_small_current.5.pickle.gz").resolve()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The final state of a run with which nothing interferes."""
    folder = tmp_path_factory.mktemp("whole")
    forked.output(SETTINGS, cwd=folder)
    return state_of(newest(folder))


def check_stopped(folder: Path, code: int, whole: dict[str, bytes], veles_run: Run) -> None:
    """The run was stopped in its middle, with a snapshot, and goes on to the same end as one that was not."""
    assert (folder / "code").read_text() == f"{code}\n"
    assert not restore(newest(folder)).workflow.complete
    veles_run(*SETTINGS)
    assert differences(whole, state_of(newest(folder))) == []


GROUP = {
    "tee, which Ctrl-C ends too": (f"{RUN} | tee log", signal.SIGINT),
    "tee and a lost connection": (f"{RUN} 2>&1 | tee log", signal.SIGHUP),
    "a reader that has gone": (f"{RUN} 2>&1 | head -1", signal.SIGTERM),
    "a full disk": (f"{RUN} >/dev/full 2>&1", signal.SIGUSR1),
    "no descriptors": (f"{RUN} <&- >&- 2>&-", signal.SIGUSR2),
}


@pytest.mark.parametrize("case", GROUP)
def test_a_signal_for_the_whole_pipeline_stops_the_run_with_a_snapshot(
    case: str, tmp_path: Path, whole, veles_run: Run
) -> None:
    script, number = GROUP[case]
    with shell(script, tmp_path) as process:
        wait_for(has_snapshots(tmp_path), process)
        os.killpg(process.pid, number)
        process.communicate()
    check_stopped(tmp_path, 130 if number == signal.SIGINT else 75, whole, veles_run)


def test_a_reader_that_does_not_read_keeps_nothing_up(tmp_path: Path, whole, veles_run: Run) -> None:
    """The run goes on although the pipe is full, and ends when it is asked to."""
    reading, writing = os.pipe()
    size = fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    with shell(RUN, tmp_path, stdout=writing, stderr=writing) as process:
        os.close(writing)
        wait_for(lambda: in_pipe(reading) > size - PIECE, process)
        (log,) = tmp_path.glob("outputs/*/*/*/veles-run.log")
        before = log.stat().st_size
        wait_for(lambda: log.stat().st_size > before, process)
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
    os.close(reading)
    check_stopped(tmp_path, 75, whole, veles_run)


def in_pipe(descriptor: int) -> int:
    """Returns how many bytes wait to be read."""
    return int.from_bytes(fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_a_terminal_that_is_closed(tmp_path: Path, whole, veles_run: Run) -> None:
    """As when the connection is lost: SIGHUP, and a terminal that refuses everything."""
    terminal, inner = pty.openpty()
    streams = {"stdin": inner, "stdout": inner, "stderr": inner}
    command = [*VELES_RUN, *SETTINGS]
    with subprocess.Popen(command, cwd=tmp_path, preexec_fn=lambda: os.login_tty(inner), **streams) as process:
        os.close(inner)
        while not has_snapshots(tmp_path)():
            os.read(terminal, 1 << 16)
        os.close(terminal)
    (tmp_path / "code").write_text(f"{process.returncode}\n")
    check_stopped(tmp_path, 75, whole, veles_run)


@pytest.mark.parametrize(
    ("command", "number"),
    [
        (f"(nohup {COMMAND} >log 2>&1; echo $? > code)", signal.SIGHUP),
        (f"{COMMAND} >log 2>&1 & wait $!; echo $? > code", signal.SIGINT),
    ],
    ids=["nohup", "background job of a script"],
)
def test_what_was_ignored_before_stays_ignored(command: str, number: signal.Signals, tmp_path: Path, whole) -> None:
    with shell(command, tmp_path) as process:
        wait_for(has_snapshots(tmp_path), process)
        (child,) = children(process.pid)
        os.kill(child, number)
        process.wait()
    assert (tmp_path / "code").read_text() == "0\n"
    assert differences(whole, state_of(newest(tmp_path))) == []


def children(parent: int) -> list[int]:
    """Returns the processes below one, without those that only start others."""
    found = [int(text) for text in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    return [process for child in found for process in (children(child) or [child])]


def test_timeout_sends_its_signal_twice(tmp_path: Path, whole, veles_run: Run) -> None:
    """timeout(1) is told to end by a signal of its own, which it passes on to the process and to its group."""
    with shell(f"timeout 1000 {COMMAND} >log 2>&1; echo $? > code", tmp_path) as process:
        wait_for(has_snapshots(tmp_path), process)
        (timeout,) = (int(text) for text in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
        os.kill(timeout, signal.SIGALRM)  # its time is over
        process.wait()
    assert "SIGTERM: stopping at the next safe point" in (tmp_path / "log").read_text()
    (tmp_path / "code").write_text("75\n")  # that of timeout itself is 124
    check_stopped(tmp_path, 75, whole, veles_run)


SHORT = ("loader.train_size=600", "loader.validation_size=200", "decision.max_epochs=1", "plotters=false", "report=false")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_stream_that_fails_is_told_on_the_other(stream: str, tmp_path: Path) -> None:
    other = {"stdout": "stderr", "stderr": "stdout"}[stream]
    arguments = ("conf=mnist_small", *SHORT, "snapshotter.odbc='PWD=hint'", "snapshotter.odbc=null")
    with forked.Started(arguments, cwd=tmp_path, **{stream: "/dev/full"}) as started:
        done = started.end(60)
    assert done.returncode == 0
    name = {"stdout": "standard output", "stderr": "standard error"}[stream]
    assert getattr(done, other).count(f"{name} cannot be written") == 1


def test_streams_that_both_fail_are_told_in_the_log(tmp_path: Path) -> None:
    with forked.Started(["conf=mnist_small", *SHORT], cwd=tmp_path, stdout="/dev/full", stderr="/dev/full") as started:
        assert started.end(60).returncode == 0
    (log,) = tmp_path.glob("outputs/*/*/*/veles-run.log")
    assert log.read_text().count("standard output cannot be written") == 1


def test_a_log_file_that_cannot_be_written_is_told_once(tmp_path: Path, veles_run: Run) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "veles-run.log").symlink_to("/dev/full")
    done = veles_run("conf=mnist_small", *SHORT, "hydra.run.dir=run")
    assert done.stdout.count("veles-run.log cannot be written") == 1
    assert "Traceback" not in done.stderr
    assert "Best validation error" in done.stdout


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_the_output_has_no_letters_for(encoding: str, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    arguments = ("conf=mnist_small", "workflow.name=Žluťoučký 馬 é", *SHORT)
    with forked.Started(arguments, cwd=tmp_path, environment=environment, stdout=tmp_path / "output") as started:
        assert started.end(60).returncode == 0, started.errors
    assert b"\\u017d" in (tmp_path / "output").read_bytes()
    (log,) = tmp_path.glob("outputs/*/*/*/veles-run.log")
    assert "Training Žluťoučký 馬 é" in log.read_text(encoding="utf-8")


@pytest.mark.parametrize("parallel", [{"WORLD_SIZE": "2", "RANK": "1"}, {"SLURM_STEP_NUM_TASKS": "2"}])
def test_one_of_several_processes_is_refused(parallel: dict[str, str], tmp_path: Path) -> None:
    done = forked.run(["conf=mnist_small"], cwd=tmp_path, environment=os.environ | parallel, timeout=60)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("spelling", ["snapshotter.on_signal={USR1: continue}", "snapshotter.on_signal.USR1=continue"])
def test_a_signal_that_only_asks_for_a_snapshot(spelling: str, tmp_path: Path, whole) -> None:
    with forked.Started([*SETTINGS, spelling], cwd=tmp_path) as started:
        started.wait_for(has_snapshots(tmp_path))
        started.send_signal(signal.SIGUSR1)
        done = started.end(60)
    assert done.returncode == 0
    assert "SIGUSR1: taking a snapshot" in done.stdout + done.stderr
    assert differences(whole, state_of(newest(tmp_path))) == []


def test_an_unknown_signal_is_refused(veles_run: Run) -> None:
    done = veles_run("conf=mnist_small", "snapshotter.on_signal={USR9: continue}", code=2)
    assert "snapshotter.on_signal.USR9" in done.stderr
