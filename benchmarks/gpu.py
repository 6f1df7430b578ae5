"""On a GPU: the pause of a snapshot against the copy from the device, a restore against torch.load, and an epoch.

    OMP_NUM_THREADS=1 python -m benchmarks.gpu [--sizes 105 1050] [--rounds 9]

States are float32 weights in ten tensors on the GPU. Each comparison runs in turns in one process; figures are medians.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from benchmarks.measure import print_table, seconds, verdict
from benchmarks.snapshots.states import folder, make_workflow
from runner.snapshots.restoring.restore import restore


def pauses(megabytes: int, rounds: int) -> None:
    """The pause of the run against copies to memory that is there, pinned and ordinary, `.cpu()`, and torch.save."""
    with folder() as path:
        workflow, snapshotter = make_workflow(megabytes, path, compression="none")
        weights = workflow["weights"]
        weights.weights = state = [tensor.cuda() for tensor in weights.weights]
        pinned = [torch.empty_like(tensor, device="cpu", pin_memory=True) for tensor in state]
        ordinary = [torch.zeros_like(tensor, device="cpu") for tensor in state]

        def copy_to(copies: list[torch.Tensor], non_blocking: bool) -> None:
            for copy, tensor in zip(copies, state, strict=True):
                copy.copy_(tensor, non_blocking=non_blocking)
            torch.cuda.synchronize()

        def whole() -> None:
            """A pause, and the copies that the GPU does before whatever the run asks it for next."""
            snapshotter.export()
            torch.cuda.synchronize()

        snapshotter.due = False
        snapshotter.run()  # as after the first minibatch: memory is made ready
        time.sleep(2)
        first = seconds(whole)
        snapshotter.finish()
        measured: dict[str, list[float]] = {}
        for number in range(rounds + 2):
            spent = {
                "copy to pinned memory": seconds(lambda: copy_to(pinned, True)),
                "ours": seconds(whole),
                "copy to ordinary memory": seconds(lambda: copy_to(ordinary, False)),
                "tensor.cpu()": seconds(lambda: [tensor.cpu() for tensor in state]),
                "torch.save": seconds(lambda: torch.save(state, path / "torch.pt")),
            }
            snapshotter.finish()
            last = Path(snapshotter.last_location)
            for file in {*path.glob("*.pickle*")} - {last}:
                file.unlink()
            if number >= 2:
                for name, value in spent.items():
                    measured.setdefault(name, []).append(value)
        medians = {name: statistics.median(values) for name, values in measured.items()}
        copy = medians["copy to pinned memory"]
        rows = [(name, f"{1000 * value:.2f}", f"{value / copy:.2f}") for name, value in medians.items()]
        print_table(f"Pause of the run, {megabytes} MB on the GPU", ("what", "ms", "x copy to pinned memory"), rows)
        print(f"\nours / copy from the device: {verdict(medians['ours'] / copy, 1.05)}; the first one {1000 * first:.1f} ms")
        again = restore(last, trusted=["benchmarks"]).workflow["weights"].weights
        print("restored bit for bit:", all(map(torch.equal, again, state)))
        restoring(last, path / "torch.pt", rounds)


def restoring(ours: Path, theirs: Path, rounds: int) -> None:
    """A restore to the GPU, verification included, against torch.load, which verifies nothing."""

    def restored() -> None:
        restore(ours, trusted=["benchmarks"])
        torch.cuda.synchronize()

    def loaded() -> None:
        torch.load(theirs, map_location="cuda")
        torch.cuda.synchronize()

    turns = [(seconds(restored), seconds(loaded)) for _ in range(rounds + 1)][1:]
    one, other = (statistics.median(times) for times in zip(*turns, strict=True))
    print(f"restore {1000 * one:.1f} ms, torch.load {1000 * other:.1f} ms: {one / other:.2f}")


def epochs() -> None:
    """An epoch of the large conf files on the CPU and on the GPU, without the start."""
    rows = []
    for conf in ("mnist", "mnist_conv"):
        for device in ("cpu", "cuda"):
            with folder() as path:
                keys = [f"conf={conf}", f"device={device}", "decision.max_epochs=3", "plotters=false", "report=false", "seed=1"]
                command = [sys.executable, "-m", "runner", *keys, f"hydra.run.dir={path.resolve()}"]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows.append((conf, device, *[line for line in done.stdout.splitlines() if line.startswith("Epoch")][-1:]))
    print_table("Epochs", ("conf", "device", "the last one"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[105, 1050])
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    for megabytes in options.sizes:
        pauses(megabytes, options.rounds)
    epochs()


if __name__ == "__main__":
    main()
