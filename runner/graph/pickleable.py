"""What of an object goes into a snapshot, and what is made again."""

import dis
import functools
import types
from collections.abc import Callable
from typing import Any, ClassVar

from runner.errors import SnapshotRefusedError, StateError


class Pickleable:
    """An object whose attributes are pickled, except for those whose name ends in `_`.

    `init_unpickled()` makes the latter: it runs at construction, before the rest of the subclass's `__init__`, and after
    every restore. `__init__` itself is not called on restore.

    A class whose state has changed says `version = 2` and brings old states up to date in `migrate`.
    """

    version: ClassVar[int] = 1
    """The version of the class's state. Snapshots keep it."""

    def __init__(self) -> None:
        self.init_unpickled()

    def init_unpickled(self) -> None:
        """Makes the attributes whose names end in `_`. Overrides call `super().init_unpickled()` first."""

    def __getstate__(self) -> dict[str, Any]:
        """Returns the attributes that are pickled.

        Raises:
            StateError: an attribute is a function that a pickle cannot name (a lambda, a nested function), or is left out and
                never made again.
        """
        cls: Any = type(self)
        for name in lost_names(cls) & vars(self).keys():
            raise StateError(
                f"{self!r}.{name} is made in __init__() alone, and is in no snapshot since its name ends in _: what"
                " goes on would not have it; make it in init_unpickled()"
            )
        state = {name: value for name, value in vars(self).items() if not name.endswith("_")}
        for name, value in state.items():
            if isinstance(value, types.FunctionType) and "<" in value.__qualname__:
                raise StateError(
                    f"{self!r}.{name} is {value.__qualname__!r}, which cannot be pickled: make it a function of a module or a"
                    f" method, or name the attribute '{name}_' and set it in init_unpickled()"
                )
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        check_names(type(self), state)
        vars(self).update(state)
        self.init_unpickled()


@functools.cache
def lost_names(cls: type) -> frozenset[str]:
    """Returns the attributes that a restored object lacks and its methods use: named `name_`, and set by `__init__` alone."""
    methods = [
        (name, value.__code__)
        for owner in cls.__mro__
        if owner.__module__.partition(".")[0] != "runner"
        for name, value in vars(owner).items()
        if isinstance(value, types.FunctionType)
    ]
    made: dict[bool, set[str]] = {True: set(), False: set()}
    used: set[str] = set()
    for method, code in methods:
        first: dict[str, str] = {}
        for step in dis.get_instructions(code):
            if step.opname in ("STORE_ATTR", "LOAD_ATTR", "LOAD_METHOD"):
                first.setdefault(step.argval, step.opname)
        makes = {name for name, opname in first.items() if opname == "STORE_ATTR"}
        made[method == "__init__"] |= makes
        used |= set() if method == "__init__" else first.keys() - makes
    return frozenset(name for name in (made[True] - made[False]) & used if name.endswith("_") and not hasattr(cls, name))


def check_names(cls: type, state: object, *, links: frozenset[str] = frozenset()) -> None:
    """Checks that a state sets attributes of its object and nothing that the class has for itself.

    Args:
        cls: the object's class.
        state: what was pickled.
        links: names that may end in `_`: what is linked is read elsewhere.

    Raises:
        SnapshotRefusedError: it is not a dict, or a name is not text, hides a method, a property or a descriptor of the class,
            is one that Python itself looks up, or ends in `_`.
    """
    if type(state) is not dict:
        raise SnapshotRefusedError(f"the state of a {cls.__name__} is a {type(state).__name__}, not a dict")
    given = given_names(cls)
    for name in state:
        if type(name) is not str:
            raise SnapshotRefusedError(f"the state of a {cls.__name__} has a name that is not text")
        if name in given or name[:2] == "__" == name[-2:]:
            raise SnapshotRefusedError(f"the state of a {cls.__name__} hides {name[:100]!r} of its class")
        if name.endswith("_") and name not in links:
            raise SnapshotRefusedError(f"the state of a {cls.__name__} sets {name[:100]!r}, which is in no snapshot")


class Offered:
    """A property of a class whose name instances may have for an attribute of their own, as those of a user's subclass may.

    Args:
        method: computes it.
    """

    def __init__(self, method: Callable[[Any], Any]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else self._method(instance)


_PLAIN = (types.MemberDescriptorType, types.GetSetDescriptorType, functools.cached_property, Offered)
"""Descriptors that leave the value to the instance."""


@functools.cache
def given_names(cls: type) -> frozenset[str]:
    """Returns the names of a class that its instances may not hide: methods, properties and other descriptors."""
    found: dict[str, object] = {}
    for owner in reversed(cls.__mro__):
        found |= vars(owner)
    return frozenset(name for name, value in found.items() if hasattr(type(value), "__get__") and not _is_open(value))


def _is_open(value: object) -> bool:
    return isinstance(value, _PLAIN) or getattr(type(value), "is_link", False)
