"""How the application looks to Hydra: its primary configuration, where conf files are, logging, folders and help."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from hydra._internal import config_loader_impl
from hydra._internal.config_loader_impl import get_overrides_dirname
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import GrammarParseError, OmegaConfBaseException

from runner import passwords
from runner.checks import first_line
from runner.cli import conf_files, group_options, hydra_mode, output, overrides, run_folder, sweep_stop
from runner.cli.sweeping import seed
from runner.config import Config
from runner.config.veles import translated
from runner.config.yaml_texts import as_written, check_references
from runner.errors import ConfigError
from runner.flat import flattened
from runner.snapshots.stores.location import concealed
from runner.text import shown

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class App(Config):
    """The primary configuration: the schema, the conf file over it, and Hydra's own settings."""

    defaults: list[Any] = field(
        default_factory=lambda: [
            "_self_",
            {"conf": None},
            {"override hydra/job_logging": "veles"},
            {"override hydra/hydra_logging": "veles"},
            {"override hydra/sweeper": "veles"},
        ]
    )
    hydra: Any = field(
        default_factory=lambda: {
            # `outputs/mnist/2026-11-24/11-24-19-dfc837`. Two runs that start in the same second have different folders.
            "run": {"dir": "outputs/${run_name:}/${now:%Y-%m-%d}/${run_time:}"},
            "sweep": {"dir": "multirun/${run_name:}/${now:%Y-%m-%d}/${run_time:}"},
            "job": {"name": "veles-run", "config": {"override_dirname": {"exclude_keys": ["sweep.folder", "sweep.retry"]}}},
            "callbacks": {
                "passwords": {"_target_": "runner.cli.hydra_app.PasswordsForJobs"},
                "end": {"_target_": "runner.cli.hydra_app.EndOfSweep"},
                "folder": {"_target_": "runner.cli.hydra_app.NewFolder"},
            },
        }
    )


_JOB_LOGGING = {
    "version": 1,
    "filters": {"secrets": {"()": "runner.passwords.RedactingFilter"}},
    "formatters": {"file": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {
        "console": {"class": "runner.cli.console.LineHandler", "filters": ["secrets"]},
        "file": {
            "class": "runner.cli.console.LogFile",
            "formatter": "file",
            "filters": ["secrets"],
            "filename": "${hydra.runtime.output_dir}/${hydra.job.name}.log",
        },
    },
    "root": {"level": "INFO", "handlers": ["console", "file"]},
    "disable_existing_loggers": False,
}


_LAUNCHERS = (
    "hydra._internal.core_plugins.basic_launcher",
    "hydra_plugins.hydra_joblib_launcher._core",
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher",
)
_HYDRA_LOGGING = {
    "version": 1,
    "filters": _JOB_LOGGING["filters"],
    "formatters": {"hydra": {"format": "[%(asctime)s][HYDRA] %(message)s"}},
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "stream": "ext://sys.stdout",
            "formatter": "hydra",
            "filters": ["secrets"],
        }
    },
    "root": {"level": "${quiet_level:}", "handlers": ["console"]},
    # The jobs say what they are by themselves, with the numbers of their folders.
    "loggers": {name: {"level": "WARNING"} for name in _LAUNCHERS},
    "disable_existing_loggers": False,
}
"""What Hydra itself says, such as the jobs of a sweep."""


_COMBINATIONS = {"_target_": "hydra_plugins.veles_run.Combinations", "max_batch_size": None, "params": None}
_SEARCH: dict[str, Any] = {
    "_target_": "hydra_plugins.veles_run.Search",
    "n_trials": None,
    "n_jobs": 1,
    "sampler": "tpe",
    "sampler_arguments": None,
    "pruner": "none",
    "pruner_arguments": None,
    "objectives": ["objective"],
    "direction": "minimize",
    "storage": None,
    "seed": None,
    "params": None,
}
_RAY = {
    "_target_": "hydra_plugins.veles_run.Ray",
    "ray": {
        "processes": 1,
        "init": {"address": "local", "num_cpus": None, "num_gpus": None},
        "remote": {"num_cpus": None, "num_gpus": None, "memory": None, "resources": None, "max_retries": 3},
    },
}


