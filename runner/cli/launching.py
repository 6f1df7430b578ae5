"""The launcher of a job: its device, loggers, pictures, and what snapshots say of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from runner.cli import conf_changes, parallel, run_folder, together
from runner.cli.request import Request
from runner.config import Config
from runner.errors import ConfigError
from runner.launcher import Launcher
from runner.loggers import logger_types
from runner.loggers.logger import Logger
from runner.loggers.metrics_file import MetricsFile
from runner.plots.canvas import can_draw
from runner.snapshots.format.header import Header


def launcher_of(
    config: Config, node: DictConfig, request: Request, identity: Mapping[str, Any], header: Header | None = None
) -> Launcher:
    """Returns the launcher of a run.

    Args:
        config: the configuration of the run.
        node: the same as Hydra composed it, which goes into snapshots.
        request: what was typed.
        identity: what says which run this is.
        header: of the snapshot that it goes on from.

    Raises:
        ConfigError: an unknown logger or device, or pictures without the package that draws them.
    """
    logger_types.check_names(config.logger_names)
    processes = parallel.here()
    if processes.leads:
        _save_effective(node, request)
        run_folder.permit(request.output_dir, config.snapshotter.permissions)
    container: dict[str, Any] = OmegaConf.to_container(node, enum_to_str=True)  # type: ignore[assignment]
    return Launcher(
        processes=processes,
        device=together.device(config.device, processes),
        threads=config.threads,
        plots=request.output_dir if _wants_plots(config.plotters, request) and processes.leads else None,
        loggers=_loggers(config, request) if processes.leads else (),
        folder=request.output_dir,
        config=container,
        overrides=request.run_overrides,
        typed=sorted({*request.typed_keys_of_run, *(header.typed if header else ())}),
        referenced=conf_changes.referenced(node, config),
        conf=(header and header.conf) or request.conf,
        identity=identity,
    )


def _loggers(config: Config, request: Request) -> list[Logger]:
    return [
        MetricsFile(request.output_dir, config.snapshotter.permissions),
        *logger_types.made(config.logger_names, asdict(config.loggers)),
    ]


def _wants_plots(asked: bool | None, request: Request) -> bool:
    if asked and not can_draw():
        raise ConfigError("plotters=true needs matplotlib, which is not installed: pip install 'veles-runner[plot]'")
    return can_draw() and not request.sweep if asked is None else asked


def _save_effective(node: DictConfig, request: Request) -> None:
    """Puts the configuration that the run really has where Hydra has put the one that it composed."""
    path = Path(request.output_dir) / ".hydra" / "config.yaml"
    if path.is_file():
        OmegaConf.save(node, path)
