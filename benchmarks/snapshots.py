"""Snapshots against their alternatives: pause, throughput, ratio, restore, memory, and the effect on a run.

    OMP_NUM_THREADS=1 python -m benchmarks.snapshots [--sizes 1 105 1050] [--rounds 5] [--picture FILE]

States are float32 weights, normal with standard deviation 0.05, in ten tensors. Each comparison runs in turns in one process,
restores each in a fresh process; figures are medians. Files are in a temporary folder on the disk of the current one.
"""

from __future__ import annotations

import argparse
import bz2
import gc
import gzip
import logging
import lzma
import os
import pickle
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import torch

from benchmarks.measure import in_turns, print_table, seconds, verdict
from runner.graph import Repeater, Unit, Workflow
from runner.snapshots.codecs import CODECS, Buffer, Codec
from runner.snapshots.header import Header
from runner.snapshots.snapshotter import SnapshotterToFile
from runner.snapshots.staging import CHUNK
from runner.snapshots.store import Store
from runner.snapshots.stores.file import CLOCK_STEP

SLOW = ("bz2", "xz")
IN_MEMORY = ("zst", "snappy")
EPOCHS = 5
FAST = tuple(name for name in CODECS if name not in SLOW)


class Weights(Unit):
    """Ten tensors of weights."""

    def __init__(self, workflow: Workflow, megabytes: int) -> None:
        super().__init__(workflow, "weights")
        torch.manual_seed(1)
        self.weights = [torch.empty(megabytes * 1_000_000 // 40).normal_(0, 0.05) for _ in range(10)]


def make_workflow(
    megabytes: int, folder: Path, cls: type[SnapshotterToFile] = SnapshotterToFile, **settings: object
) -> tuple[Workflow, SnapshotterToFile]:
    workflow = Workflow(name="benchmark")
    repeater = Repeater(workflow).link_from(workflow.start_point)
    weights = Weights(workflow, megabytes).link_from(repeater)
    snapshotter = cls(workflow, directory=folder, **settings)
    snapshotter.link_from(weights)
    workflow.end_point.link_from(snapshotter)
    repeater.link_from(snapshotter)
    workflow.initialize()
    return workflow, snapshotter


@contextmanager
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix=".benchmark-", dir="."))
    try:
        yield path
    finally:
        shutil.rmtree(path)
        gc.collect()  # workflows and their staging memory, which are cycles


