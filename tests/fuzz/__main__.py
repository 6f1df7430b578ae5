"""`python -m tests.fuzz --seed N --count M` changes, restores and runs M snapshots, and prints what it finds.

Each is changed in a few places, written with a right header and trailer, and restored. Then the run goes on until the
snapshotter has taken the next snapshot, and ends as by SIGTERM. It must be refused by one of veles-run's own errors, or be
harmless: nothing outside of its folder is written, nothing is run, imported or connected to (`tests.fuzz.watch`), and memory
and time are bounded.
`--only K` does so with the Kth alone, in this process, and shows all.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import json
import logging
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zoneinfo
from collections import Counter
from mmap import mmap
from pathlib import Path

import networkx

from runner.launcher import Launcher
from runner.snapshots.codecs import CODECS
from runner.snapshots.restoring.restore import restore
from tests.fuzz.bases import FOLDER, TRUSTED, trees
from tests.fuzz.changes import Changer
from tests.fuzz.headers import Resumption
from tests.fuzz.nodes import write
from tests.fuzz.trial import Trial, limit_memory, look, written
from tests.fuzz.watch import Watch

BLOCK = 250
"""Snapshots for which one process is good."""
PROCESSES = os.cpu_count() or 1
FAST = "/dev/shm" if os.path.isdir("/dev/shm") else None
"""Where folders are in memory."""
Tools = tuple[Changer, Resumption]


def work(tools: Tools, seed: int, numbers: range, shared: mmap, results: int) -> None:
    """Tries some; what comes of them goes into a pipe, and which it is at into shared memory."""
    with tempfile.TemporaryDirectory(dir=FAST) as folder:
        os.chdir(folder)
        limit_memory()
        trial = Trial(Path(folder).resolve(), *tools, Watch(Path(folder).resolve()))
        outcomes: Counter[str] = Counter()
        with open(results, "w") as pipe:
            for number in numbers:
                shared[:8] = number.to_bytes(8, "little")
                kind, what = trial.outcome(seed, number)
                outcomes[f"{kind} {what}" if kind == "ended" else kind] += 1
                if kind == "finding":
                    print(json.dumps([number, what]), file=pipe, flush=True)
            print(json.dumps(outcomes), file=pipe)
        os.chdir("/")


class Block:
    """A process that tries some, and what it says."""

    def __init__(self, tools: Tools, seed: int, numbers: range) -> None:
        self.numbers = numbers
        self.shared = mmap(-1, 8)
        self.reading, writing = os.pipe()
        self.child = os.fork()
        if self.child == 0:
            code = 1
            try:
                silence()
                work(tools, seed, numbers, self.shared, writing)
                code = 0
            finally:
                os._exit(code)
        os.close(writing)

    def finish(self) -> tuple[list[tuple[int, str]], Counter[str], range]:
        """Returns what it found, how many came to which end, and those that it did not come to."""
        with open(self.reading) as pipe:
            lines = [json.loads(line) for line in pipe]
        _, status = os.waitpid(self.child, 0)
        findings = [(number, what) for number, what in (line for line in lines if isinstance(line, list))]
        counts = [Counter(line) for line in lines if isinstance(line, dict)]
        if counts:
            return findings, counts[0], range(0)
        number = int.from_bytes(self.shared[:8], "little")
        findings.append((number, f"the process ends with status {status}"))
        return findings, Counter({"lost with its process": number - self.numbers.start}), range(number + 1, self.numbers.stop)


def silence() -> None:
    """Takes warnings and output away."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    if "FUZZ_TRACE" not in os.environ:
        os.dup2(null, 2)


def fuzz(seed: int, count: int) -> int:
    """Tries so many; returns how many findings there were."""
    tools = warm()
    waiting = [range(begin, min(begin + BLOCK, count)) for begin in range(0, count, BLOCK)][::-1]
    blocks: list[Block] = []
    outcomes: Counter[str] = Counter()
    kinds: dict[str, list[int]] = {}
    began = time.monotonic()
    while waiting or blocks:
        while waiting and len(blocks) < PROCESSES:
            blocks.append(Block(tools, seed, waiting.pop()))
        findings, counts, rest = blocks.pop(0).finish()
        outcomes += counts
        for number, what in findings:
            kinds.setdefault(what, []).append(number)
        if rest:
            waiting.append(rest)
    seconds = time.monotonic() - began
    print(f"seed {seed}: {count} in {seconds:.0f} s ({count / seconds:.0f} a second); {dict(outcomes)}")
    for what, numbers in sorted(kinds.items(), key=lambda item: -len(item[1])):
        print(f"{len(numbers)} x {what} ({', '.join(f'--only {number}' for number in numbers[:3])})")
    return sum(map(len, kinds.values()))


def warm() -> Tools:
    """Makes the trees, in a folder of its own, and imports whatever runs import."""
    from tests.mutate import import_all

    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    faulthandler.enable()
    import_all()
    zoneinfo.available_timezones()
    for codec in CODECS.values():
        codec.encode(b"", codec.default_level)
    graph = networkx.path_graph(3, networkx.DiGraph)  # it compiles a part of itself when it is first called
    assert networkx.shortest_path(graph, 0, 2) == [0, 1, 2] and networkx.has_path(graph, 0, 2)  # noqa: PT018
    assert networkx.find_cycle(networkx.cycle_graph(2, networkx.DiGraph))
    here = os.getcwd()
    with tempfile.TemporaryDirectory(dir=FAST) as folder:
        os.chdir(folder)
        changer = Changer(trees())
        resumption = Resumption()
        for tree in changer.trees.values():
            restored = restore(written(Path(folder, FOLDER), write(tree)), trusted=TRUSTED)
            launcher = Launcher(device="cpu")
            launcher.stop_signal = signal.SIGTERM
            launcher.run(restored.workflow)
            look(restored)
        os.chdir(here)
    # A restore may collect garbage: it need not look through the trees and all that was imported.
    gc.collect()
    gc.freeze()
    return changer, resumption


def only(seed: int, number: int) -> int:
    """Tries one."""
    tools = warm()
    with tempfile.TemporaryDirectory(dir=FAST) as folder:
        os.chdir(folder)
        limit_memory()
        trial = Trial(Path(folder).resolve(), *tools, Watch(Path(folder).resolve()))
        show = trial._go

        def shown(path: Path, rng: random.Random, typed: list[str] | None) -> None:
            try:
                show(path, rng, typed)
            except BaseException:
                traceback.print_exc()
                raise

        trial._go = shown  # type: ignore[method-assign]
        print(trial.outcome(seed, number))
        os.chdir("/")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--only", type=int)
    options = parser.parse_args()
    if options.only is not None:
        return only(options.seed, options.only)
    return 1 if fuzz(options.seed, options.count) else 0


if __name__ == "__main__":
    sys.exit(main())
