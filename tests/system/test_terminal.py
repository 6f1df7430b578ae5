"""What a person at a terminal sees: read from the screen of a terminal, as far as it is a screen."""

import fcntl
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import termios
from pathlib import Path

import pyte
import pytest

from tests.conftest import VELES_RUN, Run
from tests.system.test_resume import final_snapshot

SMALL = ("mnist_small", "loader.train_size=1200", "loader.validation_size=300", "seed=1", "plotters=false", "report=false")
COLOR = re.compile(r"\x1b\[[\d;]*3[1-7]m")


def read_until(terminal: int, pattern: str, seen: str = "") -> str:
    """Reads what the terminal shows until the pattern has come, or the process has ended."""
    while not re.search(pattern, seen):
        try:
            data = os.read(terminal, 1 << 16)
        except OSError:  # how Linux says that the other side is closed
            break
        seen += data.decode(errors="replace")
    return seen


def at_terminal(folder: Path, columns: int, *arguments: str, **environment: str) -> tuple[str, list[str]]:
    """Runs the command at a terminal; returns what was sent to it, and the lines of its screen."""
    terminal, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 100, columns, 0, 0))
    settings = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
    settings |= {"TERM": "xterm-256color", **environment}
    command = [*VELES_RUN, *arguments]
    with subprocess.Popen(command, cwd=folder, stdin=inner, stdout=inner, stderr=inner, env=settings) as process:
        os.close(inner)
        sent = read_until(terminal, r"\Znever")
    os.close(terminal)
    assert process.returncode == 0, sent
    screen = pyte.Screen(columns, 100)
    pyte.Stream(screen).feed(sent)
    return sent, [line.rstrip() for line in screen.display]


def test_progress_bar_and_control_c(tmp_path: Path) -> None:
    terminal, inner = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "30"}
    command = [*VELES_RUN, "conf=mnist_small", "decision.max_epochs=500", "plotters=false", "report=false"]
    with subprocess.Popen(command, cwd=tmp_path, stdin=inner, stdout=inner, stderr=inner, env=environment) as process:
        os.close(inner)
        bar = r"Epoch \d+/500 .*━.* \d+/117 .*error .* % .*/s .* s left"
        seen = read_until(terminal, bar)
        process.send_signal(signal.SIGINT)
        seen = read_until(terminal, r"Continue: .*\n", seen)
        rest = read_until(terminal, r"\Znever")
        process.wait()
    os.close(terminal)
    assert process.returncode == 130, seen
    assert re.search(bar, seen)
    assert "SIGINT: stopping at the next safe point" in seen
    assert re.search("▪.* of epoch .*, pause", seen)
    assert "Traceback" not in seen + rest


@pytest.mark.parametrize(("columns", "environment"), [(50, {}), (80, {}), (120, {"NO_COLOR": "1"})])
def test_a_run_is_readable_at_each_width(columns: int, environment: dict[str, str], tmp_path: Path, veles_run: Run) -> None:
    sent, lines = at_terminal(tmp_path, columns, *SMALL, "decision.max_epochs=3", **environment)
    text = "\n".join(lines)
    rows = [line for line in lines if re.match(r" +[123]/3  +\d+\.\d\d % .* \d+\.\d\d % .*\d\.\d\d s", line)]
    assert len(rows) == 3
    assert "★" in rows[0]
    assert "▪" in rows[2]
    assert len(re.findall("▪", text)) >= 2  # that of the first epoch stands by itself if it was slow
    assert ("MB" in rows[2], "ms" in rows[2]) == (columns > 50, columns > 80)
    assert (COLOR.search(sent) is None) == bool(environment)
    for wanted in ("fc1", "78,500", "79,510", "train 1,200", "10 classes", "cpu", "epoch 3", "outputs/mnist_small"):
        assert wanted in text
    assert re.search("[▁▂▃▄▅▆▇█]{3}  [0-9.]+ % to [0-9.]+ %", text)
    assert "pickle" not in text
    # The commands work, and lead to this run although there is a newer one of the same workflow by then.
    plain = re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", sent).replace("\r", "")
    commands = dict(re.findall(r"^(Extend|Score): veles-run (.*)$", plain, re.MULTILINE))
    assert [re.findall("snapshot=(\\w+)", commands[title]) for title in ("Extend", "Score")] == [["latest"], ["best"]]
    if columns == 80:
        veles_run("conf=mnist_small", *SMALL[1:], "decision.max_epochs=1", "layers.fc1.learning_rate=0.2")
        best = min((re.findall(r"[0-9.]+ %", row)[1] for row in rows), key=lambda error: float(error[:-2]))
        assert f"validation {best}" in veles_run(*shlex.split(commands["Score"])).stdout
        again = veles_run(*shlex.split(commands["Extend"])).stdout
        assert "Epoch 6: " in again
        assert "Epoch 3: " not in again


