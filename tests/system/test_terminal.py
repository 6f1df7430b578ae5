"""What a person at a terminal sees."""

import os
import pty
import re
import signal
import subprocess
from pathlib import Path

from tests.conftest import VELES_RUN


def read_until(terminal: int, pattern: str, seen: str = "") -> str:
    """Reads what the terminal shows until the pattern has come, or the process has ended."""
    while not re.search(pattern, seen):
        try:
            data = os.read(terminal, 1 << 16)
        except OSError:  # how Linux says that the other side is closed
            break
        seen += data.decode(errors="replace")
    return seen


def test_progress_bar_and_control_c(tmp_path: Path) -> None:
    terminal, inner = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "30"}
    command = [*VELES_RUN, "conf=mnist_small", "decision.max_epochs=500"]
    with subprocess.Popen(command, cwd=tmp_path, stdin=inner, stdout=inner, stderr=inner, env=environment) as process:
        os.close(inner)
        seen = read_until(terminal, r"Epoch \d+ .*━.* \d+/117")
        process.send_signal(signal.SIGINT)
        seen = read_until(terminal, r"Continue: .*\n", seen)
        rest = read_until(terminal, r"\Znever")
        process.wait()
    os.close(terminal)
    assert process.returncode == 130, seen
    assert re.search(r"Epoch \d+ .*━.* \d+/117", seen)
    assert "SIGINT: stopping at the next safe point" in seen
    assert "Traceback" not in seen + rest
