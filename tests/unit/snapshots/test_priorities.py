"""A large snapshot gives way to the run, until somebody waits for it."""

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import torch

from runner.errors import StoreError
from runner.graph import Workflow
from runner.snapshots.capture.staging import CHUNK
from runner.snapshots.codecs import Buffer, Codec
from runner.snapshots.format.header import Header
from runner.snapshots.snapshotter import Snapshotter
from runner.snapshots.stores.file import FileStore
from tests.workflows import Holder, restored

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no priority of their own")


def priorities() -> dict[str, set[int]]:
    """The niceness of the threads of this process, by their names."""
    found: dict[str, set[int]] = {}
    for thread in threading.enumerate():
        if thread.native_id is not None:
            found.setdefault(thread.name, set()).add(os.getpriority(os.PRIO_PROCESS, thread.native_id))
    return found


class WatchedStore(FileStore):
    """Stops in the middle until the test lets it go on; notes the priorities of all threads at each chunk."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.half, self.go_on = threading.Event(), threading.Event()
        self.seen: list[dict[str, set[int]]] = []

    def put(self, header: Header, codec: Codec, members: Iterable[Buffer]) -> str:
        def watched() -> Iterator[Buffer]:
            for number, member in enumerate(members):
                self.seen.append(priorities())
                if number == 14:
                    self.half.set()
                    assert self.go_on.wait(60)
                yield member

        return super().put(header, codec, watched())


def saved(megabytes: int, store: WatchedStore, **settings: object) -> tuple[Holder, Snapshotter]:
    workflow = Workflow(name="large")
    holder = Holder(workflow, torch.arange(megabytes << 18, dtype=torch.int32), "holder").link_from(workflow.start_point)
    snapshotter = Snapshotter(workflow, "snapshotter", store=store, workers=2, **settings)
    snapshotter.link_from(holder)
    workflow.end_point.link_from(snapshotter)
    workflow.initialize()
    return holder, snapshotter


def test_a_large_snapshot_gives_way_until_somebody_waits_for_it(tmp_path: Path) -> None:
    store = WatchedStore(tmp_path)
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    holder, snapshotter = saved(120, store)
    snapshotter.export()
    assert store.half.wait(60)
    now = priorities()
    assert store.seen[0]["snapshot"] == {own}, "a small one would have been written by now"
    assert min(now["snapshot"] | now["snapshot-encoder"]) > own
    assert now[threading.current_thread().name] == {own}, "the run itself gives way to nobody"
    waiting = threading.Thread(target=snapshotter.finish)
    waiting.start()
    while snapshotter.exporter_.writer._taking is not None:
        pass
    store.go_on.set()
    waiting.join(60)
    assert store.seen[-1]["snapshot-worker"] == {own}, "what is left is encoded by threads that have not given way"
    assert torch.equal(restored(snapshotter.last_location).workflow["holder"].value, holder.value)
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own


@pytest.mark.parametrize(("megabytes", "settings"), [(CHUNK >> 18, {}), (120, {"grace": 30.0})])
def test_a_small_one_and_one_that_is_timed_are_hurried(tmp_path: Path, megabytes: int, settings: dict[str, float]) -> None:
    store = WatchedStore(tmp_path)
    store.go_on.set()
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    holder, snapshotter = saved(megabytes, store, **settings)
    snapshotter.export()
    while snapshotter.exporter_.writer.busy:
        pass
    assert {nice for seen in store.seen for nices in seen.values() for nice in nices} == {own}
    snapshotter.finish()
    assert torch.equal(restored(snapshotter.last_location).workflow["holder"].value, holder.value)


def test_one_that_the_run_waits_for_is_hurried(tmp_path: Path) -> None:
    store = WatchedStore(tmp_path)
    store.go_on.set()
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    saved(120, store, blocking=True)[1].export()
    assert store.seen[-1]["snapshot"] == {own}


def test_after_a_large_one_that_could_not_be_written_no_thread_is_left_and_the_next_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(WatchedStore):
        def put(self, header: Header, codec: Codec, members: Iterable[Buffer]) -> str:
            for number, _ in enumerate(members):
                if number == 12:  # by now it gives way
                    raise StoreError("the disk is full")
            raise AssertionError

    store = Full(tmp_path)
    holder, snapshotter = saved(120, store)
    snapshotter.export()
    with pytest.raises(StoreError, match="full"):
        snapshotter.finish()
    monkeypatch.setattr(Full, "put", WatchedStore.put)
    store.go_on.set()
    snapshotter.export()
    snapshotter.finish()
    assert torch.equal(restored(snapshotter.last_location).workflow["holder"].value, holder.value)
