"""The darts of monte_carlo.py with their snapshots in a database: SQLite over ODBC, which needs no server.

python examples/monte_carlo_db.py                                     run
python examples/monte_carlo_db.py 'odbc://DRIVER={SQLite3};...'       continue; the log lines name each snapshot so
"""

import logging
import random
import sys

from monte_carlo import Darts

from runner import Launcher, Repeater, SnapshotterToDB, Workflow, restore


def build(rounds: int) -> Workflow:
    workflow = Workflow(name="pi")
    repeater = Repeater(workflow).link_from(workflow.start_point)
    darts = Darts(workflow, rounds).link_from(repeater)
    # Another database is another connection string; `${oc.env:NAME}` in it keeps passwords out of the code.
    snapshotter = SnapshotterToDB(workflow, odbc="DRIVER={SQLite3};Database=pi.db", interval=200).link_from(darts)
    snapshotter.link_attrs(darts, "suffix", ("complete", "done"))
    repeater.link_from(snapshotter)
    repeater.gate_block = darts.done
    workflow.end_point.link_from(snapshotter)
    workflow.end_point.gate_block = ~darts.done
    return workflow


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if len(sys.argv) > 1:
        workflow = restore(sys.argv[1], trusted=["monte_carlo"]).workflow
    else:
        random.seed(1)
        workflow = build(rounds=1000)
    Launcher().run(workflow)
    print(f"pi is about {workflow['darts'].estimate}")


if __name__ == "__main__":
    main()
