"""Kills `veles-run` while it trains with `snapshotter.at_most_lost=1`, and measures what each kill costs.

`python -m tests.stress.lose_work SEED COUNT` prints how many kills there were in how many runs, the seconds of work that each
has lost, how long the run stood still for snapshots, in percent, and how much more processor time the whole run took with
them, in percent. Each run must end in the state, byte for byte, of one that takes none of these snapshots, and leave none.
"""

import os
import random
import re
import resource
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from runner.snapshots.stores.file import FileStore
from tests.states import differences, state_of
from tests.stress.kill_training import BASE, Failure, acknowledged, killed, start

SETTINGS = (
    *BASE,
    "loader.train_size=3000",
    "decision.max_epochs=700",
    "decision.fail_iterations=100000",
    "snapshotter.directory=here",
    "plotters=false",
)
OFTEN = "snapshotter.at_most_lost=1"
LONGEST = 3.0
"""Seconds that a process trains at most before it is killed."""


def processor_time() -> float:
    """Returns the processor time of the processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def whole_run(folder: Path, *arguments: str) -> tuple[str, float]:
    """Runs without interruption; returns the last snapshot, and the processor time that it took."""
    folder.mkdir()
    before = processor_time()
    if killed(start(folder, [*SETTINGS, *arguments], folder / "output"), 600):
        raise Failure("the uninterrupted run did not end")
    return str(folder / acknowledged(folder / "output")[-1]), processor_time() - before


def moment(line: str) -> float:
    """Returns the time of a line of a log."""
    return datetime.fromisoformat(line[:23].replace(",", ".")).timestamp()


def logs(folder: Path) -> set[Path]:
    """Returns all logs; a folder may be discarded in the meantime, which `rglob` does not take."""
    return {Path(parent, name) for parent, _, names in os.walk(folder / "outputs") for name in names if name.endswith(".log")}


def stood_still(folder: Path) -> float:
    """Returns the share of a run, in percent, in which it stood still for snapshots."""
    (log,) = logs(folder)
    lines = re.findall(r"^\d{4}-.*", log.read_text(), re.MULTILINE)
    paused = sum(int(pause) for pause in re.findall(r"pause (\d+) ms", "\n".join(lines)))
    return 0.1 * paused / (moment(lines[-1]) - moment(lines[0]))


def begun(process: int, folder: Path, before: set[Path]) -> float:
    """Waits until a process trains, and returns when it began to; 0 if it has ended, since its run was complete."""
    while os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        for log in logs(folder) - before:
            if line := re.search(r"^\d{4}-.* Training .*", log.read_text(), re.MULTILINE):
                return moment(line[0])
        time.sleep(0.01)
    return 0


def work_lost(folder: Path, began: float, killed_at: float) -> float:
    """Returns the age of the newest state that is not lost, or of the process, if that is younger."""
    newest = next(FileStore(folder / "here").list(), None)
    saved = 0.0 if newest is None else datetime.fromisoformat(newest.header.time).timestamp()
    return round(killed_at - max(saved, began), 3)


def interrupted_run(folder: Path, rng: random.Random, kills: int, *arguments: str) -> tuple[str, list[float]]:
    """Runs, is killed and resumed; returns the last snapshot, and what each kill has lost."""
    folder.mkdir()
    lost: list[float] = []
    while True:
        before = logs(folder)
        process = start(folder, [*SETTINGS, OFTEN, "snapshot=auto", *arguments], folder / "output")
        began = begun(process, folder, before)
        if not killed(process, rng.uniform(0, LONGEST) if len(lost) < kills else 600):
            break
        lost.append(work_lost(folder, began, time.time()))
    (link,) = (folder / "here").glob("*_current*")
    if left := list((folder / "here").glob("*autosave*")):
        raise Failure(f"a run that has ended leaves {left}")
    return os.path.realpath(link), lost


def main(seed: int, count: int) -> int:
    rng = random.Random(seed)
    found: dict[str, Any] = {"kills": 0, "runs": 0, "seconds lost": [], "% stood still": [], "% more work": []}
    while found["kills"] < count:
        run_seed = f"seed={rng.randrange(2**32)}"
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            without, cost = whole_run(folder / "without", run_seed, "snapshotter.at_most_lost=null")
            _, cost_with = whole_run(folder / "with", run_seed, OFTEN)
            last, lost = interrupted_run(folder / "killed", rng, count - found["kills"], run_seed)
            if different := differences(state_of(without), state_of(last)):
                raise Failure(f"run {found['runs']}, {run_seed}: {different}")
            found["% stood still"].append(round(stood_still(folder / "with"), 3))
        found["% more work"].append(round(100 * (cost_with / cost - 1), 2))
        found["seconds lost"] += lost
        found["kills"] += len(lost)
        found["runs"] += 1
    print(found)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
