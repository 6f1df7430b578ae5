"""`snapshot=best` and `snapshot=tag:NAME`: the location that such a name stands for."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from omegaconf import DictConfig

from runner.cli.newest import Search
from runner.cli.request import Request
from runner.errors import SnapshotAmbiguousError, SnapshotNotFoundError
from runner.snapshots.restoring.restore import tell_unreadable
from runner.snapshots.shelf.wanted import Ranking
from runner.snapshots.stores import newest_first
from runner.snapshots.stores.location import TAG
from runner.snapshots.stores.marks import check_tag
from runner.snapshots.stores.store import Entry

log = logging.getLogger(__name__)


def named_location(node: DictConfig, request: Request) -> str:
    """Returns the location of the snapshot that `snapshot` names; what is no such name is a location itself.

    Raises:
        ConfigError: it is no tag.
        SnapshotNotFoundError: there is none of that name.
        SnapshotAmbiguousError: `best` of which workflow is not said, and there are several.
    """
    name = str(node.snapshot)
    if name == "best":
        return _best(Search(node, request))
    return _tagged(Search(node, request), name.removeprefix(TAG)) if name.startswith(TAG) else name


def _best(search: Search) -> str:
    """Returns the best snapshot of the run that the command describes; without any, of all runs of the workflow."""
    of_run, of_any, first = Ranking(), Ranking(), None
    for entry in _entries(search):
        if entry.header.score is None:
            continue
        first = first or entry
        if entry.header.workflow != first.header.workflow:
            raise SnapshotAmbiguousError(
                f"snapshot=best: in {search.where()} are snapshots of {first.header.workflow!r} and of"
                f" {entry.header.workflow!r}, whose errors cannot be compared: say which with conf=NAME"
            )
        of_any.add(entry)
        if search.asked is not None and search.asked.is_of(entry.header):
            of_run.add(entry)
    ranking = of_any if of_run.best is None else of_run
    if ranking.best is None:
        raise SnapshotNotFoundError(f"snapshot=best: there is no snapshot with an error of {_what(search)} in {search.where()}")
    if of_run.best is None and search.asked is not None:
        workflow = ranking.best.header.workflow
        log.info("snapshot=best: there is no snapshot of this run; taking the best of all runs of %r", workflow)
    if ranking.left_out is not None:
        log.info("snapshot=best: %s", ranking.left_out)
    return ranking.best.location


def _tagged(search: Search, tag: str) -> str:
    """Returns the newest snapshot with a tag."""
    check_tag(tag)
    marked = {uuid for store in search.stores() for uuid, mark in store.marks().items() if tag in mark.tags}
    for entry in _entries(search) if marked else ():
        if entry.header.uuid in marked:
            return entry.location
    raise SnapshotNotFoundError(
        f"snapshot={TAG}{tag}: there is no snapshot of {_what(search)} with this tag in {search.where()}"
    )


def _entries(search: Search) -> Iterator[Entry]:
    return (entry for entry, _ in newest_first(search.stores(), tell_unreadable, workflow=search.name))


def _what(search: Search) -> str:
    return repr(search.name) if search.name else "any workflow"
