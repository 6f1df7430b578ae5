"""How the process ends: what counts is done, and what your own code may rely on is, too."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import atexit, sys, threading
from runner.cli import leaving

class Kept:
    def __del__(self):
        print("deleted")

def count():
    threading.main_thread().join()
    print("thread ended")

leaving.prepare()
atexit.register(print, "called")
threading.Thread(target=count).start()
kept = Kept()  # only the end of the interpreter deletes it
lines = open("lines.txt", "w")
lines.write("all of it")
sys.path.append(".")
with leaving.of_every_run():
    import numpy
{imports}
sys.stdout.write("not flushed")
leaving.end_with({code})
sys.exit({code})
"""


def ended(folder: Path, imports: str, code: object) -> tuple[int, str, str, str]:
    """Returns the exit code, what was printed to both streams, and what is in the file that was never closed."""
    (folder / "own.py").touch()
    program = PROGRAM.format(imports=imports, code=repr(code))
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr, (folder / "lines.txt").read_text()


@pytest.mark.parametrize("code", [0, None, 3])
def test_threads_and_exits_and_output_come_first(code: int | None, tmp_path: Path) -> None:
    at_once = ended(tmp_path, "import json, numpy.linalg", code)
    assert at_once == (code or 0, "not flushedthread ended\ncalled\n", "", "")


@pytest.mark.parametrize(("imports", "code", "told"), [("import own", 3, ""), ("import own.nothing", 1, "not a package")])
def test_with_code_of_your_own_it_ends_as_usual(imports: str, code: int, told: str, tmp_path: Path) -> None:
    returned, printed, errors, written = ended(tmp_path, imports, code)
    assert (returned, written) == (code, "all of it")
    assert "thread ended\ncalled\n" in printed
    assert told in errors


def test_a_message_is_printed_as_usual(tmp_path: Path) -> None:
    assert ended(tmp_path, "", "what is wrong")[0::2] == (1, "what is wrong\n")
