"""The commands by which a run goes on."""

from __future__ import annotations

from dataclasses import dataclass, replace

from runner.cli.request import TO_GO_ON, Request
from runner.cli.short_command import ShortCommand
from runner.graph import Workflow
from runner.nn import StandardWorkflow
from runner.snapshots.snapshotter import last_written, snapshotters


@dataclass(frozen=True)
class Commands:
    """The commands by which a run goes on: in the log with the whole location of the snapshot, on a terminal short."""

    request: Request
    short: ShortCommand

    def whole(self, workflow: Workflow, complete: bool) -> tuple[str, str] | None:
        """Returns the title of the command that names the newest snapshot, and the command; None if there is none."""
        location, request = _newest(workflow), self._trusting(workflow).request
        if location is None or (complete and workflow.limit is None):
            return None
        if complete:
            return "Extend", request.extension(location, workflow.extension)
        return "Continue", request.continuation(location)

    def shown(self, workflow: Workflow, complete: bool) -> dict[str, str]:
        """Returns the commands that a terminal shows, by their titles."""
        location, whole, trusting = _newest(workflow), self.whole(workflow, complete), self._trusting(workflow)
        found = {}
        if whole is not None:
            keys = workflow.extension if complete else {}
            found[whole[0]] = trusting.short(keys) or whole[1]
        if location is not None and isinstance(workflow, StandardWorkflow) and workflow.loader.evaluation():
            short = trusting.short(which="best" if complete else "latest")
            found["Score"] = f"{short or trusting.request.continuation(location)} mode=evaluate"
        return found

    def _trusting(self, workflow: Workflow) -> Commands:
        """Returns the same with what a state needs that the default restore refuses."""
        if not any(snapshotter.unrestorable for snapshotter in snapshotters(workflow)):
            return self
        request = self.request.with_overrides("restore.trust=full", f"{TO_GO_ON}=warn")
        return Commands(request, replace(self.short, request=request))


def _newest(workflow: Workflow) -> str | None:
    written = last_written(workflow)
    return None if written is None else written.last_location
