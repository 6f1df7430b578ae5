"""What holds of a restored workflow before anything of it is used.

The unpickler has built objects of known classes out of values of the snapshot's choice. Here each attribute that one of
veles-run's classes declares is compared with its type, and the graph with what a graph is: units of this workflow alone, in one
place each, linked to one another.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Iterator
from types import FunctionType, SimpleNamespace
from typing import Any

from runner import pickled
from runner.errors import SnapshotRefusedError
from runner.graph import Bool, Unit, Workflow
from runner.graph.bool import Callback, Expression
from runner.graph.links import Link
from runner.graph.loop import Control
from runner.graph.pickleable import given_names
from runner.graph.state_types import Declared, declared, of_class, required
from runner.snapshots.unpickling.allowed.entries import check

BOOL_DEPTH = 400
"""Expressions of Bools within one another: they are evaluated on Python's stack, and its own pickler stops at fewer."""
BOOL_STEPS = 100_000
"""Steps that the evaluation of one may take: what is used several times is evaluated each time."""
_CONTAINERS = (list, dict, set)
_OF_UNITS = frozenset(declared(Unit))
"""What every unit has."""


@functools.cache
def learn_types() -> None:
    """Evaluates the annotations of all classes that are loaded, once, so that no restore of a snapshot has to."""
    for name in [name for name, module in pickled.CLASSES.items() if module in sys.modules]:
        declared(pickled.class_(name))


def check_sound(workflow: Workflow, made: Iterable[Any], callables: bool = True) -> None:
    """Checks a workflow that the unpickler has made, and all objects that it has made for it.

    Args:
        workflow: the workflow.
        made: the objects of our classes and of declared modules.
        callables: whether any object may be one that can be called; if not, none is looked for.

    Raises:
        SnapshotRefusedError: an attribute is not of its type, or the graph is none.
    """
    objects = list({id(item): item for item in made}.values())  # a unit of a declared class is noted twice
    _check_above(workflow)
    units = list(all_units(workflow))
    _check_units(units, objects)
    ending: set[tuple[int, str]] = set()
    for unit in units:
        if isinstance(unit, Workflow):
            _check_workflow(unit)
        check_links(unit, ending)
    owners: dict[int, tuple[int, str]] = {}
    for item in objects:
        if type(item) is not Bool:
            check_attributes_of(item, owners, callables)
    _check_bools([item for item in objects if isinstance(item, Bool)])


def all_units(workflow: Workflow) -> Iterator[Unit]:
    """Yields a workflow and all units below it; a loop, since a snapshot may nest them as deep as it likes."""
    waiting: list[Unit] = [workflow]
    seen: set[int] = set()
    while waiting:
        unit = waiting.pop()
        check(id(unit) not in seen, f"the unit {_name(unit)} stands in its workflow twice")
        seen.add(id(unit))
        yield unit
        if isinstance(unit, Workflow):
            check(type(unit.__dict__.get("units")) is list, "a workflow has no list of units")
            check(all(isinstance(item, Unit) for item in unit.units), "a workflow has something other than units")
            waiting.extend(unit.units)


def _check_above(workflow: Workflow) -> None:
    """Checks that the workflows that a workflow is in come to an end; one that is nested may be the one that is restored."""
    seen: set[int] = set()
    above: object = workflow
    while above is not None:
        check(
            isinstance(above, Workflow) and id(above) not in seen,
            "a workflow is in something other than a workflow, or in itself",
        )
        seen.add(id(above))
        above = vars(above).get("workflow")


def _check_units(units: list[Unit], objects: list[Any]) -> None:
    inside = {id(unit) for unit in units}
    for item in objects:
        check(not isinstance(item, Unit) or id(item) in inside, f"a unit {type(item).__name__} is in no workflow")
    for unit in units:
        check(vars(unit).keys() >= _OF_UNITS, f"a unit {type(unit).__name__} has no state, or only a part of one")


