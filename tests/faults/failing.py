"""A file system of which one call fails or ends the process, and one that counts."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.file_system import Files

CALLS = tuple(name for name in vars(Files) if not name.startswith("_"))


class ActingFiles(Files):
    """Calls `act` before each call, with its number and name, and hands on what it returns unless that is None."""

    def __init__(self, act: Callable[[int, str, tuple[Any, ...]], Any]) -> None:
        super().__init__()
        self.act = act
        self.calls: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        real = super().__getattribute__(name)
        return (lambda *arguments: self.called(name, real, arguments)) if name in CALLS else real

    def called(self, name: str, real: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        self.calls.append(name)
        if name == "close":
            real(*arguments)  # it is closed, whatever comes of it
            return self.act(len(self.calls) - 1, name, arguments)
        result = self.act(len(self.calls) - 1, name, arguments)
        return real(*arguments) if result is None else result


def recording() -> ActingFiles:
    return ActingFiles(lambda number, name, arguments: None)


def failing(at: int, code: int) -> ActingFiles:
    """Fails at the call of that number."""

    def act(number: int, name: str, arguments: tuple[Any, ...]) -> None:
        if number == at:
            raise OSError(code, os.strerror(code))

    return ActingFiles(act)


def failing_from(at: int, code: int = errno.EIO) -> ActingFiles:
    """Fails at every call from that number on, but for what takes away and closes."""

    def act(number: int, name: str, arguments: tuple[Any, ...]) -> None:
        if number >= at and name not in ("unlink", "close"):
            raise OSError(code, os.strerror(code))

    return ActingFiles(act)


def short() -> ActingFiles:
    """Writes at most 7 bytes at a time."""
    return ActingFiles(
        lambda number, name, arguments: os.write(arguments[0], memoryview(arguments[1])[:7]) if name == "write" else None
    )


def refusing(name: str, code: int) -> ActingFiles:
    """Has no such call, as a file system without links."""

    def act(number: int, called: str, arguments: tuple[Any, ...]) -> None:
        if called == name:
            raise OSError(code, os.strerror(code))

    return ActingFiles(act)


def crashing(at: int) -> ActingFiles:
    """Ends the process at once at the call of that number."""

    def act(number: int, name: str, arguments: tuple[Any, ...]) -> None:
        if number == at:
            os._exit(137)

    return ActingFiles(act)


@contextmanager
def using(files: Files) -> Iterator[Files]:
    """Puts a file system in the place of the real one."""
    before, FileStore.files = FileStore.files, files
    try:
        yield files
    finally:
        FileStore.files = before
