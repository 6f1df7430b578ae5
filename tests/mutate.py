"""Mutates good and hostile pickles and loads them under an audit hook that lets nothing through but what loading needs.

`python -m tests.mutate SEED COUNT` ends with exit code 1 and a line for the first mutant that trips the hook, or that ends
in anything but an object or one of the two errors that are meant for it. An audit hook cannot be taken away, so this runs in
a process of its own. `python -m tests.mutate control` loads hostile pickles, as they are, with Python's own unpickler instead,
and prints the names of those that trip the hook.
"""

import faulthandler
import os
import pickle
import pickletools
import random
import signal
import struct
import sys
import warnings
from collections import Counter
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import runner
from runner import memory
from runner.errors import SnapshotMismatchError, SnapshotRefusedError
from runner.memory import CONTAINER
from runner.snapshots.unpickling.allowed import Allowed
from runner.snapshots.unpickling.unpickler import Unpickler
from tests.hostile import samples
from tests.objects import OBJECTS
from tests.placing import placed

SEED_SIZE = 4_000
"""Bytes of the largest pickle that is mutated: small ones give more mutants a second."""
HANG = 30.0
"""Seconds of processor time after which a block of mutants is taken to hang; the process then shows where it stood and ends."""
BLOCK = 1_000
NOWHERE = Path("/nonexistent")
"""Where the markers would be: whatever a mutant makes of its path, nothing can be made there."""

QUIET = frozenset(
    {"builtins.id", "sys._getframe", "array.__new__", "object.__getattr__", "object.__setattr__", "gc.get_referents"}
)
"""Events of harmless things that the libraries do when they make objects."""
OWN = ("runner", "tests")
"""Packages in whose names modules are looked for: veles-run's and the declared one's."""
ZONES = ("/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/usr/share/lib/zoneinfo", "/etc/zoneinfo")
MEMORY = (*CONTAINER, str(Path(CONTAINER[0]).with_name("memory.current")), "/proc/meminfo", "/proc/self/statm")
"""What says how much memory there is, which is asked when a pickle claims to need much."""

LARGE = 1 << 20
"""Bytes that are copied as those of large arrays are."""


