"""Breaks connections to MariaDB and PostgreSQL in INSERT and COMMIT, and kills the servers: see tests/database_faults.py."""

import sys
from collections import Counter
from contextlib import ExitStack

from runner.snapshots.stores import patience
from tests.database_faults import cut_often, kill_often
from tests.servers import SERVERS, Servers, odbc_settings

CUTS_FOR_A_KILL = 20


def main() -> None:
    seed, count = map(int, sys.argv[1:])
    patience.LONGEST_PAUSE = 0.5
    total: Counter[str] = Counter()
    with ExitStack() as stack:
        stack.enter_context(odbc_settings())
        servers = Servers(stack)
        for kind in SERVERS:
            server = servers.running(kind)
            figures = cut_often(server, count, seed), kill_often(server, count // CUTS_FOR_A_KILL, seed)
            for part in figures:
                total.update({f"{kind} {key}": number for key, number in part.items()})
    print(dict(total))


if __name__ == "__main__":
    main()
