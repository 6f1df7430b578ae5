"""The user's own code of a run: collected once in a process, and kept once in a store."""

from __future__ import annotations

import logging

from runner.errors import ConfigError, SnapshotError
from runner.graph import Workflow
from runner.snapshots import provenance
from runner.snapshots.kept_code import KeptCode
from runner.snapshots.stores.store import Store

log = logging.getLogger(__name__)


class RunCode:
    """What headers say of the code, and the code itself until a store has it.

    Attributes:
        kept: the digest of the code that is kept with the snapshots; None if none is.
    """

    def __init__(self) -> None:
        self.kept: str | None = None
        self._digests: dict[str, str] | None = None
        self._code: KeptCode | None = None

    def collect(self, workflow: Workflow, keep: bool) -> None:
        """Collects the code, once, when all units have made what they hold.

        Args:
            workflow: what is made of it.
            keep: whether it will be kept with the snapshots.
        """
        if self._digests is not None:
            return
        self._digests = provenance.code(workflow)
        if keep:
            launcher = workflow.launcher
            self._code = provenance.kept_code(workflow, launcher.provenance().get("conf") if launcher else None)
            self.kept = None if self._code is None else self._code.digest

    def digests(self, workflow: Workflow) -> dict[str, str]:
        """Returns the digests of the modules that a workflow is made of."""
        return provenance.code(workflow) if self._digests is None else self._digests

    def put(self, store: Store) -> None:
        """Puts the code into a store, once, before the first snapshot of the process, which is as good without it."""
        if self._code is None or self.kept is None:
            return
        try:
            store.keep_code(self.kept, self._code.packed())
            self._code = None  # the digest is all that later snapshots need
        except (SnapshotError, ConfigError) as error:
            log.warning("The code of the run is not kept with its snapshots: %s", error)
