"""What every store promises: the same for files and for each database."""

import multiprocessing
import os
import pickle
import random
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from runner.errors import SnapshotMismatchError, SnapshotNotFoundError, StoreError
from runner.graph import Bool
from runner.snapshots import codecs, stores
from runner.snapshots.format.header import Header
from runner.snapshots.format.layout import Digest, header_bytes
from runner.snapshots.kept_code import KeptCode
from runner.snapshots.odbc.odbc_store import OdbcStore
from runner.snapshots.odbc.session import ROW
from runner.snapshots.pace import Pace
from runner.snapshots.remote.remote_store import RemoteStore
from runner.snapshots.restoring.restore import restore_latest, restore_with
from runner.snapshots.restoring.trust import Policy
from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.marks import Mark
from runner.snapshots.stores.store import Store
from tests import memory_store
from tests.servers import KINDS, PASSWORD, Servers, execute, query
from tests.workflows import stored

NONE = codecs.find("none")
TRUSTED = Policy(trusted=["tests"])
SIZES = (0, 1, 65_536, 65_537, ROW, ROW + 1, 17_500_000)
RUN = str(uuid.uuid4())


@pytest.fixture(params=["file", "kept", "memory", "s3", *KINDS])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    if request.param == "file":
        return FileStore(tmp_path / "snapshots")
    if request.param == "memory":
        return RemoteStore(f"memory://{uuid.uuid4().hex}")
    if request.param == "s3":
        return RemoteStore(request.getfixturevalue("bucket").url)
    if request.param == "kept":
        monkeypatch.setattr(stores, "STORES", stores.STORES | memory_store.ROW)
        monkeypatch.setattr(memory_store.MemoryStore, "kept", {})
        return memory_store.MemoryStore("here")
    servers: Servers = request.getfixturevalue("servers")
    store = OdbcStore(servers.database(request.param, tmp_path).odbc)
    store.prepare()
    return store


NAMES = ["a&b", "50%", "100%25 &amp", "tab\tnew\nline", " x ", "'\"$(`", "поиск 漢 😀", "a=b;c{d}", "#?/"]


def header(name: str = "run_validation_1.48", **values: Any) -> Header:
    fields = {"prefix": "run", "workflow": "run", "workflow_class": "m:C", "run_id": RUN, "log_id": RUN, "codec": "none"}
    return Header(name=name, **(fields | values))


def content(header: Header, data: bytes = b"") -> list[bytes]:
    """Returns a whole snapshot; its pickle is none."""
    digest = Digest()
    for part in (begin := header_bytes(header), data):
        digest.update(part)
    return [begin, data, digest.trailer()]


def read(store: Store, location: str) -> bytes:
    return b"".join(store.open(location))


@pytest.mark.parametrize("size", SIZES)
def test_content_comes_back_byte_for_byte(store: Store, size: int, rng: random.Random) -> None:
    data = rng.randbytes(size)
    cuts = sorted(rng.randrange(size + 1) for _ in range(5))
    members = [memoryview(data)[begin:end] for begin, end in zip([0, *cuts], [*cuts, size], strict=True)]
    location = store.put(header(), NONE, members)
    assert read(store, location) == data
    assert read(store, location) == data


@pytest.mark.parametrize("packet", [1 << 20, 32 << 10])
def test_server_that_takes_small_packets(packet: int, servers: Servers, tmp_path: Path, rng: random.Random) -> None:
    database = servers.database("mariadb", tmp_path)
    default = query(database, "SELECT @@global.max_allowed_packet")[0][0]
    execute(database, f"SET GLOBAL max_allowed_packet = {packet}")
    try:
        store = OdbcStore(database.odbc)
        store.prepare()
        data = rng.randbytes(3_000_000)
        assert read(store, store.put(header(), NONE, [data])) == data
        assert query(database, "SELECT count(*) FROM veles_chunks")[0][0] > len(data) // packet
    finally:
        execute(database, f"SET GLOBAL max_allowed_packet = {default}")


