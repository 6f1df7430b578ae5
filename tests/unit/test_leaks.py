"""The fixture that finds what tests leave behind, tried with a leak of each kind."""

import re
import subprocess
import sys
from pathlib import Path

KINDS = {
    "thread": "thread 'planted'",
    "file": "planted.txt",
    "descriptor": "/dev/null",
    "pipe": "pipe:",
    "socket": "socket:",
    "database": "planted.db",
    "child": "child process .*: sleep 60",
    "zombie": "child process .*: a zombie",
}

PLANTED = """
import os, socket, subprocess, threading
import pyodbc, pytest
from tests import leaks
from tests.leaks import _session_is_ready, leaves_nothing

leaks.PATIENCE = 0.4
ended = threading.Event()
kept = []

def thread():
    kept.append(threading.Thread(target=ended.wait, name="planted", daemon=True))
    kept[-1].start()

def zombie():
    if os.fork() == 0:
        os._exit(0)

PLANTS = {
    "thread": thread,
    "file": lambda: kept.append(open("planted.txt", "w")),
    "descriptor": lambda: os.open("/dev/null", os.O_RDONLY),
    "pipe": os.pipe,
    "socket": lambda: kept.append(socket.socket()),
    "database": lambda: kept.append(pyodbc.connect("DRIVER=libsqlite3odbc.so;Database=planted.db")),
    "child": lambda: kept.append(subprocess.Popen(["sleep", "60"])),
    "zombie": zombie,
}

@pytest.mark.parametrize("kind", PLANTS)
def test_planted(kind, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    PLANTS[kind]()

def test_that_leaves_nothing(tmp_path):
    with open(tmp_path / "x", "w"), socket.socket():
        subprocess.run(["true"], check=True)
    threading.Thread(target=ended.wait, args=(0.2,)).start()  # ends after the test
    cycle = [open(tmp_path / "x")]
    cycle.append(cycle)

def test_that_fails(tmp_path):
    file = open(tmp_path / "x", "w")
    assert file.closed, "for its own reason"

def test_end():
    kept[-1].kill()  # the child
"""


def test_a_leak_of_each_kind_is_named(tmp_path: Path) -> None:
    planted = tmp_path / "test_planted.py"
    planted.write_text(PLANTED)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'base'}", planted]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    said = dict(re.findall(r"ERROR at teardown of test_planted\[(\w+)\] _+\n((?:.+\n)+?)(?=_|=)", done.stdout))
    assert said.keys() == KINDS.keys(), done.stdout
    for kind, pattern in KINDS.items():
        assert re.search(pattern, said[kind]), said[kind]
    assert re.search(rf"1 failed, {len(KINDS) + 2} passed, (\d warnings?, )?{len(KINDS)} errors", done.stdout)
