"""Permissions: `snapshotter.mode` for whatever a run leaves, and the umask's without it."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from runner.config import Config
from runner.errors import ConfigError
from runner.graph import Workflow
from runner.snapshots.codecs import Buffer
from runner.snapshots.constructors import SnapshotterToFile
from runner.snapshots.restoring.restore import restore
from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.file_system import Files, no_wider, of_folder, read_mode
from runner.snapshots.stores.spool import SpoolStore
from tests.conftest import Run
from tests.faults.failing import refusing, using
from tests.unit.snapshots.stores.test_file import put


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> tuple[set[int], set[int]]:
    """Returns the permissions of the folders, this one included, and of the files, that are in a folder."""
    folders, files = {stat.S_IMODE(folder.stat().st_mode)}, set()
    for path in folder.rglob("*"):
        if not path.is_symlink():
            (folders if path.is_dir() else files).add(stat.S_IMODE(path.stat().st_mode))
    return folders, files


@pytest.mark.parametrize("value", ["0600", "600", 600, "0o600", 0o600, "384", " 0600 "])
def test_every_spelling_of_a_mode(value: str | int) -> None:
    assert read_mode(value) == 0o600


def test_no_mode_is_mistaken_for_another() -> None:
    """YAML reads 0640 as 416, which are octal digits, too."""
    for mode in range(0o600, 0o1000):
        for value in (f"{mode:o}", f"{mode:04o}", f"0o{mode:o}", int(f"{mode:o}"), mode, str(mode)):
            assert read_mode(value) == mode


@pytest.mark.parametrize(
    "value", ["", "0", "0400", "0o077", "1777", "888", "0384", "-600", "600.0", "u=rw", "0x180", "0666666", True, -384, 0o4600]
)
def test_what_is_no_mode(value: str | int) -> None:
    with pytest.raises(ConfigError, match=r"snapshotter\.mode="):
        read_mode(value)


@pytest.mark.parametrize("text", ["mode: 0640", "mode: '0640'", "mode: 640", "mode: 0o640"])
def test_modes_in_conf_files(text: str) -> None:
    node = OmegaConf.merge(OmegaConf.structured(Config), {"snapshotter": OmegaConf.create(text)})
    assert read_mode(node.snapshotter.mode) == 0o640


@pytest.mark.parametrize(("mode", "folder"), [(0o600, 0o700), (0o640, 0o750), (0o644, 0o755), (0o666, 0o777), (0o700, 0o700)])
def test_who_may_read_may_look_into_folders(mode: int, folder: int) -> None:
    assert of_folder(mode) == folder


@pytest.mark.parametrize(("mode", "folders", "files"), [(0o600, 0o700, 0o600), (0o660, 0o770, 0o660), (0o755, 0o755, 0o644)])
def test_files_have_the_mode_whatever_the_umask(mode: int, folders: int, files: int, tmp_path: Path, umask: int) -> None:
    location = put(FileStore(tmp_path / "a" / "b", mode))
    assert modes(tmp_path / "a") == ({folders}, {files})
    assert next((tmp_path / "a" / "b").glob("*_current*")).resolve() == Path(location)


def test_without_a_mode_it_is_the_umask(tmp_path: Path, umask: int) -> None:
    put(FileStore(tmp_path / "a" / "b"))
    assert modes(tmp_path / "a") == ({0o777 & ~umask}, {0o666 & ~umask})


def test_folders_that_were_there_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(0o755)
    put(FileStore(tmp_path / "a", 0o600))
    assert modes(tmp_path / "a") == ({0o755}, {0o600})


def test_nobody_else_can_open_a_file_before_it_has_its_mode(tmp_path: Path) -> None:
    seen = set()

    class Watched(Files):
        def write(self, descriptor: int, data: Buffer) -> int:
            seen.add(stat.S_IMODE(os.fstat(descriptor).st_mode))
            return super().write(descriptor, data)

    with using(Watched()):
        put(FileStore(tmp_path, 0o640))
    assert seen == {0o640}
    with using(refusing("permit", 1)), pytest.raises(OSError, match="not permitted"):
        put(FileStore(tmp_path / "b", 0o640))
    assert list((tmp_path / "b").iterdir()) == []


def test_without_hard_links(tmp_path: Path) -> None:
    with using(refusing("link", 1)):
        put(FileStore(tmp_path / "a", 0o600))
    assert modes(tmp_path / "a") == ({0o700}, {0o600})


def test_the_spool_has_the_mode(tmp_path: Path, umask: int) -> None:
    (tmp_path / "file").touch()
    put(SpoolStore(FileStore(tmp_path / "file" / "in"), tmp_path / "spool", mode=0o640))
    assert modes(tmp_path / "spool") == ({0o750}, {0o640})


BASE = ("conf=mnist_small", "seed=1", "decision.max_epochs=1", "loader.train_size=600", "loader.validation_size=60")


@pytest.mark.parametrize("value", ["0600", "'0600'", "600", "0o600"])
def test_a_run_leaves_nothing_that_others_can_read(value: str, veles_run: Run, tmp_path: Path) -> None:
    veles_run(*BASE, f"snapshotter.mode={value}", "hydra.run.dir=run")
    assert modes(tmp_path / "run") == ({0o700}, {0o600})


def test_a_folder_that_was_there_before_the_run_is_left_alone(veles_run: Run, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(0o755)
    (tmp_path / "run" / "mine").touch(0o644)
    veles_run(*BASE, "snapshotter.mode=0600", "hydra.run.dir=run")
    folders, files = modes(tmp_path / "run")
    assert (folders, files) == ({0o755, 0o700}, {0o644, 0o600})
    assert stat.S_IMODE((tmp_path / "run" / "mine").stat().st_mode) == 0o644


def test_a_wrong_mode_is_told_before_the_run(veles_run: Run) -> None:
    done = veles_run(*BASE, "snapshotter.mode=0400", code=2)
    assert "snapshotter.mode='0400'" in done.stdout + done.stderr


def test_a_snapshot_opens_no_file_to_more_people_than_the_umask_does(umask: int, tmp_path: Path) -> None:
    for mode in (0o600, 0o640, 0o777):
        assert no_wider(mode) == 0o600 | (mode & ~umask)
    assert no_wider(None) is None
    assert no_wider(-1) == 0o600 | (0o777 & ~umask)
    flow = Workflow(name="flow")
    snapshotter = SnapshotterToFile(flow, directory=tmp_path / "a", mode="0644")
    snapshotter.link_from(flow.start_point)
    flow.end_point.link_from(snapshotter)
    flow.initialize()
    flow.run()
    store = restore(str(snapshotter.last_location)).workflow[snapshotter.name].store
    assert store.mode == 0o600 | (0o644 & ~umask)


def test_a_run_goes_on_with_its_mode_unless_it_is_wider(veles_run: Run, tmp_path: Path) -> None:
    for mode, folder in (("0600", "private"), ("0666", "open")):
        veles_run(*BASE, f"snapshotter.mode={mode}", f"snapshotter.directory={folder}")
    private, opened = (next((tmp_path / folder).glob("*_current*")) for folder in ("private", "open"))
    veles_run(f"snapshot={private}", "decision.max_epochs=2")
    assert modes(tmp_path / "private") == ({0o700}, {0o600})
    refused = veles_run(f"snapshot={opened}", "decision.max_epochs=2", code=2)
    assert "snapshotter.mode=" in refused.stdout + refused.stderr
    veles_run(f"snapshot={opened}", "decision.max_epochs=2", "snapshotter.mode=0666")
