"""k-means as a workflow of one's own: no neural network, run by veles-run from a conf file.

veles-run conf=kmeans                                   in this folder, which has conf/kmeans.yaml
veles-run conf=kmeans workflow.clusters=5 seed=1
veles-run conf=kmeans snapshot=latest workflow.rounds=200
veles-run -m conf=kmeans workflow.clusters=2,3,4
"""

import random
from typing import Any

import numpy as np

from runner import Bool, ConfigError, Plotter, Repeater, SnapshotterToFile, Unit, Workflow
from runner.plots.pictures import Curves


class Points(Unit):
    """Has the points: clouds around random centres. It never runs; after a restore it makes the same points again."""

    def __init__(self, workflow: Workflow, size: int) -> None:
        super().__init__(workflow, "points")
        self.size = size
        self.seed = random.getrandbits(32)  # Python's generator, which the run has seeded

    def initialize(self) -> None:
        numbers = np.random.default_rng(self.seed)
        centres = numbers.uniform(-10, 10, (12, 2))
        self.points_ = centres[numbers.integers(len(centres), size=self.size)] + numbers.normal(size=(self.size, 2))


class Assign(Unit):
    """Finds the nearest centre of each point, in a random sample of them."""

    points_: Any
    centres: Any

    def __init__(self, workflow: Workflow, sample: int) -> None:
        super().__init__(workflow, "assign")
        self.sample = sample
        self.numbers = np.random.default_rng(random.getrandbits(32))  # its state is part of every snapshot
        self.demand("points_", "centres")

    def run(self) -> None:
        self.chosen_ = self.points_[self.numbers.integers(len(self.points_), size=self.sample)]
        distances = ((self.chosen_[:, None] - self.centres) ** 2).sum(2)
        self.labels_ = distances.argmin(1)
        self.distance_ = float(distances.min(1).mean())


class Move(Unit):
    """Moves each centre towards the mean of its points, the less the more it has seen."""

    adjustable = frozenset({"rounds"})
    points_: Any
    chosen_: Any
    labels_: Any
    distance_: float

    def __init__(self, workflow: Workflow, clusters: int, rounds: int) -> None:
        super().__init__(workflow, "move")
        self.clusters, self.rounds = clusters, rounds
        self.centres: Any = None
        self.seen = np.zeros(clusters)
        self.round, self.spread = 0, 0.0
        self.spreads: list[float] = []
        self.done = Bool(False)
        self.demand("points_", "chosen_", "labels_", "distance_")

    def initialize(self) -> None:
        if self.centres is None:  # a restored run has them
            self.centres = self.points_[: self.clusters].copy()

    def run(self) -> None:
        for cluster in range(self.clusters):
            mine = self.chosen_[self.labels_ == cluster]
            if len(mine):
                self.seen[cluster] += len(mine)
                self.centres[cluster] += (mine - self.centres[cluster]).sum(0) / self.seen[cluster]
        self.spread += (self.distance_ - self.spread) / 10
        self.spreads.append(self.spread)
        self.round += 1
        self.done <<= self.round >= self.rounds

    def reconfigure(self, **changes: Any) -> None:
        super().reconfigure(**changes)
        self.done <<= self.round >= self.rounds

    @property
    def suffix(self) -> str:
        """Ends the names of snapshots."""
        return f"round_{self.round}"


class SpreadPlotter(Plotter):
    """Draws plot_spread.png into the run's folder, where pictures are drawn. It only reads, and has no state."""

    spreads: list[float]

    def __init__(self, workflow: Workflow) -> None:
        super().__init__(workflow, "plot_spread")
        self.demand("spreads")

    def picture(self) -> Curves:
        return Curves(series={"mean squared distance": list(self.spreads)}, x="round")


class KMeans(Workflow):
    """start -> repeater -> assign -> move -> snapshotter -> repeater or end. The arguments are the keys below `workflow`.

    The plotter stands beside the snapshotter: behind `move`, too, and nothing behind it.
    """

    def __init__(self, clusters: int, rounds: int = 100, points: int = 2000, sample: int = 200) -> None:
        super().__init__()
        if not 1 <= clusters <= points:
            raise ConfigError(f"workflow.clusters={clusters} must be at least 1, and at most the number of points, {points}")
        self.points = Points(self, points)
        self.repeater = Repeater(self, "repeater").link_from(self.start_point)
        self.assign = Assign(self, sample).link_from(self.repeater)
        self.move = Move(self, clusters, rounds).link_from(self.assign)
        self.snapshotter = SnapshotterToFile(self, "snapshotter").link_from(self.move)
        self.repeater.link_from(self.snapshotter)
        self.repeater.gate_block = self.move.done
        self.end_point.link_from(self.snapshotter)
        self.end_point.gate_block = ~self.move.done
        SpreadPlotter(self).link_from(self.move).link_attrs(self.move, "spreads")
        self.assign.link_attrs(self.points, "points_").link_attrs(self.move, "centres")
        self.move.link_attrs(self.points, "points_").link_attrs(self.assign, "chosen_", "labels_", "distance_")
        self.snapshotter.link_attrs(self.move, "suffix", ("complete", "done"))

    @property
    def objective(self) -> float:
        return float(self.move.spread)

    @property
    def summary(self) -> str:
        return f"Mean squared distance: {self.move.spread!r}"

    @property
    def limit(self) -> tuple[str, int]:
        return "workflow.rounds", self.move.rounds

    def progress(self) -> dict[str, Any]:
        return {"epoch": self.move.round, "complete": bool(self.move.done), "metrics": {"distance": self.move.spread}}

    def override(self, key: str, value: Any) -> None:
        if key == "workflow.rounds":
            self.move.reconfigure(rounds=value)
        else:
            super().override(key, value)

    def evaluate(self) -> dict[str, float]:
        distances = ((self.points.points_[:, None] - self.move.centres) ** 2).sum(2)
        return {"distance of all points": float(distances.min(1).mean())}
