"""From capture to a synced file."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

from benchmarks.measure import in_turns, print_table, verdict
from benchmarks.snapshots.states import SLOW, codecs_for, folder, make_workflow
from runner import cores
from runner.graph import Workflow
from runner.snapshots.capture.staging import CHUNK
from runner.snapshots.codecs import Buffer, Codec
from runner.snapshots.format.header import Header
from runner.snapshots.snapshotter import Snapshotter
from runner.snapshots.stores.file_system import CLOCK_STEP
from runner.snapshots.stores.store import Store

IN_MEMORY = ("zst", "snappy")


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
                actions["ours"] = make_workflow(megabytes, path, MemoryStore(), **settings)[1].export
            else:
                actions["other"] = standard_writer(codec.name, other, workflow, codec.default_level)
            snapshotter.export()
            time.sleep(CLOCK_STEP / 1e9)  # in a run, the folder was not made a moment ago
            times = in_turns(actions, few)
            written = snapshotter.exporter_.written
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


def exporter(snapshotter: Snapshotter) -> Callable[[], None]:
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
        with ThreadPoolExecutor(cores.usable()) as executor:
            for _ in executor.map(encode, chunks):
                pass

    return compress


def sync(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


class MemoryStore(Store):
    """Drops what it is given, as is done with what the libraries give that it is compared with."""

    place = "memory"

    def put(self, header: Header, codec: Codec, members: Iterable[Buffer]) -> str:
        for _ in members:
            pass
        return "memory"