class ConfFolder(FileConfigSource):
    """A folder of which only `conf/` counts: nothing else in the current folder is configuration."""

    @staticmethod
    def scheme() -> str:
        return "conf"

    def is_group(self, config_path: str) -> bool:
        return super().is_group(conf_files.folder(config_path))

    def is_config(self, config_path: str) -> bool:
        return conf_files.is_named(config_path) and super().is_config(conf_files.file(config_path, self.path))

    def load_config(self, config_path: str) -> ConfigResult:
        file = conf_files.file(config_path, self.path)
        try:
            result = super().load_config(file)
        except UnicodeDecodeError as error:
            raise ConfigError(f"{self._normalize_file_name(file)} is not UTF-8 text ({error}): save it as UTF-8") from error
        except OSError as error:
            raise ConfigError(f"{self._normalize_file_name(file)} cannot be read: {error.strerror}") from error
        except GrammarParseError:
            check_references(Path(self.path) / self._normalize_file_name(file))
            raise
        except (ValueError, OmegaConfBaseException) as error:  # such as a key that is null
            raise ConfigError(f"{self._normalize_file_name(file)} cannot be read: {first_line(error)}") from error
        if not isinstance(result.config, DictConfig):
            raise ConfigError(f"{self._normalize_file_name(file)} is a list: a conf file has keys, KEY: VALUE")
        if config_path.startswith("conf/") and result.header.get("package") is None:
            result.header["package"] = "_global_"  # a conf file speaks of the whole run; no line has to say so
        config = result.config
        if isinstance(config, DictConfig):
            _conceal_connection(config)
            path = Path(self.path) / self._normalize_file_name(file)
            if isinstance(config.get(group_options.LAYERS), ListConfig):
                group_options.note_list(config_path)
            content, notes = translated(as_written(OmegaConf.to_container(config), path))
            hydra_mode.look(content, result.header.get("package") or config_path)
            if config_path.startswith("conf/"):
                content = conf_files.with_absolute_defaults(content, config_path, self.path)
            result.config = OmegaConf.create(content)
            for note in notes:
                _say(note)
        return result

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if config_path == "":
            return ["conf", *super().list("conf", ObjectType.GROUP)] if super().is_group("conf") else []
        if config_path == "conf" and results_filter is ObjectType.GROUP:
            return []  # they are at the top
        return super().list(conf_files.folder(config_path), results_filter)

    def _normalize_file_name(self, filename: str) -> str:  # type: ignore[override]
        return filename if filename.endswith(conf_files.SUFFIXES) else f"{filename}.yaml"


class ConfSearchPath(SearchPathPlugin):
    """Makes `conf/` a config group: that of the current folder first, then the package's."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append("current folder", f"conf://{os.getcwd()}")
        search_path.append("veles-run", f"conf://{conf_files.bundled()}")


class PasswordsForJobs(Callback):
    """Gives the passwords to the processes in which a launcher runs the jobs of a sweep; the basic one starts none."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        if sweep_stop.in_other_processes(config.hydra):
            passwords.hand_over()

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        passwords.keep()


class NewFolder(Callback):
    """Notes what Hydra is about to make, so that nothing is left of what did not run."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        hydra_mode.composed()
        with suppress(OmegaConfBaseException):  # of which Hydra says more when it makes the folder
            run_folder.note_new(config.hydra.run.dir)


class EndOfSweep(Callback):
    """Has a sweep told in the end, however it ends: Hydra itself calls nobody after a job that has failed."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        from runner.cli import sweep_end

        hydra_mode.composed()
        sweep_end.begin(config)


@cache
def store_schema() -> None:
    """Gives Hydra the schema, once for a process and those that are forked from it."""
    store = ConfigStore.instance()
    store.store(name=conf_files.PRIMARY, node=App)
    store.store(group="hydra/job_logging", name="veles", node=_JOB_LOGGING, package="hydra.job_logging")
    store.store(group="hydra/hydra_logging", name="veles", node=_HYDRA_LOGGING, package="hydra.hydra_logging")
    store.store(group="hydra/sweeper", name="veles", node=_COMBINATIONS)
    store.store(group="hydra/sweeper", name="optuna", node=_SEARCH)
    store.store(group="hydra/launcher", name="ray", node=_RAY)


def register() -> None:
    """Tells Hydra all of this."""
    store_schema()
    JobReturn.return_value = JobReturn.return_value.getter(_return_value)  # type: ignore[attr-defined,method-assign]
    hydra_mode.register()
    group_options.register()
    config_loader_impl.get_overrides_dirname = _overrides_dirname  # type: ignore[assignment]
    Plugins.instance().register(ConfFolder)
    Plugins.instance().register(ConfSearchPath)
    # Resolvers reach the processes in which a launcher runs jobs, with what they hold.
    run_folder.name_runs()
    OmegaConf.register_new_resolver("quiet_level", lambda: "WARNING" if os.environ.get(output.QUIET) else "INFO", replace=True)
    seed.use(seed.drawn())
    sweep_stop.hold()


def _overrides_dirname(overrides: list[Override], **how: Any) -> str:
    """Returns the name of folders called after what was typed. A reference, which may lead to a password, is a text there."""
    return get_overrides_dirname(overrides, **how).replace("${", "{")


def _return_value(returned: JobReturn) -> Any:
    """Returns what a job has returned, or raises what it has failed with; Hydra's own also prints a line."""
    if returned.status is JobStatus.FAILED:
        raise returned._return_value
    return returned._return_value


def _conceal_connection(config: DictConfig) -> None:
    """Masks the passwords of connection strings in a conf file, before Hydra saves what it composes."""
    settings: Any = OmegaConf.to_container(config)
    snapshotter, snapshot = settings.get("snapshotter"), settings.get("snapshot")
    if isinstance(snapshotter, dict) and isinstance(snapshotter.get("odbc"), str):
        config.snapshotter.odbc = passwords.conceal(snapshotter["odbc"])
    if isinstance(snapshotter, dict) and isinstance(snapshotter.get("directory"), str):
        config.snapshotter.directory = concealed(snapshotter["directory"])
    if isinstance(snapshot, str):
        config.snapshot = concealed(snapshot)
    known = flattened(settings)
    for key in (overrides.STORAGE, overrides.STORAGE.rpartition(".")[2]):  # the latter in a file of Hydra's group
        if isinstance(url := known.get(key), str):
            OmegaConf.update(config, key, passwords.conceal_url(url))


@cache
def _say(note: str) -> None:
    """Says something of a conf file, once: Hydra reads it for each job, and before there is a log."""
    print(f"veles-run: {passwords.redact(shown(note))}", file=sys.stderr)
