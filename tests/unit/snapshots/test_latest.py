"""`latest` takes the newest good snapshot, and says what it passes over."""

import logging
from pathlib import Path

import pytest

from runner.snapshots.restoring.restore import folder_stores, restore_latest
from runner.snapshots.restoring.trust import Policy
from runner.snapshots.stores.file import FileStore
from tests.workflows import holding

POLICY = Policy(trusted=["tests"])


def runs_of(folder: Path, caplog: pytest.LogCaptureFixture) -> tuple[int | None, list[str]]:
    """Returns how often the unit in the latest snapshot had run, and the warnings."""
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        found = restore_latest(folder_stores([folder]), lambda header: header.workflow == "holding", POLICY)
    return (found and found.workflow["holder"].runs), [record.getMessage() for record in caplog.records]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Has three snapshots, in two folders."""
    workflow, holder, snapshotter = holding(bytes(100_000), tmp_path / "a", limit=3)
    holder.on_run_ = lambda: snapshotter.configure(store=FileStore(tmp_path / ("b" if holder.runs == 2 else "a")))
    workflow.run()
    return tmp_path


def test_newest_of_all_folders(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert runs_of(folder, caplog) == (3, [])


def test_the_clock_of_the_file_system_does_not_matter(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "a" / "holding_run_1.5.pickle.gz").touch()
    assert runs_of(folder, caplog) == (3, [])


@pytest.mark.parametrize("kept", [100, 0.5, 0.999])
def test_truncated_ones_are_passed_over(folder: Path, caplog: pytest.LogCaptureFixture, kept: float) -> None:
    for path in (folder / "a" / "holding_run_3.5.pickle.gz", folder / "b" / "holding_run_2.5.pickle.gz"):
        data = path.read_bytes()
        path.write_bytes(data[: kept if isinstance(kept, int) else int(kept * len(data))])
    runs, warnings = runs_of(folder, caplog)
    assert runs == 1
    assert len(warnings) == 2
    assert all("cannot be used: it" in warning for warning in warnings)


def test_empty_and_foreign_files_and_unfinished_ones(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "a" / "holding_run_9.5.pickle.gz").touch()
    (folder / "a" / "notes.pickle").write_text("not a snapshot")
    (folder / "a" / ".0123456789abcdef.tmp").write_bytes(b"unfinished")
    runs, warnings = runs_of(folder, caplog)
    assert runs == 3
    assert sorted(warning.partition("cannot be used: ")[2] for warning in warnings) == [
        "it is empty; passing it over",
        "it is not a snapshot of veles-run: it begins with b'not a sn'; passing it over",
    ]


def test_none_is_left(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    for path in folder.rglob("*.pickle.gz"):
        if not path.is_symlink():
            path.write_bytes(path.read_bytes()[:-1])
    runs, warnings = runs_of(folder, caplog)
    assert runs is None
    assert len(warnings) == 3