def test_member_may_be_reused_when_the_next_is_asked_for(store: Store) -> None:
    def members() -> Iterator[bytearray]:
        buffer = bytearray(3_000_000)
        for number in range(4):
            buffer[:] = bytes([number]) * len(buffer)
            yield buffer

    location = store.put(header(), NONE, members())
    assert read(store, location) == b"".join(bytes([number]) * 3_000_000 for number in range(4))


def test_list_gives_the_headers_newest_first_within_a_second(store: Store) -> None:
    times = [f"2026-02-03T04:05:06.{micro:06}+00:00" for micro in (5, 400_000, 4, 999_999, 400_001)]
    headers = [header(f"run_{number}", time=time) for number, time in enumerate(times)]
    locations = {one.uuid: store.put(one, NONE, content(one)) for one in headers}
    listed = list(store.list())
    assert [entry.header for entry in listed] == sorted(headers, key=lambda one: one.time, reverse=True)
    assert [entry.location for entry in listed] == [locations[entry.header.uuid] for entry in listed]


def test_empty_store_lists_nothing(store: Store) -> None:
    assert list(store.list()) == []


def test_header_of_a_newer_format_is_told_of(store: Store) -> None:
    newer, known = header("run_newer", format=999), header("run_known")
    location = store.put(newer, NONE, content(newer))
    store.put(known, NONE, content(known))
    told: list[tuple[str, type]] = []
    assert [entry.header for entry in store.list(lambda where, error: told.append((where, type(error))))] == [known]
    assert told == [(location, SnapshotMismatchError)]


