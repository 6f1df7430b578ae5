"""What Hydra says of a job, and the commands that continue it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from runner import shell
from runner.build import LAUNCH_KEYS
from runner.cli import conf_files, misconfigured
from runner.cli.authority import PLACES
from runner.cli.overrides import as_override, is_own_choice, overrides_of
from runner.config import Config
from runner.errors import ConfigError
from runner.flat import flattened
from runner.snapshots.stores.location import SNAPSHOT_WORDS, TAG
from runner.targets import TARGET

NOT_OF_THE_JOB = ("hydra", "defaults")
"""Keys of Hydra's own."""
NAME = "workflow.name"
NETWORKS = ("~layers", "~mcdnnic_topology", "~model")
"""What takes away a conf file's network, beside which another one is refused."""
TO_GO_ON = "snapshotter.on_unrestorable"
NOT_OF_THE_RUN = ("conf", "snapshot", "mode", "graph", "data", "output", "restore", "sweep")
SEARCHED = ("snapshotter.directory", "snapshotter.odbc", "snapshotter.table", "snapshotter.create_table", "snapshotter.spool")
"""Keys that also say where `latest` and `auto` look for snapshots."""


@dataclass(frozen=True)
class Request:
    """What Hydra says of the job.

    Attributes:
        conf: the conf file's name, if there is one.
        typed: the overrides of this job.
        output_dir: its folder.
        run_folders: the folders that hold the folders of all runs.
        sweep: whether it is one of several.
    """

    conf: str | None
    typed: list[str]
    output_dir: str
    run_folders: list[Path]
    sweep: bool

    @classmethod
    def from_hydra(cls) -> Request:
        """Reads it from Hydra's own configuration."""
        config = HydraConfig.get()
        return cls(
            conf=config.runtime.choices.get("conf"),
            typed=overrides_of(config),
            output_dir=relative(config.runtime.output_dir),
            run_folders=[_top(section) for section in (config.run, config.sweep)],
            sweep=config.mode is RunMode.MULTIRUN,
        )

    @property
    def run_overrides(self) -> list[str]:
        """The overrides that describe the run itself."""
        return [text for text in self.typed if _section(text) not in NOT_OF_THE_RUN]

    @property
    def scoring_overrides(self) -> list[str]:
        """The overrides that say something of what is scored. Where a snapshot is looked for does not."""
        searched = self.named_snapshot in SNAPSHOT_WORDS or self.named_snapshot.startswith(TAG)
        places = {"snapshotter.mode", *(SEARCHED if searched else ())}
        return [text for text in self.run_overrides if _key(text) not in places and _section(text) not in LAUNCH_KEYS]

    @property
    def named_snapshot(self) -> str:
        """The snapshot as it was typed, its references unresolved; empty if it was not."""
        texts = [text for text in self.typed if _key(text) == "snapshot"]
        return str(OverridesParser.create().parse_override(texts[0]).value() or "") if texts else ""

    def without_snapshot(self) -> Request:
        """Returns the same without a snapshot that was named."""
        return replace(self, typed=[text for text in self.typed if _key(text) != "snapshot"])

    def with_overrides(self, *overrides: str) -> Request:
        """Returns the same with further overrides, in place of what was typed for their keys."""
        keys = keys_of(overrides)
        return replace(self, typed=[*(text for text in self.typed if _key(text) not in keys), *overrides])

    @property
    def branches(self) -> bool:
        """Whether this is one of several jobs that start from a snapshot that was named: each is a branch of its own."""
        return self.sweep and self.named_snapshot not in ("", "latest", "auto")

    @property
    def typed_keys(self) -> list[str]:
        """The keys that were typed."""
        return keys_of(self.typed)

    @property
    def emptied(self) -> list[str]:
        """The keys for which an empty mapping was typed."""
        return [key for text in self.typed for key in _empty_within(_key(text), _mapping(text))]

    @property
    def typed_keys_of_run(self) -> list[str]:
        """The keys that were typed, of those that describe the run itself."""
        return keys_of(self.run_overrides)

    @property
    def restore_overrides(self) -> list[str]:
        """The overrides without which the run would not go on: how far a snapshot is trusted, its workflow's name and the
        classes that were typed, what they take the place of, and the places, keys and references that no snapshot may name, and
        whether it may go on although the default restore would refuse its snapshots."""
        return [
            text.lstrip("+")
            for text in self.typed
            if _section(text) in ("restore", "logger", "loggers")
            or TARGET in text
            or is_own_choice(*text.partition("=")[::2])
            or _key(text) in (*PLACES, NAME, TO_GO_ON)
            or (_key(text) in NETWORKS and _section(text)[1:] not in map(_section, self.typed))
            or "${" in text
        ]

    def workflow_name(self, node: DictConfig) -> str | None:
        """Returns the name of the workflow that the conf file, or what was typed, describes."""
        target = str(node.workflow[TARGET] or "").rpartition(".")[2]
        return node.workflow.name or (self.conf and conf_files.title(self.conf)) or target or None

    def continuation(self, location: str, apart_from: Collection[str] = ()) -> str:
        """Returns the command that continues the run from a snapshot.

        Args:
            location: the snapshot.
            apart_from: keys that are left out.
        """
        conf = [as_override("conf", self.conf)] if self.conf else []
        return shell.join(["veles-run", *conf, as_override("snapshot", location), *self._repeated(apart_from)])

    def _repeated(self, apart_from: Collection[str]) -> list[str]:
        """Returns the overrides that are typed again when the run goes on."""
        needed = self.restore_overrides
        # What is typed again counts over the snapshot, and what was typed over it counts over it again. An option of a group is
        # of any keys.
        everything = any(is_own_choice(*text.partition("=")[::2]) for text in needed)
        keys = tuple(f"{_key(text)}." for text in needed)
        over = {
            text.lstrip("+")
            for text in self.run_overrides
            if _key(text) not in (*NETWORKS, *apart_from) and (everything or f"{_key(text)}.".startswith(keys))
        }
        return [text for text in (text.lstrip("+") for text in self.typed) if text in needed or text in over]

    def extension(self, location: str, keys: Mapping[str, int], *, whole: bool = False) -> str:
        """Returns the command that has a complete run go on, with keys that say how far.

        Args:
            location: the snapshot.
            keys: what says how far.
            whole: whether the snapshot lacks what was typed, since nothing has run with it.
        """
        started = self.continuation(location, keys)
        typed = [text.lstrip("+") for text in self.typed if _section(text) not in NOT_OF_THE_RUN and _key(text) not in keys]
        known = self._repeated(keys)
        further = [text for text in typed if text not in known] if whole else []
        return " ".join([started, *map(shell.quote, further), *(f"{key}={value}" for key, value in keys.items())])


