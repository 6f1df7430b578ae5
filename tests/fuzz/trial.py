"""One changed snapshot: it is restored, and its run goes on."""

from __future__ import annotations

import random
import resource
import shutil
import signal
import struct
import traceback
from pathlib import Path
from typing import Any

from runner.errors import RunnerError
from runner.launcher import Launcher
from runner.loggers.metrics_file import MetricsFile
from runner.snapshots.format.layout import HEADER_END, HEADER_START, Digest
from runner.snapshots.restoring.restore import Restored, restore
from tests.fuzz import headers
from tests.fuzz.bases import FOLDER, TRUSTED
from tests.fuzz.changes import Changer
from tests.fuzz.nodes import write
from tests.fuzz.watch import Watch

MEMORY = 1 << 30
"""Bytes that a process may take beyond what it begins with."""
STOP, END = 1.0, 5.0
"""Seconds of processor time after which a run is asked to stop, and is taken to hang."""

HEADERS = 0.002
"""How many of all have another header; these take a hundred times as long."""


class TooLongError(BaseException):
    """A snapshot takes more time than it may."""


class Trial:
    """Restores changed snapshots and goes on with their runs.

    Attributes:
        phase: what it is at.

    Args:
        folder: where snapshots lie and are written.
        changer: what changes them.
        resumption: resumes them as the command line does.
        watch: hears what happens.
    """

    def __init__(self, folder: Path, changer: Changer, resumption: headers.Resumption, watch: Watch) -> None:
        self.folder = folder
        self.changer = changer
        self.watch = watch
        self.resumption = resumption
        self.phase = ""
        self.launcher: Launcher | None = None
        self.alarms = 0
        signal.signal(signal.SIGPROF, self._alarm)

    def outcome(self, seed: int, number: int) -> tuple[str, str]:
        """Returns how it went with one changed snapshot: `refused`, `ran`, `ended` or a finding, and what of it."""
        rng = random.Random(f"{seed} {number}")
        name = self.changer.any_tree(rng)
        if rng.random() < HEADERS:
            path = written(self.folder / FOLDER, self.changer.plain[name], headers.as_bytes(headers.changed(rng)))
            return self._tried(path, rng, rng.choice(headers.TYPED))
        try:
            self.changer.change(rng, name)
            data = write(self.changer.trees[name])
        except RecursionError:
            return "unwritable", ""
        finally:
            self.changer.undo()
        path = written(self.folder / FOLDER, data)
        return self._tried(path, rng)

    def _tried(self, path: Path, rng: random.Random, typed: list[str] | None = None) -> tuple[str, str]:
        self.alarms = 0
        signal.setitimer(signal.ITIMER_PROF, STOP, STOP)
        self.watch.armed = True
        self.phase = "restore"
        try:
            self._go(path, rng, typed)
            return self._heard() or ("ran", "")
        except RunnerError as error:
            if len(str(error).splitlines()) > 1:
                return "finding", f"{self.phase}: {type(error).__name__} of several lines: {str(error)[:300]}"
            return self._heard() or ("refused" if self.phase == "restore" else "ended", type(error).__name__)
        except BaseException as error:
            if is_of_tests(error):
                return self._heard() or ("ended", "a unit of the tests")
            return "finding", f"{self.phase}: {type(error).__name__}: {str(error)[:150]} in {place(error)}"
        finally:
            self.watch.armed = False
            self.watch.heard.clear()
            signal.setitimer(signal.ITIMER_PROF, 0)

    def _heard(self) -> tuple[str, str] | None:
        return ("finding", f"{self.phase}: {self.watch.heard[:3]}") if self.watch.heard else None

    def _go(self, path: Path, rng: random.Random, typed: list[str] | None) -> None:
        restored = restore(path, trusted=TRUSTED)
        if typed is not None:
            self.resumption.go_on(restored, typed)
        self.phase = "look"
        look(restored)
        self.launcher = Launcher(device="cpu", loggers=[MetricsFile(self.folder)])
        if rng.random() < 0.2:
            self.phase = "evaluate"
            self.launcher.attach(restored.workflow)
            restored.workflow.initialize()
            scores = restored.workflow.evaluate()
            restored.workflow.scores_text(scores)
        else:
            self.phase = "run"
            self.launcher.stop_signal = signal.SIGTERM
            self.launcher.run(restored.workflow)
        self.phase = "look again"
        look(restored)
        workflow = restored.workflow
        assert [workflow.progress(), workflow.current_step, workflow.objective, workflow.summary, workflow.limit]

    def _alarm(self, number: int, frame: Any) -> None:
        self.alarms += 1
        if self.phase == "run" and self.launcher is not None and self.alarms * STOP < END:
            self.launcher.stop()
            return
        raise TooLongError(f"{self.alarms * STOP:.0f} s")


def look(restored: Restored) -> None:
    """Asks a workflow what the command line asks."""
    workflow = restored.workflow
    workflow.generate_graph()
    assert [str(workflow), workflow.objective, workflow.complete]


def written(folder: Path, data: bytes, header: bytes | None = None) -> Path:
    """Writes a snapshot with a right trailer."""
    header = headers.plain() if header is None else header
    digest = Digest()
    stream = HEADER_START + struct.pack("<I", len(header)) + header + HEADER_END + data
    digest.update(stream)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = folder / "x.pickle"
    path.write_bytes(stream + digest.trailer())
    return path


def place(error: BaseException) -> str:
    """Returns where an error was raised: the last lines of veles-run's."""
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if "/runner/" in frame.filename]
    return " <- ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in lines[:-4:-1])


def is_of_tests(error: BaseException) -> bool:
    """Whether a class of the tests, which trusts its own values, has failed."""
    names = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    return "/tests/" in names[-1] and "/runner/graph/loop.py" in "".join(names)


def limit_memory() -> None:
    """Lets this process take no more than `MEMORY`."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, resource.RLIM_INFINITY))
