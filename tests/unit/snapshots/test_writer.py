"""The background writer: order, limits, errors at each stage, forks."""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import torch

from runner.errors import StateError, StoreError
from runner.graph import Unit, Workflow
from runner.snapshots import codecs
from runner.snapshots.capture.staging import CHUNK, StagingPool
from runner.snapshots.codecs import Buffer, Codec
from runner.snapshots.format.header import Header
from runner.snapshots.format.layout import TRAILER_SIZE
from runner.snapshots.snapshotter import Snapshotter
from runner.snapshots.stores.file import FileStore
from tests.leaks import held, left
from tests.workflows import Holder, holding, restored


class GatedStore(FileStore):
    """Waits before it writes, until the test says so."""

    gate = threading.Event()

    def put(self, header: Header, codec: Codec, members: Iterable[Buffer]) -> str:
        def held() -> Iterator[Buffer]:
            for member in members:
                self.gate.wait()
                yield member

        return super().put(header, codec, held())


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    GatedStore.gate.clear()
    yield GatedStore.gate
    GatedStore.gate.set()


def gated(value: object, directory: Path, **settings: object) -> tuple[Workflow, Holder, Snapshotter]:
    workflow = Workflow(name="gated")
    holder = Holder(workflow, value, "holder").link_from(workflow.start_point)
    snapshotter = Snapshotter(workflow, "snapshotter", store=GatedStore(directory), **settings)
    snapshotter.link_from(holder)
    workflow.end_point.link_from(snapshotter)
    workflow.initialize()
    return workflow, holder, snapshotter


def snapshot_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.is_symlink())


def test_the_run_goes_on_while_a_snapshot_is_written(tmp_path: Path, gate: threading.Event) -> None:
    _, holder, snapshotter = gated(torch.zeros(1000), tmp_path)
    snapshotter.export()
    holder.value.fill_(1)
    assert snapshotter.last_location is None
    gate.set()
    snapshotter.finish()
    assert not restored(snapshotter.last_location).workflow["holder"].value.any()


def test_two_snapshots_at_once_are_written_one_after_the_other(tmp_path: Path, gate: threading.Event) -> None:
    _, holder, snapshotter = gated(torch.zeros(1000), tmp_path)
    snapshotter.export()
    holder.value.fill_(1)
    second = threading.Thread(target=snapshotter.export)
    second.start()
    gate.set()
    second.join()
    snapshotter.finish()
    values = [float(restored(tmp_path / name).workflow["holder"].value.max()) for name in snapshot_files(tmp_path)]
    assert sorted(values) == [0.0, 1.0]


