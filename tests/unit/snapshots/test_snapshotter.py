"""When snapshots are taken, which are kept, and what is said of them."""

import logging
import pickle
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch

from runner.errors import ConfigError
from runner.graph import Bool
from runner.snapshots.capture.sizes import largest_units
from runner.snapshots.format.header import utc_now
from runner.snapshots.restoring.restore import header_of
from runner.snapshots.retention import Kept, expired
from runner.snapshots.stores.file import FileStore
from tests.workflows import holding, restored


def names(folder: Path) -> list[str]:
    return sorted(path.name.split(".")[0] for path in folder.glob("*.pickle*") if not path.is_symlink())


def test_interval_counts_due_states_and_the_last_is_always_taken(tmp_path: Path) -> None:
    workflow, _, _ = holding(None, tmp_path, limit=8, interval=3)
    workflow.run()
    assert names(tmp_path) == ["holding_run_3", "holding_run_6", "holding_run_8"]


def test_time_interval_puts_off_until_the_end(tmp_path: Path) -> None:
    workflow, _, _ = holding(None, tmp_path, limit=5, time_interval=1000)
    workflow.run()
    assert names(tmp_path) == ["holding_run_1", "holding_run_5"]


@pytest.mark.parametrize(("ago", "names_of"), [(10, ["holding_run_8"]), (2000, ["holding_run_6", "holding_run_8"])])
def test_time_interval_counts_from_the_snapshots_of_earlier_processes(ago: float, names_of: list[str], tmp_path: Path) -> None:
    workflow, _, snapshotter = holding(None, tmp_path / "a", limit=5, time_interval=1000)
    workflow.run()
    snapshotter.exported_time = (datetime.now(UTC) - timedelta(seconds=ago)).isoformat()
    again = pickle.loads(pickle.dumps(workflow))
    again["snapshotter"].configure(store=FileStore(tmp_path / "b"))
    again["holder"].limit = 8
    again["holder"].done <<= False
    again.initialize()
    again.run()
    assert names(tmp_path / "b") == names_of


@pytest.mark.parametrize("time", ["", "x", "2020-01-01", "2020-01-01T00:00:00", "9999-12-31T23:59:59.999999+00:00"])
def test_a_time_that_is_none_puts_nothing_off(time: str, tmp_path: Path) -> None:
    workflow, _, snapshotter = holding(None, tmp_path, limit=3, time_interval=1000)
    snapshotter.exported_time = snapshotter.last_time = time
    workflow.run()
    assert names(tmp_path) == ["holding_run_1", "holding_run_3"]


def test_put_off_snapshot_is_taken_when_the_interval_has_passed(tmp_path: Path) -> None:
    workflow, holder, snapshotter = holding(None, tmp_path, limit=7, interval=3)
    worth = Bool(False)
    snapshotter.skip = ~worth
    holder.on_run_ = lambda: worth.__ilshift__(holder.runs == 2)
    workflow.run()
    assert names(tmp_path) == ["holding_run_3", "holding_run_7"]


