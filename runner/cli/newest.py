"""`snapshot=auto` and `snapshot=latest`: the newest snapshot of the run that a command describes."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import cached_property, partial

from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from runner import build
from runner import config as schema
from runner.cli import conf_files
from runner.cli.request import Request, job_part
from runner.cli.run_identity import Asked, left_out
from runner.config import Mode
from runner.errors import RunInUseError, RunnerError, SnapshotError, SnapshotNotFoundError
from runner.snapshots.claims import Claims
from runner.snapshots.format.header import Header
from runner.snapshots.restoring.restore import Restored, folder_stores, restore_latest, tell_unreadable
from runner.snapshots.restoring.trust import Policy
from runner.snapshots.stores import newest_first
from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.store import Entry, Store
from runner.targets import TARGET

log = logging.getLogger(__name__)

Run = tuple[str, str | None]
"""A run as headers name it: the log id, and the identity."""


def find_newest(node: DictConfig, request: Request, policy: Policy, claims: Claims) -> Restored | None:
    """Restores the newest snapshot of the run that the command describes, and claims that run.

    `auto` takes no other run; of several that are the same, it takes the newest that nobody else goes on with. `latest` falls
    back on the run that the conf file describes by itself, of which what is typed makes a branch; if what is typed makes no
    other run, on any run of the workflow. A command without a conf file or a class of the user's own describes no run: any
    will do.

    Returns:
        None if `auto` is to start afresh.

    Raises:
        SnapshotNotFoundError: `latest` finds none.
        RunInUseError: another process goes on with the run.
    """
    search, in_use = Search(node, request), None
    while (found := search.found()) is not None:
        (entry, store), exact = found
        run = _run(entry.header)
        try:
            if exact and search.goes_on:
                claims.take(store, *run)
        except RunInUseError as error:
            if node.snapshot == "latest":
                raise
            in_use = error
            search.passed_over.add(run)
            continue
        # The run may have gone on until it was claimed.
        others = search.others.keys() if exact else ()
        restored = restore_latest(search.stores(), partial(_is_of, run), policy, search.name, others)
        if restored is not None:
            if in_use is not None:
                log.info("snapshot=auto: another run of the same configuration is passed over: %s", in_use)
            search.tell(entry, exact)
            return restored
        search.passed_over.add(run)  # each of its snapshots is damaged, which was said
    if in_use is not None:
        raise in_use
    if node.snapshot == "latest":
        raise SnapshotNotFoundError(f"snapshot=latest: {search.nothing()}")
    search.claim_start(claims)
    log.info("snapshot=auto: %s; starting afresh", search.nothing())
    return None


class Search:
    """A search for the newest snapshot, and what it has come across."""

    def __init__(self, node: DictConfig, request: Request) -> None:
        settings = schema.from_hydra(node).snapshotter
        self._named = build.snapshot_store(settings, "") if settings.odbc or settings.directory else None
        self._request = request
        self.name = request.workflow_name(node)
        self.goes_on: bool = node.mode is Mode.train and not node.graph
        self._latest: bool = node.snapshot == "latest"
        described = request.conf is not None or node.workflow[TARGET] is not None
        self.asked = Asked.by(node, self.name) if described else None
        self.passed_over: set[Run] = set()
        self.others: dict[str, Entry] = {}
        self._unreadable: dict[str, SnapshotError] = {}

    def stores(self) -> Iterable[Store]:
        """Returns where snapshots are looked for."""
        return [self._named] if self._named else folder_stores(self._request.run_folders)

    def where(self) -> str:
        """Returns where snapshots are looked for, for messages."""
        return str(self._named or " and ".join(map(str, self._request.run_folders)))

    def claim_start(self, claims: Claims) -> None:
        """Claims the run that is about to be started: the same command may be starting it elsewhere.

        Raises:
            RunInUseError: it is.
        """
        if self.goes_on and self.asked is not None:
            store = self._named or FileStore(self._request.run_folders[0])
            claims.take(store, "", self.asked.identity.digest(() if self.asked.seed is not None else ("seed",)))

    def found(self) -> tuple[tuple[Entry, Store], bool] | None:
        """Returns the newest snapshot that will do, its store, and whether it is of the very run that is looked for."""
        self.others, second = {}, None
        noted = self._unreadable.__setitem__
        for entry, store in newest_first(self.stores(), noted, workflow=self.name, apart_from=self.others.keys()):
            if _run(entry.header) in self.passed_over:
                continue
            if self.asked is None or self.asked.is_of(entry.header):
                return (entry, store), self.asked is not None
            self.others.setdefault(entry.header.run_id, entry)  # all that a process has written are of the same run
            if second is None and self._will_do(entry.header):
                second = entry, store
        return None if second is None else (second, False)

    def _will_do(self, header: Header) -> bool:
        """Whether to fall back on a snapshot of another run. Where nothing goes on, nothing can be mixed up."""
        if not self.goes_on:
            return True
        plain = self._conf_alone if self._latest else None
        if plain is None or self.asked is None:
            return False
        return not self.asked.identity.differing(plain.identity, left_out(header)) or plain.with_seed_of(header).is_of(header)

    @cached_property
    def _conf_alone(self) -> Asked | None:
        """The run that the conf file describes without anything that is typed; None if it does not describe a whole one."""
        if self._request.conf is None:
            return None
        loader = GlobalHydra.instance().config_loader()
        try:
            composed = loader.load_configuration(conf_files.PRIMARY, [f"conf={self._request.conf}"], RunMode.RUN)
            node = job_part(composed)
            schema.let_optimizer_take_over(node, ())
            return Asked.by(node, self.name)
        except (RunnerError, HydraException, OmegaConfBaseException):
            return None

    def tell(self, entry: Entry, exact: bool) -> None:
        """Says which other runs `latest` has passed over, or that it branches from another run."""
        if not self._latest or not self.others:
            return
        if exact:
            log.info("snapshot=latest: passed over %s", self._told_others())
        else:
            log.info("snapshot=latest: %s; taking %s", self.nothing(), entry.location)

    def nothing(self) -> str:
        """Says that there is no snapshot of the run, and which others there are."""
        where = self.where()
        for location, error in self._unreadable.items():
            tell_unreadable(location, error)
        if not self.others:
            return f"there is no snapshot of {self.name or 'any workflow'!r} in {where}"
        return f"there is no snapshot of this run of {self.name!r} in {where}, but of {self._told_others()}"

    def _told_others(self) -> str:
        """Says how many other runs there are, and in what the newest differs."""
        newest, count = next(iter(self.others.values())), len(set(map(_run, (one.header for one in self.others.values()))))
        differs = "" if self.asked is None else self.asked.difference(newest.header)
        runs = "1 other run" if count == 1 else f"{count} other runs"
        return f"{runs}; the newest, {newest.location}, differs {differs}"


def _run(header: Header) -> Run:
    return header.log_id, header.identity


def _is_of(run: Run, header: Header) -> bool:
    return _run(header) == run
