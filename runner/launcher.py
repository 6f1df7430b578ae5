"""The launcher: runs a workflow in this process. It is a service, and in no snapshot."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from runner.errors import ConfigError
from runner.graph import Workflow
from runner.plots.canvas import Canvas

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Launcher:
    """Runs a workflow; a signal stops it at the next snapshot.

    Attributes:
        run_id: this process's run (UUID); a resumed run has a new one, and keeps the log id of the first.
        device: the device for tensors, such as `cpu` or `cuda:0`.
        canvas: where plotters draw, or None.
        stop_signal: the signal that asked the run to stop, or None.

    Args:
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: threads of the numerical library; the workflow chooses if None.
        plots: the folder for the pictures of plotters; nothing is drawn if None.
        config, overrides, conf: what snapshots say of the configuration.

    Raises:
        ConfigError: the device is not here.
    """

    def __init__(
        self,
        *,
        device: str = "auto",
        threads: int | None = None,
        plots: str | Path | None = None,
        config: dict[str, Any] | None = None,
        overrides: Sequence[str] = (),
        conf: str | None = None,
    ) -> None:
        self.run_id = str(uuid.uuid4())
        self.device = _resolve_device(device)
        self.threads = threads
        self.canvas = None if plots is None else Canvas(plots)
        self.stop_signal: signal.Signals | None = None
        self._provenance = {"config": config or {}, "overrides": list(overrides), "conf": conf}
        self._workflow: Workflow | None = None
        self._handlers: dict[signal.Signals, Any] = {}

    @property
    def stop_requested(self) -> bool:
        """Whether a signal has asked the run to stop."""
        return self.stop_signal is not None

    def provenance(self) -> dict[str, Any]:
        """Returns what a snapshot's header says of the configuration."""
        return self._provenance

    def attach(self, workflow: Workflow) -> None:
        """Makes this the launcher of the workflow and prepares torch, where it is loaded."""
        self._workflow = workflow
        workflow.launcher_ = self
        if self.device.startswith("cuda"):
            # A run is continued bit for bit only if it is deterministic.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            sys.modules["torch"].use_deterministic_algorithms(True)

    def run(self, workflow: Workflow) -> None:
        """Initializes the workflow and runs it to its end, or until it has taken the snapshot that a signal asked for."""
        self.attach(workflow)
        self.catch_signals()
        try:
            _prepare_snapshotters(workflow)
            workflow.initialize()
            if not self.stop_requested or _takes_snapshots(workflow):
                workflow.run()
        finally:
            self.release_signals()

    def stop(self) -> None:
        """Stops the workflow after the running unit."""
        assert self._workflow is not None
        self._workflow.stop()

    def catch_signals(self) -> None:
        """From now on a first SIGTERM or SIGINT asks the run to stop, and a second one ends the process."""
        self._handlers = {number: signal.signal(number, self._on_signal) for number in SIGNALS}

    def release_signals(self) -> None:
        """Puts the handlers back that were there before."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.stop_requested:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self.stop_signal = signal.Signals(number)
        # Not the log: the signal may have come within a write of its, which must not be entered twice.
        os.write(2, f"{self.stop_signal.name}: stopping at the next safe point (once more stops at once)\n".encode())
        if self._workflow is not None and not _takes_snapshots(self._workflow):
            self.stop()


def _prepare_snapshotters(workflow: Workflow) -> None:
    from runner.snapshots.snapshotter import snapshotters

    for snapshotter in snapshotters(workflow):
        snapshotter.prepare()


def _takes_snapshots(workflow: Workflow) -> bool:
    from runner.snapshots.snapshotter import Snapshotter

    return any(
        isinstance(unit, Snapshotter) or (isinstance(unit, Workflow) and _takes_snapshots(unit)) for unit in workflow.units
    )


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
        raise ConfigError(f"device={device!r} is not here: this machine has {count} CUDA devices")
    return device