def test_skipped_states_are_not_taken(tmp_path: Path) -> None:
    workflow, _, snapshotter = holding(None, tmp_path, limit=4)
    snapshotter.skip = Bool(True)
    workflow.run()
    assert names(tmp_path) == ["holding_run_4"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"interval": 0}, "snapshotter.interval=0 must be at least 1"),
        ({"time_interval": -1}, "snapshotter.time_interval=-1 must be at least 0"),
        ({"keep_best": 0}, "snapshotter.keep_best=0 must be at least 1"),
        ({"keep_last": 0}, "snapshotter.keep_last=0 must be at least 1"),
        ({"workers": 0}, "snapshotter.workers=0 must be between 1 and"),
        ({"workers": 10**6}, "snapshotter.workers=1000000 must be between 1 and"),
        ({"staging": -1}, "snapshotter.staging=-1 must be at least 0"),
        ({"on_error": "ignore"}, "snapshotter.on_error='ignore' is unknown; known: raise, warn"),
    ],
)
def test_settings_are_checked(tmp_path: Path, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        holding(None, tmp_path, **settings)


def entries(scores: list[float | None]) -> list[Kept]:
    """Returns snapshots, newest first, named by their age."""
    return [Kept(str(age), f"2026-11-{28 - age}", score) for age, score in enumerate(scores)]


@pytest.mark.parametrize(
    ("keep_best", "keep_last", "gone"),
    [
        (None, None, ""),
        (None, 2, "2345"),
        (1, None, "1245"),
        (2, None, "124"),
        (1, 2, "245"),
        (9, None, "4"),
        (None, 9, ""),
    ],
)
def test_retention(keep_best: int | None, keep_last: int | None, gone: str) -> None:
    found = expired(entries([5.0, 4.0, 3.0, 1.0, None, 3.0]), keep_best=keep_best, keep_last=keep_last)
    assert "".join(found) == gone


def test_retention_compares_no_errors_of_different_kinds() -> None:
    kinds = [
        ("validation", "f1"),
        ("validation", "f1"),
        ("train", "f1"),
        ("validation", ""),
        ("validation", ""),
        ("train", "f1"),
    ]
    scores = zip(entries([-0.5, -0.9, 9.0, 3.0, 2.0, 8.0]), kinds, strict=True)
    found = expired([replace(one, kind=kind) for one, kind in scores], keep_best=1, keep_last=None)
    assert "".join(found) == "23"


def test_retention_never_touches_another_run(tmp_path: Path) -> None:
    for _ in range(2):
        workflow, _, _ = holding(None, tmp_path, limit=3, keep_last=1)
        workflow.run()
    assert names(tmp_path) == ["holding_run_3", "holding_run_3_2"]


def test_large_state_is_told_of_once_with_the_largest_units(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.snapshots.snapshotter.LARGE", 1_000_000)
    workflow, _, _ = holding(torch.zeros(500_000), tmp_path, limit=3)
    with caplog.at_level(logging.WARNING):
        workflow.run()
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert re.search(r"Each snapshot has 2\.0 MB of state.*\n +2\.0 MB  holder", warnings[0])


def test_sizes_count_a_shared_storage_once(tmp_path: Path) -> None:
    base = torch.zeros(1000)
    workflow, _, _ = holding({"a": base, "b": [base[10:]], "c": b"x" * 500}, tmp_path)
    assert largest_units(workflow, 1) == [("holder", 4500)]


def test_header_tells_of_the_snapshot_and_of_the_one_before(tmp_path: Path) -> None:
    workflow, _, snapshotter = holding(bytes(1000), tmp_path, limit=2, compression="xz")
    workflow.run()
    first, second = (header_of(tmp_path / f"holding_run_{number}.5.pickle.xz") for number in (1, 2))
    assert (first.codec, first.level, first.workflow, first.previous) == ("xz", 0, "holding", None)
    assert second.parent == first.uuid
    assert second.log_id == first.log_id == first.run_id
    assert second.previous["uuid"] == first.uuid
    assert second.previous["stored"] == (tmp_path / "holding_run_1.5.pickle.xz").stat().st_size
    assert second.time > first.time
    assert "tests.workflows" in second.code


def test_log_id_is_kept_and_the_run_id_is_new_on_resume(tmp_path: Path) -> None:
    workflow, _, snapshotter = holding(None, tmp_path, limit=1)
    workflow.run()
    found = restored(snapshotter.last_location)
    found.workflow.initialize()
    found.workflow["snapshotter"].export()
    found.workflow["snapshotter"].finish()
    again = header_of(found.workflow["snapshotter"].last_location)
    assert again.log_id == found.header.log_id
    assert again.run_id != found.header.run_id
    assert again.parent == found.header.uuid


def test_time_never_goes_back() -> None:
    assert utc_now(after="2999-12-31T23:59:59.999999+00:00") == "3000-01-01T00:00:00.000000+00:00"
