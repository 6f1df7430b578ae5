"""Trackers of experiments, to which a run's metrics go."""

from __future__ import annotations

from dataclasses import dataclass, field

from runner.checks import choices
from runner.errors import ConfigError


@dataclass(kw_only=True)
class TensorBoardConfig:
    """Where TensorBoard's files are."""

    folder: str = "outputs/tensorboard"
    """Folder of all runs, for `tensorboard --logdir`; below it each run has one of its own."""


@dataclass(kw_only=True)
class MLflowConfig:
    """Which MLflow."""

    tracking_uri: str | None = None
    """A server's URL, or `sqlite:///FILE`. Default: `MLFLOW_TRACKING_URI` of the environment, else `sqlite:///outputs/mlflow.db`."""
    experiment: str = "veles-run"
    """Experiment of the run."""
    artifacts: bool = False
    """Whether the best and the last snapshot are uploaded at the end of the run."""


@dataclass(kw_only=True)
class TrackioConfig:
    """Which project of trackio."""

    project: str = "veles-run"
    """Project of the run."""
    folder: str | None = None
    """Folder of trackio's data. Default: `TRACKIO_DIR` of the environment, else trackio's own, where `trackio show` looks."""


@dataclass(kw_only=True)
class WandBConfig:
    """Which project of Weights & Biases."""

    project: str = "veles-run"
    """Project of the run."""
    entity: str | None = None
    """User or team. Default: yours."""
    mode: str | None = None
    """`online` or `offline`. Default: `WANDB_MODE` of the environment, else online."""
    folder: str = "outputs"
    """Folder for the folder `wandb`."""
    artifacts: bool = False
    """Whether the best and the last snapshot are uploaded at the end of the run."""

    def __post_init__(self) -> None:
        if self.mode not in (None, "online", "offline"):
            raise ConfigError(f"loggers.wandb.mode={self.mode} is unknown; {choices(self.mode, ('online', 'offline'))}")


@dataclass(kw_only=True)
class LoggersConfig:
    """The settings of each logger; `logger` says which there are."""

    tensorboard: TensorBoardConfig = field(default_factory=TensorBoardConfig)
    mlflow: MLflowConfig = field(default_factory=MLflowConfig)
    trackio: TrackioConfig = field(default_factory=TrackioConfig)
    wandb: WandBConfig = field(default_factory=WandBConfig)