def _check_workflow(workflow: Workflow) -> None:
    units = {id(unit) for unit in workflow.units}
    what = f"the workflow {_name(workflow)}"
    for unit in workflow.units:
        check(vars(unit).get("workflow") is workflow, f"a unit of {what} says that it is of another")
        neighbours = (vars(unit).get("predecessors"), vars(unit).get("successors"))
        for others in neighbours:
            check(type(others) is list and all(id(other) in units for other in others), f"{what} is linked to other units")
    ends = (vars(workflow).get("start_point"), vars(workflow).get("end_point"))
    check(all(id(end) in units for end in ends), f"{what} does not hold its start and its end")
    control = vars(workflow).get("control")
    check(type(control) is Control, f"{what} has no control")
    assert isinstance(control, Control)
    check_attributes_of(control, {})  # before it is gone through, which may take for ever
    placed = (*control.ready, *control.passed, *(unit for passed in control.passed.values() for unit in passed))
    check(all(id(unit) in units for unit in placed), f"control of {what} stands at a unit that is not its own")
    check(control.current is None or id(control.current) in units, f"control of {what} stands at a unit that is not its own")


def check_links(unit: Unit, ending: set[tuple[int, str]]) -> None:
    """Checks that links of a unit read attributes of units, and end.

    Args:
        unit: the unit.
        ending: attributes from which links were found to end, with the identities of their units; it is added to.
    """
    cls: Any = type(unit)
    types = declared(cls)
    for name, link in unit.links().items():
        what = f"{type(unit).__name__}.{name[:100]}"
        check(name not in types or types[name].linked, f"{what} is a link, which it cannot be")
        check(isinstance(link.source, Unit) and type(link.attribute) is str, f"{what} is linked to something other than a unit")
        check(type(link.two_way) is bool, f"{what} is no link")
        # What units make again by themselves would be written to what the link leads to.
        check(name in types or not name.endswith("_") or not _is_ours(cls), f"{what} is a link, which it cannot be")
        _check_target(what, type(link.source), link.attribute)
        _check_end(what, link, ending)


