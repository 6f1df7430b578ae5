"""Stops and kills runs that several processes share, at random moments, and resumes them in another number of processes.

`python -m tests.stress.share_run SEED COUNT [KIND ...]` prints how many runs there were, and how they were interrupted: by a
signal to one of the processes, or since the disk of process 0 was full. Each must end in the state and with the metrics, byte
for byte, of the same run in one process without interruption. When a process has ended with an error, the others get SIGTERM,
as from torchrun; none may be there half a minute later. Of one that is stopped they must find out by themselves.

KIND is one of `KINDS`; `SIGKILL@2of4` has process 2 of 4 killed each time. A kill that came too late, to a process that had
ended, is counted as `late`, and is no interruption.
"""

import gc
import os
import random
import resource
import select
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.states import differences, state_of
from tests.stress.kill_training import BASE, MEASURED, UNLIMITED, Failure, acknowledged, lines_of, start, whole_run

KEYS = (*MEASURED, "parallel.shards=8", "plotters=false", "report=false")
LONGEST = 1.5
"""Of the time that an uninterrupted run takes on one process, how long one lives at most."""
PATIENCE = 30.0
"""Seconds in which all have to end after one has ended with an error."""
TIMEOUT = 15
"""Seconds after which processes give one up that does not answer."""
SIZES = (1, 2, 4)
WHOLE, STOPPED, FULL = "whole", "SIGSTOP", "a full disk"
LATE = "late"
EXPECTED = {
    WHOLE: {0},
    "SIGTERM": {0, 75},
    "SIGKILL": {0, 1, 75, -signal.SIGKILL, -signal.SIGTERM},
    STOPPED: {0, 1, -signal.SIGKILL},
    FULL: {0, 1, 75},
}
"""How a run may be interrupted, and the exit codes that its processes may have then."""
KINDS = tuple(kind for kind in EXPECTED if kind != WHOLE)


def interrupted(
    folder: Path, arguments: list[str], size: int, rng: random.Random, longest: float | None, kinds: Sequence[str]
) -> tuple[str, list[Path]]:
    """Runs in several processes and interrupts one of them; returns how, and where they have written."""
    how, place = (WHOLE, None) if longest is None else which(rng.choice(kinds))
    rank, size = place or (0 if how == FULL else rng.randrange(size), size)
    outputs = [folder / f"output-{rank}" for rank in range(size)]
    limit = (rng.randrange(20_000, 300_000), resource.RLIM_INFINITY) if how == FULL else UNLIMITED
    alive = dict(enumerate(started(folder, [*arguments, f"parallel.timeout={TIMEOUT}"], outputs, limit)))
    if longest is not None and how != FULL:
        if how == STOPPED:  # until they have met, the others wait for it much longer
            wait_for_first_epoch(outputs[0], alive[0])
        time.sleep(rng.uniform(0, longest / 2 if how == STOPPED else longest))
        os.kill(alive[rank], getattr(signal, how))
    codes: set[int] = set()
    killed, end = False, None
    while alive:
        for other, pid in [*alive.items()]:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                del alive[other]
                codes.add(os.waitstatus_to_exitcode(status))
                killed |= os.waitstatus_to_exitcode(status) == -signal.SIGKILL
        if how == STOPPED and set(alive) == {rank}:
            os.kill(alive[rank], signal.SIGKILL)
        if end is None and (codes - {0} or how == STOPPED):
            # The others find out by themselves that one is stopped; of one that has ended, torchrun tells them.
            end = time.monotonic() + PATIENCE + (TIMEOUT if how == STOPPED else 0)
            for pid in alive.values() if how != STOPPED else ():
                os.kill(pid, signal.SIGTERM)
        if end is not None and time.monotonic() > end:
            for pid in alive.values():
                os.kill(pid, signal.SIGKILL)
            raise Failure(f"{how}: {sorted(alive)} of {size} hang in {folder}")
        time.sleep(0.005)
    expected = EXPECTED[how]
    if -signal.SIGTERM in codes:  # before the run begins, SIGTERM ends one process alone
        expected = expected | {1, -signal.SIGTERM}
    if codes - expected:
        raise Failure(
            f"{how}: exit codes {sorted(codes)} of {size} in {folder}: {[path.read_text()[-500:] for path in outputs]}"
        )
    if how == "SIGKILL" and not killed:
        return LATE, outputs
    return how if how == WHOLE else f"{how} of process {rank} of {size}", outputs


