"""What it costs to look: the console on a terminal, rows of minibatches and TensorBoard, against a run without them.

    OMP_NUM_THREADS=1 python -m benchmarks.logged [--rounds 8] [--epochs 3]

The network of conf/mnist.yaml, each run in a process of its own, in turns. An epoch's seconds are those in `metrics.jsonl`;
figures are the fastest epochs, without each process's first: others who work on the machine only slow epochs down.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from benchmarks.measure import print_table, verdict
from runner.metrics import read_metrics

PLAIN = ("mnist", "seed=1", "threads=1", "plotters=false", "report=false", "snapshotter.interval=1000")
LOOKED_AT = ("metrics.every=100", "logger=tensorboard")
SIZE = struct.pack("HHHH", 40, 120, 0, 0)
"""Of the terminal."""


def epochs(folder: Path, number: int, keys: tuple[str, ...], terminal: bool) -> list[float]:
    """Runs so many epochs; returns the seconds of each but the first."""
    command = [sys.executable, "-m", "runner", *PLAIN, *keys, f"decision.max_epochs={number}", "hydra.run.dir=."]
    folder.mkdir()
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "TERM": "xterm-256color"}
    if terminal:
        in_terminal(command, folder, environment)
    else:
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    rows = [row for row in read_metrics(folder) if row["kind"] == "epoch" and row["epoch"] > 1]
    return [sum(row["seconds"] for row in rows if row["epoch"] == epoch) for epoch in range(2, number + 1)]


def in_terminal(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    """Runs a command that finds a terminal, and reads what it shows."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, SIZE)
    with subprocess.Popen(command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        try:
            while os.read(ours, 65536):
                pass
        except OSError:  # it has ended
            pass
        os.close(ours)
    if process.returncode:
        raise SystemExit(f"{command} ends with {process.returncode}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    plain: list[float] = []
    looked_at: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        for number in range(options.rounds):
            plain += epochs(Path(name, f"plain{number}"), options.epochs, (), terminal=False)
            looked_at += epochs(Path(name, f"looked_at{number}"), options.epochs, LOOKED_AT, terminal=True)
    ratio = min(looked_at) / min(plain)
    print_table(
        "The network of conf/mnist.yaml, an epoch",
        ("what", "s", "over plain"),
        (
            ("plain", f"{min(plain):.3f}", ""),
            (
                "console on a terminal, metrics.every=100, TensorBoard",
                f"{min(looked_at):.3f}",
                verdict(ratio, 1.03),
            ),
        ),
    )


if __name__ == "__main__":
    main()
