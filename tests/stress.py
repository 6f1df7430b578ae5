"""Long tests, on demand: `python -m tests.stress mutate --count 10000000`."""

import argparse
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

BLOCK = 100_000
"""Mutants of one process."""


def mutate(count: int, seed: int, jobs: int) -> int:
    """Loads mutated pickles under an audit hook, in several processes; returns the exit code."""
    blocks = [(seed + number, min(BLOCK, count - begin)) for number, begin in enumerate(range(0, count, BLOCK))]
    began = time.monotonic()
    failed = 0
    with ThreadPoolExecutor(jobs) as pool:
        for (block_seed, size), done in zip(blocks, pool.map(run_block, blocks), strict=True):
            print(f"seed {block_seed}, {size} mutants: exit code {done.returncode} {done.stdout.strip()[-2000:]}", flush=True)
            if done.returncode:
                print(done.stderr[-4000:], flush=True)
                failed += 1
    print(f"{count} mutants in {time.monotonic() - began:.0f} s; {failed} of {len(blocks)} blocks failed")
    return 1 if failed else 0


def run_block(block: tuple[int, int]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.mutate", *map(str, block)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stress", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("mutate", help="load mutated pickles under an audit hook")
    command.add_argument("--count", type=int, default=10_000_000, help="mutants in all")
    command.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32), help="of the first block")
    command.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at a time")
    options = parser.parse_args()
    return mutate(options.count, options.seed, options.jobs)


if __name__ == "__main__":
    sys.exit(main())
