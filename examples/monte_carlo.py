"""Estimates pi by throwing darts: a workflow that is no neural network, and continues from its snapshot bit for bit.

python examples/monte_carlo.py                                    run
python examples/monte_carlo.py snapshots/pi_current.5.pickle.gz   continue
"""

import logging
import random
import sys
from collections.abc import Callable

from runner import Bool, Launcher, Repeater, Snapshotter, SnapshotterToFile, Unit, Workflow, restore


class Darts(Unit):
    """Throws darts at a square and counts those in the circle."""

    def __init__(self, workflow: Workflow, rounds: int) -> None:
        super().__init__(workflow, "darts")
        self.rounds = rounds
        self.thrown = self.hits = 0
        self.done = Bool(False)

    def run(self) -> None:
        # Python's own generator: its state is part of every snapshot.
        self.hits += sum(random.random() ** 2 + random.random() ** 2 < 1 for _ in range(1000))
        self.thrown += 1000
        self.done <<= self.thrown >= 1000 * self.rounds

    @property
    def suffix(self) -> str:
        """Ends the names of snapshots."""
        return f"{self.thrown}_darts"

    @property
    def estimate(self) -> float:
        """The estimate of pi so far."""
        return 4 * self.hits / self.thrown


def to_files(workflow: Workflow) -> Snapshotter:
    return SnapshotterToFile(workflow, directory="snapshots", interval=200)


def build(rounds: int, snapshotter_of: Callable[[Workflow], Unit]) -> Workflow:
    workflow = Workflow(name="pi")
    repeater = Repeater(workflow).link_from(workflow.start_point)
    darts = Darts(workflow, rounds).link_from(repeater)
    snapshotter = snapshotter_of(workflow).link_from(darts)
    snapshotter.link_attrs(darts, "suffix", ("complete", "done"))
    repeater.link_from(snapshotter)
    repeater.gate_block = darts.done
    workflow.end_point.link_from(snapshotter)
    workflow.end_point.gate_block = ~darts.done
    return workflow


def main(snapshotter_of: Callable[[Workflow], Unit] = to_files) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if len(sys.argv) > 1:
        # Only classes of modules that are named here, and of veles-run itself, are made of what the file says.
        workflow = restore(sys.argv[1], trusted=[Darts.__module__]).workflow
    else:
        random.seed(1)
        workflow = build(1000, snapshotter_of)
    Launcher().run(workflow)
    print(f"pi is about {workflow['darts'].estimate}")


if __name__ == "__main__":
    main()
