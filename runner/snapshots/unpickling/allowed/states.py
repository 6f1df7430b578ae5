"""BUILD: how an object gets its state."""

from __future__ import annotations

from collections.abc import Callable
from sys import intern
from types import MemberDescriptorType
from typing import Any

from runner.errors import SnapshotRefusedError
from runner.graph.pickleable import given_names

_STATES = (dict, type(None))

Build = Callable[[Any, Any], None]


def builder_of(cls: type, passed_over: object = None, may_hide: frozenset[str] = frozenset()) -> Build:
    """Returns how BUILD gives instances of a class their state: by the class's own `__setstate__` if it has one.

    That is looked up on the class alone: what the stream has put into the instance is not asked.

    Args:
        cls: the class.
        passed_over: a `__setstate__` of a base that is not for this state.
        may_hide: properties of the class whose names honest states have all the same.
    """
    setstate = _own_setstate(cls)
    if setstate is None or setstate is passed_over:
        return _default(cls, may_hide)

    def build(instance: Any, state: Any) -> None:
        if isinstance(state, dict):
            check_attributes(cls, state, may_hide)
        setstate(instance, state)

    return build


def check_attributes(cls: type, state: Any, may_hide: frozenset[str] = frozenset()) -> None:
    """Checks that a state is a plain dict that sets attributes, and hides nothing that the class has for itself."""
    if type(state) is not dict:
        raise SnapshotRefusedError(f"a state of {cls.__name__} is no plain dict")
    given = given_names(cls) - may_hide
    for name in state:
        if type(name) is not str:
            raise SnapshotRefusedError(f"a state of {cls.__name__} has an attribute whose name is not text")
        if name in given:
            raise SnapshotRefusedError(f"a state of {cls.__name__} hides {name[:100]!r} of its class")
        if name[:2] == "__" == name[-2:]:
            raise SnapshotRefusedError(f"a state of {cls.__name__} sets {name[:100]!r}")


def _default(cls: type, may_hide: frozenset[str]) -> Build:
    """Sets attributes, and slots from the second part of a pair, as `object.__reduce_ex__` gives them."""
    known_slots = _slots(cls)

    def build(instance: Any, state: Any) -> None:
        slots = None
        if type(state) is tuple and len(state) == 2:
            state, slots = state
        if type(state) not in _STATES or type(slots) not in _STATES:
            raise SnapshotRefusedError(f"a state of {cls.__name__} is no plain dict")
        if state:
            check_attributes(cls, state, may_hide)
            vars(instance).update({intern(name): value for name, value in state.items()})
        for name, value in (slots or {}).items():
            if name not in known_slots:
                raise SnapshotRefusedError(f"a state of {cls.__name__} sets a slot that it does not have")
            object.__setattr__(instance, name, value)

    return build


def _own_setstate(cls: type) -> Build | None:
    for owner in cls.__mro__:
        if "__setstate__" in vars(owner):
            setstate: Build = getattr(cls, "__setstate__")  # noqa: B009 - mypy knows no such attribute of a type
            return setstate
    return None


def _slots(cls: type) -> frozenset[str]:
    """Returns the slots of the class: names that lead to no property, method or value instead."""
    names = {name: value for owner in cls.__mro__[::-1] for name, value in vars(owner).items()}
    return frozenset(name for name, value in names.items() if type(value) is MemberDescriptorType)
