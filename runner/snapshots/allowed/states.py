"""BUILD: how an object gets its state."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FunctionType, MemberDescriptorType
from typing import Any

from runner.snapshots.allowed.entries import are, check

Build = Callable[[Any, Any], None]


def builder_of(cls: type, *, guarded: bool, passed_over: object = None) -> Build:
    """Returns how BUILD gives instances of a class their state: by the class's own `__setstate__` if it has one.

    That is looked up on the class alone: what the stream has put into the instance is not asked.

    Args:
        cls: the class.
        guarded: whether a state may not hide the class's methods. Declared modules are free to do that.
        passed_over: a `__setstate__` of a base that is not for this state.
    """
    hidden = _methods(cls) if guarded else frozenset()
    setstate = _own_setstate(cls)
    if setstate is passed_over:
        setstate = None

    def build(instance: Any, state: Any) -> None:
        if type(state) is dict:
            _check_names(cls, state, hidden)
        if setstate is not None:
            setstate(instance, state)
        else:
            _set_state(cls, instance, state, hidden)

    return build


def _own_setstate(cls: type) -> Build | None:
    for owner in cls.__mro__:
        if "__setstate__" in vars(owner):
            setstate: Build = getattr(cls, "__setstate__")  # noqa: B009 - mypy knows no such attribute of a type
            return setstate
    return None


def _methods(cls: type) -> frozenset[str]:
    return frozenset(name for owner in cls.__mro__ for name, value in vars(owner).items() if isinstance(value, FunctionType))


def _check_names(cls: type, state: dict[Any, Any], hidden: frozenset[str]) -> None:
    check(are(state, str), f"a state of {cls.__name__} has an attribute whose name is no text")
    for name in state:
        check(not name.startswith("__") or not name.endswith("__"), f"a state of {cls.__name__} sets {name[:100]!r}")
    if not hidden.isdisjoint(state):
        check(False, f"a state of {cls.__name__} hides the method {min(hidden & state.keys())!r}")


def _set_state(cls: type, instance: Any, state: Any, hidden: frozenset[str]) -> None:
    """Sets attributes, and slots from the second part of a pair, as `object.__reduce_ex__` gives them."""
    slots = None
    if type(state) is tuple and len(state) == 2:
        state, slots = state
    check(state is None or type(state) is dict, f"a state of {cls.__name__} is no dict")
    check(slots is None or type(slots) is dict, f"the slots in a state of {cls.__name__} are no dict")
    if state:
        _check_names(cls, state, hidden)
        vars(instance).update({sys.intern(name): value for name, value in state.items()})
    for name, value in (slots or {}).items():
        check(type(name) is str and _is_slot(cls, name), f"a state of {cls.__name__} sets a slot that it does not have")
        object.__setattr__(instance, name, value)


def _is_slot(cls: type, name: str) -> bool:
    """Whether the name is a slot of the class rather than a property or a method."""
    found = next((vars(owner)[name] for owner in cls.__mro__ if name in vars(owner)), None)
    return type(found) is MemberDescriptorType
