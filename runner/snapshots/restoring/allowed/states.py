"""BUILD: how an object gets its state."""

from __future__ import annotations

from collections.abc import Callable
from sys import intern
from types import FunctionType, MemberDescriptorType
from typing import Any

from runner.errors import SnapshotRefusedError
from runner.snapshots.restoring.allowed.entries import GIVEN

_STATES = (dict, type(None))

Build = Callable[[Any, Any], None]


def builder_of(cls: type, passed_over: object = None) -> Build:
    """Returns how BUILD gives instances of a class their state: by the class's own `__setstate__` if it has one.

    That is looked up on the class alone: what the stream has put into the instance is not asked.

    Args:
        cls: the class.
        passed_over: a `__setstate__` of a base that is not for this state.
    """
    hidden = _methods(cls)
    setstate = _own_setstate(cls)
    if setstate is None or setstate is passed_over:
        return _default(cls, hidden)

    def build(instance: Any, state: Any) -> None:
        if type(state) is dict:
            for name in state:
                if type(name) is not str or name in hidden or name[:2] == "__" == name[-2:]:
                    raise _refusal(cls, name, hidden)
        setstate(instance, state)

    return build


def _default(cls: type, hidden: frozenset[str]) -> Build:
    """Sets attributes, and slots from the second part of a pair, as `object.__reduce_ex__` gives them."""
    known_slots = _slots(cls)

    def build(instance: Any, state: Any) -> None:
        slots = None
        if type(state) is tuple and len(state) == 2:
            state, slots = state
        if type(state) not in _STATES or type(slots) not in _STATES:
            raise SnapshotRefusedError(f"a state of {cls.__name__} is no dict")
        if state:
            attributes = vars(instance)
            for name, value in state.items():
                if type(name) is not str or name in hidden or name[:2] == "__" == name[-2:]:
                    raise _refusal(cls, name, hidden)
                attributes[intern(name)] = value
        for name, value in (slots or {}).items():
            if name not in known_slots:
                raise SnapshotRefusedError(f"a state of {cls.__name__} sets a slot that it does not have")
            object.__setattr__(instance, name, value)

    return build


def _refusal(cls: type, name: Any, hidden: frozenset[str]) -> SnapshotRefusedError:
    if type(name) is not str:
        return SnapshotRefusedError(f"a state of {cls.__name__} has an attribute whose name is no text")
    what = "hides the method" if name in hidden else "sets"
    return SnapshotRefusedError(f"a state of {cls.__name__} {what} {name[:100]!r}")


def _own_setstate(cls: type) -> Build | None:
    for owner in cls.__mro__:
        if "__setstate__" in vars(owner):
            setstate: Build = getattr(cls, "__setstate__")  # noqa: B009 - mypy knows no such attribute of a type
            return setstate
    return None


def _methods(cls: type) -> frozenset[str]:
    """Returns the methods that no state may hide: those of veles-run and of libraries, which call them while they restore."""
    given = [owner for owner in cls.__mro__ if owner.__module__.partition(".")[0] in GIVEN]
    return frozenset(name for owner in given for name, value in vars(owner).items() if isinstance(value, FunctionType))


def _slots(cls: type) -> frozenset[str]:
    """Returns the slots of the class: names that lead to no property, method or value instead."""
    names = {name: value for owner in cls.__mro__[::-1] for name, value in vars(owner).items()}
    return frozenset(name for name, value in names.items() if type(value) is MemberDescriptorType)