def sync(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


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


def exporter(snapshotter: SnapshotterToFile) -> Callable[[], None]:
    """Takes snapshots, each with a name of its own, as a run does."""
    numbers = count()

    def export() -> None:
        snapshotter.suffix = str(next(numbers))
        snapshotter.export()

    return export


def standard_writer(codec: str, path: Path, workflow: Workflow, level: int) -> Callable[[], None]:
    """What one would write with the standard library; like ours, to a new file each time."""
    openers = {
        "gz": lambda file: gzip.open(file, "wb", compresslevel=6),
        "bz2": lambda file: bz2.open(file, "wb", compresslevel=level),
        "xz": lambda file: lzma.open(file, "wb", preset=level),
        "none": lambda file: open(file, "wb"),
    }
    numbers = count()

    def write() -> None:
        path.unlink(missing_ok=True)
        new = path.with_suffix(f".{next(numbers)}")
        with openers[codec](new) as file:
            pickle.dump(workflow, file, protocol=5)
        sync(new)
        path.hardlink_to(new)

    return write


def threaded_library(codec: str, data: bytes) -> Callable[[], None]:
    """The library on bytes in memory, chunk by chunk, with as many threads as there are cores."""
    import cramjam
    import zstandard

    chunks = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
    local = threading.local()

    def zstd(chunk: bytes) -> object:
        if not hasattr(local, "compressor"):
            local.compressor = zstandard.ZstdCompressor(level=1, write_checksum=True)
        return local.compressor.compress(chunk)

    encode = {"zst": zstd, "snappy": cramjam.snappy.compress}[codec]

    def compress() -> None:
        with ThreadPoolExecutor(os.cpu_count()) as executor:
            for _ in executor.map(encode, chunks):
                pass

    return compress


class MemoryStore(Store):
    """Drops what it is given, as is done with what the libraries give that it is compared with."""

    def put(self, header: Header, codec: Codec, members: Iterable[Buffer]) -> str:
        for _ in members:
            pass
        return "memory"


class SnapshotterToMemory(SnapshotterToFile):
    """Takes snapshots into memory."""

    @property
    def store(self) -> MemoryStore:
        return MemoryStore()


def writing(megabytes: int, rounds: int) -> dict[str, dict[str, float]]:
    """From capture to a synced file, for each codec, against the standard library.

    For zst and snappy the other is the library on bytes in memory, chunk by chunk in as many threads; there ours goes to
    memory too, since the disk would decide, and is counted from the moment when the state is in memory.
    """
    rows, figures = [], {}
    for codec in codecs_for(megabytes):
        with folder() as path:
            few = 1 if (codec.name in SLOW and megabytes > 1) or megabytes > 105 else rounds
            if codec.name in IN_MEMORY:
                few *= 5  # of some milliseconds, which vary much
            workflow, snapshotter = make_workflow(megabytes, path / "ours", compression=codec.name, blocking=True)
            actions: dict[str, Callable[[], object]] = {"file": exporter(snapshotter)}
            other = path / "theirs" / "other"
            other.parent.mkdir()
            if codec.name in IN_MEMORY:
                actions["other"] = threaded_library(codec.name, pickle.dumps(workflow, protocol=5))
                settings = {"compression": codec.name, "blocking": True}
                actions["ours"] = make_workflow(megabytes, path, SnapshotterToMemory, **settings)[1].export
            else:
                actions["other"] = standard_writer(codec.name, other, workflow, codec.default_level)
            snapshotter.export()
            time.sleep(CLOCK_STEP / 1e9)  # in a run, the folder was not made a moment ago
            times = in_turns(actions, few)
            written = snapshotter.written_
            size = f"{written.stored / other.stat().st_size:.4f}" if other.exists() else ""
            spent = times["file"]
            if "ours" in times:
                # The library begins with bytes in memory: so does ours, behind the pause.
                spent = times["ours"] - written.pause
            faster = times["other"] / spent
            target = {"gz": 10, "bz2": 1.7, "xz": 1.7, "zst": 0.8, "snappy": 0.8}.get(codec.name)
            figures[codec.name] = {
                "MB/s": megabytes / times["file"],
                "ratio": 100 * written.stored / written.state,
                "pause": 1000 * written.pause,
            }
            rows.append(
                [
                    f"{codec.name} {codec.default_level}",
                    f"{megabytes / times['file']:.0f}",
                    f"{figures[codec.name]['ratio']:.1f} %",
                    f"{figures[codec.name]['pause']:.0f}",
                    "library in memory" if codec.name in IN_MEMORY else "standard library",
                    f"{megabytes / times['other']:.0f}",
                    verdict(faster, target, at_least=True) if target else f"{faster:.2f}",
                    size,
                ]
            )
    header = ("codec", "MB/s to file", "ratio", "pause ms", "other", "its MB/s", "times as fast", "size / its size")
    print_table(f"From capture to a synced file, {megabytes} MB", header, rows)
    return figures


def codecs_for(megabytes: int) -> list[Codec]:
    """The codecs, without those that would take minutes on a large state."""
    return [codec for codec in CODECS.values() if codec.name not in SLOW or megabytes <= 105]


RESTORE = """
import gzip, pickle, sys, time
kind, path = sys.argv[1:]
import torch
from runner.nn import StandardWorkflow
from runner.snapshots.restore import restore
import benchmarks.snapshots
began = time.perf_counter()
if kind == "ours": restore(path, trusted=["benchmarks"])
elif kind == "gzip": pickle.load(gzip.open(path))
else: torch.load(path, weights_only=False)
print(time.perf_counter() - began)
"""


def fresh_process(kind: str, path: Path) -> float:
    done = subprocess.run([sys.executable, "-c", RESTORE, kind, str(path)], capture_output=True, text=True, check=True)
    return float(done.stdout)


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
            times = {kind: statistics.median(turn[kind] for turn in spent) for kind in kinds}
            figures[codec.name] = 1000 * times["ours"]
            target = {"gz": ("gzip", 0.7), "none": ("torch", 2.0)}.get(codec.name)
            ratio = verdict(times["ours"] / times[target[0]], target[1]) if target else ""
            rows.append([codec.name, *(f"{1000 * times[kind]:.0f}" for kind in kinds), ratio])
    header = ("codec", "ours ms", "pickle.load(gzip.open()) ms", "torch.load ms", "ratio")
    print_table(f"Restore in a fresh process, {megabytes} MB", header, rows)
    return figures


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


MEMORY = """
import re, sys
from pathlib import Path
from benchmarks.snapshots import make_workflow
megabytes, staging, folder, codec, snapshots = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5])
workflow, snapshotter = make_workflow(megabytes, Path(folder), compression=codec, staging=staging)
for _ in range(snapshots):
    snapshotter.export()
snapshotter.finish()
status = Path("/proc/self/status").read_text()  # getrusage would count the process that this one was forked from
print(1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]))
"""


def memory(megabytes: int) -> None:
    """Peak memory with a quarter of the state as staging, over that of the state alone."""
    staging = megabytes * 1_000_000 // 4
    rows = []
    for codec in FAST:
        with folder() as path:

            def peak(snapshots: int, path: Path = path, codec: str = codec) -> int:
                arguments = [str(megabytes), str(staging), str(path), codec, str(snapshots)]
                done = subprocess.run([sys.executable, "-c", MEMORY, *arguments], capture_output=True, text=True, check=True)
                return int(done.stdout)

            over = (peak(3) - peak(0) - staging) / 1e6
            rows.append([codec, f"{staging / 1e6:.0f}", verdict(over, 64)])
    print_table(f"Peak memory over state and staging, {megabytes} MB", ("codec", "staging MB", "MB over"), rows)


def effect(rounds: int) -> None:
    """Epoch time of MNIST with a snapshot every epoch, against none."""
    times: dict[str, list[float]] = {"with": [], "without": []}
    for _ in range(rounds + 1):
        with folder() as path:
            times["with"].append(epoch({"directory": path}))
            assert len(list(path.glob("mnist_validation_*"))) == EPOCHS
        times["without"].append(epoch())
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    print_table("MNIST epoch, a snapshot every epoch", ("snapshots", "s"), [(name, f"{m:.3f}") for name, m in medians.items()])
    print(f"\nwith / without: {verdict(medians['with'] / medians['without'], 1.05)}")


def epoch(snapshotter: dict[str, object] | None = None) -> float:
    """Returns the seconds of an epoch in a run of five: the error falls in each, so that each is worth a snapshot."""
    from runner.nn import StandardWorkflow

    layers = {
        "fc1": {"type": "all2all_tanh", "output_sample_shape": 100, "learning_rate": 0.03},
        "out": {"type": "softmax", "output_sample_shape": 10, "learning_rate": 0.03},
    }
    loader = {"loader_name": "mnist", "loader_config": {"minibatch_size": 60}}
    workflow = StandardWorkflow(
        "mnist", seed=1, layers=layers, decision_config={"max_epochs": EPOCHS}, snapshotter_config=snapshotter, **loader
    )
    workflow.initialize()
    return seconds(workflow.run) / EPOCHS


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
        written = writing(megabytes, rounds)
        summary(megabytes, written, restoring(megabytes, options.rounds), options.picture if megabytes == 105 else None)
    memory(max(options.sizes))
    effect(options.rounds)


if __name__ == "__main__":
    from benchmarks import snapshots  # so that the units' module can be imported on restore

    snapshots.main()
