"""The core promise: a run stopped at any moment continues bit for bit."""

import random
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import VELES_RUN, Run
from tests.states import differences, state_of

EPOCHS = 6
STOPS = 3
BASE = ("conf=mnist_small", "layers.fc1.gradient_momentum=0.5", f"decision.max_epochs={EPOCHS}")


def final_snapshot(output: str) -> str:
    """Returns the last snapshot that a run acknowledged."""
    return re.findall(r"^Snapshot written: (\S+) ", output, re.MULTILINE)[-1]


def epoch_lines(output: str) -> list[str]:
    """Returns what is said of each epoch, but for how long it took."""
    return [re.sub(r", [\d.]+ s", "", line) for line in re.findall(r"^Epoch .*", output, re.MULTILINE)]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], list[str]]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    command = [*VELES_RUN, *BASE, "seed=7"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return state_of(folder / final_snapshot(done.stdout)), epoch_lines(done.stdout)


def run_until_signal(folder: Path, arguments: list[str], number: signal.Signals, rng: random.Random) -> tuple[int, str]:
    """Starts a run and signals it at a random moment after it has begun."""
    command = [*VELES_RUN, *arguments, "report=false"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        output = ""
        for line in process.stdout:
            output += line
            if line.startswith(("Training", "Running")):
                break
        try:
            process.wait(timeout=rng.uniform(0, 0.2))
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        output += process.stdout.read()
    return process.returncode, output


def run_with_stops(
    veles_run: Run,
    folder: Path,
    arguments: list[str],
    number: signal.Signals,
    rng: random.Random,
    again: Callable[[str], list[str]],
) -> tuple[list[str], str]:
    """Stops a run a few times, and goes on to its end; returns the lines of all epochs, and the last process's output.

    Args:
        again: what is typed to go on from a snapshot.
    """
    seen: list[str] = []
    for stops in range(STOPS):
        code, output = run_until_signal(folder, arguments, number, rng)
        seen += epoch_lines(output)
        if code == 0 and stops > 0:
            return seen, output
        assert code == {signal.SIGTERM: 75, signal.SIGINT: 130}[number], output
        arguments = again(final_snapshot(output))
    output = veles_run(*arguments).stdout
    return seen + epoch_lines(output), output


def test_extended_run_is_identical(veles_run: Run, tmp_path: Path, uninterrupted) -> None:
    state, lines = uninterrupted
    first = veles_run(*BASE[:-1], "decision.max_epochs=2", "seed=7").stdout
    second = veles_run("conf=mnist_small", f"snapshot={final_snapshot(first)}", f"decision.max_epochs={EPOCHS}").stdout
    assert epoch_lines(first) + epoch_lines(second) == lines
    assert differences(state, state_of(tmp_path / final_snapshot(second))) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_runs_continue_identically(
    number: signal.Signals, veles_run: Run, tmp_path: Path, rng: random.Random, uninterrupted
) -> None:
    state, lines = uninterrupted
    codec = iter(rng.sample(["gz", "bz2", "xz", "snappy", "zst", "none"], STOPS))

    def again(snapshot: str) -> list[str]:
        return [f"snapshot={snapshot}", f"snapshotter.compression={next(codec)}", f"snapshotter.interval={rng.randint(1, 3)}"]

    seen, output = run_with_stops(veles_run, tmp_path, [*BASE, "seed=7"], number, rng, again)
    assert seen == lines
    assert differences(state, state_of(tmp_path / final_snapshot(output))) == []


def test_run_without_a_seed_continues_identically(tmp_path: Path, rng: random.Random, veles_run: Run) -> None:
    code, output = run_until_signal(tmp_path, [*BASE], signal.SIGTERM, rng)
    assert code == 75, output
    seed = re.search(r"seed (\d+)", output)[1]
    resumed = veles_run("conf=mnist_small", f"+snapshot={final_snapshot(output)}").stdout
    whole = veles_run(*BASE, f"seed={seed}").stdout
    assert epoch_lines(output) + epoch_lines(resumed) == epoch_lines(whole)
    assert differences(state_of(tmp_path / final_snapshot(whole)), state_of(tmp_path / final_snapshot(resumed))) == []
