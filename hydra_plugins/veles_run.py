"""The sweepers of veles-run, and a launcher. Hydra takes plugins from this package alone, and imports it whenever it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class Combinations(Sweeper):
    """A job for each combination of the values that are typed, in a sweep that can go on.

    Args:
        max_batch_size: the most jobs that the launcher is given together. Default: all.
        params: what is swept besides what is typed, by key.
    """

    def __init__(self, max_batch_size: int | None, params: Mapping[str, str] | None) -> None:
        self._at_once, self._params = max_batch_size, params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from runner.cli.sweep_running import Running

        self._running = Running(hydra_context, task_function, config)

    def sweep(self, arguments: list[str]) -> Any:
        from runner.cli import sweep_combinations
        from runner.cli.sweep_running import with_params

        return sweep_combinations.sweep(self._running, with_params(self._params, arguments), self._at_once)


class Search(Sweeper):
    """A search by Optuna, in a sweep that can go on. `runner.cli.sweep_search.Settings` says what the settings are.

    Args:
        params: what is varied besides what is typed, by key.
        storage: where the study is. It is taken from the configuration, in which it has no password.
        settings: all others.
    """

    def __init__(self, params: Mapping[str, str] | None, storage: str | None, **settings: Any) -> None:
        self._params, self._settings = params, settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from runner.cli.sweep_running import Running

        self._running = Running(hydra_context, task_function, config)

    def sweep(self, arguments: list[str]) -> Any:
        from runner.cli.sweep_running import with_params

        try:
            from runner.cli import sweep_search
        except ModuleNotFoundError as error:
            from runner.errors import ConfigError

            raise ConfigError(f"hydra/sweeper=optuna needs {error.name}: pip install 'veles-runner[optuna]'") from error
        return sweep_search.search(self._running, with_params(self._params, arguments), sweep_search.Settings(**self._settings))


class Ray(Launcher):
    """Runs jobs as tasks of Ray.

    Args:
        ray: `init`, what `ray.init` is given, `remote`, the options of each task, and `processes`, how many share a job. What
            is null is left to Ray.
    """

    def __init__(self, ray: Mapping[str, Any] | None) -> None:
        self._processes = (ray or {}).get("processes") or 1
        parts = [(ray or {}).get(part) or {} for part in ("init", "remote")]
        self._init, self._remote = ({name: value for name, value in part.items() if value is not None} for part in parts)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._given = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from runner.cli import ray_environment

        ray_environment.prepare(alone=self._init.get("address") == "local")
        try:
            from runner.cli import sweep_ray
        except ModuleNotFoundError as error:
            from runner.errors import ConfigError

            raise ConfigError(f"hydra/launcher=ray needs {error.name}: pip install 'veles-runner[ray]'") from error
        jobs = dict(enumerate(job_overrides, initial_job_idx))
        return sweep_ray.launch(sweep_ray.Task.here(*self._given), jobs, self._init, self._remote, self._processes)
