"""Classes that the configuration names: `_target_: my_module.MyWorkflow`."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from importlib import import_module
from typing import Any, TypeVar

from runner.checks import known
from runner.errors import ConfigError

TARGET = "_target_"

SIMPLE: dict[Any, tuple[type, ...]] = {"int": (int,), "float": (float, int), "str": (str,), "bool": (bool,)}
"""The types of values for annotations that can be checked."""

VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

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


def check_arguments(
    section: str, cls: type, arguments: Mapping[str, Any], *, given: Collection[str], reserved: Collection[str] = ()
) -> None:
    """Checks that keys of a section are arguments of a constructor, and that none is missing.

    Where the constructor says that an argument is a plain number or text, so must the value be.

    Args:
        section: where the keys are, for messages.
        cls: the class.
        arguments: the keys and their values.
        given: the arguments that the constructor gets from elsewhere.
        reserved: further ones that are no keys of the section.

    Raises:
        ConfigError: a key is unknown or missing, a value is of another type, or the constructor does not take what is given.
    """
    parameters = _parameters(cls)
    if refused := sorted(set(given) - set(parameters)):
        raise ConfigError(f"{cls.__name__} does not take {refused[0]!r}: its constructor needs **settings, and passes them on")
    own = {name: kind for name, kind in parameters.items() if name not in (*given, *reserved)}
    for key, value in arguments.items():
        if key not in own:
            raise ConfigError(f"'{section}.{key}' is not a key of {cls.__name__}; known: {known(own) or 'none'}")
        kinds = SIMPLE.get(getattr(own[key].annotation, "__name__", own[key].annotation))
        if kinds is not None and type(value) not in kinds:
            raise ConfigError(f"{section}.{key}={value!r} must be of type {kinds[0].__name__}")
    for name, kind in own.items():
        if kind.default is kind.empty and name not in arguments:
            raise ConfigError(f"{section}.{name} is missing: {cls.__name__} needs it")


def _parameters(cls: type) -> dict[str, inspect.Parameter]:
    """Returns the parameters of the constructor, and those of the base classes that it passes further ones on to."""
    found: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        _, *parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
        found = {kind.name: kind for kind in parameters if kind.kind not in VARIADIC} | found
        if not any(kind.kind is inspect.Parameter.VAR_KEYWORD for kind in parameters):
            break
    return found
