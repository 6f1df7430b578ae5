"""What is said of snapshots: that one is durable, and that they are large."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from runner.graph import Workflow
from runner.snapshots.capture.sizes import largest_units
from runner.snapshots.capture.taking import Written
from runner.snapshots.format.header import Header

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SnapshotWritten:
    """The `event` of the log record that acknowledges a snapshot, for whoever shows it in another way."""

    written: Written
    header: Header


def acknowledge(written: Written, header: Header) -> None:
    """Says that a snapshot is durable, and what it cost."""
    log.info(
        "Snapshot written: %s (%s -> %s %s %d, %.1f %%, pause %.0f ms, %.2f s)",
        written.location,
        megabytes(written.state),
        megabytes(written.stored),
        header.codec,
        header.level,
        100 * written.stored / written.state,
        1000 * written.pause,
        written.seconds,
        extra={"event": SnapshotWritten(written, header)},
    )


def warn_of_size(workflow: Workflow, size: int) -> None:
    """Warns that snapshots are large, and names what makes them so."""
    rows = "".join(f"\n  {megabytes(part):>12}  {name}" for name, part in largest_units(workflow, 5))
    log.warning(
        "Each snapshot has %s of state. Name an attribute with a final '_' to leave it out. The largest units:%s",
        megabytes(size),
        rows,
    )


def megabytes(size: int) -> str:
    """Returns a number of bytes in megabytes, as text; a small one in kilobytes."""
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"
