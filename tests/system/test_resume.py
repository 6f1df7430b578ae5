"""The core promise: a run stopped at any moment continues bit for bit."""

import random
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import forked
from tests.conftest import Run
from tests.states import differences, state_of

EPOCHS = 12
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
    output = forked.output([*BASE, "seed=7", "plotters=false", "report=false"], cwd=folder)
    return state_of(folder / final_snapshot(output)), epoch_lines(output)


def run_until_signal(folder: Path, arguments: list[str], number: signal.Signals, rng: random.Random) -> tuple[int, str]:
    """Starts a run and signals it at a random moment after it has begun."""
    given = {argument.partition("=")[0] for argument in arguments}
    plain = [f"{key}=false" for key in ("plotters", "report") if key not in given]
    with forked.Started([*arguments, *plain], cwd=folder) as started:
        started.wait_for(lambda: re.search("^(Training|Running)", started.output, re.MULTILINE))
        started.process.join(rng.uniform(0, 0.1))
        if started.process.exitcode is None:
            started.send_signal(number)
        done = started.end(60)
    return done.returncode, done.stdout + done.stderr


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
