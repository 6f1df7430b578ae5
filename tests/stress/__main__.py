"""Long tests, on demand: `python -m tests.stress kill-writer --count 100000`. What fails is printed with its seed."""

import argparse
import ast
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median
from typing import Any

from runner import cores


@dataclass(frozen=True)
class Test:
    """A module that takes a seed and a count, ends with exit code 0 if all is well, and prints a dict of counts and lists."""

    module: str
    what: str
    count: int
    """How many in all, unless given."""
    block: int
    """How many in one process."""
    arguments: tuple[str, ...] = ()


TESTS = {
    "mutate": Test("tests.mutate", "load mutated pickles under an audit hook", 10_000_000, 100_000),
    "kill-writer": Test("tests.stress.kill_writer", "kill a writer of snapshots, and restore the latest", 100_000, 1_000),
    "kill-training": Test("tests.stress.kill_training", "kill a run that trains, and resume it to its end", 1_000, 50),
    **{
        f"kill-sweep-{kind.replace('_', '-')}": Test(
            *("tests.stress.kill_sweep", f"kill and stop sweeps of 20 jobs ({kind}), and go on with them", 100, 25), (kind,)
        )
        for kind in ("basic", "joblib", "submitit_local", "ray", "optuna", "optuna_database")
    },
    "kill-shelf": Test(
        "tests.stress.kill_shelf", "kill veles-snapshots within cp, rm, prune and tag, so often each", 1_000, 100
    ),
    "kill-logged": Test(
        *("tests.stress.kill_training", "the same, with all trackers", 100, 50), ("tensorboard", "mlflow", "trackio", "wandb")
    ),
    "lose-work": Test("tests.stress.lose_work", "kill a run that may lose a second, and measure what it loses", 1_000, 50),
    "stop-training": Test(
        "tests.stress.stop_training", "stop a run by signals in pipelines and shells, and resume it", 600, 50
    ),
    "type-commands": Test(
        "tests.stress.type_commands", "type random settings, and go on by what is printed or typed again", 1_000, 50
    ),
    "use-data": Test("tests.stress.use_data", "predict and score random data, and compare with numpy and others", 1_000, 50),
    "manage-snapshots": Test(
        "tests.stress.manage_snapshots", "type commands of veles-snapshots, and compare with a model", 500, 25
    ),
    "share-run": Test(
        "tests.stress.share_run", "stop and kill processes that share a run, and resume it in another number", 200, 20
    ),
    "kill-kinds": Test("tests.stress.kill_kinds", "kill runs of each kind of network, and resume them", 17, 1),
    "share-database": Test(
        "tests.stress.share_database", "run jobs all at once, with their snapshots and their study in one database", 100, 100
    ),
    "damage": Test("tests.stress.damage", "restore damaged snapshots, from files and a database", 1_000_000, 5_000),
    "cut-database": Test(
        "tests.stress.databases", "break connections to databases, and kill the servers", 2_000, 100, ("cut",)
    ),
    "kill-database": Test("tests.stress.databases", "kill writers to databases, and the servers", 1_000, 50, ("kill",)),
    "cut-bucket": Test("tests.stress.cut_bucket", "break connections to a bucket, and kill its writers", 2_000, 50),
}


def run(test: Test, count: int, seed: int, jobs: int) -> int:
    """Runs blocks of the test in several processes; returns the exit code."""
    blocks = [(seed + number, min(test.block, count - begin)) for number, begin in enumerate(range(0, count, test.block))]
    began = time.monotonic()
    total: dict[str, Any] = {}
    failed = 0
    with ThreadPoolExecutor(jobs) as pool:
        for block, done in zip(blocks, pool.map(lambda block: run_block(test, *block), blocks), strict=True):
            print(f"python -m {test.module} {block[0]} {block[1]}: exit code {done.returncode} {done.stdout.strip()[-2000:]}")
            sys.stdout.flush()
            if done.returncode:
                print(done.stderr[-4000:], flush=True)
                failed += 1
            else:
                for name, value in ast.literal_eval(done.stdout.splitlines()[-1]).items():
                    total[name] = total[name] + value if name in total else value
    figures = ", ".join(f"{name}: {_figure(value)}" for name, value in total.items())
    print(f"{count} in {time.monotonic() - began:.0f} s; {failed} of {len(blocks)} blocks failed; {figures}")
    return 1 if failed else 0


def _figure(value: int | list[float]) -> str:
    """Returns a count, or what many measured values come to."""
    if isinstance(value, int):
        return str(value)
    return f"median {median(value):g}, maximum {max(value):g} of {len(value)}" if value else "none"


def run_block(test: Test, seed: int, count: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", test.module, str(seed), str(count), *test.arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stress", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, test in TESTS.items():
        command = commands.add_parser(name, help=test.what)
        command.add_argument("--count", type=int, default=test.count, help="how many in all")
        command.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32), help="of the first block")
        command.add_argument("--jobs", type=int, default=cores.usable(), help="processes at a time")
    options = parser.parse_args()
    return run(TESTS[options.command], options.count, options.seed, options.jobs)


if __name__ == "__main__":
    sys.exit(main())
