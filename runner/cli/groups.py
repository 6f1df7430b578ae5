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

EMPTY = "none"
"""The option of a group that is empty."""


def settled(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments with each group as Hydra wants it.

    One that no defaults list has gets a `+`, and no other; `GROUP=null` and `~GROUP` take away what a defaults list has chosen,
    or what a conf has inline, where the group has an option for nothing; of a group that is typed several times, the last
    counts, as of a key.

    Args:
        arguments: normalized ones.

    Raises:
        ConfigError: there is nothing to take away.
        ConfigCompositionException: the conf file does not exist, or its defaults list is wrong.
    """
    typed = {argument.partition("=")[0].lstrip("+~"): argument for argument in arguments if _is_of_group(argument)}
    if not typed:
        return list(arguments)
    confs = [argument for argument in arguments if argument.startswith("conf=") and "," not in argument]
    loader = ConfigLoaderImpl(create_config_search_path(None))
    defaults = loader.compute_defaults_list(conf_files.PRIMARY, confs, RunMode.RUN).defaults
    chosen = {str(item.config_path).rpartition("/")[0] for item in defaults}

    def settle(argument: str) -> str:
        group, _, value = argument.lstrip("+~").partition("=")
        value = value or NOTHING
        if value != NOTHING:
            return f"{'' if group in chosen or has_place(group, value) else '+'}{group}={value}"
        if group not in chosen and conf_files.is_option(group, EMPTY) and has_inline(group):
            return f"+{group}={EMPTY}"
        if group not in chosen:
            raise ConfigError(f"{argument} takes away what a defaults list has chosen, and none has: leave it out")
        return f"~{group}"

    def has_inline(group: str) -> bool:
        """Whether a conf file has something at the group's key, without an option."""
        found = (loader.repository.load_config(str(item.config_path)) for item in defaults)
        return any(result is not None and group in result.config and result.config[group] for result in found)

    def has_place(group: str, value: str) -> bool:
        """Whether a defaults list has the group, but no option of it: `optimizer: null`."""
        first = f"{group}={value.partition(',')[0]}"
        try:
            loader.compute_defaults_list(conf_files.PRIMARY, [*confs, first], RunMode.RUN)
        except ConfigCompositionException:
            return False
        return True

    settled_ones = {argument: settle(argument) for argument in typed.values()}
    kept = dict.fromkeys(argument for argument in arguments if not _is_of_group(argument) or argument in settled_ones)
    return [settled_ones.get(argument, argument) for argument in kept]


def _is_of_group(argument: str) -> bool:
    """Whether an argument chooses an option of a group, or takes it away: `~GROUP`, as `GROUP=null`."""
    key, is_value, value = argument.partition("=")
    return is_choice(key, value) if is_value else key.startswith("~") and conf_files.is_group(key[1:])
