"""Trains on random data, uses the network on others, and compares what is written with numpy, pandas and scikit-learn.

`python -m tests.stress.use_data SEED COUNT` prints how often what was done. Tables, arrays, images and modules of torch are
drawn at random, in all forms that are documented; their outputs are computed in float64 from the weights of the snapshot alone.
"""

import os
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.stress.drawn.arrays import use_arrays
from tests.stress.drawn.by_numpy import Failure, Place, Refused
from tests.stress.drawn.images import use_images
from tests.stress.drawn.modules import use_module
from tests.stress.drawn.starting import use_new
from tests.stress.drawn.tables import use_table

KINDS = (use_table, use_table, use_arrays, use_images, use_module, use_new)


def main(seed: int, count: int) -> int:
    found: Counter[str] = Counter()
    failures = 0
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        use = rng.choice(KINDS)
        with tempfile.TemporaryDirectory() as name:
            try:
                found[use(Place(Path(name), rng))] += 1
            except Refused:
                found["refused"] += 1
            except Failure as failure:
                failures += 1
                print(f"{number}, {use.__name__}: {failure}", file=sys.stderr)
                if keep := os.environ.get("KEEP"):
                    os.rename(name, f"{keep}/{number}")
                    os.makedirs(name)
    print(dict(found))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
