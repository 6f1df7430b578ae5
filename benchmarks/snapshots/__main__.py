"""Snapshots against their alternatives: pause, throughput, ratio, restore, memory, and the effect on a run.

    OMP_NUM_THREADS=1 python -m benchmarks.snapshots [--sizes 1 105 1050] [--rounds 5] [--picture FILE]

States are float32 weights, normal with standard deviation 0.05, in ten tensors. Each comparison runs in turns in one process,
restores each in a fresh process; figures are medians. Files are in a temporary folder on the disk of the current one.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch

from benchmarks.measure import print_table
from benchmarks.snapshots.during import during
from benchmarks.snapshots.effect import effect
from benchmarks.snapshots.memory import memory
from benchmarks.snapshots.pauses import first_pauses, pauses
from benchmarks.snapshots.restoring import restoring
from benchmarks.snapshots.writing import writing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 105, 1050])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--picture", type=Path, default=None, help="file for the table of 105 MB as a picture")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    for megabytes in options.sizes:
        rounds = 7 * options.rounds if megabytes == 1 else options.rounds  # small ones take milliseconds, which vary much
        pauses(megabytes, rounds)
        if megabytes >= 105:
            first_pauses(megabytes, 3)
        written = writing(megabytes, rounds)
        summary(megabytes, written, restoring(megabytes, options.rounds), options.picture if megabytes == 105 else None)
    memory(max(options.sizes))
    effect(options.rounds)
    during(500, 1)


def summary(megabytes: int, written: dict[str, dict[str, float]], restored: dict[str, float], picture: Path | None) -> None:
    """The table of codecs, and the same as a picture."""
    rows = [
        (name, f"{row['MB/s']:.0f}", f"{row['ratio']:.1f} %", f"{row['pause']:.0f}", f"{restored[name]:.0f}")
        for name, row in written.items()
    ]
    print_table(f"Codecs, {megabytes} MB", ("codec", "MB/s to file", "size", "pause ms", "restore ms"), rows)
    if picture is None:
        return
    from matplotlib import pyplot

    columns = {
        "MB/s from capture to a synced file": [row["MB/s"] for row in written.values()],
        "size, % of the state": [row["ratio"] for row in written.values()],
        "pause of the run, ms": [row["pause"] for row in written.values()],
        "restore, ms": [restored[name] for name in written],
    }
    figure, axes = pyplot.subplots(1, len(columns), figsize=(14, 2.8), sharey=True, layout="constrained")
    for axis, (title, values) in zip(axes, columns.items(), strict=True):
        bars = axis.barh(list(written), values, color="#4878a8")
        axis.bar_label(bars, fmt="%.0f", padding=3)
        axis.set_title(title, fontsize=10)
        axis.margins(x=0.2)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()
    figure.suptitle(f"Snapshots of {megabytes} MB of float32 weights")
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    main()
