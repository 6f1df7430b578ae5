"""The pause of the run."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys

import torch

from benchmarks.measure import print_table, seconds, verdict
from benchmarks.snapshots.states import folder, make_workflow

FIRST = """
import sys, threading, time
import torch, torch.distributed.checkpoint as dcp
from pathlib import Path
from benchmarks.measure import seconds
from benchmarks.snapshots.states import make_workflow
kind, megabytes, path = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
torch.set_num_threads(1)
workflow, snapshotter = make_workflow(megabytes, path, compression="none")
state = {f"w{number}": tensor for number, tensor in enumerate(workflow["weights"].weights)}
snapshotter.due = False
snapshotter.run()  # as after the first minibatch
time.sleep(2)
for number in range(5):
    if kind == "ours":
        print(seconds(snapshotter.export))
        snapshotter.finish()
    elif kind == "torch.save":
        print(seconds(lambda: torch.save(state, path / "torch.pt")))
    else:
        futures = []
        print(seconds(lambda: futures.append(dcp.async_save(state, checkpoint_id=str(path / f"dcp{number}")))))
        futures[0].result()
"""


def first_pauses(megabytes: int, rounds: int) -> None:
    """The first pause of a process beside its later ones, two seconds after the run has begun."""
    rows = []
    for kind in ("ours", "torch.save", "dcp.async_save"):
        firsts, laters = [], []
        for _ in range(rounds):
            with folder() as path:
                command = [sys.executable, "-c", FIRST, kind, str(megabytes), str(path)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
            first, *later = map(float, done.stdout.split())
            firsts.append(first)
            laters.append(statistics.median(later))
        first, later = statistics.median(firsts), statistics.median(laters)
        ratio = verdict(first / later, 2) if kind == "ours" else f"{first / later:.2f}"
        rows.append([kind, f"{1000 * first:.1f}", f"{1000 * later:.1f}", ratio])
    print_table(f"First and later pauses, {megabytes} MB", ("what", "first ms", "later ms", "first / later"), rows)


def pauses(megabytes: int, rounds: int) -> None:
    """The pause of the run against one memcpy, torch.save and torch's asynchronous checkpoint."""
    import torch.distributed.checkpoint as dcp

    with folder() as path:
        workflow, snapshotter = make_workflow(megabytes, path, compression="none")
        state = {f"w{number}": tensor for number, tensor in enumerate(workflow["weights"].weights)}
        copies = [torch.empty_like(tensor) for tensor in state.values()]

        def memcpy() -> None:
            for copy, tensor in zip(copies, state.values(), strict=True):
                copy.copy_(tensor)

        futures = []

        def dcp_async() -> None:
            futures.append(dcp.async_save(state, checkpoint_id=str(path / f"dcp{len(futures)}")))

        measured: dict[str, list[float]] = {"ours": [], "memcpy": [], "torch.save": [], "dcp.async_save": []}
        for number in range(rounds + 2):
            spent = {
                "memcpy": seconds(memcpy),
                "ours": seconds(snapshotter.export),
                "torch.save": 0.0,
                "dcp.async_save": 0.0,
            }
            snapshotter.finish()
            spent["torch.save"] = seconds(lambda: torch.save(state, path / "torch.pt"))
            spent["dcp.async_save"] = seconds(dcp_async)
            futures[-1].result()
            for file in path.iterdir():
                shutil.rmtree(file) if file.is_dir() else file.unlink()
            if number >= 2:
                for name, value in spent.items():
                    measured[name].append(value)
    medians = {name: sorted(values)[len(values) // 2] for name, values in measured.items()}
    rows = [(name, f"{1000 * value:.1f}", f"{value / medians['memcpy']:.2f}") for name, value in medians.items()]
    print_table(f"Pause of the run, {megabytes} MB", ("what", "ms", "x memcpy"), rows)
    print(f"\nours <= 1.5 memcpy + 2 ms: {verdict(1000 * medians['ours'], 1500 * medians['memcpy'] + 2)}")
    if megabytes >= 105:
        print(f"ours / torch.save: {verdict(medians['ours'] / medians['torch.save'], 0.2)}")
        print(f"ours / dcp.async_save: {verdict(medians['ours'] / medians['dcp.async_save'], 1.0)}")