def _is_ours(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == "runner"


def _check_target(what: str, cls: type, attribute: str) -> None:
    """Checks that a link reads an attribute or a property: a method would be something that can be called."""
    given = attribute in given_names(cls) or attribute[:2] == "__"
    is_property = isinstance(next((vars(c)[attribute] for c in cls.__mro__ if attribute in vars(c)), None), property)
    check(not given or is_property, f"{what} is linked to {attribute[:100]!r}, which is no attribute")


def _check_end(what: str, link: Link, ending: set[tuple[int, str]]) -> None:
    """Checks that a chain of links ends."""
    seen: set[tuple[int, str]] = set()
    while type(link) is Link and (place := (id(link.source), link.attribute)) not in ending:
        check(place not in seen, f"{what} is linked to itself")
        seen.add(place)
        link = vars(link.source).get(link.attribute)
    ending |= seen


def check_attributes_of(item: Any, owners: dict[int, tuple[int, str]], callables: bool = True) -> None:
    """Checks what one of veles-run's classes declares of an object, and that no two attributes of ours share a container.

    Args:
        item: the object.
        owners: the containers that attributes were found to have, by identity; it is added to.
        callables: whether objects that can be called are looked for where anything may stand.
    """
    cls: Any = type(item)
    types = declared(cls)
    _check_complete(item, cls)
    looks_inside = callables and _is_ours(cls)
    for name, value in _attributes(item, types):
        check(name not in of_class(cls), f"the state of a {cls.__name__} hides {name!r} of its class")
        kind = types.get(name)
        if (type(value) is Link and isinstance(item, Unit)) or name.endswith("_"):
            continue  # links of units are checked by themselves
        if kind is not None:
            if not kind.fits(value):
                what = f"{cls.__name__}.{name[:100]}"
                raise SnapshotRefusedError(f"{what} is a {type(value).__name__}, and must be of type {kind.text}")
            if type(value) in _CONTAINERS:
                owner = owners.setdefault(id(value), (id(item), name))
                check(owner == (id(item), name), f"{cls.__name__}.{name} shares what it holds with another attribute")
        if looks_inside and (kind is None or kind.open):
            check(not any(map(callable, _content(value))), f"{cls.__name__}.{name[:100]} holds something that can be called")


def _check_complete(item: Any, cls: type) -> None:
    """Checks that an object has what its class declares."""
    missing = required(cls).keys() - getattr(item, "__dict__", declared(cls)).keys()
    check(not missing, f"the state of a {cls.__name__} has no {min(missing, default='')!r}")


def _attributes(item: Any, types: dict[str, Declared]) -> Iterator[tuple[str, Any]]:
    """Yields the attributes of an object: those that it has, and those of slots and fields that its class declares."""
    yield from getattr(item, "__dict__", {}).items()
    if not hasattr(item, "__dict__"):
        for name in types:
            check(hasattr(item, name), f"{type(item).__name__} has no {name!r}")
            yield name, getattr(item, name)


def _content(value: Any) -> Iterator[Any]:
    """Yields a value, and what plain containers in it hold."""
    waiting, seen = [value], set()
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        if isinstance(item, dict):
            waiting.extend((*item.keys(), *item.values()))
        elif isinstance(item, list | tuple | set | frozenset):
            waiting.extend(item)
        elif type(item) is SimpleNamespace:
            waiting.extend(vars(item).values())


def _check_bools(bools: list[Bool]) -> None:
    costs: dict[int, tuple[int, int]] = {}
    for item in bools:
        if (
            type(item) is Bool
            and item._on_true is item._on_false is None
            and item._followers == []
            and type(item._value) is bool
        ):
            continue  # nearly all: they only have a value
        for callback in (item._on_true, item._on_false):
            check(callback is None or type(callback) is Callback, "a Bool calls something other than a unit's method")
            if isinstance(callback, Callback):
                _check_callback(callback)
        followers = item._followers
        check(type(followers) is list and all(type(one) is Expression for one in followers), "a Bool has wrong followers")
        for one in (item, *followers):
            _check_cost(one, costs)
        check(sum(costs[id(one)][1] for one in followers) <= BOOL_STEPS, "a Bool has too many followers")


def _check_callback(callback: Callback) -> None:
    unit, method = callback
    fits = isinstance(unit, Unit) and type(method) is str and method in type(unit).callbacks
    check(fits and isinstance(_static(type(unit), method), FunctionType), "a Bool calls a method that its unit does not list")


def _static(cls: type, name: str) -> Any:
    return next((vars(owner)[name] for owner in cls.__mro__ if name in vars(owner)), None)


def _check_cost(item: Bool, costs: dict[int, tuple[int, int]]) -> None:
    """Checks that a Bool can be evaluated, in few steps; `costs` has depth and steps of those that were checked."""
    waiting = [item]
    begun: set[int] = set()
    while waiting:
        current = waiting[-1]
        sources = _sources(current)
        missing = [source for source in sources if id(source) not in costs]
        if missing:
            check(id(current) not in begun, "an expression of Bools holds itself")
            begun.add(id(current))
            waiting.extend(missing)
            continue
        waiting.pop()
        depth = 1 + max((costs[id(source)][0] for source in sources), default=0)
        steps = 1 + sum(costs[id(source)][1] for source in sources)
        check(depth <= BOOL_DEPTH and steps <= BOOL_STEPS, "an expression of Bools is too deep, or takes too many steps")
        costs[id(current)] = depth, steps


_OPERANDS = {"not": 1, "or": 2, "and": 2, "xor": 2}


def _sources(item: Bool) -> tuple[Bool, ...]:
    """Returns what a Bool is made of, which was checked."""
    if type(item) is Bool:
        check(type(item._value) is bool, "a Bool is neither true nor false")
        return ()
    check(type(item) is Expression, "a Bool is of an unknown kind")
    assert isinstance(item, Expression)
    operator, sources = item._operator, item._sources
    fits = type(operator) is str and type(sources) is tuple and len(sources) == _OPERANDS.get(operator, -1)
    check(fits and all(isinstance(source, Bool) for source in sources), "an expression of Bools has wrong operands")
    return sources


def _name(unit: Unit) -> str:
    name = vars(unit).get("name")
    return repr(name[:100]) if type(name) is str else type(unit).__name__
