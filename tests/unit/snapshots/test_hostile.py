"""Hostile snapshots: each is refused by one typed error, runs nothing, and costs little."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from runner.errors import SnapshotRefusedError
from runner.snapshots.format.header import Header
from runner.snapshots.format.layout import Digest, header_bytes
from runner.snapshots.restoring.restore import restore
from tests.conftest import Run
from tests.hostile import samples
from tests.hostile.assemble import call, named, text, whole


def run_corpus(folder: Path, how: str) -> str:
    command = [sys.executable, "-m", "tests.hostile", str(folder), how]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3])
    assert done.returncode == 0, f"{done.stdout[-500:]}\n{done.stderr[-2000:]}"
    return done.stdout


def markers(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_all_are_refused(tmp_path: Path) -> None:
    """The process that loads them is ended by a signal if one takes a second, and cannot have 256 MB more."""
    outcomes = dict(line.split(" ", 1) for line in run_corpus(tmp_path, "restricted").splitlines())
    corpus = samples(tmp_path)
    assert len(corpus) > 500
    wrong = {}
    for sample in corpus:
        kind, message = json.loads(outcomes[sample.name])
        if kind != "SnapshotRefusedError" or not re.search(r"at byte \d+ of its pickle$", message):
            wrong[sample.name] = kind, message
        elif not re.search(sample.message, message):
            wrong[sample.name] = sample.message, message
    assert wrong == {}
    assert markers(tmp_path) == set()


def test_the_corpus_has_teeth(tmp_path: Path) -> None:
    """The control: on Python's own unpickler those samples that are meant to do make their markers."""
    run_corpus(tmp_path, "stock")
    meant = {sample.name for sample in samples(tmp_path) if sample.fires}
    assert len(meant) > 50
    assert markers(tmp_path) == meant


def write_snapshot(path: Path, pickled: bytes) -> Path:
    """Writes a snapshot that is right but for its pickle."""
    header = Header(name="x", prefix="x", workflow="x", workflow_class="x:X", run_id="x", log_id="x", codec="none")
    digest = Digest()
    stream = header_bytes(header) + pickled
    digest.update(stream)
    path.write_bytes(stream + digest.trailer())
    return path


def test_restore_refuses(tmp_path: Path, veles_run: Run) -> None:
    marker = tmp_path / "marker"
    path = write_snapshot(tmp_path / "x.5.pickle", whole(call("os:mkdir", text(str(marker)))))
    with pytest.raises(
        SnapshotRefusedError, match=r"snapshot '.*x\.5\.pickle' cannot be used: it names 'os\.mkdir'.*at byte 22"
    ):
        restore(path)
    done = veles_run(f"snapshot={path}", code=2)
    assert "it names 'os.mkdir', which is not allowed, at byte 22 of its pickle" in done.stdout + done.stderr
    assert not marker.exists()


def test_the_error_names_the_setting(tmp_path: Path) -> None:
    path = write_snapshot(tmp_path / "x.5.pickle", whole(named("my_pkg.units:Mine")))
    with pytest.raises(SnapshotRefusedError, match=r"'my_pkg\.units\.Mine'.*restore\.trusted=\[my_pkg\.units\]"):
        restore(path)
