"""Config groups as they are typed: `optimizer=adamw`, whether or not the conf file has a default for the group."""

from __future__ import annotations

from collections.abc import Sequence

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode

from runner.cli import conf_files
from runner.cli.overrides import NOTHING, is_choice
from runner.errors import ConfigError


def settled(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments with each group as Hydra wants it.

    One that no defaults list has gets a `+`, and no other; `GROUP=null` takes away what a defaults list has chosen; of a
    group that is typed several times, the last counts, as of a key.

    Args:
        arguments: normalized ones.

    Raises:
        ConfigError: there is nothing to take away.
        ConfigCompositionException: the conf file does not exist, or its defaults list is wrong.
    """
    typed = {argument.partition("=")[0].lstrip("+"): argument for argument in arguments if _is_choice(argument)}
    if not typed:
        return list(arguments)
    confs = [argument for argument in arguments if argument.startswith("conf=") and "," not in argument]
    loader = ConfigLoaderImpl(create_config_search_path(None))
    defaults = loader.compute_defaults_list(conf_files.PRIMARY, confs, RunMode.RUN).defaults
    chosen = {str(item.config_path).rpartition("/")[0] for item in defaults}

    def settle(group: str, value: str) -> str:
        if value != NOTHING:
            return f"{'' if group in chosen or has_place(group, value) else '+'}{group}={value}"
        if group not in chosen:
            raise ConfigError(f"{group}=null takes away what a defaults list has chosen, and none has: leave it out")
        return f"~{group}"

    def has_place(group: str, value: str) -> bool:
        """Whether a defaults list has the group, but no option of it: `optimizer: null`."""
        first = f"{group}={value.partition(',')[0]}"
        try:
            loader.compute_defaults_list(conf_files.PRIMARY, [*confs, first], RunMode.RUN)
        except ConfigCompositionException:
            return False
        return True

    settled_ones = {argument: settle(*argument.lstrip("+").split("=", 1)) for argument in typed.values()}
    kept = dict.fromkeys(argument for argument in arguments if not _is_choice(argument) or argument in settled_ones)
    return [settled_ones.get(argument, argument) for argument in kept]


def _is_choice(argument: str) -> bool:
    return is_choice(*argument.partition("=")[::2])
