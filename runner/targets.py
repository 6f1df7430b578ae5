"""Finds the classes that a configuration names: `_target_: my_module.MyWorkflow`."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from importlib import import_module
from typing import Any, TypeVar

from runner import extras, places
from runner.checks import known, meant
from runner.errors import ConfigError
from runner.typed_arguments import fitting, hints

TARGET = "_target_"

VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

T = TypeVar("T")


def with_names(value: Any, names: Mapping[str, str]) -> Any:
    """Returns a configuration, nested or flat, in which the classes of targets have other names.

    Args:
        value: the configuration, or a part of it.
        names: the new names by the ones that are there.
    """
    if isinstance(value, Mapping):
        return {
            key: names.get(item, item) if str(key).endswith(TARGET) and isinstance(item, str) else with_names(item, names)
            for key, item in value.items()
        }
    return [with_names(item, names) for item in value] if isinstance(value, list | tuple) else value


def locate(key: str, target: str, base: type[T]) -> type[T]:
    """Returns the class that a key names; imports its module.

    Args:
        key: the key, for messages.
        target: the class as `module.Class`.
        base: the class that it must be a subclass of.

    Raises:
        ConfigError: there is no such class, or it is not a subclass of `base`.
    """
    found = find(key, target)
    if not isinstance(found, type) or not issubclass(found, base):
        raise ConfigError(f"{key}={target!r} is not a subclass of {base.__module__}.{base.__qualname__}")
    return found


def find(key: str, target: str) -> Any:
    """Returns what a key names as `module.name`; imports the module.

    Raises:
        ConfigError: there is no such module, it cannot be imported, or it has no such name.
    """
    module_name, _, name = target.rpartition(".")
    if not module_name:
        raise ConfigError(f"{key}={target!r} must name a class with its module, such as my_module.{target}")
    try:
        module = import_module(module_name)
    except Exception as error:  # the module may fail in any way
        is_missing = isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}.")
        hint = "; modules are searched for in the current folder and among the installed packages" if is_missing else ""
        if isinstance(error, ModuleNotFoundError) and (command := extras.command((error.name or "").partition(".")[0])):
            hint = f": {command}"
        raise ConfigError(
            f"{key}={target!r}: the module {module_name!r} cannot be imported: {places.told(error)}{hint}"
        ) from error
    found: Any = vars(module).get(name)
    if found is None:
        close = meant(name, [other for other, value in vars(module).items() if isinstance(value, type)])
        raise ConfigError(f"{key}={target!r}: the module {module_name!r} has no {name!r}{close and f'; {close}'.rstrip()}")
    return found


def check_arguments(
    section: str, cls: type, arguments: Mapping[str, Any], *, given: Collection[str], reserved: Collection[str] = ()
) -> dict[str, Any]:
    """Returns the values of a section's keys, which are arguments of a constructor, as it takes them; none may be missing.

    Where the constructor says by an annotation what an argument is, the value has to fit.

    Args:
        section: where the keys are, for messages.
        cls: the class to construct.
        arguments: the keys and their values.
        given: arguments that the constructor gets from elsewhere, and must accept.
        reserved: further arguments that are not keys of the section.

    Raises:
        ConfigError: a key is unknown or missing, a value has another type, or the constructor does not accept an argument of
            `given`.
    """
    parameters = _parameters(cls)
    if refused := sorted(set(given) - set(parameters)):
        raise ConfigError(f"{cls.__name__} does not take {refused[0]!r}: its constructor must take **settings and pass them on")
    own = {name: kind for name, kind in parameters.items() if name not in (*given, *reserved)}
    for key in arguments:
        if key not in own:
            names = known(own) or "none"
            raise ConfigError(f"'{section}.{key}' is not a key of {cls.__name__}; {meant(key, own)}known: {names}")
    for name, kind in own.items():
        if kind.default is kind.empty and name not in arguments:
            raise ConfigError(f"{section}.{name} is missing: {cls.__name__} needs it")
    constructors = [vars(base)["__init__"] for base in reversed(cls.__mro__) if "__init__" in vars(base)]
    wanted = {name: hint for constructor in constructors for name, hint in hints(constructor).items()}
    return {key: fitting(f"{section}.{key}", value, wanted.get(key, Any)) for key, value in arguments.items()}


def _parameters(cls: type) -> dict[str, inspect.Parameter]:
    """Returns the parameters of a constructor, including those of base classes to which it passes on `**settings`."""
    found: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        _, *parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
        found = {kind.name: kind for kind in parameters if kind.kind not in VARIADIC} | found
        if not any(kind.kind is inspect.Parameter.VAR_KEYWORD for kind in parameters):
            break
    return found