def test_format_that_only_the_content_gives_is_damage(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    _, _, snapshotter = stored(b"", store, blocking=True)
    snapshotter.export()
    store.put(header(), NONE, content(header(format=5)))
    assert restore_latest([store], lambda header: True, TRUSTED).location == snapshotter.last_location
    assert "format version 5" in caplog.text


def test_name_that_is_taken_is_given_a_number(store: Store) -> None:
    headers = [header(epoch=epoch) for epoch in range(3)]
    locations = [store.put(one, NONE, content(one, bytes([one.epoch]))) for one in headers]
    assert len(set(locations)) == 3
    for one, location in zip(headers, locations, strict=True):
        assert read(store, location) == b"".join(content(one, bytes([one.epoch])))


def test_a_snapshot_that_is_put_several_times_is_there_once(store: Store) -> None:
    other, one = header(), header()
    put = [store.put(one, NONE, content(one)) for one in (other, one, one)]
    with ThreadPoolExecutor(2) as executor:  # such as two commands that copy it
        put += executor.map(lambda _: store.put(one, NONE, content(one)), range(2))
    assert [entry.location for entry in store.list()] == [put[1], put[0]]
    assert set(put[1:]) == {put[1]}
    assert read(store, put[1]) == b"".join(content(one))


def test_long_names_and_names_of_any_script(store: Store) -> None:
    headers = [
        header(f"{prefix}_{'validation_' * length}", prefix=prefix, workflow="поиск & Ähnliches " * 8)
        for length in (1, 15, 100)
        for prefix in ["поиск 漢😀" * length] * 2
    ]
    locations = [store.put(one, NONE, content(one)) for one in headers]
    assert [(entry.location, entry.header) for entry in store.list()] == list(zip(locations, headers, strict=True))[::-1]
    for one, location in zip(headers, locations, strict=True):
        assert read(store, location) == b"".join(content(one))


def test_names_of_any_character(store: Store) -> None:
    headers = [header(f"{name}_1.48", prefix=name, workflow=name) for name in NAMES]
    locations = [store.put(one, NONE, content(one)) for one in headers]
    for one, location in zip(headers, locations, strict=True):
        (entry,) = store.list(runs=[one.run_id], workflow=one.workflow)
        assert (entry.location, entry.header) == (location, one)
        found, full = stores.store_of(location)
        assert full == location
        assert read(found, full) == b"".join(content(one))
        store.delete(full)
        assert not list(store.list(workflow=one.workflow))
    assert list(store.list()) == []


def test_equal_names_cost_the_same_however_many_there_are(store: Store) -> None:
    locations = [store.put(one, NONE, content(one)) for one in (header() for _ in range(40))]
    assert len(set(locations)) == 40
    store.delete(*locations[::2])
    again = [store.put(one, NONE, content(one)) for one in (header() for _ in range(10))]
    assert not set(again) & set(locations[1::2])


def test_put_that_fails_leaves_nothing(store: Store) -> None:
    kept = header("run_kept")
    store.put(kept, NONE, content(kept))

    def members() -> Iterator[bytes]:
        yield from content(header())
        yield bytes(3 * ROW)
        raise RuntimeError("the codec fails")

    with pytest.raises(RuntimeError, match="the codec fails"):
        store.put(header(), NONE, members())
    assert [entry.header for entry in store.list()] == [kept]
    location = store.put(header(), NONE, [b"again"])
    assert read(store, location) == b"again"


def test_writer_that_is_killed_leaves_nothing(store: Store) -> None:
    context = multiprocessing.get_context("fork")
    ready = context.Event()

    def members() -> Iterator[bytes]:
        yield from content(header())
        yield bytes(3 * ROW)
        ready.set()
        threading.Event().wait()

    process = context.Process(target=lambda: store.put(header(), NONE, members()))
    process.start()
    assert ready.wait(60)
    process.kill()
    process.join()
    assert list(store.list()) == []
    location = store.put(header(), NONE, [b"again"])
    assert read(store, location) == b"again"


def test_writers_at_once_do_not_mix(store: Store) -> None:
    """Two processes' runs and a third that shares a run's id and name."""
    runs = [RUN, str(uuid.uuid4()), RUN]
    written: dict[str, bytes] = {}
    errors: list[BaseException] = []

    def write(number: int) -> None:
        try:
            for epoch in range(4):
                data = bytes([number, epoch]) * (2 * ROW // 3)
                one = header(run_id=runs[number], log_id=runs[number], epoch=epoch)
                location = store.put(one, NONE, content(one, data))
                written[location] = b"".join(content(one, data))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(written) == 12
    assert {entry.location for entry in store.list()} == set(written)
    for location, data in written.items():
        assert read(store, location) == data


@pytest.mark.parametrize("size", [10, 2 * ROW + 1])
def test_delete_takes_one_snapshot_away_and_no_other(store: Store, size: int) -> None:
    headers = [header(f"run_{number}") for number in range(3)]
    locations = [store.put(one, NONE, content(one, bytes(size))) for one in headers]
    store.delete(locations[1])
    assert [entry.location for entry in store.list()] == [locations[2], locations[0]]
    assert read(store, locations[2]) == b"".join(content(headers[2], bytes(size)))
    for action in (store.delete, lambda location: read(store, location)):
        with pytest.raises(SnapshotNotFoundError, match="there is no snapshot"):
            action(locations[1])


@pytest.mark.parametrize("size", [10, 2 * ROW + 1])
def test_snapshots_are_deleted_together(store: Store, size: int) -> None:
    headers = [header(f"run_{number}") for number in range(4)]
    locations = [store.put(one, NONE, content(one, bytes(size))) for one in headers]
    store.delete(locations[2], locations[0])
    assert [entry.location for entry in store.list()] == [locations[3], locations[1]]
    with pytest.raises(SnapshotNotFoundError):
        store.delete(locations[1], locations[2], locations[3])
    # Files have no transactions: those that are there go.
    left = [] if isinstance(store, FileStore) else [locations[3], locations[1]]
    assert [entry.location for entry in store.list()] == left


@pytest.mark.parametrize(
    ("keep", "left"), [({"keep_last": 2}, [5, 4]), ({"keep_best": 2}, [5, 3, 1]), ({"keep_best": 1, "keep_last": 2}, [5, 4, 3])]
)
def test_retention_of_a_run_leaves_other_runs_alone(
    store: Store, keep: dict[str, int], left: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, others = stored(bytes(10), store, blocking=True)
    others.export()
    workflow, holder, snapshotter = stored(bytes(10), store, blocking=True, compression="none", **keep)
    for runs, score in enumerate((3.0, 1.0, 4.0, 0.5, 5.0, 9.0)):
        holder.runs = runs
        monkeypatch.setattr(type(workflow), "progress", lambda self, score=score: {"score": score})
        snapshotter.export()
    kept = [restore_with(entry.location, TRUSTED).workflow["holder"].runs for entry in store.list()]
    assert kept == [*left, 0]
    others.export()
    assert len(list(store.list())) == len(left) + 2


def test_autosaves_replace_one_another_and_do_not_count(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pace, "is_due", lambda self, settings: True)
    _, holder, snapshotter = stored(bytes(10), store, limit=9, blocking=True, keep_last=2)
    snapshotter.skip = Bool(False)

    def kept() -> list[tuple[int, bool]]:
        return [(restore_with(one.location, TRUSTED).workflow["holder"].runs, one.header.autosave) for one in store.list()]

    for runs, due in enumerate([False, False, True, True, True, False, False], 1):
        holder.runs = runs
        snapshotter.due = due
        snapshotter.run()
        if runs == 2:
            assert kept() == [(2, True)]
    assert kept() == [(7, True), (5, False), (4, False)]
    again = restore_latest([store], lambda header: True, TRUSTED).workflow["snapshotter"]
    again.due = False
    again.run()
    assert kept() == [(7, True), (5, False), (4, False)]
    again.export()
    assert kept() == [(7, False), (5, False)]


def test_marks_stand_beside_snapshots_and_go_with_them(store: Store) -> None:
    headers = [header(f"run_{number}") for number in range(3)]
    locations = [store.put(one, NONE, content(one)) for one in headers]
    assert store.marks() == {}
    first, second = (Mark(one.uuid, ("best", "v1.2"), "заметка 漢") for one in headers[:2])
    if isinstance(store, memory_store.MemoryStore):
        with pytest.raises(StoreError, match="keeps no tags and no notes"):
            store.mark(locations[0], first)
        return
    store.mark(locations[0], first)
    store.mark(locations[1], second)
    assert store.marks() == {one.uuid: one for one in (first, second)}
    store.mark(locations[1], Mark(headers[1].uuid, ("other",)))
    assert store.marks()[headers[1].uuid].tags == ("other",)
    store.mark(locations[1], Mark(headers[1].uuid))
    assert store.marks() == {first.uuid: first}
    assert [entry.location for entry in store.list()] == locations[::-1]
    store.delete(locations[0], locations[2])
    assert store.marks() == {}


def test_what_is_marked_is_kept_whatever_the_rules(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pace, "is_due", lambda self, settings: True)
    _, holder, snapshotter = stored(bytes(10), store, limit=9, blocking=True, keep_last=1)
    if isinstance(store, memory_store.MemoryStore):
        return
    marks = {}
    for runs, (due, mark) in enumerate([(True, "tags"), (True, ""), (False, "note"), (False, ""), (True, "")]):
        holder.runs, snapshotter.due, snapshotter.skip = runs, due, Bool(False)
        snapshotter.run()
        newest = next(iter(store.list()))
        if mark:
            marks[newest.location] = Mark(newest.header.uuid, **{mark: ("base",) if mark == "tags" else "compare"})
            store.mark(newest.location, marks[newest.location])
    assert [restore_with(one.location, TRUSTED).workflow["holder"].runs for one in store.list()] == [4, 2, 0]
    for location, mark in marks.items():
        store.mark(location, Mark(mark.uuid))
    snapshotter.export()
    assert [entry.location for entry in store.list()] == [snapshotter.last_location]


def test_branch_leaves_what_was_before_it_and_other_branches_alone(store: Store) -> None:
    _, _, snapshotter = stored(b"", store, blocking=True, keep_last=1)
    snapshotter.export()
    base = snapshotter.last_location
    for _ in range(2):
        branch = restore_with(base, TRUSTED).workflow["snapshotter"]
        for _ in range(2):
            branch.export()
    assert len(list(store.list())) == 3
    again = restore_latest([store], lambda header: True, TRUSTED)
    again.workflow["snapshotter"].export()
    assert len(list(store.list())) == 3
    assert read(store, base)


def test_list_of_some_runs_and_of_a_workflow(store: Store) -> None:
    runs = [str(uuid.uuid4()) for _ in range(3)]
    headers = [
        header(f"run_{number}", run_id=runs[number % 3], log_id=RUN, workflow=f"flow {number % 2}" * 20) for number in range(12)
    ]
    for one in headers:
        store.put(one, NONE, content(one))
    listed = {one.uuid for one in headers[::-1]}
    assert {entry.header.uuid for entry in store.list()} == listed
    for wanted in (
        {},
        {"runs": runs[:2]},
        {"runs": []},
        {"workflow": "flow 1" * 20},
        {"workflow": "flow"},
        {"runs": runs[:1], "workflow": "flow 0" * 20},
        {"apart_from": runs[1:]},
        {"apart_from": runs[:1], "workflow": "flow 1" * 20},
    ):
        expected = [
            one
            for one in headers[::-1]
            if one.run_id in wanted.get("runs", runs)
            and one.run_id not in wanted.get("apart_from", [])
            and one.workflow == wanted.get("workflow", one.workflow)
        ]
        assert [entry.header for entry in store.list(**wanted)] == expected


def test_list_reads_as_it_is_asked(store: Store) -> None:
    """Also with more snapshots than a page, some of one moment, some written and some deleted while it is read."""
    times = [f"2026-02-03T04:05:{second:02}.{micro:06}+00:00" for second in range(10) for micro in (0, 0, 5, 500_000)]
    headers = [header(f"run_{number}", time=time) for number, time in enumerate(times)]
    locations = {one.uuid: store.put(one, NONE, content(one)) for one in headers}
    listing, seen = store.list(), []
    for entry in listing:
        seen.append(entry.header)
        if len(seen) == 12:
            store.delete(seen and locations[seen[2].uuid], locations[headers[0].uuid])
            store.put(header("run_new"), NONE, content(header("run_new")))
    assert [one.time for one in seen] == sorted([one.time for one in seen], reverse=True)
    assert {one.uuid for one in seen} >= {one.uuid for one in headers[1:]}


def test_store_and_location_are_found_by_the_table(store: Store) -> None:
    one = header()
    location = store.put(one, NONE, content(one))
    found, full = stores.store_of(location)
    assert (type(found), found.identity, full) == (type(store), store.identity, location)
    assert read(found, full) == b"".join(content(one))


def test_store_is_plain_data_without_passwords(store: Store) -> None:
    data = pickle.dumps(store)
    assert PASSWORD.encode() not in data
    again = pickle.loads(data)
    location = again.put(header(), NONE, [b"content"])
    assert read(store, location) == b"content"
    assert PASSWORD not in location + str(store) + repr(vars(store))


@pytest.mark.parametrize("make", [lambda path: FileStore(path), lambda path: OdbcStore(f"DRIVER={{SQLite3}};Database={path}")])
def test_store_that_was_never_written_to(make: Callable[[Path], Store], tmp_path: Path, odbc_folder: Path) -> None:
    store = make(tmp_path / "missing")
    assert list(store.list()) == []
    with pytest.raises(SnapshotNotFoundError, match="there is no"):
        read(store, str(tmp_path / "missing" / "x") if isinstance(store, FileStore) else f"odbc://x&veles&{RUN}&{RUN}&x")
    assert os.listdir(tmp_path) in ([], ["missing"])


def test_code_is_kept_once_beside_the_snapshots(store: Store) -> None:
    code = KeptCode({"a.py": "x = 1\n" * 100_000}, {"a": "a.py"})
    for _ in range(2):
        store.keep_code(code.digest, code.packed())
    assert store.kept_code("0" * 64) is None
    found = store.kept_code(code.digest)
    if not isinstance(store, memory_store.MemoryStore):
        assert found is not None
        assert KeptCode.unpacked(found, code.digest) == code
    assert list(store.list()) == []
