"""Loads every sample in this process, within 256 MB and a second of processor time each.

`python -m tests.hostile FOLDER restricted` prints a line for each sample: its name and what came of it.
`python -m tests.hostile FOLDER stock` loads those that fire with Python's own unpickler, each in a child process.
"""

import json
import os
import pickle
import resource
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.hostile import Sample, samples
from tests.hostile.assemble import dtype, tensor, whole
from tests.placing import placed

MEMORY = 256 << 20
SECONDS = 1.0
TRUSTED = ("tests.own",)


def load_restricted(data: bytes) -> Any:
    from runner.snapshots.unpickling.allowed import Allowed
    from runner.snapshots.unpickling.unpickler import Unpickler

    return Unpickler(placed(data), Allowed(TRUSTED)).load()


def limit(more: int) -> None:
    """Lets this process take so much more memory."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + more, size + more))


def outcome(load: Callable[[bytes], Any], sample: Sample) -> list[str]:
    # The signal's default action ends the process: no handler can be too late, and no `except` can swallow it.
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        return ["loaded", type(load(sample.data)).__name__]
    except BaseException as error:
        return [type(error).__name__, str(error)[:2000]]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def in_child(load: Callable[[bytes], Any], sample: Sample) -> None:
    """Loads in a child of its own, which may come to any end."""
    child = os.fork()
    if child == 0:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        outcome(load, sample)
        os._exit(0)
    os.waitpid(child, 0)


def main(folder: str, how: str) -> None:
    # What samples name is imported before, so that an import is not taken for a cost of loading.
    for module in ("hydra.utils", "numpy.f2py", "numpy.testing", "torch", "runner.cli.run", "runner.nn", "tests.own"):
        import_module(module)
    load_restricted(whole(tensor(b"\0" * 4, 1) + b"0" + dtype("f8")))
    if how == "stock":
        for sample in samples(Path(folder)):
            if sample.fires:
                in_child(pickle.loads, sample)
        return
    limit(MEMORY)
    for sample in samples(Path(folder)):
        print(sample.name, end=" ", flush=True)
        print(json.dumps(outcome(load_restricted, sample)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
