"""The speed of training while a snapshot is under way."""

from __future__ import annotations

import statistics
import subprocess
import sys

from benchmarks.measure import print_table, verdict
from benchmarks.snapshots.states import folder

TARGETS = {2: 0.97, 1: 0.90}
"""For so many cores, the least share of the speed without a snapshot."""

DURING = """
import logging, os, statistics, sys
from pathlib import Path
cores, megabytes, codec, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
import torch
from benchmarks.measure import seconds
from benchmarks.snapshots.states import make_workflow
from benchmarks.training import RATE, our_epoch
logging.disable(logging.WARNING)
torch.set_num_threads(1)
layers = {
    "fc1": {"type": "all2all_tanh", "output_sample_shape": 100, "learning_rate": RATE},
    "out": {"type": "softmax", "output_sample_shape": 10, "learning_rate": RATE},
}
epoch = our_epoch(layers, {"minibatch_size": 60, "train_size": 1800, "validation_size": 60})
workflow, snapshotter = make_workflow(megabytes, path, compression=codec, keep_last=1)
snapshotter.export()
snapshotter.finish()
for turn in range(5):
    alone = [seconds(epoch) for _ in range(30)]
    snapshotter.export()
    during = []
    while snapshotter.exporter_.busy:
        during.append(seconds(epoch))
    if during[:-1]:
        print(statistics.mean(alone[5:]) / statistics.mean(during[:-1]), len(during))
"""


def during(megabytes: int, rounds: int) -> None:
    """Training of MNIST while a large state is written, with a core to spare and without one, against training alone."""
    rows = []
    for cores, target in TARGETS.items():
        for codec in ("none", "gz"):
            found = []
            for _ in range(rounds):
                with folder() as path:
                    command = [sys.executable, "-c", DURING, str(cores), str(megabytes), codec, str(path)]
                    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
                found += [float(line.split()[0]) for line in lines]
            share = verdict(statistics.median(found), target, at_least=True) if found else "it was too quick"
            rows.append([cores, codec, share])
    title = f"Training while a snapshot of {megabytes} MB is under way, against training alone"
    print_table(title, ("cores", "codec", "its speed"), rows)
