"""Start-up of `veles-run --help` against the smallest Hydra application, and of a short run against the import of torch.

python -m benchmarks.startup
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.measure import print_table, verdict

HELLO = """
import hydra

@hydra.main(version_base=None, config_path=None)
def main(config):
    print("hello")

main()
"""


ROUNDS = 10


class Start(NamedTuple):
    """What a process took: seconds, and seconds of the processor, its children's included."""

    waited: float
    processor: float


def started(command: Sequence[str], folder: str) -> Start:
    """Runs a program to its end."""
    # An installed program is compiled once, here by the round of warm-up, whatever this environment says.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = os.times()
    began = time.perf_counter()
    subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, check=True)
    waited, after = time.perf_counter() - began, os.times()
    return Start(waited, sum(after[2:4]) - sum(before[2:4]))


def compare(title: str, commands: dict[str, Sequence[str]], peer: str, target: float, folder: str) -> None:
    """Runs programs in turns, and prints how long each takes, and what it is of the peer in the same round: the medians."""
    turns = [{name: started(command, folder) for name, command in commands.items()} for _ in range(ROUNDS + 1)][1:]
    rows = []
    for name in commands:
        found = [turn[name] for turn in turns]
        waited, processor = (statistics.median(values) for values in zip(*found, strict=True))
        shares = [statistics.median(turn[name][kind] / turn[peer][kind] for turn in turns) for kind in (0, 1)]
        told = ["", ""] if name == peer else [verdict(shares[0], target), f"{shares[1]:.2f}"]
        rows.append((name, f"{waited:.3f}", told[0], f"{processor:.3f}", told[1]))
    print_table(title, ("what", "s", f"of {peer}", "s of the processor", f"of {peer}"), rows)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        hello = Path(folder, "hello.py")
        hello.write_text(HELLO)
        helps = {"veles-run": ("-m", "runner", "--help"), "Hydra hello": (str(hello), "--help")}
        compare("--help, whole process", helps, "Hydra hello", 1.5, folder)
        run = ("-m", "runner", "mnist_small", "decision.max_epochs=1")
        runs = {"veles-run": run, "without pictures": (*run, "plotters=false"), "import torch": ("-c", "import torch")}
        compare("conf=mnist_small, one epoch, whole process", runs, "import torch", 1.4, folder)


if __name__ == "__main__":
    main()
