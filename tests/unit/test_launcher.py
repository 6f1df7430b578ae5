"""The launcher, and its signals in real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from runner.errors import ConfigError, GraphError
from runner.graph import Workflow
from runner.launcher import Launcher
from runner.signals import STOPS, URGENT
from tests.units import Counter, LoggedWorkflow, Recorder, loop, snapshotter
from tests.workflows import restored


class Talker(Recorder):
    """Says that it runs, and waits for an answer."""

    def run(self) -> None:
        super().run()
        print("running", flush=True)
        sys.stdin.readline()


class SlowStart(Recorder):
    """Says that it is initialized, and waits for an answer."""

    def initialize(self) -> None:
        print("initializing", flush=True)
        sys.stdin.readline()


def launch(folder: str, *, snapshots: bool, unit: type[Recorder] = Talker) -> None:
    """Runs 1,000 turns; what a child process does."""
    workflow = LoggedWorkflow(name="main")
    counter = Counter(workflow, "count", turns=1000)
    body = [unit(workflow, "talker"), counter]
    if snapshots:
        body.append(snapshotter(workflow, folder))
        body[-1].due = False
        body[-1].link_attrs(counter, ("complete", "done"))
    loop(workflow, *body, counter=counter)
    launcher = Launcher(device="cpu")
    launcher.run(workflow)
    print("stopped by", launcher.stop_signal.name, "after", workflow.log.count("count"), flush=True)


@pytest.mark.parametrize(
    ("settings", "told"), [({"threads": 0}, "threads=0"), ({"threads": 1.5}, "whole"), ({"loggers": ["csv"]}, "'csv' is none")]
)
def test_what_it_is_given_is_checked_when_it_is_made(settings: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Launcher(device="cpu", **settings)


@pytest.mark.parametrize("other", [None, "workflow", Counter])
def test_only_a_workflow_is_run(other: object) -> None:
    with pytest.raises(GraphError, match=r"a launcher runs a workflow, and .* is none"):
        Launcher(device="cpu").run(other)  # type: ignore[arg-type]


def child(folder: Path, **settings: object) -> subprocess.Popen[str]:
    arguments = ", ".join([repr(str(folder)), *(f"{key}={value}" for key, value in settings.items())])
    script = f"from tests.unit.test_launcher import *\nlaunch({arguments})"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", script], text=True, **pipes)


def answer(process: subprocess.Popen[str]) -> None:
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_stops_the_run_after_the_next_snapshot(number: signal.Signals, tmp_path: Path) -> None:
    with child(tmp_path, snapshots=True) as process:
        for _ in range(3):
            assert process.stdout.readline() == "running\n"
            if _ < 2:
                answer(process)
        process.send_signal(number)
        answer(process)
        output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert output == f"stopped by {number.name} after 3\n"
    (path,) = tmp_path.glob("main.5.pickle.gz")
    workflow = restored(path).workflow
    assert workflow.log == ["talker", "count"] * 3
    assert workflow["count"].turns == 997


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGXCPU])
def test_a_signal_stops_a_run_without_snapshots_at_once(number: signal.Signals, tmp_path: Path) -> None:
    with child(tmp_path, snapshots=False) as process:
        assert process.stdout.readline() == "running\n"
        process.send_signal(number)
        answer(process)
        output, errors = process.communicate()
    assert (process.returncode, output) == (0, f"stopped by {number.name} after 0\n"), errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("second", URGENT)
@pytest.mark.parametrize("first", URGENT)
def test_a_second_signal_ends_the_process_at_once(first: signal.Signals, second: signal.Signals, tmp_path: Path) -> None:
    with child(tmp_path, snapshots=True) as process:
        assert process.stdout.readline() == "running\n"
        process.send_signal(first)
        assert "stopping at the next safe point" in process.stderr.readline()
        while process.poll() is None:  # at first it counts as the same one
            process.send_signal(second)
        output = process.stdout.read()
    assert process.returncode == -second
    assert output == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("numbers", [(signal.SIGTERM,) * 2, (signal.SIGHUP,) * 9, (signal.SIGUSR1, *[signal.SIGXCPU] * 5)])
def test_signals_that_come_repeatedly_as_a_matter_of_course_are_one(numbers: list[signal.Signals], tmp_path: Path) -> None:
    """As timeout(1) sends SIGTERM, shells send SIGHUP, and the kernel sends SIGXCPU."""
    with child(tmp_path, snapshots=True) as process:
        assert process.stdout.readline() == "running\n"
        for number in numbers:
            process.send_signal(number)
        answer(process)
        output, errors = process.communicate()
    assert (process.returncode, output) == (0, f"stopped by {numbers[0].name} after 1\n"), errors


def test_until_the_run_begins_signals_are_the_scripts_own(tmp_path: Path) -> None:
    with child(tmp_path, snapshots=True, unit="SlowStart") as process:
        assert process.stdout.readline() == "initializing\n"
        process.send_signal(signal.SIGTERM)
        process.wait()
    assert process.returncode == -signal.SIGTERM


class Signalling(Recorder):
    """Sends its process signals, in the third turn."""

    def __init__(self, workflow: Workflow, numbers: tuple[signal.Signals, ...]) -> None:
        super().__init__(workflow, "signalling")
        self.numbers = [int(number) for number in numbers]

    def run(self) -> None:
        super().run()
        if self.workflow.log.count("signalling") == 3:
            for number in self.numbers:
                signal.raise_signal(number)


def signalled(*numbers: signal.Signals, folder: Path, **settings: object) -> LoggedWorkflow:
    """Returns a workflow of ten turns that sends its process signals in the third."""
    workflow = LoggedWorkflow(name="main")
    counter = Counter(workflow, "count", turns=10)
    body = [Signalling(workflow, numbers), counter, snapshotter(workflow, folder, **settings)]
    body[-1].due = False
    body[-1].link_attrs(counter, ("complete", "done"))
    loop(workflow, *body, counter=counter)
    return workflow


def test_an_earlier_handler_is_called_when_the_snapshot_is_durable(tmp_path: Path) -> None:
    found: list[list[Path]] = []
    before = signal.signal(signal.SIGUSR2, lambda *_: found.append(list(tmp_path.glob("*.pickle.gz"))))
    try:
        Launcher(device="cpu").run(signalled(signal.SIGUSR2, folder=tmp_path))
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert [sorted(path.name for path in paths) for paths in found] == [["main.5.pickle.gz", "main_current.5.pickle.gz"]]


def test_a_signal_stops_a_run_that_is_said_to_be_complete_and_goes_on(tmp_path: Path) -> None:
    workflow = signalled(signal.SIGTERM, folder=tmp_path)
    workflow["count"].wrong = True
    workflow["snapshotter"].link_attrs(workflow["count"], ("complete", "wrong"))
    launcher = Launcher(device="cpu")
    launcher.run(workflow)
    assert launcher.stop_signal is signal.SIGTERM
    assert workflow.log.count("count") == 3


def test_a_signal_can_ask_for_a_snapshot_without_a_stop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    launcher = Launcher(device="cpu")
    workflow = signalled(signal.SIGUSR1, folder=tmp_path, on_signal={"USR1": "continue"})
    launcher.run(workflow)
    assert not launcher.stop_requested
    assert workflow.log.count("count") == 10
    taken, last = (restored(tmp_path / f"main{number}.5.pickle.gz").workflow for number in ("", "_2"))
    assert (taken["count"].turns, last["count"].turns) == (7, 0)
    Launcher(device="cpu").run(taken)
    assert taken.log == workflow.log


@pytest.mark.parametrize("on_signal", [{"KILL": "stop"}, {"USR1": "go on"}, {"usr1": "continue"}])
def test_what_on_signal_cannot_mean_is_refused(on_signal: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"snapshotter\.on_signal\."):
        signalled(folder=tmp_path, on_signal=on_signal)


def test_ignored_signals_stay_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        launcher = Launcher(device="cpu")
        launcher.run(signalled(signal.SIGHUP, folder=tmp_path))
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert not launcher.stop_requested


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 3), (signal.SIGHUP, 3)])
def test_a_forked_process_ends_by_sigterm_and_leaves_the_rest_to_the_run(number: signal.Signals, status: int) -> None:
    statuses: list[int] = []

    class Forking(Recorder):
        def run(self) -> None:
            if (process := os.fork()) == 0:
                signal.raise_signal(number)
                os._exit(3)
            statuses.append(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))

    workflow = LoggedWorkflow()
    workflow.end_point.link_from(Forking(workflow, "forking").link_from(workflow.start_point))
    launcher = Launcher(device="cpu")
    launcher.run(workflow)
    assert statuses == [status]
    assert not launcher.stop_requested


def test_a_signal_within_a_run_within_a_run_stops_both(tmp_path: Path) -> None:
    inner, launchers = signalled(signal.SIGTERM, folder=tmp_path), [Launcher(device="cpu"), Launcher(device="cpu")]

    class Nesting(Recorder):
        def run(self) -> None:
            launchers[1].run(inner)

    workflow = LoggedWorkflow()
    last = Recorder(workflow, "last").link_from(Nesting(workflow, "nesting").link_from(workflow.start_point))
    workflow.end_point.link_from(last)
    launchers[0].run(workflow)
    assert [launcher.stop_signal for launcher in launchers] == [signal.SIGTERM] * 2
    assert workflow.log == []


def test_a_run_in_another_thread_catches_no_signals() -> None:
    workflow = LoggedWorkflow()
    workflow.end_point.link_from(Recorder(workflow, "unit").link_from(workflow.start_point))
    thread = threading.Thread(target=Launcher(device="cpu").run, args=(workflow,))
    thread.start()
    thread.join()
    assert workflow.log == ["unit"]


def test_handlers_are_put_back(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in STOPS]
    workflow = LoggedWorkflow()
    during: list[object] = []

    class Looking(Recorder):
        def run(self) -> None:
            during.extend(signal.getsignal(number) for number in STOPS)
            raise ArithmeticError

    Looking(workflow, "looking").link_from(workflow.start_point)
    with pytest.raises(ArithmeticError):
        Launcher(device="cpu").run(workflow)
    assert [signal.getsignal(number) for number in STOPS] == before
    assert all(handler not in before for handler in during)
    assert "signals" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("fails", [0, 1])
def test_all_units_finish_whatever_fails(fails: int) -> None:
    finished: list[str] = []

    class Finishing(Recorder):
        def finish(self) -> None:
            finished.append(self.name)
            if len(finished) == fails:
                raise ArithmeticError

        def run(self) -> None:
            raise KeyError

    workflow = LoggedWorkflow()
    for name in ("first", "second"):
        Finishing(workflow, name).link_from(workflow.start_point)
    with pytest.raises((KeyError, ArithmeticError)):
        Launcher(device="cpu").run(workflow)
    assert finished == ["first", "second"]


def test_stop_stops_the_workflow() -> None:
    workflow = LoggedWorkflow()
    launcher = Launcher(device="cpu")

    class Ending(Recorder):
        def run(self) -> None:
            super().run()
            launcher.stop()

    second = Recorder(workflow, "second").link_from(Ending(workflow, "first").link_from(workflow.start_point))
    workflow.end_point.link_from(second)
    launcher.run(workflow)
    assert workflow.log == ["first"]
    assert not launcher.stop_requested
    workflow.run()
    assert workflow.log == ["first", "second"]


@pytest.mark.parametrize("device", ["foo", "", "cuda:", "cuda:x", "cuda:-1", "CPU", "cpu:0", "cuda:²"])
def test_an_unknown_device_lists_the_known_ones(device: str) -> None:
    with pytest.raises(ConfigError, match=rf"device='{device}' is not a device; known: auto, cpu, cuda, cuda:N"):
        Launcher(device=device)


def test_a_device_that_is_not_here_is_refused() -> None:
    import torch  # not above: the child processes do without

    count = torch.cuda.device_count()
    with pytest.raises(ConfigError, match=f"device='cuda:{count}' is not available: this machine has {count} CUDA devices"):
        Launcher(device=f"cuda:{count}")
    assert Launcher(device="auto").device == ("cuda" if count else "cpu")


def test_run_ids_differ_and_the_provenance_is_what_was_given() -> None:
    first, second = (Launcher(device="cpu", config={"a": 1}, overrides=["a=1"], conf="mnist") for _ in range(2))
    assert first.run_id != second.run_id
    given = {"config": {"a": 1}, "overrides": ["a=1"], "conf": "mnist"}
    assert first.provenance() == given | {"typed": [], "referenced": {}}


def test_nested_workflows_know_the_launcher() -> None:
    workflow = Workflow(name="main")
    inner = Workflow(workflow, "inner")
    launcher = Launcher(device="cpu")
    launcher.attach(workflow)
    assert inner.launcher is launcher
