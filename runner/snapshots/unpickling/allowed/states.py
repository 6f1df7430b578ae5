"""BUILD: how an object gets its state."""

from __future__ import annotations

import functools
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

    def build(instance: Any, state: Any) -> None:
        attributes, slots = _parts(cls, state, may_hide)
        if attributes:
            vars(instance).update({intern(name): value for name, value in attributes.items()})
        for name, value in slots.items():
            object.__setattr__(instance, name, value)

    return build


def _parts(cls: type, state: Any, may_hide: frozenset[str] = frozenset()) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the attributes and the slots in a state, after a check of their names."""
    attributes, slots = state if type(state) is tuple and len(state) == 2 else (state, None)
    if type(attributes) not in _STATES or type(slots) not in _STATES:
        raise SnapshotRefusedError(f"a state of {cls.__name__} is no plain dict")
    check_attributes(cls, attributes or {}, may_hide)
    if not (slots or {}).keys() <= _slots(cls):
        raise SnapshotRefusedError(f"a state of {cls.__name__} sets a slot that it does not have")
    return attributes or {}, slots or {}


def check_names_in(cls: type, state: Any) -> None:
    """Checks the names in a state that is for instances of a class of one's own, without an instance."""
    if _own_setstate(cls) is None:
        _parts(cls, state)
    elif isinstance(state, dict):
        check_attributes(cls, state)


def _own_setstate(cls: type) -> Build | None:
    for owner in cls.__mro__:
        if "__setstate__" in vars(owner):
            setstate: Build = getattr(cls, "__setstate__")  # noqa: B009 - mypy knows no such attribute of a type
            return setstate
    return None


@functools.cache
def _slots(cls: type) -> frozenset[str]:
    """Returns the slots of the class: names that lead to no property, method or value instead."""
    names = {name: value for owner in cls.__mro__[::-1] for name, value in vars(owner).items()}
    return frozenset(name for name, value in names.items() if type(value) is MemberDescriptorType)
