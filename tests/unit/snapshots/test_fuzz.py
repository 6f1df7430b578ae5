"""Changed snapshots are refused by typed errors, or are harmless when their runs go on."""

import random
import subprocess
import sys
from pathlib import Path

COUNT = 1_000

HEARD = """
import os, pathlib, socket, subprocess, sys
from tests.fuzz.watch import Watch
watch = Watch(pathlib.Path.cwd())
watch.armed = True
for do in (
    lambda: os.mkdir("../outside"), lambda: os.rename("x", "/tmp/x"), lambda: open("/tmp/no/such", "w"), lambda: eval("1"),
    lambda: __import__("this_is_nowhere"), lambda: socket.socket(), lambda: subprocess.run(["true"]), lambda: os.system(""),
    lambda: open("/etc/hostname"), lambda: os.kill(os.getpid(), 0), lambda: os.symlink("/etc", "../link"),
):
    before = len(watch.heard)
    try: do()
    except OSError: pass
    except ImportError: pass
    print(len(watch.heard) > before)
before = len(watch.heard)
os.mkdir("inside"); open("inside/x", "w").close(); os.rename("inside/x", "inside/y"); os.remove("inside/y")
open("/proc/meminfo")
print(len(watch.heard) == before)
"""


def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd or Path(__file__).parents[3])


def test_changed_snapshots_are_harmless(rng: random.Random) -> None:
    done = run("-m", "tests.fuzz", "--seed", rng.randrange(2**32), "--count", COUNT)
    assert done.returncode == 0, f"{done.stdout[-5000:]}\n{done.stderr[-3000:]}"
    assert "'ran'" in done.stdout
    assert "'refused'" in done.stdout


def test_the_watch_has_teeth(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    done = run("-c", f"import sys; sys.path.insert(0, {str(root)!r})\n{HEARD}", cwd=tmp_path)
    assert set(done.stdout.split()) == {"True"}, f"{done.stdout}\n{done.stderr}"
