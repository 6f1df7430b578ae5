"""The rounds of a test at random: each has a folder and a generator of its own, and is told with its number if it fails.

The seed and the number of a round are all that is needed to have it again. `KEEP=FOLDER` keeps the folders of those that fail.
"""

import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class Failure(Exception):
    """What is there, or is said, differs from what was promised."""


class Refused(Exception):
    """What was drawn is refused, as some of it must be."""


@contextmanager
def naming(drawn: str) -> Iterator[None]:
    """Puts what was drawn before the message of a failure."""
    try:
        yield
    except Failure as failure:
        raise Failure(f"{drawn}: {failure}") from failure


Play = Callable[[Path, random.Random, list[str]], None]
"""Plays a round in a folder, and tells what it does by adding to a list."""


def rounds(play: Play, seed: int, count: int) -> int:
    """Plays so many rounds, and prints how often what was done.

    Returns:
        The exit code.
    """
    found: Counter[str] = Counter()
    failures = 0
    for number in range(count):
        done: list[str] = []
        with tempfile.TemporaryDirectory() as name:
            try:
                play(Path(name), random.Random(f"{seed} {number}"), done)
            except Refused:
                done = ["refused"]
            except Failure as failure:
                failures += 1
                print(f"{number}, {', '.join([*done, str(failure)])}", file=sys.stderr)
                if keep := os.environ.get("KEEP"):
                    shutil.copytree(name, Path(keep) / str(number))
        found.update(done)
    print(dict(found))
    return 1 if failures else 0
