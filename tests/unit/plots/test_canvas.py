"""The process that draws, and what becomes of its faults: a warning, and nothing else."""

import logging
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runner.plots import canvas as module
from runner.plots.canvas import Canvas, painter_ahead
from runner.plots.pictures import Curves, Matrix
from tests.system.test_full_disk import mounted

LIMIT = 60
"""Seconds until a process that was asked for is missed."""

PICTURE = Curves(series={"x": [1.0, 2.0]})


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def pid_of(canvas: Canvas) -> int:
    """Returns the process that draws, which a thread may be about to start."""
    until = time.monotonic() + LIMIT
    while canvas._painter is None:
        assert time.monotonic() < until, "no process was started"
        time.sleep(0.001)
    return canvas._painter.pid


def drawn(canvas: Canvas, *names: str) -> None:
    """Has pictures drawn, and waits until the last one is there."""
    for name in names:
        canvas.draw(name, PICTURE)
    canvas.finish()


def test_pictures_are_there_when_it_has_finished(tmp_path: Path, caplog) -> None:
    canvas = Canvas(tmp_path / "new" / "folder")
    drawn(canvas, "a", "b/c")
    drawn(canvas, "d")  # it can be used again
    canvas.finish()
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == ["a.png", "b_c.png", "d.png"]
    for path in (tmp_path / "new" / "folder").iterdir():
        with Image.open(path) as image:
            image.verify()
    assert warnings_of(caplog) == []
    assert not [thread for thread in threading.enumerate() if thread.name == "pictures"]


def test_of_many_pictures_the_newest_is_drawn(tmp_path: Path) -> None:
    canvas = Canvas(tmp_path)
    for rows in range(1, 200):
        canvas.draw("matrix", Matrix(values=np.ones((rows, 1))))
    canvas.finish()
    with Image.open(tmp_path / "matrix.png") as image:
        tall = image.height
    canvas.draw("matrix", Matrix(values=np.ones((1, 1))))
    canvas.finish()
    with Image.open(tmp_path / "matrix.png") as image:
        assert image.height < tall / 2


def test_a_killed_process_is_told_once(tmp_path: Path, caplog) -> None:
    canvas = Canvas(tmp_path)
    canvas.draw("a", PICTURE)
    os.kill(pid_of(canvas), signal.SIGKILL)
    for _ in range(100):
        canvas.draw("c", PICTURE)
    canvas.finish()
    drawn(canvas, "d")
    assert warnings_of(caplog) == [
        f"Pictures are missing in {tmp_path} (the process that draws has ended with status -9); the run goes on"
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_hangs_is_ended(tmp_path: Path, caplog) -> None:
    canvas = Canvas(tmp_path)
    canvas.draw("a", PICTURE)
    pid = pid_of(canvas)
    os.kill(pid, signal.SIGSTOP)
    canvas.finish(patience=0.1)
    assert [text for text in warnings_of(caplog) if "status -9" in text]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def alive_in(group: int) -> list[int]:
    """Returns the processes of a group that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, of = path.read_text().rpartition(")")[2].split()[:3]
            if int(of) == group and state != "Z":
                found.append(int(path.parent.name))
    return found


def test_copies_that_hang_are_ended_too(tmp_path: Path, caplog) -> None:
    canvas = Canvas(tmp_path)
    canvas.draw("first", PICTURE)
    pid = pid_of(canvas)
    for name in "abc":
        canvas.draw(name, Matrix(values=np.ones((60, 60))))
    until = time.monotonic() + LIMIT
    while len(alive_in(pid)) < 3 and time.monotonic() < until:
        time.sleep(0.001)
    os.killpg(pid, signal.SIGSTOP)
    canvas.finish(patience=0.1)
    assert [text for text in warnings_of(caplog) if "status -9" in text]
    until = time.monotonic() + LIMIT
    while alive_in(pid) and time.monotonic() < until:  # who is killed is gone a moment later
        time.sleep(0.001)
    assert alive_in(pid) == []


def test_a_full_disk_leaves_the_old_pictures_and_is_told_once(tmp_path: Path, caplog) -> None:
    with mounted(tmp_path / "disk", "size=64k") as folder:
        canvas = Canvas(folder)
        drawn(canvas, "a")
        before = (folder / "a.png").read_bytes()
        (folder / "ballast").write_bytes(bytes(64 * 1024 - len(before) - 16 * 1024))
        drawn(canvas, "a", "b")
        drawn(canvas, "a", "b")
        assert (folder / "a.png").read_bytes() == before
        assert sorted(path.name for path in folder.iterdir()) == ["a.png", "ballast"]
        [warning] = warnings_of(caplog)
        assert "No space left on device" in warning
        (folder / "ballast").unlink()
        drawn(canvas, "b")
        assert (folder / "b.png").stat().st_size > 1000
        assert len(warnings_of(caplog)) == 1


def test_a_broken_matplotlib_is_told_once(tmp_path: Path, caplog, monkeypatch) -> None:
    (tmp_path / "matplotlib").mkdir()
    (tmp_path / "matplotlib" / "__init__.py").write_text("print('hello')\nraise RuntimeError('no\\nbackend')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    canvas = Canvas(tmp_path / "pictures")
    drawn(canvas, "a", "b")
    [warning] = warnings_of(caplog)
    assert "(a.png: RuntimeError: no backend)" in warning


def test_a_process_that_cannot_be_started_is_told_once(tmp_path: Path, caplog, monkeypatch) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "nothing"))
    canvas = Canvas(tmp_path)
    drawn(canvas, "a")
    drawn(canvas, "b")
    [warning] = warnings_of(caplog)
    assert "No such file or directory" in warning


def children() -> set[str]:
    found = set[str]()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that has just ended
            found.update((task / "children").read_text().split())
    return found


def test_a_process_that_is_started_ahead_draws_wherever_a_canvas_is(tmp_path: Path, monkeypatch) -> None:
    before = children()
    monkeypatch.chdir(tmp_path)
    with painter_ahead():
        [ahead] = children() - before
        (tmp_path / "other").mkdir()
        monkeypatch.chdir(tmp_path / "other")
        first, second = Canvas("pictures"), Canvas("more")
        first.draw("a", PICTURE)
        assert pid_of(first) == int(ahead)
        drawn(second, "b")  # by one of its own
        first.finish()
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png")) == [
        "other/more/b.png",
        "other/pictures/a.png",
    ]
    assert children() == before


def test_a_process_that_is_started_ahead_for_nothing_is_ended(tmp_path: Path, caplog, monkeypatch) -> None:
    before = children()
    with suppress(KeyError), painter_ahead():
        assert children() - before
        raise KeyError
    assert children() == before
    monkeypatch.setattr("sys.executable", str(tmp_path / "nothing"))
    with painter_ahead():
        assert children() == before
    assert warnings_of(caplog) == []


def test_it_has_a_low_priority_and_a_session_of_its_own(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "matplotlib").mkdir()
    code = "import os\nraise RuntimeError(f'{os.nice(0)} {os.getsid(0) == os.getpid()}')\n"
    (tmp_path / "matplotlib" / "__init__.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    messages: list[str] = []
    monkeypatch.setattr(module.log, "warning", lambda text, *values: messages.append(text % values))
    drawn(Canvas(tmp_path), "a")
    assert f"RuntimeError: {min(os.nice(0) + 10, 19)} True" in messages[0]
