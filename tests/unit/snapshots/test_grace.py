"""A stop that has little time takes its snapshot with a codec that is quick enough."""

import logging
import os
import random
import signal
from pathlib import Path

import pytest

from runner.errors import ConfigError
from runner.graph import Bool
from runner.launcher import Launcher
from runner.snapshots.restoring.restore import header_of
from runner.snapshots.settings import SnapshotterSettings
from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.spool import SpoolStore
from runner.snapshots.stores.store import Store
from tests.workflows import holding, restored, stored

SLOW = {"compression": "xz", "compression_level": 6, "workers": 1}
"""Takes half a second for this state, and others some milliseconds."""
STATE = random.Random(0).randbytes(2 << 20)


def stopped(folder: Path, store: Store | None = None, **settings: object) -> str:
    """Runs until a signal comes in the third turn; returns where the snapshot is."""
    workflow, holder, snapshotter = stored(STATE, store or FileStore(folder), limit=9, **settings)
    snapshotter.skip = Bool(True)

    def stop() -> None:
        if holder.runs == 2:
            snapshotter.exporter_.wait()
        if holder.runs == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    holder.on_run_ = stop
    Launcher(device="cpu").run(workflow)
    assert holder.runs == 3
    assert restored(snapshotter.last_location).workflow["holder"].value == STATE
    assert [path for path in folder.glob("*.pickle*") if not path.is_symlink()] == [Path(snapshotter.last_location)]
    return str(snapshotter.last_location)


@pytest.mark.parametrize("grace", [None, 600])
def test_a_codec_that_is_in_time_stays(grace: float | None, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    header = header_of(stopped(tmp_path, grace=grace, **SLOW))
    assert (header.codec, header.level) == ("xz", 6)
    assert "grace" not in caplog.text


def test_a_codec_that_is_too_slow_is_replaced_as_the_log_says_at_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        location = stopped(tmp_path, grace=0.2, **SLOW)
    codec = header_of(location).codec
    assert codec not in ("xz", "bz2")
    assert location.endswith(f".5.pickle.{codec}".removesuffix(".none"))
    told, *_ = [record.getMessage() for record in caplog.records if "grace" in record.getMessage()]
    assert told.startswith("snapshotter.grace=0.2")


def test_where_none_is_in_time_that_is_said_at_the_start_and_the_quickest_is_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert header_of(stopped(tmp_path, grace=0, **SLOW)).codec not in ("xz", "bz2")
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0].startswith("Snapshot written: ")
    assert messages[1].startswith("snapshotter.grace=0 may be too short for a snapshot at a stop: the quickest codec is ")
    assert any(message.startswith("The snapshot may come too late: it takes about ") for message in messages)


def test_a_stop_before_anything_was_measured_takes_the_configured_codec(tmp_path: Path) -> None:
    workflow, holder, snapshotter = holding(None, tmp_path, limit=9, grace=0, **SLOW)
    holder.on_run_ = lambda: os.kill(os.getpid(), signal.SIGTERM)
    Launcher(device="cpu").run(workflow)
    assert (holder.runs, header_of(snapshotter.last_location).codec) == (1, "xz")


def test_grace_is_checked() -> None:
    with pytest.raises(ConfigError, match=r"snapshotter\.grace=-1 must be at least 0"):
        SnapshotterSettings(grace=-1)


@pytest.mark.parametrize("blocking", [False, True])
def test_a_spool_that_takes_nothing_leaves_the_snapshot_to_the_store(
    blocking: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "snapshots"
    location = stopped(folder, SpoolStore(FileStore(folder), tmp_path / "file"), grace=600, blocking=blocking)
    assert Path(location).parent == folder
    assert [record.getMessage() for record in caplog.records if "taken again" in record.getMessage()]
