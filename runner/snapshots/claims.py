"""Claims: no two processes go on with the same run at once."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack

from runner.snapshots.stores.store import Store


class Claims(ExitStack):
    """What this process goes on with, for the block: each run once in each store that it was found in or is written to.

    A branch with another configuration is another run, even though it keeps the log id.
    """

    def __init__(self) -> None:
        super().__init__()
        self._taken: set[tuple[str, str]] = set()

    def take(self, store: Store, log_id: str, identity: str | None) -> None:
        """Claims a run in a store, unless this process has it already.

        Raises:
            RunInUseError: another process has it.
        """
        run = hashlib.sha256(f"{log_id} {identity}".encode()).hexdigest()[:16]
        if (store.identity, run) not in self._taken:
            self.enter_context(store.claimed(run))
            self._taken.add((store.identity, run))
