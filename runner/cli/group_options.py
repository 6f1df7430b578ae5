"""What takes the place of what is there instead of being merged: an option of a group of another class, and a list of layers.

Hydra merges an option, key by key. What is left of the settings of one optimizer means nothing to another, and without any, as
`optimizer=none` says, all of them would be left. Lists it replaces, but those of layers have become mappings before.
"""

from __future__ import annotations

from collections.abc import Sequence

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import IConfigRepository
from hydra.core.default_element import ResultDefault
from omegaconf import DictConfig, OmegaConf

from runner.targets import TARGET

LAYERS = "layers"

_merged = ConfigLoaderImpl._compose_config_from_defaults_list
_listed: set[str] = set()


def register() -> None:
    """Has Hydra compose configurations in this way."""
    ConfigLoaderImpl._compose_config_from_defaults_list = _composed  # type: ignore[method-assign]


def note_list(config_path: str) -> None:
    """Notes that a conf file has its layers as a list, which takes the place of those before it, as lists do."""
    _listed.add(config_path)


def _composed(self: ConfigLoaderImpl, defaults: list[ResultDefault], repo: IConfigRepository) -> DictConfig:
    for place in reversed(range(1, len(defaults))):
        if (section := _replaced(defaults[place], defaults[:place], repo)) is not None:
            config = _composed(self, defaults[:place], repo)
            OmegaConf.update(config, section, {}, merge=False)
            config.merge_with(_merged(self, defaults[place:], repo))
            return config
    return _merged(self, defaults, repo)


def _replaced(part: ResultDefault, before: Sequence[ResultDefault], repo: IConfigRepository) -> str | None:
    """Returns the section in which a part of a defaults list takes the place of what those before it have, if there is one."""
    content = _content(part, repo)
    if part.config_path in _listed:
        return LAYERS if any(_section(one, LAYERS, repo) for one in before) else None
    group = str(part.config_path).rpartition("/")[0].replace("/", ".")
    if group != part.package or group.startswith("hydra") or (content and TARGET not in content):
        return None  # one without a class has a few settings, for whatever is there
    there = [section[TARGET] for one in before if TARGET in (section := _section(one, group, repo))]
    return group if there and there[-1] != content.get(TARGET) else None


def _section(part: ResultDefault, name: str, repo: IConfigRepository) -> DictConfig:
    """Returns what a part of the defaults list has in a section; an empty one if nothing."""
    content = _content(part, repo)
    found = content if part.package == name else None if part.package else content.get(name)
    return found if isinstance(found, DictConfig) else OmegaConf.create()


def _content(part: ResultDefault, repo: IConfigRepository) -> DictConfig:
    found = repo.load_config(str(part.config_path))
    return found.config if found is not None and isinstance(found.config, DictConfig) else OmegaConf.create()
