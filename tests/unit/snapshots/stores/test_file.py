"""The file store: names, links, what a crash leaves, and folders that cannot be used."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runner.errors import SnapshotNotFoundError, StoreError
from runner.snapshots.codecs import CODECS, Codec
from runner.snapshots.format.header import Header
from runner.snapshots.format.layout import TRAILER_SIZE, Digest, header_bytes
from runner.snapshots.format.reader import read_header
from runner.snapshots.stores.file import FileStore
from tests.faults.failing import ActingFiles, using

GZ, NONE = CODECS["gz"], CODECS["none"]


def header(name: str = "mnist_validation_1.48", codec: Codec = NONE, **values: object) -> Header:
    fixed = {"prefix": "mnist", "workflow": "mnist", "workflow_class": "a:B", "run_id": "r", "log_id": "l"}
    return Header(**({"name": name, "codec": codec.name} | fixed | values))


def members(of: Header, codec: Codec = NONE, content: bytes = b"content") -> list[bytes]:
    """Returns a whole snapshot as one member; its pickle is no pickle."""
    digest = Digest()
    plain = header_bytes(of) + content
    digest.update(plain)
    return [bytes(codec.encode(plain + digest.trailer(), codec.default_level))]


def put(store: FileStore, name: str = "mnist_validation_1.48", codec: Codec = NONE, content: bytes = b"content") -> str:
    of = header(name, codec)
    return store.put(of, codec, members(of, codec, content))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_a_name_is_prefix_suffix_protocol_and_codec(codec: Codec, tmp_path: Path) -> None:
    of = header(codec=codec)
    location = FileStore(tmp_path).put(of, codec, written := members(of, codec))
    assert location == str(tmp_path / f"mnist_validation_1.48.5{codec.extension}")
    assert files(tmp_path) == sorted([Path(location).name, f"mnist_current.5{codec.extension}"])
    assert list(FileStore(tmp_path).open(location)) == written


def test_a_name_is_never_given_twice(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    locations = [put(store, content=bytes([number])) for number in range(4)]
    assert [Path(location).name for location in locations] == [
        f"mnist_validation_1.48{number}.5.pickle" for number in ("", "_2", "_3", "_4")
    ]
    contents = [Path(location).read_bytes()[-TRAILER_SIZE - 1 : -TRAILER_SIZE] for location in locations]
    assert contents == [bytes([number]) for number in range(4)]


def test_two_writers_give_each_name_once(tmp_path: Path) -> None:
    locations: list[str] = []
    threads = [threading.Thread(target=lambda: locations.extend(put(FileStore(tmp_path)) for _ in range(10))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(locations)) == 40
    assert len(files(tmp_path)) == 41
    assert os.readlink(tmp_path / "mnist_current.5.pickle") in {Path(location).name for location in locations}


def test_the_link_points_to_the_newest_and_changes_its_codec(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    put(store, "mnist_a")
    put(store, "mnist_b")
    assert os.readlink(tmp_path / "mnist_current.5.pickle") == "mnist_b.5.pickle"
    put(store, "mnist_c", GZ)
    assert not (tmp_path / "mnist_current.5.pickle").is_symlink()
    assert os.readlink(tmp_path / "mnist_current.5.pickle.gz") == "mnist_c.5.pickle.gz"


def test_the_folder_can_be_moved(tmp_path: Path) -> None:
    put(FileStore(tmp_path / "a"))
    (tmp_path / "a").rename(tmp_path / "b")
    link = tmp_path / "b" / "mnist_current.5.pickle"
    assert read_header(FileStore(tmp_path / "b").open(str(link))).workflow == "mnist"


def test_missing_parents_are_made(tmp_path: Path) -> None:
    location = put(FileStore(tmp_path / "a" / "b" / "c"))
    assert Path(location).is_file()


def test_a_parent_is_synced_again_only_when_it_has_changed(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "a" / "b")
    opened: list[Path] = []

    def look(number: int, name: str, arguments: tuple[Any, ...]) -> None:
        if name == "open" and arguments[0] in (tmp_path, tmp_path / "a"):
            opened.append(arguments[0])

    def synced() -> list[Path]:
        opened.clear()
        put(store)
        return opened

    def age() -> None:
        for folder in (tmp_path, tmp_path / "a"):
            os.utime(folder, (0, folder.stat().st_mtime - 10))

    with using(ActingFiles(look)):
        assert synced() == [tmp_path / "a", tmp_path]
        assert synced() == [tmp_path / "a", tmp_path]  # in the same moment they may have changed again
        age()
        assert synced() == [tmp_path / "a", tmp_path]
        assert synced() == []
        (tmp_path / "a" / "other").mkdir()
        assert synced() == [tmp_path / "a"]
        shutil.rmtree(tmp_path / "a")
        assert synced() == [tmp_path / "a", tmp_path]


@pytest.mark.parametrize("name", ["group/mnist_x", "../mnist_x", ".hidden_x", "a b'\"$x", "-x", "ü_x"])
def test_any_workflow_name_gives_a_file_of_the_folder(name: str, tmp_path: Path) -> None:
    store = FileStore(tmp_path / "in")
    of = header(name, prefix=name.removesuffix("_x"))
    location = Path(store.put(of, NONE, members(of)))
    assert location.parent == tmp_path / "in"
    assert files(tmp_path) == ["in"]
    assert [entry.location for entry in store.list()] == [str(location)]
    assert len(files(tmp_path / "in")) == 2


def test_list_is_by_time_newest_first_and_passes_over_what_it_cannot_read(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    for name, moment in (("b", "02"), ("c", "03"), ("a", "01")):
        of = header(f"mnist_{name}", time=f"2026-01-{moment}T00:00:00.000000+00:00")
        store.put(of, NONE, members(of))
    (tmp_path / "empty.5.pickle.gz").touch()
    (tmp_path / "text.5.pickle").write_text("text")
    (tmp_path / "folder.5.pickle").mkdir()
    (tmp_path / "dangling.5.pickle").symlink_to("nowhere")
    seen: list[str] = []
    found = [entry.header.name for entry in store.list(lambda location, error: seen.append(Path(location).name))]
    assert found == ["mnist_c", "mnist_b", "mnist_a"]
    assert sorted(seen) == ["empty.5.pickle.gz", "text.5.pickle"]
    assert list(FileStore(tmp_path / "missing").list()) == []


def test_delete_removes_one(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    location = put(store)
    store.delete(location)
    assert list(store.list()) == []
    with pytest.raises(SnapshotNotFoundError, match="there is no snapshot"):
        store.delete(location)


@pytest.mark.parametrize("place", ["missing", "missing/x", "file/x"])
def test_a_missing_file_is_not_found(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SnapshotNotFoundError, match=f"there is no snapshot '{tmp_path / place}'"):
        list(FileStore(tmp_path).open(str(tmp_path / place)))


def test_a_folder_is_no_snapshot(tmp_path: Path) -> None:
    with pytest.raises(SnapshotNotFoundError, match="is a folder, not a snapshot: name a file in it"):
        list(FileStore(tmp_path).open(str(tmp_path)))


def test_a_failed_put_leaves_nothing(tmp_path: Path) -> None:
    def failing() -> Iterator[bytes]:
        yield b"begun"
        raise ArithmeticError

    store = FileStore(tmp_path)
    put(store)
    before = files(tmp_path)
    with pytest.raises(ArithmeticError):
        store.put(header("mnist_b"), NONE, failing())
    assert files(tmp_path) == before


@contextmanager
def without_privileges() -> Iterator[None]:
    """Root may write anywhere; for a while this process is not root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def open_up(folder: Path) -> None:
    """Lets everybody into the folders above."""
    for parent in (folder, *folder.parents):
        if parent.stat().st_uid == os.getuid() and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)


