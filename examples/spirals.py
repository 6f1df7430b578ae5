"""A loader of one's own: points on spirals, which are to be told apart.

veles-run conf=spirals                                  in this folder, which has conf/spirals.yaml
veles-run conf=spirals loader.arguments.noise=0.02 seed=1
veles-run conf=spirals snapshot=latest decision.max_epochs=120
"""

from typing import Any

import numpy as np

from runner import Workflow
from runner.nn.loading.loader import FullBatchLoader
from runner.nn.loading.samples import TRAIN, Samples


class SpiralsLoader(FullBatchLoader):
    """Makes a spiral for each class. Keys below `loader.arguments` are arguments; the others are those of every loader.

    The data are in no snapshot: a resumed run makes them again, and is refused if they are others.
    """

    def __init__(self, workflow: Workflow, *, arms: int = 3, points: int = 400, noise: float = 0.01, **settings: Any) -> None:
        super().__init__(workflow, **settings)
        self.arms, self.points, self.noise = arms, points, noise

    def load_data(self) -> dict[int, Samples]:
        numbers = np.random.default_rng(1)  # not the run's seed: all runs have the same data
        labels = np.repeat(np.arange(self.arms), self.points)
        radius = np.sqrt(numbers.uniform(0.01, 1, len(labels)))
        angle = 2 * np.pi * (radius + labels / self.arms)
        spirals = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        return {TRAIN: Samples(spirals + numbers.normal(0, self.noise, spirals.shape), labels)}
