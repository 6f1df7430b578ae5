"""Breaks connections to databases, and kills writers and servers: see tests/database_faults.py.

`python -m tests.stress.databases SEED COUNT cut` breaks as many connections to MariaDB and PostgreSQL in INSERT and COMMIT, and
kills the servers now and then. With `kill` it kills as many writers to each, and to SQLite, and as many times each server.
"""

import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from runner.snapshots.stores import patience
from tests.database_faults import cut_often, kill_often, kill_writers
from tests.servers import KINDS, SERVERS, Servers, odbc_settings

CUTS_FOR_A_KILL = 20


def main() -> None:
    seed, count, what = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    faults, kills = (cut_often, count // CUTS_FOR_A_KILL) if what == "cut" else (kill_writers, count)
    patience.LONGEST_PAUSE = 0.5
    total: Counter[str] = Counter()
    with ExitStack() as stack:
        stack.enter_context(odbc_settings())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = Servers(stack)
        for kind in SERVERS if what == "cut" else KINDS:
            server = servers.database(kind, folder)
            figures = [faults(server, count, seed)]
            if kind in SERVERS:
                figures.append(kill_often(server, kills, seed))
            for part in figures:
                total.update({f"{kind} {key}": number for key, number in part.items()})
    print(dict(total))


if __name__ == "__main__":
    main()
