"""Config groups as they are typed: `optimizer=adamw`, whether or not the conf file has a default for the group."""

from __future__ import annotations

from collections.abc import Sequence

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.types import RunMode

from runner.cli import conf_files
from runner.cli.overrides import is_choice


def settled(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments with the `+` that Hydra wants in front of a group that no defaults list has, and nowhere else.

    Args:
        arguments: normalized ones.

    Raises:
        ConfigCompositionException: the conf file does not exist, or its defaults list is wrong.
    """
    typed = [argument for argument in arguments if is_choice(*argument.partition("=")[::2])]
    if not typed:
        return list(arguments)
    confs = [argument for argument in arguments if argument.startswith("conf=") and "," not in argument]
    loader = ConfigLoaderImpl(create_config_search_path(None))
    defaults = loader.compute_defaults_list(conf_files.PRIMARY, confs, RunMode.RUN).defaults
    has_default = {str(item.config_path).rpartition("/")[0] for item in defaults}

    def settle(argument: str) -> str:
        argument = argument.lstrip("+")
        return argument if argument.partition("=")[0] in has_default else f"+{argument}"

    return [settle(argument) if argument in typed else argument for argument in arguments]
