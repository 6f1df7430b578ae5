"""The commands by which a run goes on."""

from __future__ import annotations

from dataclasses import dataclass

from runner.cli.request import Request
from runner.cli.short_command import ShortCommand
from runner.graph import Workflow
from runner.nn import StandardWorkflow
from runner.snapshots.snapshotter import snapshotters


@dataclass(frozen=True)
class Commands:
    """The commands by which a run goes on: in the log with the whole location of the snapshot, on a terminal short."""

    request: Request
    short: ShortCommand

    def whole(self, workflow: Workflow, complete: bool) -> tuple[str, str] | None:
        """Returns the title of the command that names the newest snapshot, and the command; None if there is none."""
        location = _newest(workflow)
        if location is None or (complete and workflow.limit is None):
            return None
        if complete:
            return "Extend", self.request.extension(location, workflow.extension)
        return "Continue", self.request.continuation(location)

    def shown(self, workflow: Workflow, complete: bool) -> dict[str, str]:
        """Returns the commands that a terminal shows, by their titles."""
        location, whole = _newest(workflow), self.whole(workflow, complete)
        found = {}
        if whole is not None:
            keys = workflow.extension if complete else {}
            found[whole[0]] = self.short(keys) or whole[1]
        if location is not None and isinstance(workflow, StandardWorkflow) and workflow.loader.evaluation():
            short = self.short(which="best" if complete else "latest")
            found["Score"] = f"{short or self.request.continuation(location)} mode=evaluate"
        return found


def _newest(workflow: Workflow) -> str | None:
    written = [unit.last_location for unit in snapshotters(workflow) if unit.last_location is not None]
    return written[-1] if written else None
