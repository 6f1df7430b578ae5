"""Trackers of experiments, to which a run's metrics go."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(kw_only=True)
class TensorBoardConfig:
    """Where TensorBoard's files are."""

    folder: str = "outputs/tensorboard"
    """Folder of all runs, for `tensorboard --logdir`; below it each run has one of its own."""


@dataclass(kw_only=True)
class LoggersConfig:
    """The settings of each logger; `logger` says which there are."""

    tensorboard: TensorBoardConfig = field(default_factory=TensorBoardConfig)
