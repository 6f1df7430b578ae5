"""Trains on random data, uses the network on others, and compares what is written with numpy, pandas and scikit-learn.

`python -m tests.stress.use_data SEED COUNT` prints how often what was done. Tables, arrays, images and modules of torch are
drawn at random, in all forms that are documented; their outputs are computed in float64 from the weights of the snapshot alone.
"""

import random
import sys
from pathlib import Path

from tests.stress.drawn.arrays import use_arrays
from tests.stress.drawn.by_numpy import Place
from tests.stress.drawn.images import use_images
from tests.stress.drawn.modules import use_module
from tests.stress.drawn.starting import use_new
from tests.stress.drawn.tables import use_table
from tests.stress.rounds import naming, rounds

KINDS = (use_table, use_table, use_arrays, use_images, use_module, use_new)


def play(folder: Path, rng: random.Random, done: list[str]) -> None:
    use = rng.choice(KINDS)
    with naming(use.__name__):
        done.append(use(Place(folder, rng)))


if __name__ == "__main__":
    sys.exit(rounds(play, *map(int, sys.argv[1:3])))
