"""Restores in fresh processes: their time, and their memory."""

from __future__ import annotations

import gzip
import pickle
import statistics
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.measure import print_table, verdict
from benchmarks.snapshots.states import SLOW, codecs_for, folder, make_workflow

RESTORE = """
import gzip, pickle, re, sys, time
from pathlib import Path
kind, path = sys.argv[1:]
import torch
from runner.nn import StandardWorkflow
from runner.snapshots.restoring.restore import restore
import benchmarks.snapshots.states
before = int(re.search(r"VmRSS:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
began = time.perf_counter()
if kind == "ours": restore(path, trusted=["benchmarks"])
elif kind == "gzip": pickle.load(gzip.open(path))
else: torch.load(path, weights_only=False)
spent = time.perf_counter() - began
after = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
print(spent, 1024 * (after - before) / 1e6)
"""


def fresh_process(kind: str, path: Path) -> tuple[float, float]:
    """Returns the seconds of a restore, and the megabytes by which the process has grown at its peak."""
    done = subprocess.run([sys.executable, "-c", RESTORE, kind, str(path)], capture_output=True, text=True, check=True)
    spent, grown = map(float, done.stdout.split())
    return spent, grown


def restoring(megabytes: int, rounds: int) -> dict[str, float]:
    """A restore in a fresh process, verification included, against the standard ways, which verify nothing."""
    rows, figures = [], {}
    for codec in codecs_for(megabytes):
        with folder() as path:
            workflow, snapshotter = make_workflow(megabytes, path, compression=codec.name, blocking=True)
            snapshotter.export()
            ours = Path(snapshotter.last_location)
            torch.save({"state": workflow["weights"].weights}, path / "torch.pt")
            with gzip.open(path / "plain.gz", "wb", compresslevel=6 if megabytes <= 105 else 1) as file:
                pickle.dump(workflow, file, protocol=5)
            del workflow, snapshotter
            kinds = {"ours": ours, "gzip": path / "plain.gz", "torch": path / "torch.pt"}
            few = 1 if codec.name in SLOW else rounds if megabytes <= 105 else 3
            spent = [{kind: fresh_process(kind, file) for kind, file in kinds.items()} for _ in range(few)]
            times = {kind: statistics.median(turn[kind][0] for turn in spent) for kind in kinds}
            over = statistics.median(turn["ours"][1] for turn in spent) - megabytes
            figures[codec.name] = 1000 * times["ours"]
            target = {"gz": ("gzip", 0.4), "none": ("torch", 1.15)}.get(codec.name)
            ratio = verdict(times["ours"] / times[target[0]], target[1]) if target else ""
            rows.append([codec.name, *(f"{1000 * times[kind]:.0f}" for kind in kinds), ratio])
            rows[-1].append(verdict(over, 64 + megabytes / 20))
    header = ("codec", "ours ms", "pickle.load(gzip.open()) ms", "torch.load ms", "ratio", "MB over the state at the peak")
    print_table(f"Restore in a fresh process, {megabytes} MB", header, rows)
    return figures