def keys_of(overrides: Sequence[str]) -> list[str]:
    """Returns the keys of overrides, and of what is in the mappings that they give."""
    return [key for text in overrides for key in (_key(text).lstrip("~"), *_keys_within(text))]


def _keys_within(override: str) -> list[str]:
    found = _mapping(override)
    return [f"{_key(override)}.{name}" for name in flattened(found)] if isinstance(found, dict) else []


def _mapping(override: str) -> Any:
    """Returns the mapping that an override gives; None if it is another value."""
    key, _, value = override.lstrip("+").partition("=")
    return OverridesParser.create().parse_override(f"{key}={value}").value() if value.startswith("{") else None


def _empty_within(key: str, value: Any) -> list[str]:
    if not isinstance(value, dict):
        return []
    return [found for name, item in value.items() for found in _empty_within(f"{key}.{name}", item)] if value else [key]


def job_part(node: DictConfig) -> DictConfig:
    """Returns the job's part of Hydra's configuration, with the schema's types.

    Raises:
        ConfigError: `+` has added a key that the schema does not have, and that would count for nothing.
    """
    part = node.copy()
    with open_dict(part):
        for key in NOT_OF_THE_JOB:
            part.pop(key, None)
    if not _is_typed(part):
        typed: DictConfig = OmegaConf.merge(OmegaConf.structured(Config), OmegaConf.to_container(part))  # type: ignore[assignment]
        return typed
    _check_known(part)
    OmegaConf.set_struct(part, None)
    part._metadata.object_type = Config  # to merge it with another would check all values again
    return part


def _is_typed(part: DictConfig) -> bool:
    """Whether all sections are there and have types; `~loader` takes one away, and what `+loader={}` adds then has none."""
    sections = [item.name for item in fields(Config) if is_dataclass(item.default_factory)]
    whole = part.keys() == {item.name for item in fields(Config)}
    return whole and all(is_dataclass(OmegaConf.get_type(part._get_node(name))) for name in sections)


def _check_known(node: DictConfig, prefix: str = "") -> None:
    cls = OmegaConf.get_type(node)
    known = {item.name for item in fields(cls)} if is_dataclass(cls) else None
    for key in map(str, node):
        if known is not None and key not in known:
            raise ConfigError(misconfigured.unknown_key(f"{prefix}{key}", cls))
        section = node._get_node(key)
        if isinstance(section, DictConfig) and not section._is_none() and not section._is_interpolation():
            _check_known(section, f"{prefix}{key}.")


def _key(override: str) -> str:
    return override.lstrip("+").partition("=")[0]


def _section(override: str) -> str:
    return _key(override).partition(".")[0]


def _top(section: Any) -> Path:
    """Returns the folder that holds all folders of runs: `outputs` for `outputs/2026-11-24/11-24-19`.

    Of an absolute path, it is what comes before the part that differs from run to run.
    """
    folder = Path(relative(section.dir))
    if not folder.is_absolute():
        return Path(*folder.parts[:1])
    pattern: str = OmegaConf.to_container(section, resolve=False)["dir"]  # type: ignore[call-overload,index]
    fixed = Path(pattern.partition("${")[0].rpartition("/")[0] if "${" in pattern else folder.parent)
    return fixed if fixed.is_absolute() and fixed != Path(fixed.anchor) else folder.parent


def relative(path: str) -> str:
    """Returns a path relative to the current folder, where it is below it."""
    folder = Path(path)
    return str(folder.relative_to(Path.cwd())) if folder.is_relative_to(Path.cwd()) else path