@pytest.mark.parametrize("below", ["", "new"])
def test_a_folder_without_permission_is_told_of(below: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o555)
    open_up(tmp_path)
    with (
        without_privileges(),
        pytest.raises(StoreError, match=f"cannot write to '{folder / below}': Permission denied"),
    ):
        put(FileStore(folder / below))
    assert files(folder) == []


@pytest.mark.parametrize("below", ["", "x"])
def test_a_file_in_the_place_of_the_folder_is_told_of(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot write to '.*file.*': (Not a directory|File exists)"):
        put(FileStore(tmp_path / "file" / below))


def test_a_full_disk_is_told_of_and_leaves_nothing(tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys\n"
        "from tests.unit.snapshots.stores.test_file import *\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n"
        "    put(FileStore(sys.argv[1]), content=bytes(10_000))\n"
        "except StoreError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(
        f"cannot write to '{tmp_path}': File too large (raise the limit on the size of files (ulimit -f), or"
    )
    assert files(tmp_path) == []


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "from tests.unit.snapshots.stores.test_file import *\n"
        "def members():\n"
        "    yield b'begun'\n"
        "    print('writing', flush=True)\n"
        "    sys.stdin.read()\n"
        "FileStore(sys.argv[1]).put(header(), NONE, members())\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        (left,) = files(tmp_path)
        put(FileStore(tmp_path), "mnist_a")
        assert left in files(tmp_path), "the writer was still at work"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    put(FileStore(tmp_path), "mnist_b")
    assert files(tmp_path) == ["mnist_a.5.pickle", "mnist_b.5.pickle", "mnist_current.5.pickle"]


def test_a_folder_in_which_nothing_can_be_written_is_told_before_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot write to '.*file/snapshots': Not a directory"):
        FileStore(tmp_path / "file" / "snapshots").prepare()
    FileStore(tmp_path / "new" / "snapshots").prepare()
    assert not caplog.records
    assert not (tmp_path / "new").exists()
    FileStore("/proc/self").prepare()  # nobody can write there, not even root
    assert caplog.messages == ["Nothing can be written to '/proc/self' now: the first snapshot will fail if that stays so"]
