"""Workflows of units that run from YAML and continue from snapshots, bit for bit."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runner.errors import ConfigError
    from runner.graph import Bool, EndPoint, Pickleable, Repeater, StartPoint, Unit, Workflow
    from runner.launcher import Launcher
    from runner.nn import StandardWorkflow
    from runner.plots.plotter import Plotter
    from runner.snapshots.constructors import SnapshotterToDB, SnapshotterToFile
    from runner.snapshots.restoring.restore import restore
    from runner.snapshots.snapshotter import Snapshotter
    from runner.snapshots.unpickling.allowed import snapshot_safe

__all__ = [
    "Bool",
    "ConfigError",
    "EndPoint",
    "Launcher",
    "Pickleable",
    "Plotter",
    "Repeater",
    "Snapshotter",
    "SnapshotterToDB",
    "SnapshotterToFile",
    "StandardWorkflow",
    "StartPoint",
    "Unit",
    "Workflow",
    "restore",
    "snapshot_safe",
]

_MODULES = {
    **dict.fromkeys(("Bool", "EndPoint", "Pickleable", "Repeater", "StartPoint", "Unit", "Workflow"), "runner.graph"),
    "ConfigError": "runner.errors",
    "Launcher": "runner.launcher",
    "Plotter": "runner.plots.plotter",
    "Snapshotter": "runner.snapshots.snapshotter",
    "SnapshotterToDB": "runner.snapshots.constructors",
    "SnapshotterToFile": "runner.snapshots.constructors",
    "StandardWorkflow": "runner.nn",
    "restore": "runner.snapshots.restoring.restore",
    "snapshot_safe": "runner.snapshots.unpickling.allowed",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is used: `veles-run --help` must not wait for torch."""
    import importlib

    if name not in _MODULES:
        raise AttributeError(f"module 'runner' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
