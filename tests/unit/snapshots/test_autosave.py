"""Snapshots that bound what a kill loses: when they are taken, what they replace, and that they change nothing else."""

import logging
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import pytest

from runner.errors import ConfigError, StoreError
from runner.graph import Bool, Workflow
from runner.snapshots.capture.taking import Written
from runner.snapshots.codecs import Buffer, Codec
from runner.snapshots.format.header import Header
from runner.snapshots.pace import Pace
from runner.snapshots.restoring.restore import header_of, restore_latest
from runner.snapshots.restoring.trust import Policy
from runner.snapshots.retention import Kept, expired
from runner.snapshots.settings import SnapshotterSettings
from runner.snapshots.snapshotter import Snapshotter
from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.spool import SpoolStore
from tests.states import differences, workflow_state
from tests.workflows import Holder, holding, restored, stored

SETTINGS = {"at_most_lost": 0, "max_overhead": 1, "blocking": True}
POLICY = Policy(trusted=["tests"])


def names(folder: Path) -> list[str]:
    return sorted(path.name.split(".")[0] for path in folder.glob("*.pickle*") if not path.is_symlink())


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has an autosave be due at each safe point, whatever the last one cost."""
    monkeypatch.setattr(Pace, "is_due", lambda self, settings: settings.at_most_lost is not None)


class Stopped(Exception):
    """Ends a run within a unit."""


def ending_at(holder: Holder, run: int) -> None:
    def end() -> None:
        if holder.runs == run:
            raise Stopped

    holder.on_run_ = end


def saving(folder: Path, limit: int = 8, **settings: object) -> tuple[Workflow, Holder, Snapshotter]:
    """Returns a workflow in which nothing ever improves, and that takes autosaves as often as it can."""
    workflow, holder, snapshotter = holding(None, folder, limit=limit, **(SETTINGS | settings))
    snapshotter.skip = Bool(True)
    return workflow, holder, snapshotter


@pytest.mark.usefixtures("always")
def test_a_run_that_ends_early_leaves_one_autosave_and_it_is_the_newest(tmp_path: Path) -> None:
    workflow, holder, snapshotter = saving(tmp_path)
    ending_at(holder, 6)
    with pytest.raises(Stopped):
        workflow.run()
    assert len(names(tmp_path)) == 1
    found = restore_latest([FileStore(tmp_path)], lambda header: True, POLICY)
    assert found.header.autosave
    assert found.header.name == "holding_autosave"
    assert Path(found.location).name in ("holding_autosave.5.pickle.gz", "holding_autosave_2.5.pickle.gz")
    assert (tmp_path / "holding_current.5.pickle.gz").resolve() == Path(found.location)
    assert snapshotter.last_location == found.location
    assert found.workflow["holder"].runs == 5


@pytest.mark.usefixtures("always")
def test_a_complete_run_leaves_what_it_leaves_without_them(tmp_path: Path) -> None:
    for folder, settings in (("without", {"at_most_lost": None}), ("with", {})):
        workflow, holder, snapshotter = saving(tmp_path / folder, interval=3, **settings)
        snapshotter.skip = Bool(False)
        workflow.run()
    assert names(tmp_path / "with") == names(tmp_path / "without") == ["holding_run_3", "holding_run_6", "holding_run_8"]
    ends = [restored(tmp_path / folder / "holding_run_8.5.pickle.gz") for folder in ("without", "with")]
    assert differences(*(workflow_state(end.workflow) for end in ends)) == []


@pytest.mark.usefixtures("always")
def test_killed_runs_that_go_on_keep_one_autosave_and_take_the_others_when_they_would_have(tmp_path: Path) -> None:
    workflow, holder, snapshotter = saving(tmp_path, limit=10, interval=4)
    snapshotter.skip = Bool(False)
    for end in (2, 3, 6, 7, 9):
        ending_at(holder, end)
        with pytest.raises(Stopped):
            workflow.run()
        assert len([name for name in names(tmp_path) if "autosave" in name]) == (end != 9)  # then there is a newer one
        workflow = restore_latest([FileStore(tmp_path)], lambda header: True, POLICY).workflow
        holder = workflow["holder"]
        workflow.initialize()
    workflow.run()
    assert names(tmp_path) == ["holding_run_10", "holding_run_4", "holding_run_8"]


@pytest.mark.usefixtures("always")
def test_what_a_kill_between_the_new_and_the_old_autosave_leaves_is_deleted_by_the_next_process(tmp_path: Path) -> None:
    class Keeping(FileStore):
        def delete(self, *locations: str) -> None:
            raise StoreError("killed before")

    for _ in range(3):
        found = restore_latest([FileStore(tmp_path)], lambda header: True, POLICY)
        workflow, holder, snapshotter = (
            saving(tmp_path)
            if found is None
            else (
                found.workflow,
                found.workflow["holder"],
                found.workflow["snapshotter"],
            )
        )
        workflow.initialize()
        snapshotter.configure(store=Keeping(tmp_path))
        ending_at(holder, holder.runs + 2)
        with pytest.raises(Stopped):
            workflow.run()
    assert len(names(tmp_path)) == 3
    found = restore_latest([FileStore(tmp_path)], lambda header: True, POLICY)
    found.workflow.initialize()
    found.workflow.run()
    assert names(tmp_path) == ["holding_run_8"]


@pytest.mark.usefixtures("always")
def test_a_branch_leaves_the_autosave_that_it_began_at(tmp_path: Path) -> None:
    workflow, holder, snapshotter = saving(tmp_path)
    ending_at(holder, 4)
    with pytest.raises(Stopped):
        workflow.run()
    before = names(tmp_path)
    for _ in range(2):
        branch = restored(snapshotter.last_location).workflow
        branch.initialize()
        branch.run()
    assert names(tmp_path) == [*before, "holding_run_8", "holding_run_8_2"]


@pytest.mark.parametrize(
    ("known", "rules", "gone"),
    [
        ("aaa", {}, "12"),
        ("raar", {}, "12"),
        ("arar", {}, "2"),
        ("arrar", {"keep_last": 1}, "234"),
        ("rrar", {"keep_last": 2}, "23"),
        ("arrr", {"keep_best": 1}, "23"),
    ],
)
def test_autosaves_do_not_count(known: str, rules: dict[str, int], gone: str) -> None:
    """Newest first, `a` an autosave, and an autosave scores best."""
    entries = [Kept(str(age), "", 0.0 if kind == "a" else 9.0, kind == "a") for age, kind in enumerate(known)]
    assert "".join(expired(entries, **({"keep_best": None, "keep_last": None} | rules))) == gone


@pytest.mark.usefixtures("always")
def test_intervals_do_not_know_of_autosaves(tmp_path: Path) -> None:
    for folder, settings in (("without", {"at_most_lost": None}), ("with", {})):
        workflow, holder, snapshotter = saving(tmp_path / folder, limit=7, interval=3, keep_last=2, **settings)
        worth = Bool(False)
        snapshotter.skip = ~worth
        holder.on_run_ = lambda holder=holder, worth=worth: worth.__ilshift__(holder.runs == 2)
        workflow.run()
    assert names(tmp_path / "with") == names(tmp_path / "without") == ["holding_run_3", "holding_run_7"]


class Refusing(FileStore):
    """Refuses autosaves."""

    def put(self, header: Header, codec: Codec, members: Iterable[Buffer]) -> str:
        if header.autosave:
            raise StoreError("no room")
        return super().put(header, codec, members)


@pytest.mark.usefixtures("always")
def test_an_autosave_that_is_refused_does_not_end_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    workflow, holder, snapshotter = stored(None, Refusing(tmp_path), limit=4, **SETTINGS)
    snapshotter.skip = Bool(True)
    workflow.run()
    assert "no room" in caplog.text
    assert names(tmp_path) == ["holding_run_4"]
    assert not snapshotter.failed_


class Away(FileStore):
    """Takes no snapshots, and cannot be asked either."""

    def put(self, header: Header, codec: Codec, members: Iterable[Buffer]) -> str:
        raise StoreError("away")

    def marked(self, uuids: Mapping[str, str]) -> Collection[str]:
        raise StoreError("away")


@pytest.mark.usefixtures("always")
def test_autosaves_replace_one_another_in_a_spool_while_the_store_is_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = SpoolStore(Away(tmp_path / "there"), tmp_path / "spool")
    workflow, _, snapshotter = stored(None, store, limit=4, **SETTINGS)
    snapshotter.skip = Bool(True)
    workflow.run()
    (waiting,) = tmp_path.glob("spool/*/*.pickle*")
    assert waiting.name.startswith("holding_run_4")
    assert "not deleted" not in caplog.text


def pace_of(*taken: tuple[float, float, float], monkeypatch: pytest.MonkeyPatch) -> tuple[Pace, list[float]]:
    """Returns a pace at time 0 that knows of snapshots: seconds that they held the run, seconds until durable, work."""
    now = [-1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("runner.cores.usable", lambda: 2)
    pace = Pace()
    for held, seconds, work in taken:
        now[0] = held
        pace.add(Written("", seconds=seconds, work=work), 0.0)
    return pace, now


@pytest.mark.parametrize(
    ("taken", "settings", "due"),
    [
        ([], {"at_most_lost": 100}, -950),
        ([(0, 1, 0)], {"at_most_lost": 100}, 98),
        ([(0, 1, 0), (0, 3, 0)], {"at_most_lost": 100}, 94),
        ([(0, 80, 0)], {"at_most_lost": 100}, 50),
        ([(1, 1, 4)], {"at_most_lost": 100, "max_overhead": 0.02}, 98),
        ([(1, 1, 4), (1, 1, 4)], {"at_most_lost": 100, "max_overhead": 0.02}, 150),
        ([(9, 1, 4), (1, 1, 4), (1, 1, 4)], {"at_most_lost": 100, "max_overhead": 0.02}, 150),
        ([(1, 1, 4), (9, 1, 4)], {"at_most_lost": 100, "max_overhead": 1}, 98),
        ([(1, 1, 0), (1, 1, 0)], {"at_most_lost": 0, "max_overhead": 0.5}, 2),
    ],
)
def test_when_an_autosave_is_due(
    taken: list[tuple[float, float, float]], settings: dict[str, float], due: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    pace, now = pace_of(*taken, monkeypatch=monkeypatch)
    now[0] = due - 0.01
    assert not pace.is_due(SnapshotterSettings(**settings))
    now[0] = due + 0.01
    assert pace.is_due(SnapshotterSettings(**settings))
    assert not pace.is_due(SnapshotterSettings(at_most_lost=None))


def test_a_bound_that_costs_too_much_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    workflow, holder, snapshotter = saving(tmp_path, limit=6, at_most_lost=1e-6)
    with caplog.at_level(logging.WARNING):
        workflow.run()
    (told,) = [record.getMessage() for record in caplog.records if "at_most_lost" in record.getMessage()]
    assert re.match(
        r"up to \S+ s may be lost, not 1e-06 \(snapshotter\.at_most_lost\): .* snapshotter\.max_overhead=1 allows", told
    )


@pytest.mark.parametrize("key", ["at_most_lost", "max_overhead"])
@pytest.mark.parametrize("value", [-1, float("nan")])
def test_settings_are_checked(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"snapshotter\.{key}"):
        SnapshotterSettings(**{key: value})
    with pytest.raises(ConfigError, match=r"snapshotter\.max_overhead=0 must be above 0"):
        SnapshotterSettings(max_overhead=0)


@pytest.mark.usefixtures("always")
def test_the_header_says_what_it_is(tmp_path: Path) -> None:
    workflow, holder, snapshotter = saving(tmp_path)
    ending_at(holder, 3)
    with pytest.raises(Stopped):
        workflow.run()
    assert header_of(snapshotter.last_location).autosave
    snapshotter.export()
    snapshotter.finish()
    assert not header_of(snapshotter.last_location).autosave
    assert names(tmp_path) == ["holding_run_3"]
