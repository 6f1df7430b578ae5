"""What a test may leave behind: threads, open files, sockets (connections among them), pipes, and child processes."""

import gc
import os
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path

import fsspec.asyn
import pytest

from tests.servers import Process

PATIENCE = 10
"""Seconds in which what is on its way to its end has to come there."""

IDLE = ("odbc", "remote", "fsspecIO", "asyncio_")
"""How the names begin of threads that wait for the next call."""


def held() -> dict[object, str]:
    """Returns all that this process holds now, by what tells one from another, and how a message calls it.

    Connections to servers are sockets, those to SQLite are files. Threads named `odbc` are idle ones of the product's pool, and
    servers run until the session ends. fsspec has a loop of
    events, with threads of its own.
    """
    threads = (thread for thread in threading.enumerate() if not thread.name.startswith(IDLE))
    found: dict[object, str] = {thread: f"thread {thread.name!r}" for thread in threads}
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:  # the one by which the folder was read
            continue
        if "/.onnxruntime/" not in target:  # onnxruntime opens a database of its own when it is first used
            found[number, target] = f"descriptor {number}: {target}"
    for thread in os.listdir("/proc/self/task"):
        try:
            children = Path("/proc/self/task", thread, "children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        found |= {pid: f"child process {pid}: {_command(pid)}" for pid in children if int(pid) not in Process.running}
    return found


def _command(pid: str) -> str:
    try:
        return Path("/proc", pid, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip() or "a zombie"
    except (FileNotFoundError, ProcessLookupError):
        return "a zombie"


def left(before: dict[object, str]) -> list[str]:
    """Returns the names of what is held now and was not before, once it has had time to end."""
    deadline = time.monotonic() + PATIENCE
    collected = False
    while new := [name for what, name in held().items() if what not in before]:
        if not collected:
            gc.collect()
            collected = True
        elif time.monotonic() > deadline:
            return sorted(new)
        else:
            time.sleep(0.01)
    return []


@pytest.fixture(scope="session")
def _session_is_ready() -> None:
    """Starts what the first test that needs it would leave to the others: the processes of `tests.forked`."""
    forkserver.ensure_running()
    fsspec.asyn.get_loop()


@pytest.fixture(autouse=True)
def leaves_nothing(_session_is_ready: None) -> Iterator[None]:
    """Fails where a test leaves something behind; autouse in the folders whose conftest.py names it."""
    before = held()
    yield
    # The traceback of a test that has failed still holds what its frames hold.
    if not hasattr(sys, "last_value") and (names := left(before)):
        pytest.fail("the test leaves behind\n  " + "\n  ".join(names), pytrace=False)
