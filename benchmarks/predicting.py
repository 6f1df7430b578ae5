"""Predictions of new data from the command line: how long 10,000 take, and what a large file takes of memory.

    OMP_NUM_THREADS=1 python -m benchmarks.predicting [--gigabytes 0.5 5] [--rounds 5]

The network is that of `mnist_small`. Times are of the whole command, the start of its process included, beside `import torch`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.measure import print_table, verdict
from runner.datasets import mnist

RUN = (sys.executable, "-m", "runner")
BLOCK = 10_000
"""Rows of a large file that are repeated."""


def trained(folder: Path) -> Path:
    """Returns a snapshot of a trained network."""
    keys = [
        "mnist_small",
        "seed=1",
        "decision.max_epochs=2",
        "plotters=false",
        "report=false",
        f"hydra.run.dir={folder / 'run'}",
    ]
    subprocess.run([*RUN, *keys], check=True, capture_output=True, cwd=folder)
    return next((folder / "run").glob("*_current*"))


def spent(command: Sequence[str], folder: Path) -> tuple[float, float, int]:
    """Returns the seconds of a command, those of the processor, and the most memory that it had, in bytes."""
    began = time.perf_counter()
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, 1024 * usage.ru_maxrss


def write_csv(path: Path, images: np.ndarray, size: float) -> int:
    """Writes a CSV file of at least so many bytes; returns the number of its rows."""
    lines = "".join(",".join(map(str, row)) + "\n" for row in images[:BLOCK].reshape(BLOCK, -1).tolist()).encode()
    blocks = int(-(-size // len(lines)))
    with path.open("wb") as file:
        file.write(",".join(f"p{number}" for number in range(images[0].size)).encode() + b"\n")
        for _ in range(blocks):
            file.write(lines)
    return BLOCK * blocks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, nargs="*", default=[0.5, 5])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        snapshot, images = trained(folder), np.asarray(mnist.load()[1][0])
        np.save(folder / "test.npy", images)
        ours = [*RUN, f"snapshot={snapshot}", "mode=predict", "data=test.npy", "output=out.csv"]
        turns = [
            (spent(ours, folder)[0], spent([sys.executable, "-c", "import torch"], folder)[0]) for _ in range(options.rounds)
        ]
        took, start = (statistics.median(times) for times in zip(*turns, strict=True))
        rows = [("veles-run", f"{took:.2f}"), ("import torch", f"{start:.2f}")]
        print_table("10,000 predictions of MNIST, from a file into a file", ("what", "s"), rows)
        print(f"\nseconds: {verdict(took, 2)}")
        table = []
        for size in options.gigabytes:
            count = write_csv(folder / "large.csv", images, 1e9 * size)
            command = [*RUN, f"snapshot={snapshot}", "mode=predict", "data=large.csv", "output=large_out.csv"]
            seconds, processor, memory = spent(command, folder)
            with (folder / "large_out.csv").open("rb") as file:
                assert sum(1 for _ in file) == count + 1
            table.append((f"{size:g}", f"{count:,}", f"{seconds:.0f}", f"{processor:.0f}", f"{memory / 1e6:.0f}"))
        if table:
            print_table("Predictions of a CSV file", ("GB", "rows", "s", "s of the processor", "MB of memory"), table)


if __name__ == "__main__":
    main()
