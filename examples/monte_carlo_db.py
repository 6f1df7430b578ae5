"""The darts of monte_carlo.py with their snapshots in a database: SQLite over ODBC, which needs no server.

python examples/monte_carlo_db.py                                     run
python examples/monte_carlo_db.py 'odbc://DRIVER={SQLite3};...'       continue; the log lines name each snapshot so
"""

from monte_carlo import main

from runner import Snapshotter, SnapshotterToDB, Workflow


def to_database(workflow: Workflow) -> Snapshotter:
    # Another database is another connection string; `${oc.env:NAME}` in it keeps passwords out of the code.
    return SnapshotterToDB(workflow, odbc="DRIVER={SQLite3};Database=pi.db", interval=200)


if __name__ == "__main__":
    main(to_database)