def test_capture_waits_for_memory_and_takes_no_more_than_its_limit(tmp_path: Path, gate: threading.Event) -> None:
    value = torch.arange(10 * CHUNK // 8)
    _, holder, snapshotter = gated(value, tmp_path, staging=4 * CHUNK, compression="none")
    exporter = threading.Thread(target=snapshotter.export)
    exporter.start()
    exporter.join(timeout=0.2)
    assert exporter.is_alive()
    gate.set()
    exporter.join()
    snapshotter.finish()
    assert snapshotter.exporter_.writer.pool._made == 4
    assert torch.equal(restored(snapshotter.last_location).workflow["holder"].value, holder.value)


def test_pool_lends_a_buffer_again() -> None:
    pool = StagingPool(4 * CHUNK)
    buffers = [pool.take(lambda: None) for _ in range(4)]
    waited = []
    pool.give(buffers[2])
    assert pool.take(lambda: waited.append(True)) is buffers[2]
    taker = threading.Thread(target=lambda: waited.append(pool.take(lambda: pool.give(buffers[0]))))
    taker.start()
    taker.join()
    assert waited == [buffers[0]]


class Unpicklable(Unit):
    def __init__(self, workflow: Workflow) -> None:
        super().__init__(workflow, "culprit")
        self.large = torch.zeros(8 * CHUNK // 4)
        self.lock = threading.Lock()


def test_a_unit_of_a_nested_workflow_is_named_too(tmp_path: Path) -> None:
    workflow, _, snapshotter = holding(None, tmp_path)
    inner = Workflow(workflow, "inner").link_from(workflow.start_point)
    Unpicklable(inner).link_from(inner.start_point)
    with pytest.raises(StateError, match=r"Unpicklable\('culprit'\)\.lock cannot be pickled"):
        snapshotter.export()


@pytest.mark.parametrize("staging", [0, None])
def test_state_that_cannot_be_pickled_names_unit_and_attribute(tmp_path: Path, staging: int | None) -> None:
    workflow, holder, snapshotter = holding(None, tmp_path, staging=staging)
    Unpicklable(workflow).link_from(workflow.start_point)
    with pytest.raises(
        StateError, match=r"Unpicklable\('culprit'\)\.lock cannot be pickled .* rename the attribute to 'lock_'"
    ):
        snapshotter.export()
    assert snapshot_files(tmp_path) == [] if tmp_path.exists() else True
    workflow.units.pop()
    snapshotter.export()
    snapshotter.finish()
    assert len(snapshot_files(tmp_path)) == 1


def failing_encode(chunk: Buffer, level: int) -> Buffer:
    raise MemoryError("no memory to compress")


@pytest.mark.parametrize("size", [10, 10 * CHUNK])
def test_error_while_compressing_surfaces_and_the_next_snapshot_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    _, holder, snapshotter = holding(bytes(size), tmp_path, staging=4 * CHUNK)
    with monkeypatch.context() as patch:
        patch.setitem(codecs.CODECS, "gz", Codec(**{**vars(codecs.CODECS["gz"]), "encode": failing_encode}))
        snapshotter.export()
        with pytest.raises(MemoryError, match="no memory to compress"):
            snapshotter.finish()
    assert snapshot_files(tmp_path) == []
    snapshotter.export()
    snapshotter.finish()
    assert restored(snapshotter.last_location).workflow["holder"].value == holder.value


@pytest.mark.parametrize("size", [10, 10 * CHUNK])
def test_error_of_the_store_ends_the_run_and_keeps_what_there_was(tmp_path: Path, size: int) -> None:
    folder = tmp_path / "snapshots"
    workflow, holder, snapshotter = holding(bytes(size), folder, limit=3, staging=4 * CHUNK)
    good = []

    def break_folder() -> None:
        if holder.runs == 2:
            snapshotter.finish()
            good.append(snapshotter.last_location)
            snapshotter.configure(store=FileStore(tmp_path / "file" / "below"))

    (tmp_path / "file").write_text("not a folder")
    holder.on_run_ = break_folder
    with pytest.raises(StoreError, match=r"cannot write to .*below"):
        workflow.run()
    assert restored(good[0]).workflow["holder"].runs == 1
    assert snapshotter.failed_


def test_error_is_only_reported_when_asked_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    workflow, holder, snapshotter = holding(None, tmp_path / "file" / "below", limit=3, on_error="warn")
    (tmp_path / "file").write_text("not a folder")
    with caplog.at_level(logging.ERROR):
        workflow.run()
    assert holder.runs == 3
    assert "No snapshot: cannot write to" in caplog.text
    assert snapshotter.failed_


def test_fork_while_a_snapshot_is_written(tmp_path: Path, gate: threading.Event) -> None:
    _, holder, snapshotter = gated(torch.ones(1000), tmp_path)
    snapshotter.export()
    child = os.fork()
    if child == 0:
        # The child has no writer thread: it neither waits for one, nor touches its parent's file. It can write its own.
        snapshotter.finish()
        gate.set()
        snapshotter.configure(store=FileStore(tmp_path / "child"))
        snapshotter.export()
        snapshotter.finish()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".gz"]
    gate.set()
    snapshotter.finish()
    for location in (snapshotter.last_location, tmp_path / "child" / Path(snapshotter.last_location).name):
        assert torch.equal(restored(location).workflow["holder"].value, holder.value)


UNFINISHED = """
import sys
from pathlib import Path
from tests.units import *
from tests.workflows import holding
_, _, snapshotter = holding(bytes(12 << 20), Path(sys.argv[1]), compression="bz2")
snapshotter.export()
"""


def test_a_process_that_ends_waits_for_its_snapshot(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", UNFINISHED, tmp_path], check=True)
    (name,) = snapshot_files(tmp_path)
    assert restored(tmp_path / name).workflow["holder"].value == bytes(12 << 20)


def test_what_goes_wrong_at_the_end_of_a_process_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    command = [sys.executable, "-c", UNFINISHED, tmp_path / "file" / "below"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    assert said.startswith("No snapshot: cannot write to ")


@pytest.mark.parametrize("workers", [1, 3, 16])
def test_more_threads_than_chunks_in_the_pool(tmp_path: Path, workers: int) -> None:
    value = torch.arange(12 * CHUNK // 8)
    _, _, snapshotter = holding(value, tmp_path, staging=0, workers=workers)
    snapshotter.export()
    snapshotter.finish()
    assert torch.equal(restored(snapshotter.last_location).workflow["holder"].value, value)


@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize("codec", ["none", "snappy", "gz"])
@pytest.mark.parametrize("left", [0, 1, TRAILER_SIZE - 1, TRAILER_SIZE, CHUNK - 1])
def test_trailer_at_the_end_of_a_chunk(tmp_path: Path, left: int, codec: str, blocking: bool) -> None:
    _, _, snapshotter = holding(bytes(CHUNK), tmp_path, compression=codec, blocking=blocking)
    snapshotter.export()
    snapshotter.finish()
    size = 4 * CHUNK - left - snapshotter.exporter_.written.state
    _, holder, snapshotter = holding(os.urandom(size), tmp_path, compression=codec, blocking=blocking)
    snapshotter.export()
    snapshotter.finish()
    assert -snapshotter.exporter_.written.state % CHUNK == left
    assert restored(snapshotter.last_location).workflow["holder"].value == holder.value


def test_no_thread_is_left(tmp_path: Path) -> None:
    before = held()
    workflow, _, _ = holding(bytes(3 * CHUNK), tmp_path)
    workflow.run()
    assert left(before) == []


def test_thousand_chained_units(tmp_path: Path) -> None:
    workflow, holder, snapshotter = holding(None, tmp_path)
    previous: Unit = workflow.start_point
    for number in range(1000):
        previous = Holder(workflow, number).link_from(previous)
    workflow.run()
    assert len(restored(snapshotter.last_location).workflow) == len(workflow)
