"""The loggers that a run can be told to have, by `logger` in the configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

from runner.checks import choices
from runner.errors import ConfigError
from runner.loggers.logger import Logger
from runner.targets import locate


class Entry(NamedTuple):
    """A logger.

    Attributes:
        place: module and class.
        package: what must be installed: the extra has the logger's name.
    """

    place: str
    package: str


LOGGERS = {
    "tensorboard": Entry("runner.loggers.tensorboard:TensorBoard", "tensorboard"),
    "mlflow": Entry("runner.loggers.mlflow:MLflow", "mlflow"),
    "trackio": Entry("runner.loggers.trackio:Trackio", "trackio"),
    "wandb": Entry("runner.loggers.wandb:WandB", "wandb"),
}


def check_names(names: Iterable[str]) -> None:
    """Raises a ConfigError for a name that is no logger's, or whose package is not installed. Nothing is imported."""
    for name in names:
        if "." in name:
            continue  # a class of the user's own
        if name not in LOGGERS:
            raise ConfigError(f"logger={name} is unknown; {choices(name, LOGGERS)}")
        if find_spec(package := LOGGERS[name].package) is None:
            raise ConfigError(f"logger={name} needs {package}, which is not installed: pip install 'veles-runner[{name}]'")


def made(names: Iterable[str], settings: Mapping[str, Mapping[str, Any]]) -> list[Logger]:
    """Returns the loggers with some names.

    Args:
        names: names of the table, or full names of classes of the user's own, which take no arguments.
        settings: the arguments of each, by its name.

    Raises:
        ConfigError: a class does not exist, or is no logger.
    """
    loggers: list[Logger] = []
    for name in names:
        if "." in name:
            loggers.append(locate("logger", name, Logger)())
            continue
        module, _, cls = LOGGERS[name].place.partition(":")
        loggers.append(getattr(import_module(module), cls)(**settings[name]))
    return loggers