def which(kind: str) -> tuple[str, tuple[int, int] | None]:
    """Returns how a run is to be interrupted, and which of how many processes, if the kind says that."""
    how, _, place = kind.partition("@")
    rank, _, size = place.partition("of")
    return how, (int(rank), int(size)) if place else None


def wait_for_first_epoch(output: Path, leader: int) -> None:
    """Waits until process 0 has told of an epoch, or has ended."""
    ended = os.pidfd_open(leader)
    try:
        while "\nEpoch " not in output.read_text() and not select.select([ended], [], [], 0.05)[0]:
            pass
    finally:
        os.close(ended)


def started(folder: Path, arguments: list[str], outputs: list[Path], limit: tuple[int, int]) -> list[int]:
    """Starts the processes as torchrun does; returns their ids. Files of process 0 may have so many bytes."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(asked.getsockname()[1]), "WORLD_SIZE": str(len(outputs))}
    os.environ.update(meeting)
    pids = []
    for rank, output in enumerate(outputs):
        os.environ.update({"RANK": str(rank), "LOCAL_RANK": str(rank)})
        pids.append(start(folder, arguments, output, limit if rank == 0 else UNLIMITED))
    for name in (*meeting, "RANK", "LOCAL_RANK"):
        del os.environ[name]
    return pids


def shared_run(
    folder: Path, seed: int, rng: random.Random, longest: float, count: int, kinds: Sequence[str]
) -> tuple[dict[str, bytes], Counter[str]]:
    """Runs, is interrupted and resumed until it ends; returns the final state, and how it was interrupted."""
    folder.mkdir()
    found: Counter[str] = Counter()
    while True:
        size = rng.choice(SIZES)
        arguments = [*BASE, *KEYS, f"seed={seed}", "snapshot=auto"]
        how, outputs = interrupted(folder, arguments, size, rng, longest if interruptions(found) < count else None, kinds)
        for location in acknowledged(outputs[0]):
            if not (folder / location).is_file():
                raise Failure(f"acknowledged and lost: {location}")
        if how == LATE:
            found[how] += 1
        if how in (WHOLE, LATE):
            last = acknowledged(outputs[0]) or [str(max(folder.glob("outputs/*/*/*/mnist*[0-9].5.*"), key=os.path.getmtime))]
            return state_of(folder / last[-1]), found
        found[how] += 1


def interruptions(found: Counter[str]) -> int:
    return found.total() - found[LATE]


def rows_of(folder: Path) -> list[str]:
    """Returns the rows of a run that has ended; those in the folders of its earlier processes must be how they begin."""
    *before, last = sorted(folder.glob("outputs/*/*/*/metrics.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    rows = lines_of(last)
    for path in before:
        if (own := lines_of(path)) != rows[: len(own)]:
            other = next((pair for pair in zip(own, rows, strict=False) if pair[0] != pair[1]), (len(own), len(rows)))
            raise Failure(f"{path} is not how {last} begins: {other}")
    return rows


def main(seed: int, count: int, *kinds: str) -> int:
    rng = random.Random(seed)
    gc.freeze()
    found: Counter[str] = Counter(runs=0, interruptions=0)
    with tempfile.TemporaryDirectory() as name:
        while found["interruptions"] < count:
            folder, run_seed = Path(name, f"run-{found['runs']}"), rng.randrange(2**32)
            folder.mkdir()
            whole, seconds = whole_run(folder / "whole", run_seed, KEYS)
            most = min(rng.randint(1, 6), count - found["interruptions"])
            state, how = shared_run(folder / "shared", run_seed, rng, LONGEST * seconds, most, kinds or KINDS)
            if wrong := differences(state, whole):
                raise Failure(f"seed {run_seed}: {wrong}")
            if rows_of(folder / "shared") != rows_of(folder / "whole"):
                raise Failure(f"seed {run_seed}: other metrics")
            found += Counter(runs=1, interruptions=interruptions(how))
            found.update(how)
    print(dict(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]))
