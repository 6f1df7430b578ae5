"""Classes that the configuration names: `_target_: my_module.MyWorkflow`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, TypeVar

from runner.errors import ConfigError

TARGET = "_target_"

T = TypeVar("T")


def locate(key: str, target: Any, base: type[T]) -> type[T]:
    """Returns the class that a key names; its module is imported.

    Args:
        key: the key, for messages.
        target: the class as `module.Class`.
        base: what it must be a subclass of.

    Raises:
        ConfigError: there is no such class, or it is of another kind.
    """
    module_name, _, name = str(target).rpartition(".")
    if not module_name:
        raise ConfigError(f"{key}={target!r} must name a class with its module, such as my_module.{target}")
    try:
        module = import_module(module_name)
    except Exception as error:
        raise ConfigError(
            f"{key}={target!r}: the module {module_name!r} cannot be imported ({type(error).__name__}: {error}); modules are"
            " looked for in the current folder, and among those that are installed"
        ) from error
    found = vars(module).get(name)
    if found is None:
        raise ConfigError(f"{key}={target!r}: the module {module_name!r} has no {name!r}")
    if not isinstance(found, type) or not issubclass(found, base):
        raise ConfigError(f"{key}={target!r} is no subclass of {base.__name__}")
    return found


def packages(settings: Any) -> list[str]:
    """Returns the packages of all classes that a configuration names; of a module outside of a package, the module."""
    found = {module.rpartition(".")[0] or module for target in _targets(settings) for module in [target.rpartition(".")[0]]}
    return sorted(found - {""})


def _targets(settings: Any) -> Iterator[str]:
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            if key == TARGET and isinstance(value, str):
                yield value
            else:
                yield from _targets(value)
    elif isinstance(settings, list | tuple):
        for value in settings:
            yield from _targets(value)