class Watch:
    """The audit hook."""

    def __init__(self) -> None:
        self.armed = False
        self.trips: list[str] = []
        sys.addaudithook(self.hear)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.armed and event not in QUIET and not self._needed(event, arguments):
            self.trips.append(f"{event} {str(arguments)[:300]}")

    def _needed(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "import":
            return str(arguments[0]).partition(".")[0] in OWN
        if event == "open":
            path, mode, flags = arguments
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return False
            return path in MEMORY or (mode in ("rb", None) and _is_read_for_import(str(path)))
        return event in ("os.listdir", "os.scandir") and _is_read_for_import(str(arguments[0]))


def _is_read_for_import(path: str) -> bool:
    return path.startswith((*ZONES, *map(str, runner.__path__), str(Path(__file__).parent), *sys.path[1:]))


def seeds(folder: Path) -> list[list[bytes]]:
    """Returns pickles of protocol 5, cut in opcodes, without PROTO, frames and STOP."""
    from tests.unit.snapshots.test_unpickler import dumps

    pickles = [sample.data for sample in samples(folder)]
    pickles += [dumps(make()) for make in OBJECTS.values()]
    return [tokens(data) for data in pickles if len(data) <= SEED_SIZE]


def tokens(data: bytes) -> list[bytes]:
    """Cuts a pickle in opcodes with their arguments; what cannot be read is one piece."""
    cut: list[bytes] = []
    begin, name = 0, ""
    try:
        for opcode, _, pos in pickletools.genops(data):
            cut += [data[begin:pos]] if name not in ("", "PROTO", "FRAME", "STOP") else []
            begin, name = pos, opcode.name
    except ValueError:
        return [*cut, data[begin:]]
    return cut


def mutant(rng: random.Random, corpus: list[list[bytes]]) -> bytes:
    """Makes a pickle out of one seed and parts of others."""
    parts = list(rng.choice(corpus))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        rng.choice(MUTATIONS)(rng, parts, corpus)
    body = b"".join(parts) + b"."
    form = rng.random()
    if form < 0.9:
        return b"\x80\x05\x95" + struct.pack("<Q", len(body)) + body
    if form < 0.95:
        return b"\x80\x05" + body
    return b"\x80\x05\x95" + struct.pack("<Q", max(0, len(body) + rng.randint(-3, 3))) + body


def flip(rng: random.Random, parts: list[bytes], corpus: list[list[bytes]]) -> None:
    index = rng.randrange(len(parts)) if parts else None
    if index is not None and parts[index]:
        changed = bytearray(parts[index])
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        parts[index] = bytes(changed)


def replace_opcode(rng: random.Random, parts: list[bytes], corpus: list[list[bytes]]) -> None:
    if parts:
        index = rng.randrange(len(parts))
        parts[index] = bytes([rng.randrange(256)]) + parts[index][1:]


def delete(rng: random.Random, parts: list[bytes], corpus: list[list[bytes]]) -> None:
    begin = rng.randrange(len(parts) + 1)
    del parts[begin : begin + rng.choice((1, 1, 2, 5, 20))]


def repeat(rng: random.Random, parts: list[bytes], corpus: list[list[bytes]]) -> None:
    begin = rng.randrange(len(parts) + 1)
    piece = parts[begin : begin + rng.choice((1, 2, 5, 20))]
    at = rng.randrange(len(parts) + 1)
    parts[at:at] = piece * rng.choice((1, 1, 2, 50))


def splice(rng: random.Random, parts: list[bytes], corpus: list[list[bytes]]) -> None:
    other = rng.choice(corpus)
    begin = rng.randrange(len(other) + 1)
    piece = other[begin : begin + rng.choice((1, 2, 5, 20, 200))]
    at = rng.randrange(len(parts) + 1)
    parts[at : at + rng.choice((0, 0, 1, len(piece)))] = piece


def swap(rng: random.Random, parts: list[bytes], corpus: list[list[bytes]]) -> None:
    """Puts another argument where one of the same opcode stands: a name, a number, a position in the memo."""
    if not parts:
        return
    index = rng.randrange(len(parts))
    like = [part for part in rng.choice(corpus) + parts if part[:1] == parts[index][:1]]
    parts[index] = rng.choice(like)


MUTATIONS = (flip, flip, replace_opcode, delete, repeat, splice, splice, swap, swap)


def outcome(data: bytes) -> str:
    try:
        value = Unpickler(placed(data), Allowed(("tests.own",))).load()
        del value
    except (SnapshotRefusedError, SnapshotMismatchError) as error:
        return type(error).__name__
    return "loaded"


def import_all() -> None:
    """Imports what snapshots may name, so that only other imports are heard of."""
    # `runner.__main__` is the command itself.
    for module in walk_packages(runner.__path__, "runner."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    # torch imports this when it is first asked to compare some tensors.
    import_module("torch._subclasses.schema_check_mode")


def control() -> int:
    watch = Watch()
    for sample in samples(NOWHERE):
        if sample.fires:
            watch.armed = True
            with suppress(BaseException):
                pickle.loads(sample.data)
            watch.armed = False
            print(*[sample.name][: len(watch.trips)], flush=True)
            watch.trips.clear()
    return 0


def mutate(seed: int, count: int) -> int:
    import_all()
    rng = random.Random(seed)
    corpus = seeds(NOWHERE)
    for parts in corpus:
        outcome(b"\x80\x05" + b"".join(parts) + b".")
    memory.copy_to_new(memoryview(bytearray(LARGE)), memoryview(bytes(LARGE)))  # it looks for a function of the system once
    watch = Watch()
    faulthandler.enable()
    faulthandler.register(signal.SIGPROF, chain=True)
    outcomes: Counter[str] = Counter()
    for number in range(count):
        if number % BLOCK == 0:
            signal.setitimer(signal.ITIMER_PROF, HANG)
        data = mutant(rng, corpus)
        watch.armed = True
        try:
            outcomes[outcome(data)] += 1
        except BaseException as error:
            watch.trips.append(f"{type(error).__name__}: {str(error)[:300]}")
        watch.armed = False
        if watch.trips:
            print(f"seed {seed}, mutant {number}: {watch.trips}\n{data!r}")
            return 1
    print(dict(outcomes))
    return 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(control() if sys.argv[1:] == ["control"] else mutate(*map(int, sys.argv[1:])))
