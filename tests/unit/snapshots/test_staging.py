import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from runner.graph import Bool
from runner.memory import resident
from runner.snapshots.capture.staging import CHUNK, ROUND, Staging, StagingPool
from runner.snapshots.restoring.restore import restore
from runner.storages import OnGpu
from runner.thread_pool import Threads
from tests.workflows import holding

SIZES = (0, 1, 100, CHUNK - 101, CHUNK, 5 * CHUNK + 3, 7, (ROUND + 3) * CHUNK + 11)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("chunks", [4, 64])
def test_what_is_written_is_passed_on_whole_and_in_order(threads: int, chunks: int) -> None:
    pool = StagingPool(chunks * CHUNK)
    passed: list[bytes] = []
    ends: list[bool] = []

    def pass_on(buffer: memoryview, used: int, last: bool) -> None:
        passed.append(bytes(buffer[:used]))
        ends.append(last)
        pool.give(buffer)

    written = [bytes([number + 1]) * size for number, size in enumerate(SIZES)]
    with closing(Threads(threads, "test")) as workers:
        staging = Staging(pool, workers, pass_on, lambda: None)
        for data in written:
            assert staging.write(data) == len(data)
        staging.finish()
    assert b"".join(passed) == b"".join(written)
    assert staging.size == sum(SIZES)
    assert ends == [False] * (len(ends) - 1) + [True]


def test_data_may_change_as_soon_as_they_are_written() -> None:
    pool = StagingPool(64 * CHUNK)
    passed: list[bytes] = []
    data = bytearray(b"a" * (5 * CHUNK))
    with closing(Threads(2, "test")) as workers:
        staging = Staging(pool, workers, lambda buffer, used, last: passed.append(bytes(buffer[:used])), lambda: None)
        staging.write(data)
        data[:] = b"b" * len(data)
        staging.finish()
    assert b"".join(passed) == b"a" * len(data)


class LateStream(torch.Stream):
    """A stream of a GPU that copies as late as it may: when somebody waits for it."""

    asked: list[tuple[torch.Tensor, torch.Tensor]]

    def synchronize(self) -> None:
        for copy, content in self.asked:
            copy.copy_(content)
        self.asked.clear()


class FarTensor(torch.Tensor):
    """A tensor that only its stream can copy."""

    stream: LateStream

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.Tensor.copy_:
            cls.stream.asked.append((args[0], args[1].as_subclass(torch.Tensor)))
            return args[0]
        return super().__torch_function__(function, types, args, kwargs or {})


def test_nothing_is_passed_on_before_a_gpu_has_copied_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two streams, as of two GPUs; a stream compares with others, and with None, as torch's own do."""
    streams = [LateStream(stream_id=number, device_index=0, device_type=1) for number in range(2)]
    for stream in streams:
        stream.asked = []
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: FarTensor.stream)
    pool = StagingPool(64 * CHUNK)
    passed: list[bytes] = []
    written = [bytes([number + 1]) * size for number, size in enumerate(SIZES) if size]
    with closing(Threads(2, "test")) as workers:
        staging = Staging(pool, workers, lambda buffer, used, last: passed.append(bytes(buffer[:used])), lambda: None)
        for number, data in enumerate(written):
            FarTensor.stream = streams[number // 2 % 2]
            far = torch.frombuffer(bytearray(data), dtype=torch.uint8).as_subclass(FarTensor)
            staging.write(OnGpu(far) if number % 3 else data)
        staging.complete()
        assert not any(stream.asked for stream in streams)
        staging.finish()
    assert b"".join(passed) == b"".join(written)


def test_a_full_pool_makes_the_writer_wait_for_the_chunks_that_are_passed_on() -> None:
    pool = StagingPool(4 * CHUNK)
    waited = threading.Event()
    passed: list[memoryview] = []

    def give_back() -> None:
        waited.set()
        for buffer in passed:
            pool.give(buffer)
        passed.clear()

    with closing(Threads(2, "test")) as workers:
        staging = Staging(pool, workers, lambda buffer, used, last: passed.append(buffer), give_back)
        staging.write(b"x" * (9 * CHUNK))
    assert waited.is_set()


def test_memory_for_the_first_snapshot_is_there_before_it_is_taken(tmp_path: Path) -> None:
    """The first pause would be many times as long as the later ones."""
    size = 120_000_000
    _, unit, snapshotter = holding([torch.rand(size // 8) for _ in range(2)], tmp_path, staging=2 * size)
    snapshotter.due = Bool(False)
    snapshotter.run()  # as after a minibatch
    while any(thread.name == "snapshot-memory" for thread in threading.enumerate()):
        time.sleep(0.01)
    before = resident()
    snapshotter.export()
    taken = resident() - before
    snapshotter.finish()
    assert taken < size / 5
    assert torch.equal(restore(snapshotter.last_location, trusted=["tests"]).workflow[unit.name].value[0], unit.value[0])
    small = StagingPool(8 * CHUNK)
    small.prepare(100 * CHUNK)
    assert len({id(small.take(pytest.fail)) for _ in range(8)}) == 8, "no more than there may be"
