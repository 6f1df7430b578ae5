"""The power fails at any moment of a save: whatever the disk then holds, nothing that was acknowledged is lost."""

import os
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from runner.snapshots.codecs import CODECS
from runner.snapshots.restoring.restore import header_of, restore_latest
from runner.snapshots.restoring.trust import Policy
from runner.snapshots.stores.file import FileStore
from tests.faults.failing import using
from tests.faults.power import RecordingFiles, build
from tests.workflows import stored

POLICY = Policy(trusted=["tests"])
SAVES = 2


class Failing(RecordingFiles):
    """Looks, after each call, at all that a power failure would leave then."""

    def __init__(self, root: Path, target: Path, dropped: int | None = None) -> None:
        super().__init__(dropped)
        self.root, self.target = root, target
        self.acknowledged = 0
        self.seen: set[Any] = set()
        self.faults: Counter[str] = Counter()

    def called(self, name: str, real: Any, arguments: tuple[Any, ...]) -> Any:
        result = super().called(name, real, arguments)
        if name in ("link", "replace", "sync", "symlink", "unlink", "write", "mkdir"):
            self.look()
        return result

    def look(self) -> None:
        for state in self.states():
            key = (self.acknowledged, frozenset(state.items()))
            if key not in self.seen:
                self.seen.add(key)
                self.check(state)

    def check(self, state: dict[Path, bytes | str]) -> None:
        shutil.rmtree(self.target, ignore_errors=True)
        self.target.mkdir()
        build(state, self.root, self.target)
        folder = self.target / "parent" / "snapshots"
        latest = restore_latest([FileStore(folder)], lambda header: True, POLICY)
        runs = latest.workflow["holder"].runs if latest else 0
        if runs < self.acknowledged:
            self.faults["lost"] += 1
        current = [path.readlink().name for path in folder.glob("*_current.*")]
        if self.acknowledged and max(map(number, current), default=0) < self.acknowledged:
            self.faults["the link is not moved"] += 1
        for path in folder.glob("[!.]*"):
            if path.is_symlink() and not path.exists():
                self.faults["a link that leads nowhere"] += 1
            elif header_or_none(path) is None:
                self.faults["unreadable"] += 1


def number(name: str) -> int:
    """Returns the number of the state in `holding_run_3.5.pickle.gz`."""
    return int(name.split("_")[2].partition(".")[0])


def header_or_none(path: Path) -> object:
    try:
        return header_of(path)
    except Exception:
        return None


def fail(tmp_path: Path, codec: str = "gz", dropped: int | None = None) -> Failing:
    root = tmp_path / "disk"
    root.mkdir()
    folder = root / "parent" / "snapshots"
    _, holder, snapshotter = stored(None, FileStore(folder), blocking=True, compression=codec, keep_last=1)
    files = Failing(root, tmp_path / "after", dropped)
    for runs in range(1, SAVES + 1):
        holder.runs, holder.value = runs, random.Random(runs).randbytes(500)
        with using(files):
            snapshotter.export()
        files.acknowledged = runs
        files.look()
    return files


@pytest.mark.parametrize("codec", CODECS)
def test_nothing_acknowledged_is_lost(codec: str, tmp_path: Path) -> None:
    files = fail(tmp_path, codec)
    assert files.faults == {}
    assert len(files.seen) > 20


def test_each_sync_is_needed(tmp_path: Path) -> None:
    """The simulation has teeth: whichever sync that puts something new on the disk is left out, something is lost."""
    (tmp_path / "whole").mkdir()
    whole = fail(tmp_path / "whole")
    assert len(whole.needed) >= 3 * SAVES + 2
    for dropped in sorted(whole.needed):
        (tmp_path / str(dropped)).mkdir()
        assert fail(tmp_path / str(dropped), dropped=dropped).faults, f"sync {dropped} is not needed"


def test_what_counts_as_on_disk_the_system_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disks of the other tests take a call for the deed; this is that the call reaches the system."""
    synced, fsync = set(), os.fsync

    def noted(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    _, _, snapshotter = stored(b"", FileStore(tmp_path / "new"), blocking=True)
    snapshotter.export()
    snapshot = Path(snapshotter.last_location)
    assert {snapshot.stat().st_ino, snapshot.parent.stat().st_ino, tmp_path.stat().st_ino} <= synced
