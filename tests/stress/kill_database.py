"""Kills writers of snapshots to SQLite, MariaDB and PostgreSQL within a save, and the servers: see tests/database_faults.py.

`python -m tests.stress.kill_database SEED COUNT` kills as many writers of each, and as many times each server.
"""

import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from runner.snapshots.stores import patience
from tests.database_faults import kill_often, kill_writers
from tests.servers import KINDS, SERVERS, Servers, odbc_settings


def main() -> None:
    seed, count = map(int, sys.argv[1:])
    patience.LONGEST_PAUSE = 0.5
    total: Counter[str] = Counter()
    with ExitStack() as stack:
        stack.enter_context(odbc_settings())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = Servers(stack)
        for kind in KINDS:
            server = servers.database(kind, folder)
            figures = [kill_writers(server, count, seed)]
            if kind in SERVERS:
                figures.append(kill_often(server, count, seed))
            for part in figures:
                total.update({f"{kind} {key}": number for key, number in part.items()})
    print(dict(total))


if __name__ == "__main__":
    main()
