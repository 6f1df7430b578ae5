"""Power failures: a file system that keeps a record, and every state that a disk may be in afterwards.

What was synced is on the disk. Of what was not, each name in a folder may be as before or as after, in any order and in any
combination, and what was written may be there, not there, half there, or zeros. This is the method of ALICE (Pillai et al.,
OSDI 2014), which is stricter than any one file system.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from tests.faults.failing import ActingFiles

UNSYNCED = 6
"""Changes that are not synced, of which all combinations are built; of more, the first ones are there."""


@dataclass
class File:
    """A file: what is on the disk for certain, and what was written since."""

    synced: bytes = b""
    written: list[bytes] = field(default_factory=list)

    def states(self) -> list[bytes]:
        whole = b"".join(self.written)
        if not whole:
            return [self.synced]
        half = len(whole) // 2
        return [self.synced, self.synced + whole, self.synced + whole[:half], self.synced + bytes(len(whole))]


Node = File | str | None
"""What a name stands for: a file, where a symbolic link leads, or nothing. Folders are names with an empty link."""


class RecordingFiles(ActingFiles):
    """Does everything, and keeps what a power failure would leave.

    Args:
        dropped: the number of the sync that is left out, or None.
    """

    def __init__(self, dropped: int | None = None) -> None:
        super().__init__(self.record)
        self.dropped = dropped
        self.syncs = 0
        self.needed: set[int] = set()
        """The numbers of the syncs that put something new on the disk; the others found all there, or took a name away."""
        self.durable: dict[Path, Node] = {}
        self.pending: list[tuple[Path, Node]] = []
        self.now: dict[Path, Node] = {}
        self.opened: dict[int, File | Path] = {}

    def called(self, name: str, real: Any, arguments: tuple[Any, ...]) -> Any:
        if name == "sync" and self.knows(self.opened[arguments[0]]):
            self.syncs += 1
            if self.syncs - 1 == self.dropped:
                return None
        result = real(*arguments)
        self.calls.append(name)
        self.record(name, arguments, result)
        return result

    def knows(self, what: File | Path) -> bool:
        """Returns whether it is a file or a folder of the disk, not one above it."""
        return isinstance(what, File) or any(path.parent == what for path in self.now)

    def change(self, path: Path, node: Node) -> None:
        self.now[path] = node
        self.pending.append((path, node))

    def record(self, name: str, arguments: tuple[Any, ...], result: Any) -> None:
        match name:
            case "create":
                self.opened[result] = file = File()
                self.change(arguments[0], file)
            case "open":
                self.opened[result] = arguments[0]
            case "duplicate":
                self.opened[result] = self.opened[arguments[0]]
            case "write":
                self.opened[arguments[0]].written.append(bytes(arguments[1][:result]))
            case "sync":
                self.settle(self.opened[arguments[0]])
            case "close":
                del self.opened[arguments[0]]
            case "link":
                self.change(arguments[1], self.now[arguments[0]])
            case "replace":
                self.change(arguments[1], self.now[arguments[0]])
                self.change(arguments[0], None)
            case "symlink":
                self.change(arguments[1], arguments[0])
            case "unlink":
                self.change(arguments[0], None)
            case "mkdir":
                self.change(arguments[0], "")

    def settle(self, what: File | Path) -> None:
        if isinstance(what, File):
            what.synced += b"".join(what.written)
            self.needed.add(self.syncs - 1)
            what.written.clear()
            return
        for path, node in self.pending:
            if path.parent == what:
                self.durable[path] = node
        settled = [path for path, _ in self.pending if path.parent == what]
        self.pending = [(path, node) for path, node in self.pending if path.parent != what]
        if any(self.now[path] is not None for path in settled):
            self.needed.add(self.syncs - 1)

    def states(self) -> Iterator[dict[Path, bytes | str]]:
        """Yields each state that the disk may be in if the power fails now."""
        certain = dict(self.durable)
        for path, node in self.pending[:-UNSYNCED]:
            certain[path] = node
        loose = self.pending[-UNSYNCED:]
        for chosen in product((False, True), repeat=len(loose)):
            names = certain | {path: node for (path, node), there in zip(loose, chosen, strict=True) if there}
            files = list({id(node): node for node in names.values() if isinstance(node, File)}.values())
            for contents in product(*(file.states() for file in files)):
                content = {id(file): data for file, data in zip(files, contents, strict=True)}
                yield {
                    path: content[id(node)] if isinstance(node, File) else node
                    for path, node in names.items()
                    if node is not None and all(names.get(parent) == "" for parent in path.parents if parent in self.now)
                }


def build(state: dict[Path, bytes | str], root: Path, target: Path) -> None:
    """Makes a folder that holds what the disk holds below another one."""
    for path, node in sorted(state.items()):
        place = target / path.relative_to(root)
        if isinstance(node, bytes):
            place.write_bytes(node)
        elif node == "":
            place.mkdir()
        else:
            os.symlink(node, place)
