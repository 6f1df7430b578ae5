"""How an option of a config group is merged: one of another class takes the place of what is there.

Hydra merges it, key by key. What is left of the settings of one optimizer means nothing to another, and without any, as
`optimizer=none` says, all of them would be left.
"""

from __future__ import annotations

from collections.abc import Sequence

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import IConfigRepository
from hydra.core.default_element import ResultDefault
from omegaconf import DictConfig, OmegaConf

from runner.targets import TARGET

_merged = ConfigLoaderImpl._compose_config_from_defaults_list


def register() -> None:
    """Has Hydra compose configurations in this way."""
    ConfigLoaderImpl._compose_config_from_defaults_list = _composed  # type: ignore[method-assign]


def _composed(self: ConfigLoaderImpl, defaults: list[ResultDefault], repo: IConfigRepository) -> DictConfig:
    for place in reversed(range(1, len(defaults))):
        if _takes_place(defaults[place], defaults[:place], repo):
            config = _composed(self, defaults[:place], repo)
            OmegaConf.update(config, str(defaults[place].package), {}, merge=False)
            config.merge_with(_merged(self, defaults[place:], repo))
            return config
    return _merged(self, defaults, repo)


def _takes_place(option: ResultDefault, before: Sequence[ResultDefault], repo: IConfigRepository) -> bool:
    """Whether a part of the defaults list is an option of another class than what those before it have, or of none at all."""
    group = str(option.config_path).rpartition("/")[0].replace("/", ".")
    if group != option.package or group.startswith("hydra"):
        return False
    content = _content(option, repo)
    if content and TARGET not in content:
        return False  # a few settings, for whatever is there
    there = None
    for part in before:
        found = _content(part, repo)
        section = found if part.package == group else None if part.package else found.get(group)
        if isinstance(section, DictConfig) and TARGET in section:
            there = section[TARGET]
    return there is not None and there != content.get(TARGET)


def _content(part: ResultDefault, repo: IConfigRepository) -> DictConfig:
    found = repo.load_config(str(part.config_path))
    return found.config if found is not None and isinstance(found.config, DictConfig) else OmegaConf.create()
