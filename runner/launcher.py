"""The launcher: runs a workflow in this process. It is a service and never part of a snapshot."""

from __future__ import annotations

import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runner import passwords, signals
from runner.checks import within
from runner.cores import MOST_THREADS
from runner.errors import ConfigError, GraphError
from runner.flat import flattened
from runner.graph import Workflow
from runner.loggers.group import LoggerGroup
from runner.loggers.logger import Logger, Run
from runner.loggers.result import result_of
from runner.metrics import records_of, rows_so_far
from runner.metrics.plain import for_json
from runner.parallel.processes import ALONE, Processes
from runner.plots import notebook
from runner.plots.canvas import HURRY, PATIENCE, Canvas
from runner.text import shown


class Launcher:
    """Runs a workflow. `veles-run`, scripts and notebooks all do so through a `session`.

    When a signal asks the process to stop, the run takes a snapshot at the next safe point and ends there.

    Attributes:
        run_id: the id of this process's run (UUID). A resumed run has a new one, but keeps the log id of the first.
        device: the device for tensors, such as `cpu` or `cuda:0`.
        canvas: where plotters draw, or None.
        loggers: where the rows of the run go.
        threads: number of threads of the numerical library; None to leave it as it is.
        stop_signal: the signal that asked the run to stop, or None.
        stopped_at: when it came, by `time.monotonic()`; 0 before.
        ended: why the run is to end early, without a signal; or None.
        snapshot_signal: the signal that requested a snapshot without a stop, until the snapshot is taken; or None.
        processes: those that share the run.

    Args:
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: number of threads of the numerical library. Default: chosen by the workflow.
        plots: the folder for plots. Default: nothing is drawn.
        loggers: get the rows of the run, and how it has ended.
        folder: of this process's run, for loggers.
        config: the configuration, as snapshots record it.
        overrides: what of it was typed in this call, as text.
        typed: the keys that were ever typed for this run.
        referenced: the values of references to the environment and to files.
        conf: the name of the conf file, or its path.
        identity: what tells this run from others.
        processes: the processes that share the run.

    Raises:
        ConfigError: this machine does not have the device.
    """

    def __init__(
        self,
        *,
        device: str = "auto",
        threads: int | None = None,
        plots: str | Path | None = None,
        loggers: Sequence[Logger] = (),
        folder: str = ".",
        config: dict[str, Any] | None = None,
        overrides: Sequence[str] = (),
        typed: Sequence[str] = (),
        referenced: Mapping[str, Any] | None = None,
        conf: str | None = None,
        identity: Mapping[str, Any] | None = None,
        processes: Processes = ALONE,
    ) -> None:
        self.processes = processes
        self.run_id = str(uuid.uuid4())
        self.device = _resolve_device(device)
        if isinstance(threads, float):
            raise ConfigError(f"threads={threads} must be a whole number")
        within("threads", threads, 1, MOST_THREADS)
        self.threads = threads
        self.canvas = None if plots is None else Canvas(plots)
        for logger in loggers:
            if not isinstance(logger, Logger):
                raise ConfigError(f"a logger of a launcher is a Logger, and {logger!r} is none")
        self.loggers = LoggerGroup(loggers)
        self._folder = folder
        self.stop_signal: signal.Signals | None = None
        self.stopped_at = 0.0
        self.ended: str | None = None
        self.snapshot_signal: signal.Signals | None = None
        self._provenance = {
            "config": config or {},
            "overrides": list(overrides),
            "typed": list(typed),
            "referenced": dict(referenced or {}),
            "conf": conf,
            **(identity or {}),
        }
        self._workflow: Workflow | None = None
        self._continuing: frozenset[signal.Signals] = frozenset()
        self._takes_snapshots = False
        self._wishes: dict[str, signal.Signals] = {}
        self._announced = False

    @property
    def stop_requested(self) -> bool:
        """Whether the run is to stop at its next safe point."""
        return self.stop_reason is not None

    @property
    def stop_reason(self) -> str | None:
        """Why the run is to stop: the name of the signal that has asked for it, or what has ended it; None if it is not."""
        return self.stop_signal.name if self.stop_signal is not None else self.ended

    def provenance(self) -> dict[str, Any]:
        """Returns the configuration as the header of a snapshot records it."""
        return self._provenance

    def attach(self, workflow: Workflow) -> None:
        """Makes this the launcher of the workflow. On a GPU, makes torch deterministic.

        Raises:
            GraphError: it is no workflow.
        """
        if not isinstance(workflow, Workflow):
            raise GraphError(f"a launcher runs a workflow, and {workflow!r} is none")
        self._workflow = workflow
        workflow.launcher_ = self
        if self.device.startswith("cuda"):
            # Only a deterministic run can be continued bit for bit.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            sys.modules["torch"].use_deterministic_algorithms(True)

    def prepare(self, workflow: Workflow) -> None:
        """Attaches the workflow, initializes it, and sets the number of threads."""
        self.attach(workflow)
        workflow.initialize()
        self.threads = workflow.choose_threads(self.threads)
        within("threads", self.threads, 1, MOST_THREADS)
        if self.threads is not None and "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(self.threads)

    @contextmanager
    def session(self, workflow: Workflow) -> Iterator[Callable[[], None]]:
        """Prepares the workflow and yields a function that runs it. In the block, signals stop the run at its next safe point.

        After the block, the earlier handler of each signal that came is called: the snapshot is durable by then, and pictures
        are drawn.
        """
        from runner.snapshots.snapshotter import snapshotters

        self.attach(workflow)
        found = snapshotters(workflow)
        for snapshotter in found:
            snapshotter.passive_ = not self.processes.leads
            snapshotter.prepare()
        self.prepare(workflow)
        self._takes_snapshots = bool(found)
        self._continuing = frozenset().union(*(snapshotter.settings.continuing for snapshotter in found))
        with signals.caught(self):
            try:
                yield self._run
            finally:
                self.finish_pictures()

    def finish_pictures(self) -> None:
        """Waits until what plotters draw is in the folder. Whoever has something else to do after the run does it before."""
        if self.canvas is not None:
            self.canvas.finish(HURRY if self.stop_requested else PATIENCE)

    def run(self, workflow: Workflow) -> None:
        """Initializes the workflow and runs it to its end, or until a signal stops it and its snapshot is taken.

        In a notebook, the cell shows how far it has come, and the curves of what was measured.
        """
        with self.session(workflow) as run, self.logged(workflow), notebook.followed(workflow):
            run()

    def _begin_logging(self, workflow: Workflow) -> None:
        from runner.snapshots import provenance
        from runner.snapshots.snapshotter import snapshotters

        found = list(records_of(workflow))
        logged = next((unit.log_id for unit in snapshotters(workflow) if unit.log_id), self.run_id)
        known = self._provenance
        run = Run(
            name=workflow.name,
            log_id=logged,
            identity=known.get("identity") or "",
            folder=self._folder,
            parameters={key: _harmless(f"{key}=", value) for key, value in flattened(known["config"]).items()},
            overrides=[_harmless("", text) for text in known["overrides"]],
            seed=known["config"].get("seed"),
            versions=provenance.versions(),
        )
        self.loggers.begin(run, rows_so_far(workflow))
        for records in found:
            records.listener_ = self.loggers.log

    @contextmanager
    def logged(self, workflow: Workflow, exit_code: Callable[[], int] = int, **known: Any) -> Iterator[None]:
        """Has the loggers log what is run in the block, and tells them in the end how it has ended.

        Args:
            workflow: what is run in the block.
            exit_code: returns that of the process, where the block raises no error.
            known: what else is to be in the result.
        """
        if not self.loggers:
            yield
            return
        error: BaseException | None = None
        began = time.monotonic()
        self._begin_logging(workflow)
        try:
            yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            seconds = time.monotonic() - began
            result = result_of(workflow, exit_code=exit_code, seconds=seconds, error=error, **known)
            if self.ended is not None and self.stop_signal is None and result["status"] == "stopped":
                result["status"] = self.ended
            self.loggers.finish(result)

    def _run(self) -> None:
        assert self._workflow is not None
        if self.ended is not None:  # by what its loggers know of the run before
            return
        if not self.stop_requested or self._takes_snapshots:
            self._workflow.run()

    def stop(self) -> None:
        """Stops the workflow after the running unit."""
        assert self._workflow is not None
        self._workflow.stop()

    def end(self, why: str) -> None:
        """Ends the run at its next safe point, after a snapshot, as a signal would, but nobody waits for the process.

        Args:
            why: what `result.json` says of it.
        """
        self.ended = why
        if not self._takes_snapshots:
            self.stop()

    def on_signal(self, number: signal.Signals) -> None:
        """Notes that a signal requests a snapshot or a stop. A workflow without snapshots stops after the running unit.

        Of several processes, each acts on it when all of them know.
        """
        if self.processes.size > 1:
            self._wishes.setdefault("snapshot" if number in self._continuing else "stop", number)
        else:
            self._obey(number)

    @property
    def wishes(self) -> tuple[int, int]:
        """The signals that have come to this process and that the others do not know yet: for a stop, and for a snapshot."""
        return self._wishes.pop("stop", 0), self._wishes.pop("snapshot", 0)

    def agree(self, wishes: Sequence[Sequence[int]]) -> None:
        """Acts on the signals that have come to any of the processes."""
        for number in [number for kind in zip(*wishes, strict=True) for number in [max(kind)] if number]:
            self._obey(signal.Signals(number))

    def _obey(self, number: signal.Signals) -> None:
        if number in self._continuing:
            self.snapshot_signal = number
        elif self.stop_signal is None:
            self.stop_signal, self.stopped_at = number, time.monotonic()
            if not self._takes_snapshots:
                self.stop()

    def announce(self, number: signal.Signals) -> None:
        """Tells the user what a signal does: for a request to stop, only the first time."""
        if number in self._continuing:
            print(f"{number.name}: taking a snapshot at the next safe point", file=sys.stderr, flush=True)
        elif not self._announced:
            self._announced = True
            again = "another SIGINT or SIGTERM stops at once"
            print(f"{number.name}: stopping at the next safe point ({again})", file=sys.stderr, flush=True)


def _harmless(key: str, value: Any) -> Any:
    """Returns a setting as it may leave the process: plain, and without a password."""
    if isinstance(value, list | tuple):
        return [_harmless(key, item) for item in value]
    return shown(passwords.redact(f"{key}{value}").removeprefix(key)) if isinstance(value, str) else for_json(value)


def _resolve_device(device: str) -> str:
    if device == "cpu":
        return device
    if device != "auto" and device != "cuda" and not (device.startswith("cuda:") and device[5:].isdecimal()):
        raise ConfigError(f"device={device!r} is not a device; known: auto, cpu, cuda, cuda:N")
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return "cuda" if count else "cpu"
    if int(device.partition(":")[2] or 0) >= count:
        raise ConfigError(f"device={device!r} is not available: this machine has {count} CUDA devices; device=cpu needs none")
    return device