@pytest.mark.parametrize(
    ("columns", "launcher"), [(50, ()), (80, ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")), (120, ("--no-color",))]
)
def test_a_sweep_has_one_bar(columns: int, launcher: tuple[str, ...], tmp_path: Path) -> None:
    swept = ("-m", *SMALL, "decision.max_epochs=8", "layers.fc1.learning_rate=0.1,0.2", "report=false", "hydra.sweep.dir=there")
    sent, lines = at_terminal(tmp_path, columns, *swept, *launcher)
    bars = re.findall("Sweep  [━─]+  [0-2]/2[^\r\n]*", re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", sent))
    assert "0/2" in bars[0]
    assert all(len(bar.rstrip()) < columns for bar in bars)
    if "joblib" not in str(launcher):  # whose two jobs may end at once: a bar of which nothing is done has no color
        assert (COLOR.search(sent) is None) == ("--no-color" in launcher)
    # It has left nothing, and nothing is written over.
    assert not any("Sweep" in line for line in lines)
    told = [line for line in lines if line.startswith("Job ")]
    assert sorted(line.partition(": ")[0] for line in told) == ["Job 0", "Job 0", "Job 1", "Job 1"]
    assert all(
        re.fullmatch(r"Job [01]: (layers.fc1.learning_rate=0.[12]|finished, best error [0-9.]+, [0-9.]+ s)", line)
        for line in told
    )


def test_a_terminal_without_colors_and_letters(tmp_path: Path) -> None:
    arguments = (*SMALL, "decision.max_epochs=2", "--no-color")
    sent, lines = at_terminal(tmp_path, 80, *arguments, PYTHONIOENCODING="ascii")
    assert COLOR.search(sent) is None
    assert sent.isascii()
    assert "\\u" not in sent
    assert any(re.match(r" +1/2 .* \*", line) for line in lines)
    assert any(re.match(r"( +1/2 .* \* +|)\+ ", line) for line in lines)


def test_a_cell_of_a_notebook_gets_lines(tmp_path: Path) -> None:
    """Its kernel gives a command a terminal, but shows each drawing below the one before."""
    sent, lines = at_terminal(tmp_path, 80, *SMALL, "decision.max_epochs=2", JPY_PARENT_PID="1")
    assert "\x1b[2K" not in sent
    assert sum(line.startswith("Epoch ") for line in lines) == 2


def test_quiet_runs_say_nothing_but_in_their_log(tmp_path: Path, veles_run: Run) -> None:
    done = veles_run(*SMALL, "decision.max_epochs=1", "-q", "hydra.run.dir=piped")
    assert (done.stdout, done.stderr) == ("", "")
    done = veles_run(
        "--quiet", "-m", *SMALL, "decision.max_epochs=1", "layers.fc1.learning_rate=0.1,0.2", "hydra.sweep.dir=sweep"
    )
    assert (done.stdout, done.stderr) == ("", "")
    for log in (*tmp_path.glob("*/veles-run.log"), *tmp_path.glob("sweep/*/veles-run.log")):
        text = "\n".join(line.partition(": ")[2] for line in log.read_text().splitlines())
        assert "Model: fc1 all2all_tanh 100, " in text
        assert re.search(r"^Epoch 1: train .* %, validation .* s", text, re.MULTILINE)
        assert Path(tmp_path, final_snapshot(text)).is_file()
        assert "Extend: veles-run" in text
