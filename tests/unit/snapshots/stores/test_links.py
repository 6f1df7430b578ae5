"""Symbolic links in the folder of snapshots, planted or left: nothing is written, read or deleted outside of it."""

import logging
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.errors import SnapshotNotFoundError, StoreError
from runner.snapshots.restoring.restore import folder_stores, restore_latest
from runner.snapshots.restoring.trust import Policy
from runner.snapshots.stores.file import FileStore
from tests.faults.failing import refusing, using
from tests.unit.snapshots.stores.test_file import files, put
from tests.workflows import holding, restored

POLICY = Policy(trusted=["tests"])

ELSEWHERE = b"somebody else's"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file that is not the store's."""
    path = tmp_path / "outside"
    path.write_bytes(ELSEWHERE)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "snapshots"
    path.mkdir()
    return path


PLANTED: dict[str, Callable[[Path, Path], object]] = {
    "to a file": lambda link, outside: link.symlink_to(outside),
    "to a file, relative": lambda link, outside: link.symlink_to("../outside"),
    "dangling": lambda link, outside: link.symlink_to(outside.with_name("nothing")),
    "to itself": lambda link, outside: link.symlink_to(link.name),
    "in a loop": lambda link, outside: (link.symlink_to(link.name + ".x"), Path(f"{link}.x").symlink_to(link.name)),
    "to a folder": lambda link, outside: link.symlink_to(".."),
    "to a device": lambda link, outside: link.symlink_to("/dev/zero"),
}

planted = pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED)


@planted
@pytest.mark.parametrize("hard_links", [True, False])
def test_a_link_where_the_snapshot_will_be_is_left_alone(
    plant: Callable[[Path, Path], object], hard_links: bool, folder: Path, outside: Path
) -> None:
    link = folder / "mnist_validation_1.48.5.pickle"
    plant(link, outside)
    target = os.readlink(link)
    with using(refusing("none" if hard_links else "link", 1)):
        location = Path(put(FileStore(folder)))
    assert location.name == "mnist_validation_1.48_2.5.pickle"
    assert location.is_file()
    assert not location.is_symlink()
    assert os.readlink(link) == target
    assert outside.read_bytes() == ELSEWHERE
    assert not outside.with_name("nothing").exists()


@planted
def test_a_link_where_the_current_one_will_be_is_replaced_and_not_followed(
    plant: Callable[[Path, Path], object], folder: Path, outside: Path
) -> None:
    link = folder / "mnist_current.5.pickle"
    plant(link, outside)
    location = Path(put(FileStore(folder)))
    assert os.readlink(link) == location.name
    assert outside.read_bytes() == ELSEWHERE
    assert not outside.with_name("nothing").exists()


@planted
def test_links_with_the_name_of_temporary_files(plant: Callable[[Path, Path], object], folder: Path, outside: Path) -> None:
    for name in (".0123456789abcdef.tmp", ".fedcba9876543210.link"):
        plant(folder / name, outside)
    put(FileStore(folder))
    assert outside.read_bytes() == ELSEWHERE
    assert not outside.with_name("nothing").exists()


@planted
def test_a_link_where_the_temporary_file_will_be(
    plant: Callable[[Path, Path], object], folder: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name is drawn from 2 to the 64: here it is known, and taken."""
    monkeypatch.setattr(secrets, "token_hex", lambda size: "0123456789abcdef")
    plant(folder / ".0123456789abcdef.tmp", outside)
    with pytest.raises(StoreError, match="File exists"):
        put(FileStore(folder))
    assert outside.read_bytes() == ELSEWHERE
    assert not outside.with_name("nothing").exists()
    assert not list(folder.glob("mnist*"))


@planted
def test_links_are_no_snapshots(plant: Callable[[Path, Path], object], folder: Path, outside: Path) -> None:
    plant(folder / "newer.5.pickle.gz", outside)
    holding(7, folder)[0].run()
    told: list[str] = []
    entries = list(FileStore(folder).list(lambda location, error: told.append(location)))
    assert [Path(entry.location).name for entry in entries] == ["holding_run_1.5.pickle.gz"]
    assert told == []
    found = restore_latest(folder_stores([folder.parent]), lambda header: True, POLICY)
    assert found.workflow["holder"].value == 7


@pytest.mark.parametrize("target", ["nothing", "loop", ".", "/proc/self/mem"])
def test_a_link_that_is_named_and_leads_to_no_snapshot_is_an_error(target: str, folder: Path) -> None:
    link = folder / "loop"
    link.symlink_to(target)
    with pytest.raises((SnapshotNotFoundError, StoreError), match=r"there is no snapshot|is a folder|cannot read"):
        restored(link)


def test_folders_in_a_loop_are_looked_through_once(folder: Path) -> None:
    holding(7, folder)[0].run()
    (folder / "again").symlink_to(".")
    (folder / "above").symlink_to("..")
    assert [store.directory for store in folder_stores([folder.parent])] == [folder]


def test_retention_takes_links_and_what_they_point_to_for_nobodys(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A snapshot that was moved elsewhere, with a link in its place, and links to what is still there."""
    archive = folder.parent / "archive"
    archive.mkdir()
    workflow, holder, snapshotter = holding(7, folder, limit=6, keep_last=1)
    links = [folder / "link.5.pickle.gz", folder / "dangling.5.pickle.gz"]

    def move() -> None:
        if holder.runs == 3:
            snapshotter.finish()  # the one before may still be on its way, and with it the end of the one before that
            (first,) = [path for path in folder.glob("holding_run_*") if not path.is_symlink()]
            shutil.move(first, archive / first.name)
            first.symlink_to(archive / first.name)
            links[0].symlink_to(archive / first.name)
            links[1].symlink_to(archive / "nothing")
            links.append(first)

    holder.on_run_ = move
    with caplog.at_level(logging.WARNING):
        workflow.run()
    assert len(links) == 3
    assert all(link.is_symlink() for link in links)
    assert [restored(path).workflow["holder"].value for path in archive.iterdir()] == [7]
    assert "not deleted" not in caplog.text
    assert sorted(path.name for path in folder.glob("holding*") if not path.is_symlink()) == ["holding_run_6.5.pickle.gz"]


def test_a_link_is_no_snapshot_to_delete(folder: Path, outside: Path) -> None:
    link = folder / "x.5.pickle"
    link.symlink_to(outside)
    with pytest.raises(SnapshotNotFoundError):
        FileStore(folder).delete(str(link))
    assert link.is_symlink()
    assert outside.read_bytes() == ELSEWHERE


@pytest.mark.parametrize("below", ["", "new/folders"])
def test_the_folder_may_be_a_link_of_the_users_own(below: str, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    location = put(FileStore(tmp_path / "link" / below))
    assert Path(location).is_file()
    assert files(tmp_path / "disk" / below) == ["mnist_current.5.pickle", "mnist_validation_1.48.5.pickle"]


def test_a_folder_that_is_a_link_to_nothing_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nothing")
    with pytest.raises(StoreError, match=f"cannot write to '{tmp_path / 'link'}'"):
        put(FileStore(tmp_path / "link"))
    assert files(tmp_path) == ["link"]


def test_a_pipe_with_the_name_of_a_temporary_file_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / ".0123456789abcdef.tmp")
    assert Path(put(FileStore(folder))).is_file()
