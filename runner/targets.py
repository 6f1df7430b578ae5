"""Classes that the configuration names: `_target_: my_module.MyWorkflow`."""

from __future__ import annotations

from importlib import import_module
from typing import Any, TypeVar

from runner.errors import ConfigError

TARGET = "_target_"

T = TypeVar("T")


def locate(key: str, target: str, base: type[T]) -> type[T]:
    """Returns the class that a key names; its module is imported.

    Args:
        key: the key, for messages.
        target: the class as `module.Class`.
        base: what it must be a subclass of.

    Raises:
        ConfigError: there is no such class, or it is of another kind.
    """
    module_name, _, name = target.rpartition(".")
    if not module_name:
        raise ConfigError(f"{key}={target!r} must name a class with its module, such as my_module.{target}")
    try:
        module = import_module(module_name)
    except Exception as error:  # the module may fail in any way
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(
            f"{key}={target!r}: the module {module_name!r} cannot be imported ({reason}); modules are looked for in the current"
            " folder, and among those that are installed"
        ) from error
    found: Any = vars(module).get(name)
    if found is None:
        raise ConfigError(f"{key}={target!r}: the module {module_name!r} has no {name!r}")
    if not isinstance(found, type) or not issubclass(found, base):
        raise ConfigError(f"{key}={target!r} is no subclass of {base.__module__}.{base.__qualname__}")
    return found
