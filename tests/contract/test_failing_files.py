"""Every call to the file system that a save makes fails in turn, or ends the process."""

import errno
import fcntl
import logging
import os
import random
from pathlib import Path
from typing import Any

import pytest

from runner.errors import StoreError, StoreSyncError
from runner.snapshots.codecs import CODECS
from runner.snapshots.restoring.restore import restore_latest
from runner.snapshots.restoring.trust import Policy
from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.file_system import Files
from tests.faults.failing import ActingFiles, crashing, failing, failing_from, recording, refusing, short, using
from tests.workflows import stored

CASES = [(errno.ENOSPC, 1), (errno.EACCES, 0)]
"""Errors, and how many snapshots are there before."""
POLICY = Policy(trusted=["tests"])


class Saves:
    """Takes a snapshot after another of one workflow, into a folder whose parent is new as well."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder / "parent" / "snapshots"
        self.store = FileStore(self.folder)
        _, self.holder, self.snapshotter = stored(None, self.store, blocking=True, **settings)
        self.holder.runs = 0

    def save(self) -> None:
        self.holder.runs += 1
        self.holder.value = random.Random(self.holder.runs).randbytes(10_000)
        self.snapshotter.export()

    def latest(self) -> int:
        found = restore_latest([self.store], lambda header: True, POLICY)
        if found is None:
            return 0
        assert found.workflow["holder"].value == random.Random(found.workflow["holder"].runs).randbytes(10_000)
        return found.workflow["holder"].runs

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir()) if self.folder.exists() else []

    def hidden(self) -> list[str]:
        return [name for name in self.names() if name.startswith(".")]


def calls_of_a_save(folder: Path, before: int) -> list[str]:
    saves = Saves(folder)
    for _ in range(before):
        saves.save()
    with using(recording()) as files:
        saves.save()
    return files.calls


def moments_of_a_save(folder: Path, before: int) -> list[tuple[int, str]]:
    """Returns calls by their numbers; of the folders above, which are all synced alike, those of the first and of the last."""
    calls = calls_of_a_save(folder, before)
    first, last = calls.index("open"), calls.index("names") - 3
    return [(at, name) for at, name in enumerate(calls) if not first + 3 <= at < last]


def test_the_order_of_a_save(tmp_path: Path) -> None:
    calls = calls_of_a_save(tmp_path, 1)
    parents = len((tmp_path / "parent" / "snapshots").parents)
    sync = ["open", "sync", "close"]
    assert calls == [
        *sync * parents,
        "names",
        *["create", "lock", "duplicate", "write", "flush", "set_time", "sync", "close", "link"],
        *sync,
        *["symlink", "replace"],
        *sync,
        *["unlink", "close"],
    ]


@pytest.mark.parametrize(("code", "before"), CASES)
def test_every_call_fails_in_turn(code: int, before: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    outcomes = set()
    for at, name in moments_of_a_save(tmp_path / "counted", before):
        saves = Saves(tmp_path / str(at))
        for _ in range(before):
            saves.save()
        kept = saves.names()
        caplog.clear()
        with using(failing(at, code)), caplog.at_level(logging.WARNING):
            error: StoreError | None = None
            try:
                saves.save()
                outcome = "told of" if "not moved" in caplog.text else "done"
            except StoreError as raised:
                error = raised
                outcome = "uncertain" if isinstance(error, StoreSyncError) else "refused"
        if outcome == "uncertain":
            assert "is complete, but may not survive a power failure" in str(error)
        if outcome == "refused":
            assert f"cannot write to '{saves.folder}': {os.strerror(code)}" in str(error)
        outcomes.add((name, outcome))
        assert set(kept) <= set(saves.names()) | {name for name in kept if "current" in name}
        assert saves.latest() == (before if outcome == "refused" else before + 1), (at, name, outcome)
        if name not in ("unlink", "close"):
            assert saves.hidden() == [], (at, name)
        saves.save()
        assert saves.latest() == before + 2
        assert saves.hidden() == []
    assert {("write", "refused"), ("sync", "refused"), ("close", "refused"), ("sync", "uncertain")} <= outcomes
    assert ("replace", "told of") in outcomes


@pytest.mark.parametrize("code", [errno.EIO, errno.EROFS, errno.EDQUOT, errno.EINTR])
@pytest.mark.parametrize("name", ["create", "write", "sync", "link"])
def test_each_error_of_a_save_is_told_as_what_it_is(name: str, code: int, tmp_path: Path) -> None:
    saves = Saves(tmp_path)
    saves.save()
    with using(refusing(name, code)), pytest.raises(StoreError, match=os.strerror(code)):
        saves.save()
    assert saves.latest() == 1
    assert saves.hidden() == []


def test_nothing_works_any_more_from_any_call_on(tmp_path: Path) -> None:
    for at, _ in moments_of_a_save(tmp_path / "counted", 1):
        saves = Saves(tmp_path / str(at))
        saves.save()
        with using(failing_from(at)):
            try:
                saves.save()
                saved = True
            except StoreSyncError:
                saved = True
            except StoreError:
                saved = False
        assert saves.latest() == 1 + saved
        assert saves.hidden() == []


@pytest.mark.parametrize("before", [0, 1])
def test_a_crash_at_every_call(before: int, tmp_path: Path) -> None:
    for at, _ in moments_of_a_save(tmp_path / "counted", before):
        saves = Saves(tmp_path / str(at))
        for _ in range(before):
            saves.save()
        process = os.fork()
        if process == 0:
            FileStore.files = crashing(at)
            try:
                saves.save()
            finally:
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 137
        after = saves.latest()
        assert after in (before, before + 1)
        saves.holder.runs = after
        saves.save()
        assert saves.latest() == after + 1
        assert saves.hidden() == [], at


@pytest.mark.parametrize("codec", CODECS)
def test_short_writes(codec: str, tmp_path: Path) -> None:
    saves = Saves(tmp_path, compression=codec)
    with using(short()):
        saves.save()
    assert saves.latest() == 1


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS])
def test_without_hard_links_a_name_is_given_once(code: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    saves = Saves(tmp_path)
    with using(refusing("link", code)), caplog.at_level(logging.WARNING):
        for _ in range(3):
            saves.holder.runs = 0  # the same name each time
            saves.save()
    names = [f"holding_run_1{number}.5.pickle.gz" for number in ("", "_2", "_3")]
    assert saves.names() == sorted([*names, "holding_current.5.pickle.gz"])
    assert all((saves.folder / name).stat().st_size for name in names)
    assert caplog.text == ""


def test_a_name_without_hard_links_that_cannot_be_given_is_free_again(tmp_path: Path) -> None:
    saves = Saves(tmp_path)
    files = refusing("link", errno.EPERM)
    act = files.act

    def and_replace(number: int, name: str, arguments: tuple[object, ...]) -> None:
        act(number, name, arguments)
        if name == "replace":
            raise OSError(errno.EIO, "as asked for")

    files.act = and_replace
    with using(files), pytest.raises(StoreError, match="as asked for"):
        saves.save()
    assert saves.names() == []


def test_without_symbolic_links_there_is_no_current_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    saves = Saves(tmp_path)
    with using(refusing("symlink", errno.EPERM)), caplog.at_level(logging.WARNING):
        saves.save()
    assert saves.names() == ["holding_run_1.5.pickle.gz"]
    assert caplog.text == ""


@pytest.mark.parametrize("name", ["lock", "sync"])
def test_file_systems_that_cannot(name: str, tmp_path: Path) -> None:
    """One without locks, and one that cannot sync folders; files it must sync."""
    saves = Saves(tmp_path)
    files = refusing("lock", errno.ENOLCK)
    if name == "sync":

        def folders(number: int, called: str, arguments: tuple[int, ...]) -> None:
            if called == "sync" and os.path.isdir(f"/proc/self/fd/{arguments[0]}"):
                raise OSError(errno.EINVAL, "a folder")

        files.act = folders
    with using(files):
        saves.save()
    assert saves.latest() == 1


def test_a_snapshot_is_never_replaced_by_the_link(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    saves = Saves(tmp_path, prefix="a")
    saves.folder.mkdir(parents=True)
    (saves.folder / "a_current.5.pickle.gz").write_bytes(b"somebody's")
    with caplog.at_level(logging.WARNING):
        saves.save()
    assert (saves.folder / "a_current.5.pickle.gz").read_bytes() == b"somebody's"
    assert "a_current.5.pickle.gz not moved to the newest snapshot: a file has its name" in caplog.text


def test_orphaned_links_are_removed_and_foreign_hidden_files_are_not(tmp_path: Path) -> None:
    saves = Saves(tmp_path)
    saves.folder.mkdir(parents=True)
    (saves.folder / ".0123456789abcdef.link").symlink_to("nowhere")
    (saves.folder / ".mine.tmp").touch()
    saves.save()
    assert saves.hidden() == [".mine.tmp"]


def test_a_temporary_file_that_is_taken_for_a_leftover_before_it_is_locked(tmp_path: Path) -> None:
    """Another process removes it in that moment: the writer makes another one."""
    saves = Saves(tmp_path)
    taken: list[str] = []

    def take(number: int, name: str, arguments: tuple[Any, ...]) -> None:
        if name == "lock" and not taken:
            taken.append(os.readlink(f"/proc/self/fd/{arguments[0]}"))
            os.unlink(taken[0])

    with using(ActingFiles(take)) as files:
        saves.save()
    assert files.calls.count("create") == 2
    assert saves.latest() == 1
    assert saves.hidden() == []


def test_a_link_of_a_dead_writer_is_removed(tmp_path: Path) -> None:
    saves = Saves(tmp_path)
    saves.save()
    (saves.folder / ".0123456789abcdef.link").symlink_to("nothing")
    (saves.folder / ".fedcba9876543210.link").symlink_to("nothing")
    (saves.folder / ".fedcba9876543210.tmp").touch()
    saves.save()
    assert saves.hidden() == []


def test_a_link_of_a_writer_that_lives_is_left(tmp_path: Path) -> None:
    saves = Saves(tmp_path)
    saves.save()
    temporary = saves.folder / ".0123456789abcdef.tmp"
    with temporary.open("wb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        temporary.with_suffix(".link").symlink_to("nothing")
        saves.save()
        assert saves.hidden() == [".0123456789abcdef.link", ".0123456789abcdef.tmp"]
    saves.save()
    assert saves.hidden() == []


def test_a_folder_that_another_process_makes_in_the_same_moment(tmp_path: Path) -> None:
    saves = Saves(tmp_path)

    def make(number: int, name: str, arguments: tuple[Any, ...]) -> None:
        if name == "mkdir":
            arguments[0].mkdir()

    with using(ActingFiles(make)):
        saves.save()
    assert saves.latest() == 1


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_sync_folders(code: int, tmp_path: Path) -> None:
    def refuse(number: int, name: str, arguments: tuple[Any, ...]) -> None:
        if name == "sync" and Path(f"/proc/self/fd/{arguments[0]}").is_dir():
            raise OSError(code, os.strerror(code))

    saves = Saves(tmp_path)
    with using(ActingFiles(refuse)):
        saves.save()
    assert saves.latest() == 1


def test_a_snapshot_that_is_deleted_while_the_folder_is_listed(tmp_path: Path) -> None:
    class Deleting(Files):
        """Another process deletes all snapshots when their names have been read."""

        def names(self, folder: Path) -> list[str]:
            names = super().names(folder)
            for name in names:
                (folder / name).unlink()
            return names

    class Deleted(FileStore):
        files = Deleting()

    saves = Saves(tmp_path)
    saves.save()
    told: list[str] = []
    assert list(Deleted(saves.folder).list(lambda location, error: told.append(location))) == []
    assert told == []
