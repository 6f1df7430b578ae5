"""Stops `veles-run` by random signals at random moments, in pipelines, terminals and shells, and resumes it until it ends.

`python -m tests.stress.stop_training SEED COUNT` prints what the stops came to. Each run must end in the state, byte for byte,
of the same run without interruption; each stop must end with the exit code of its signal, whatever became of the output.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from runner.signals import STOPS, exit_code
from runner.snapshots.codecs import CODECS
from tests.forked import VELES_RUN
from tests.states import differences, state_of
from tests.stress.kill_training import BASE, Failure

SETTINGS = (*BASE, "decision.max_epochs=60", "snapshotter.directory=snapshots", "snapshot=auto", "plotters=false")
OUTLIVE = "trap : INT TERM HUP USR1 USR2 XCPU"
WAYS = {
    "tee": "({run}) 2>&1 | tee log",
    "tee of stdout": "({run}) | tee log",
    "head": "({run}) 2>&1 | head -1",
    "full": "({run}) >/dev/full 2>&1",
    "closed": "({run}) <&- >&- 2>&-",
    "stuck": "({run}) 2>&1 | (trap '' INT TERM HUP USR1 USR2 XCPU; while [ ! -e code ]; do sleep 0.05; done)",
    "file": "({run}) >log 2>&1",
    "nohup": "(run() {{ nohup $COMMAND; }}; {run}) >log 2>&1",
    "terminal": None,
}
"""Scripts in which the signal goes to the whole process group, as that of a terminal does."""
START = 2.0
"""Seconds that a start takes on a quiet machine."""


def stopped(folder: Path, arguments: list[str], way: str, number: signal.Signals, delay: float) -> int:
    """Runs the command, and sends the signal after a while; returns the exit code of the command."""
    code = folder / "code"
    code.unlink(missing_ok=True)
    if WAYS[way] is None:
        return in_a_terminal(folder, arguments, number, delay)
    environment = os.environ | {"COMMAND": " ".join([*VELES_RUN, *arguments])}
    script = f"{OUTLIVE}; " + WAYS[way].format(run=f"{OUTLIVE}; {'run' if way == 'nohup' else '$COMMAND'}; echo $? > code")
    process = subprocess.Popen(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, number)
    process.wait(300)
    return int(code.read_text())


def in_a_terminal(folder: Path, arguments: list[str], number: signal.Signals, delay: float) -> int:
    """Runs the command in a terminal that is closed, if the signal is SIGHUP, or in which nobody looks at what is shown."""
    terminal, inner = os.openpty()
    streams = {"stdin": inner, "stdout": inner, "stderr": inner}
    process = subprocess.Popen([*VELES_RUN, *arguments], cwd=folder, preexec_fn=lambda: os.login_tty(inner), **streams)
    os.close(inner)
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        if number is not signal.SIGHUP:
            process.send_signal(number)
    if number is signal.SIGHUP:
        os.close(terminal)
    try:
        process.wait(100)
    except subprocess.TimeoutExpired:
        folders = sorted(Path(f"/proc/{process.pid}/task").iterdir())
        print([[(folder / name).read_text() for name in ("comm", "wchan", "syscall")] for folder in folders], file=sys.stderr)
        print(f"{number.name} after {delay} s, process {process.pid} hangs", file=sys.stderr, flush=True)
        process.wait(1000)
    if number is not signal.SIGHUP:
        os.close(terminal)
    return process.returncode


def main(seed: int, count: int) -> int:
    rng = random.Random(seed)
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # in the background it may be ignored, and so it would be by the runs
    found: Counter[str] = Counter()
    done = 0
    while done < count:
        run_seed = rng.randrange(2**32)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            whole = folder / "whole"
            whole.mkdir()
            began = time.monotonic()
            subprocess.run([*VELES_RUN, *SETTINGS, f"seed={run_seed}"], cwd=whole, check=True, capture_output=True)
            seconds = time.monotonic() - began
            while not finished(folder):
                done += 1
                way, number = rng.choice(list(WAYS)), rng.choice(STOPS)
                delay = rng.uniform(0, seconds) if rng.random() < 0.3 else rng.uniform(min(START, seconds) * 0.8, seconds)
                codec = f"snapshotter.compression={rng.choice(list(CODECS))}"
                code = stopped(folder, [*SETTINGS, f"seed={run_seed}", codec], way, number, delay)
                ignored = way == "nohup" and number is signal.SIGHUP
                if code not in ((0,) if ignored else (0, exit_code(number))):
                    if code in (128 + number, -number) and delay < 0.1:
                        found["before Python runs"] += 1
                    else:
                        raise Failure(f"{way}, {number.name} after {delay:.2f} s: exit code {code} (seed {seed}, stop {done})")
                found[f"code {code}" if code in (0, 75, 130) else "killed"] += 1
                found[way] += 1
                found[number.name] += 1
            if different := differences(state_of(newest(whole)), state_of(newest(folder))):
                raise Failure(f"seed {run_seed}: {different}")
        found["runs"] += 1
    print(dict(found))
    return 0


def newest(folder: Path) -> Path:
    (link,) = folder.glob("snapshots/*_current*")
    return link.resolve()


def finished(folder: Path) -> bool:
    from runner.snapshots.restoring.restore import restore

    return any(folder.glob("snapshots/*_current*")) and restore(newest(folder)).workflow.complete


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
