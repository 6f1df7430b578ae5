"""Attributes of one unit that are read through another: `forward.link_attrs(loader, ("input_", "minibatch_data_"))`."""

import inspect
from typing import Annotated, Any, NamedTuple, TypeVar

from runner.errors import LinkError

_MISSING = object()

T = TypeVar("T")

LINKED = "linked"
"""What marks the annotation of an attribute that another unit may provide."""
Linked = Annotated[T, LINKED]
"""The type of an attribute that may be linked: `minibatch: Linked[Minibatch]`. No other may be a link in a snapshot."""


class Link(NamedTuple):
    """Where a linked attribute's value lives; it stands in the unit's `__dict__` in place of the value."""

    source: Any
    attribute: str
    two_way: bool


def end(link: Link) -> tuple[Any, str]:
    """Returns the object and the attribute at the end of a chain of links; a loop, because chains may be long."""
    source, attribute, _ = link
    while type(value := source.__dict__.get(attribute)) is Link:
        source, attribute, _ = value
    return source, attribute


def end_among(link: Link, known: dict[tuple[Any, str], tuple[Any, str]]) -> tuple[Any, str]:
    """As `end`, for many links: `known` has the ends found so far, and gets further ones, so that no link is followed twice."""
    passed = []
    place = link.source, link.attribute
    while place not in known:
        passed.append(place)
        value = place[0].__dict__.get(place[1])
        if type(value) is not Link:
            known[place] = place
            break
        place = value.source, value.attribute
    known.update(dict.fromkeys(passed, known[place]))
    return known[place]


class LinkedAttribute:
    """The descriptor that follows a `Link`. An instance of the class that is not linked keeps its own value.

    A descriptor on the class, rather than `__getattr__` on `Unit`, leaves every other attribute at full speed.
    """

    is_link = True

    def __init__(self, name: str, default: object) -> None:
        self.name = name
        self.default = default

    def __get__(self, unit: Any, owner: type | None = None) -> Any:
        if unit is None:
            return self if self.default is _MISSING else self.default
        value = unit.__dict__.get(self.name, self.default)
        if type(value) is Link:
            source, attribute = end(value)
            return getattr(source, attribute)
        if value is _MISSING:
            raise AttributeError(f"{unit!r} has no attribute {self.name!r}", name=self.name, obj=unit)
        return value

    def __set__(self, unit: Any, value: object) -> None:
        link = unit.__dict__.get(self.name)
        if type(link) is not Link:
            unit.__dict__[self.name] = value
            return
        name = self.name
        while link.two_way:
            unit, name = link.source, link.attribute
            link = vars(unit).get(name)
            if type(link) is not Link:
                setattr(unit, name, value)
                return
        source, attribute = end(link)
        if value is not getattr(source, attribute, _MISSING):  # `unit.flag <<= True` assigns the same object
            raise LinkError(
                f"{unit!r}.{name} is linked one-way to {link.source!r}.{link.attribute}: set it there, or link with"
                " two_way=True"
            )

    def __delete__(self, unit: Any) -> None:
        unit.__dict__.pop(self.name, None)


def install(unit: Any, name: str) -> None:
    """Makes the attribute `name` of the unit's class able to be linked.

    Raises:
        LinkError: the class computes the attribute by itself (a property or a method).
    """
    owner = type(unit)
    default = inspect.getattr_static(owner, name, _MISSING)
    if isinstance(default, LinkedAttribute):
        return
    if hasattr(default, "__get__"):
        raise LinkError(f"{unit!r}.{name} is defined by its class {owner.__name__} and cannot be linked")
    setattr(owner, name, LinkedAttribute(name, default))
