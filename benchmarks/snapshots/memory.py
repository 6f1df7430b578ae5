"""Memory while snapshots are taken."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.measure import print_table, verdict
from benchmarks.snapshots.states import SLOW, folder
from runner.snapshots.codecs import CODECS

FAST = tuple(name for name in CODECS if name not in SLOW)

MEMORY = """
import re, sys
from pathlib import Path
from benchmarks.snapshots.states import make_workflow
megabytes, staging, folder, codec, snapshots = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5])
workflow, snapshotter = make_workflow(megabytes, Path(folder), compression=codec, staging=staging)
for _ in range(snapshots):
    snapshotter.export()
snapshotter.finish()
status = Path("/proc/self/status").read_text()  # getrusage would count the process that this one was forked from
print(1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]))
"""


def memory(megabytes: int) -> None:
    """Peak memory with a quarter of the state as staging, over that of the state alone."""
    staging = megabytes * 1_000_000 // 4
    rows = []
    for codec in FAST:
        with folder() as path:

            def peak(snapshots: int, path: Path = path, codec: str = codec) -> int:
                arguments = [str(megabytes), str(staging), str(path), codec, str(snapshots)]
                done = subprocess.run([sys.executable, "-c", MEMORY, *arguments], capture_output=True, text=True, check=True)
                return int(done.stdout)

            over = (peak(3) - peak(0) - staging) / 1e6
            rows.append([codec, f"{staging / 1e6:.0f}", verdict(over, 64)])
    print_table(f"Peak memory over state and staging, {megabytes} MB", ("codec", "staging MB", "MB over"), rows)
