"""The types of attributes in snapshots, from the annotations of veles-run's own classes.

A snapshot brings values of its maker's choice. Code that reads an attribute may rely on its annotation, because
`runner.snapshots.unpickling.soundness` compares each with what is here.
"""

from __future__ import annotations

import collections
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, ForwardRef, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

from runner.graph.links import LINKED, LinkedAttribute

Check = Callable[[Any], bool]

INTEGER_BITS = 63
"""Bits of an integer attribute: none of ours needs more, and Python's arithmetic slows down without a limit."""


class Declared(NamedTuple):
    """What a class says of an attribute.

    Attributes:
        text: the annotation, for messages.
        fits: whether a value is of its type.
        linked: whether another unit may provide it.
        open: whether any plain value fits, so that its content says nothing.
    """

    text: str
    fits: Check
    linked: bool
    open: bool


@functools.cache
def declared(cls: type) -> dict[str, Declared]:
    """Returns what veles-run's own classes among the bases of a class say of their attributes, by name."""
    found: dict[str, Declared] = {}
    for owner in reversed(cls.__mro__):
        if owner.__module__.partition(".")[0] == "runner":
            for name, hint in _hints(owner).items():
                if name not in _of_owner(owner):
                    found[name] = _declared(hint, name in found and found[name].linked)
    return found


@functools.cache
def of_class(cls: type) -> frozenset[str]:
    """Returns what veles-run's own classes among the bases of a class say to be the same for all instances."""
    owners = [owner for owner in cls.__mro__ if owner.__module__.partition(".")[0] == "runner"]
    first = {name: owner for owner in owners for name in _hints(owner)}
    return frozenset(name for name, owner in first.items() if name in _of_owner(owner))


@functools.cache
def _of_owner(owner: type) -> frozenset[str]:
    """Returns what one class says to be the same for all instances."""
    return frozenset(name for name, hint in _hints(owner).items() if get_origin(hint) is ClassVar or hint is ClassVar)


@functools.cache
def required(cls: type) -> dict[str, Declared]:
    """Returns those attributes that each instance has by itself: neither made again, nor provided by others or by the class."""
    if "__setstate__" in vars(cls):
        return {}  # it makes something else of its state
    own = {name: kind for name, kind in declared(cls).items() if not name.endswith("_") and not kind.linked}
    given = {name for owner in cls.__mro__ for name, value in vars(owner).items() if type(value) is not LinkedAttribute}
    return {name: kind for name, kind in own.items() if name not in given}


@functools.cache
def _declared(hint: Any, linked: bool) -> Declared:
    marks = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    plain = get_args(hint)[0] if marks else hint
    return Declared(_text(plain), check_of(plain), linked or LINKED in marks, plain is Any)


@functools.cache
def _hints(owner: type) -> dict[str, Any]:
    """Returns the annotations of one class, evaluated where it is defined; Unit and Workflow are known everywhere."""
    from runner.graph import Bool, Unit, Workflow

    scope = {"Bool": Bool, "Unit": Unit, "Workflow": Workflow} | vars(sys.modules[owner.__module__])
    annotations: dict[str, Any] = vars(owner).get("__annotations__", {})
    # NamedTuple wraps the texts of its annotations.
    texts = {name: hint.__forward_arg__ if type(hint) is ForwardRef else hint for name, hint in annotations.items()}
    return {name: eval(hint, scope) if type(hint) is str else hint for name, hint in texts.items()}


def _text(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint).replace("typing.", "")


def check_of(hint: Any) -> Check:
    """Returns what tells whether a value is of an annotated type, its content included."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any or isinstance(hint, TypeVar):
        return lambda value: True
    if origin is Annotated:
        return check_of(args[0])
    if origin in (Union, UnionType):
        options = [check_of(option) for option in args]
        return lambda value: any(fits(value) for fits in options)
    if origin is Literal:
        return lambda value: type(value) in (str, int, bool) and value in args
    return _container(origin or hint, args) or _plain(hint)


def _plain(hint: Any) -> Check:
    if hint in (None, NoneType):
        return lambda value: value is None
    if hint is int:
        return _is_int
    if hint is float:
        return lambda value: type(value) is float or _is_int(value)
    if hint in (bool, str, bytes):
        return lambda value: type(value) is hint
    if not isinstance(hint, type):  # a function, or a class itself: never in a snapshot
        return lambda value: False
    return lambda value: isinstance(value, hint)


def _is_int(value: Any) -> bool:
    return type(value) is int and value.bit_length() <= INTEGER_BITS


_SEQUENCES: dict[Any, tuple[type, ...]] = {
    list: (list,),
    set: (set,),
    frozenset: (frozenset,),
    collections.deque: (collections.deque,),
    Sequence: (list, tuple),
}
_MAPPINGS: tuple[Any, ...] = (dict, Mapping)


def _container(kind: Any, args: tuple[Any, ...]) -> Check | None:
    if kind in _SEQUENCES:
        kinds, item = _SEQUENCES[kind], check_of(args[0] if args else Any)
        return lambda value: type(value) in kinds and all(map(item, value))
    if kind in _MAPPINGS:
        key, item = (check_of(arg) for arg in (args or (Any, Any)))
        return lambda value: type(value) is dict and all(map(key, value)) and all(map(item, value.values()))
    if kind is tuple:
        return _tuple(args)
    return None


def _tuple(args: tuple[Any, ...]) -> Check:
    if not args or args[-1] is ...:
        item = check_of(args[0] if args else Any)
        return lambda value: type(value) is tuple and all(map(item, value))
    items = [check_of(arg) for arg in args]
    return lambda value: (
        type(value) is tuple and len(value) == len(items) and all(fits(part) for fits, part in zip(items, value, strict=True))
    )
