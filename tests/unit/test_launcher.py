"""The launcher, and its signals in real processes."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runner.errors import ConfigError
from runner.graph import Workflow
from runner.launcher import Launcher
from tests.units import Counter, LoggedWorkflow, Recorder, loop, snapshotter
from tests.workflows import restored

SIGNALS = [signal.SIGTERM, signal.SIGINT]


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


def child(folder: Path, **settings: object) -> subprocess.Popen[str]:
    arguments = ", ".join([repr(str(folder)), *(f"{key}={value}" for key, value in settings.items())])
    script = f"from tests.unit.test_launcher import *\nlaunch({arguments})"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", script], text=True, **pipes)


def answer(process: subprocess.Popen[str]) -> None:
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_stops_the_run_behind_the_next_snapshot(number: signal.Signals, tmp_path: Path) -> None:
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


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_stops_a_run_without_snapshots_at_once(number: signal.Signals, tmp_path: Path) -> None:
    with child(tmp_path, snapshots=False) as process:
        assert process.stdout.readline() == "running\n"
        process.send_signal(number)
        answer(process)
        output, errors = process.communicate()
    assert (process.returncode, output) == (0, f"stopped by {number.name} after 0\n"), errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("second", SIGNALS)
@pytest.mark.parametrize("first", SIGNALS)
def test_a_second_signal_ends_the_process_at_once(first: signal.Signals, second: signal.Signals, tmp_path: Path) -> None:
    with child(tmp_path, snapshots=True) as process:
        assert process.stdout.readline() == "running\n"
        process.send_signal(first)
        # The first one interrupts the read of the answer, which then goes on: it is taken when the child stands still again.
        while not handled(process.pid, first):
            pass
        process.send_signal(second)
        output, _ = process.communicate()
    assert process.returncode == -second
    assert output == ""
    assert list(tmp_path.iterdir()) == []


def handled(pid: int, number: signal.Signals) -> bool:
    """Whether the process has no such signal pending and waits for its input again."""
    status = Path(f"/proc/{pid}/status").read_text()
    pending = int(re.search(r"ShdPnd:\s*(\w+)", status)[1], 16) | int(re.search(r"SigPnd:\s*(\w+)", status)[1], 16)
    return not pending >> (number - 1) & 1 and re.search(r"State:\s*S", status) is not None


@pytest.mark.parametrize("snapshots", [False, True])
def test_a_signal_while_units_are_initialized_is_not_lost(snapshots: bool, tmp_path: Path) -> None:
    with child(tmp_path, snapshots=snapshots, unit="SlowStart") as process:
        assert process.stdout.readline() == "initializing\n"
        process.send_signal(signal.SIGTERM)
        answer(process)
        output, errors = process.communicate()
    assert (process.returncode, output) == (0, f"stopped by SIGTERM after {int(snapshots)}\n"), errors


def test_handlers_are_put_back(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    workflow = LoggedWorkflow()
    during: list[object] = []

    class Looking(Recorder):
        def run(self) -> None:
            during.extend(signal.getsignal(number) for number in SIGNALS)
            raise ArithmeticError

    Looking(workflow, "looking").link_from(workflow.start_point)
    with pytest.raises(ArithmeticError):
        Launcher(device="cpu").run(workflow)
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert all(handler not in before for handler in during)


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
    with pytest.raises(ConfigError, match=f"device='cuda:{count}' is not here: this machine has {count} CUDA devices"):
        Launcher(device=f"cuda:{count}")
    assert Launcher(device="auto").device == ("cuda" if count else "cpu")


def test_run_ids_differ_and_the_provenance_is_what_was_given() -> None:
    first, second = (Launcher(device="cpu", config={"a": 1}, overrides=["a=1"], conf="mnist") for _ in range(2))
    assert first.run_id != second.run_id
    assert first.provenance() == {"config": {"a": 1}, "overrides": ["a=1"], "conf": "mnist"}


def test_nested_workflows_know_the_launcher() -> None:
    workflow = Workflow(name="main")
    inner = Workflow(workflow, "inner")
    launcher = Launcher(device="cpu")
    launcher.attach(workflow)
    assert inner.launcher is launcher
