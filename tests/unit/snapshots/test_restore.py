"""What a restore says of a file that is whole, and yet no snapshot that can be continued."""

import pickle
import sys
from pathlib import Path

import pytest

from runner.errors import SnapshotDamagedError, SnapshotMismatchError
from runner.snapshots.codecs import CODECS
from runner.snapshots.format.header import FORMAT
from runner.snapshots.format.layout import TRAILER_SIZE, Digest, header_bytes
from runner.snapshots.restoring.restore import restore
from tests.unit.snapshots.stores.test_file import header
from tests.workflows import holding, restored


def whole(folder: Path, content: bytes) -> Path:
    """Writes a file with a right header, this content, and a right trailer."""
    digest = Digest()
    body = header_bytes(header()) + content
    digest.update(body)
    path = folder / "x.5.pickle"
    path.write_bytes(body + digest.trailer())
    return path


@pytest.mark.parametrize("trust", ["restricted", "full"])
def test_what_is_no_workflow(trust: str, tmp_path: Path) -> None:
    path = whole(tmp_path, pickle.dumps([1, 2], 5))
    with pytest.raises(SnapshotDamagedError, match=f"snapshot '{path}' cannot be used: it holds list, not a workflow"):
        restore(path, trust=trust)


@pytest.mark.parametrize("content", [b"\x80\x05}", b"\x80\x05.", b"\x80\x05h\x07.", b"\x80\x05\x8c\x01xR."])
def test_a_pickle_that_is_wrong(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(SnapshotDamagedError, match="cannot be used: its pickle is wrong"):
        restore(whole(tmp_path, content), trust="full")


@pytest.mark.parametrize("name", [("no_such_module", "X"), ("runner.graph", "NoSuchClass")])
def test_code_that_is_not_here(name: tuple[str, str], tmp_path: Path) -> None:
    content = b"\x80\x05" + b"".join(b"\x8c" + bytes([len(part)]) + part.encode() for part in name) + b"\x93."
    assert name[0] not in sys.modules or name[1] not in vars(sys.modules[name[0]])
    with pytest.raises(SnapshotMismatchError, match=r"needs code that is not here \(.*\): run where its modules can be"):
        restore(whole(tmp_path, content), trust="full")


def test_a_trailer_of_a_newer_format_under_a_header_of_this_one(tmp_path: Path) -> None:
    path = whole(tmp_path, pickle.dumps(None, 5))
    data = path.read_bytes()
    trailer = bytearray(data[-TRAILER_SIZE:])
    trailer[trailer.index(b"veles-runK") + len(b"veles-runK")] = FORMAT + 1
    trailer[-20] ^= 1
    path.write_bytes(data[:-TRAILER_SIZE] + trailer)
    with pytest.raises(SnapshotDamagedError, match="it is truncated: no trailer after"):
        restore(path)


@pytest.mark.parametrize("codec", [codec for codec in CODECS.values() if codec.levels], ids=lambda codec: codec.name)
def test_snapshots_of_the_lowest_and_the_highest_level(codec, tmp_path: Path) -> None:
    for level in (codec.levels[0], codec.levels[-1]):
        workflow, _, snapshotter = holding([level], tmp_path / str(level), compression=codec.name, compression_level=level)
        workflow.run()
        again = restored(snapshotter.last_location)
        assert (again.header.level, again.workflow["holder"].value) == (level, [level])
