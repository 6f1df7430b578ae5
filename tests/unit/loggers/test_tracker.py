import logging
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import pytest

from runner.config.logging_to import LoggersConfig
from runner.errors import ConfigError
from runner.loggers import logger_types, tracker
from runner.loggers.logger import Logger, Run
from runner.loggers.points import Point, points
from runner.loggers.tracker import Tracker

RUN = Run(name="n", log_id="id", folder=".")


class Service(Tracker):
    """A tracker in memory, which can be away, slow or full."""

    def __init__(self, there: Collection[Point] = ()) -> None:
        super().__init__()
        self.points = list(there)
        self.away = 0
        self.full_after = 10**9
        self.released = threading.Event()
        self.released.set()
        self.results: list[Mapping[str, Any]] = []

    def open(self, run: Run) -> Collection[tuple[str, int]]:
        if self.away:
            self.away -= 1
            raise ConnectionError("nobody listens at https://me:hunter2secret@tracker")
        return {(point.name, point.step) for point in self.points}

    def write(self, new: Sequence[Point]) -> None:
        self.released.wait()
        for point in new:
            if len(self.points) >= self.full_after:
                raise OSError("full")
            self.points.append(point)

    def close(self, result: Mapping[str, Any]) -> None:
        self.results.append(result)


def row(step: int, split: str = "validation") -> dict[str, Any]:
    return {"kind": "epoch", "epoch": step, "minibatch": step, "split": split, "loss": step / 2, "seconds": 1.0}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker, "PAUSES", (0.01,))
    monkeypatch.setattr(tracker, "HURRY", 0.05)
    monkeypatch.setattr(tracker, "STEP", 5.0)


@pytest.fixture
def slow() -> Iterator[Service]:
    service = Service()
    service.released.clear()
    yield service
    service.released.set()
    assert service._thread is not None
    service._thread.join()


def test_points_are_named_by_split() -> None:
    whole = row(3) | {"error": 1, "learning_rate": 0.1, "gradient_norm": None, "extra": float("nan"), "told": True}
    assert list(points(whole)) == [("loss/validation", 3, 1.5), ("error/validation", 3, 1.0)]
    assert [point.name for point in points(whole | {"split": "train"})][-1] == "learning_rate/train"
    assert {point.name for point in points(whole | {"kind": "minibatches"})} >= {
        "loss/minibatches",
        "learning_rate/minibatches",
    }
    assert list(points({"kind": "epoch", "epoch": 1, "split": "train", "error": 2.0})) == []


def test_points_that_the_tracker_has_are_left_out() -> None:
    service = Service([Point("loss/validation", 1, 0.5), Point("loss/validation", 3, 1.5)])
    service.begin(RUN, [row(1), row(2)])
    service.log(row(3))
    service.log(row(4))
    service.finish({"status": "finished"})
    assert sorted(point.step for point in service.points) == [1, 2, 3, 4]
    assert service.results == [{"status": "finished"}]


def test_a_tracker_that_was_away_gets_all(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker, "HURRY", 5.0)
    service = Service()
    service.away = 3
    service.begin(RUN, [row(1)])
    service.log(row(2))
    service.finish({"status": "finished"})
    assert [point.step for point in service.points] == [1, 2]
    (told,) = caplog.messages
    assert "ConnectionError: nobody listens" in told
    assert "hunter2secret" not in told


def test_rows_of_a_snapshot_are_delivered_however_many_there_are(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracker, "MOST", 50)
    monkeypatch.setattr(tracker, "AT_ONCE", 20)
    service = Service([Point("loss/validation", step, step / 2) for step in range(300, 350)])
    service.begin(RUN, [row(step) for step in range(400)])
    service.log(row(400))
    service.finish({"status": "finished"})
    assert sorted(point.step for point in service.points) == [*range(401)]
    assert caplog.messages == []


def test_the_end_of_a_run_waits_while_a_slow_tracker_gets_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Slow(Service):
        def write(self, new: Sequence[Point]) -> None:
            time.sleep(0.05)
            super().write(new)

    monkeypatch.setattr(tracker, "AT_ONCE", 10)
    monkeypatch.setattr(tracker, "STEP", 0.5)
    service = Slow()
    service.begin(RUN, [row(step) for step in range(200)])
    service.finish({"status": "finished"})
    assert len(service.points) == 200
    assert caplog.messages == []


def test_a_changed_run_is_another_one() -> None:
    runs = [Run(name="n", log_id="id", identity=identity, folder=".") for identity in ("a", "b", "a")]
    assert runs[0].id == runs[2].id != runs[1].id


def test_a_slow_tracker_does_not_hold_the_run_up(slow: Service, caplog: pytest.LogCaptureFixture) -> None:
    slow.begin(RUN, [])
    began = time.monotonic()
    for step in range(10_000):
        slow.log(row(step))
    slow.finish({"status": "stopped"})
    assert time.monotonic() - began < 5
    (told,) = caplog.messages
    assert "has not got all" in told


def test_a_full_tracker_is_told_once_and_what_waits_is_bounded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracker, "MOST", 50)
    caplog.set_level(logging.WARNING)
    service = Service()
    service.full_after = 7
    service.begin(RUN, [])
    for step in range(1, 201):
        service.log(row(step))
    service.finish({"status": "failed"})
    assert len(service.points) == 7
    assert len({point.step for point in service.points}) == 7
    assert len(service._waiting) <= 50
    assert [("full" in told, "has not got all" in told) for told in caplog.messages] == [(True, False), (False, True)]
    assert service._thread is not None
    service._thread.join()


def test_every_logger_has_settings_and_a_wrong_name_is_refused() -> None:
    assert logger_types.LOGGERS.keys() == vars(LoggersConfig()).keys()
    with pytest.raises(ConfigError, match="logger=tensorbord is unknown; did you mean 'tensorboard'"):
        logger_types.check_names(["tensorbord"])
    with pytest.raises(ConfigError, match="logger"):
        logger_types.made(["runner.loggers.points.Point"], {})
    assert isinstance(logger_types.made(["runner.loggers.logger.Logger"], {})[0], Logger)
