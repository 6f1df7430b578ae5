"""Changes of a tree: what an attacker puts where."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from typing import Any

from runner import pickled
from runner.snapshots.capture.pickler import StatePickler
from tests.fuzz.nodes import Global, Made, Tuple, read, write
from tests.objects import OBJECTS

Slot = tuple[Any, Any]
"""A container of a tree, and the key or position of a value in it."""

NUMBERS = (0, 1, 2, -1, 3, 7, 255, 10**3, 10**6, 10**9, 2**31, -(2**31), 2**62, 2**63, -(2**63), 2**64, 10**30, 1 << 8000)
FRACTIONS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-320, 1e308, -1e308, float("inf"), float("-inf"), float("nan"))
TEXTS = (
    *("", "x", "name", "run", "workflow", "units", "weights", "done", "value", "turns", "input_", "output_", "store_", "key_"),
    *("launcher_", "device_", "__class__", "__dict__", "initialize", "train", "validation", "none", "gz", "uniform", "mean"),
    *("/dev/zero", "/etc/passwd", "../../x", "a/b", "a\0b", "\x1b[2J", "\u202e", "\ud800", "x" * 300, "y" * 100_000, "é" * 90),
    *("${oc.env:HOME}", "odbc://x", "odbc://Driver=/tmp/x.so/y", "file:///x", "http://localhost/x", "cuda", "cuda:99", "meta"),
)
NAMES = (
    *("os:system", "posix:system", "builtins:eval", "builtins:print", "builtins:list", "collections:OrderedDict"),
    *("functools:partial", "torch:float32", "torch:complex64", "torch:quint8", "torch.nn.functional:relu", "builtins:getattr"),
    *("runner.pickled:unit", "runner.pickled:class_", "runner.nn.layers.module:Module", "tests.fuzz.bases:Turn"),
    *("tests.networks:network", "numpy:ndarray", "torch:device", "builtins:Ellipsis", "torch._utils:_rebuild_tensor_v2"),
)


def _all_names() -> list[str]:
    """Returns the names of what classes of veles-run have for themselves, and of what they make again."""
    names = set(TEXTS[:20])
    for name in pickled.CLASSES:
        names |= {attribute for attribute in dir(pickled.class_(name)) if len(attribute) < 30}
    return sorted(names)


class Changer:
    """Changes trees, and takes the changes back.

    Args:
        trees: the trees, by name.
    """

    def __init__(self, trees: dict[str, Any]) -> None:
        self.trees = trees
        self.plain = {name: write(tree) for name, tree in trees.items()}
        self.slots = {name: list(_slots(tree)) for name, tree in trees.items()}
        self.containers = {name: _containers(slots) for name, slots in self.slots.items()}
        self.states = {name: list(_states(tree)) for name, tree in trees.items()}
        self.kinds = {name: _by_kind(slots) for name, slots in self.slots.items()}
        self.objects = [read(_dumps(make())) for make in OBJECTS.values()] + _tensors()
        self.names = _all_names()
        self._saved: list[tuple[Any, Any]] = []

    def any_tree(self, rng: random.Random) -> str:
        """Returns the name of a tree, more often of a small one, which takes less time."""
        return rng.choices(list(self.slots), [1 / len(slots) for slots in self.slots.values()])[0]

    def change(self, rng: random.Random, name: str) -> None:
        """Changes the tree of that name in one to three places."""
        self.rng, self.name = rng, name
        for _ in range(rng.choice((1, 1, 1, 1, 2, 3))):
            rng.choice(_CHANGES)(self)

    def undo(self) -> None:
        """Makes the trees what they were."""
        for container, content in reversed(self._saved):
            _refill(container, content)
        self._saved.clear()

    def _touch(self, container: Any) -> Any:
        """Keeps what a container holds; returns what can be changed in it."""
        content = _content(container)
        self._saved.append((container, content.copy()))
        return content

    def _slot(self) -> Slot:
        rng = self.rng
        containers = self.states[self.name] if rng.random() < 0.5 else self.containers[self.name]
        container = rng.choice(containers)
        content = _content(container)
        if not content:
            return rng.choice(self.slots[self.name])
        return container, rng.choice(list(content) if type(content) is dict else range(len(content)))

    def replace(self) -> None:
        """Puts another value in the place of one."""
        container, key = self._slot()
        content = self._touch(container)
        if type(content) is list and key >= len(content):
            return
        if type(content) is dict and key not in content:
            return
        content[key] = self.value(content[key])

    def swap(self) -> None:
        """Exchanges two values."""
        (first, one), (second, two) = self._slot(), self._slot()
        mine, theirs = self._touch(first), self._touch(second)
        try:
            mine[one], theirs[two] = theirs[two], mine[one]
        except (KeyError, IndexError):
            return

    def drop(self) -> None:
        """Takes a value away."""
        container, key = self._slot()
        if type(container) is not Made:
            content = self._touch(container)
            if (type(content) is dict and key in content) or (type(content) is list and key < len(content)):
                del content[key]

    def add(self) -> None:
        """Adds a value under some name, or at the end."""
        containers = self.states[self.name] if self.rng.random() < 0.7 else self.containers[self.name]
        container = self.rng.choice(containers)
        content = self._touch(container)
        if type(content) is dict:
            content[self.rng.choice(self.names)] = self.value(None)
        elif type(container) is not Made:
            content.append(self.value(content[-1] if content else None))

    def rename(self) -> None:
        """Gives an attribute another name, or an object another class."""
        container, key = self._slot()
        content = self._touch(container)
        if type(content) is dict and key in content:
            content[self.rng.choice(self.names)] = content.pop(key)

    def reclass(self) -> None:
        """Makes an object of another class."""
        found = [c for c in self.containers[self.name] if _class_name(c) is not None]
        made = self.rng.choice(found)
        content = self._touch(made)
        content[0] = self._class()

    def _class(self) -> Any:
        rng = self.rng
        if rng.random() < 0.7:
            return Made(b"R", Global("runner.pickled", "class_"), Tuple([rng.choice(list(pickled.CLASSES))]))
        return Global(*rng.choice(NAMES).split(":"))

    def value(self, old: Any) -> Any:
        """Returns a value for the place of another."""
        rng = self.rng
        pick = rng.random()
        if pick < 0.3:
            return self._like(old)
        if pick < 0.5:
            return self._perturbed(old)
        if pick < 0.6:
            return self._any()
        if pick < 0.68:
            other = rng.choice(list(self.slots))
            return _value(rng.choice(self.slots[other]))
        if pick < 0.8:
            return rng.choice(self.objects)
        if pick < 0.9:
            return rng.choice(rng.choice((NUMBERS, FRACTIONS, TEXTS, (None, True, False, b"", b"x" * 5000))))
        return self._hidden()

    def _any(self) -> Any:
        return _value(self.rng.choice(self.slots[self.name]))

    def _like(self, old: Any) -> Any:
        """Returns a value of the same kind from somewhere."""
        trees = [self.name] if self.rng.random() < 0.8 else list(self.trees)
        found = self.kinds[self.rng.choice(trees)].get(_kind(old))
        return self.rng.choice(found) if found else self._perturbed(old)

    def _perturbed(self, old: Any) -> Any:
        rng = self.rng
        match old:
            case bool():
                return not old
            case int():
                return rng.choice((old + 1, old - 1, old * 2, -old, *NUMBERS))
            case float():
                return rng.choice((old * 2, -old, int(old) if abs(old) < 1e9 else 0, *FRACTIONS))
            case str():
                return rng.choice((old + "x", old[:-1], old.upper(), *TEXTS, *self.names))
            case list() if old:
                return rng.choice((old[:-1], old + old[:1], old[::-1], old[1:], [], old * 50, [old], Tuple(old[:])))
            case list():
                itself: list[Any] = []
                itself.append(itself)
                return rng.choice(([None], itself, [0], [self._any()]))
            case dict():
                changed = dict(old)
                if changed and rng.random() < 0.5:
                    del changed[rng.choice(list(changed))]
                else:
                    changed[rng.choice((*self.names, *NUMBERS[:9]))] = self.value(None)
                return changed
            case Tuple():
                return rng.choice((Tuple([]), Tuple(old.items[:-1]), Tuple(old.items * 2), list(old.items), Tuple([old])))
            case Made():
                return self._remade(old)
            case _:
                return rng.choice((0, "", [], {}, Tuple([]), 1.5, True))

    def _remade(self, old: Made) -> Made:
        made = Made(old.opcode, *old.parts)
        made.stateful, made.items, made.pairs = old.stateful, list(old.items), dict(old.pairs)
        at = self.rng.randrange(len(made.parts))
        if self.rng.random() < 0.2 and made.stateful:
            made.parts.pop()
            made.stateful = False
        else:
            made.parts[at] = self._perturbed(made.parts[at])
        return made

    def _hidden(self) -> Any:
        """Returns a unit, a workflow, a link, a callback or a name that nobody expects."""
        rng = self.rng
        units = self.kinds[self.name].get("unit", [None])
        unit = rng.choice(units)

        def own(name: str, *values: Any) -> Made:
            return Made(b"\x81", Made(b"R", Global("runner.pickled", "class_"), Tuple([name])), Tuple(list(values)))

        def stated(made: Made, state: Any) -> Made:
            made.parts.append(state)
            made.stateful = True
            return made

        space = stated(
            Made(b"R", Global("types", "SimpleNamespace"), Tuple([])), {rng.choice(self.names): self.rng.choice(units)}
        )
        return rng.choice(
            (
                Global(*rng.choice(NAMES).split(":")),
                self._class(),
                rng.choice(list(self.trees.values())),
                own("Link", unit, rng.choice(self.names), rng.random() < 0.5),
                own("Callback", unit, rng.choice((*self.names, "notice"))),
                Made(b"R", Global("runner.pickled", "unit"), Tuple([self._class(), rng.choice(list(self.trees.values()))])),
                Made(b"R", Global("runner.pickled", "unit"), Tuple([self._class(), self.trees[self.name]])),
                stated(own(rng.choice(list(pickled.CLASSES))), {rng.choice(self.names): rng.choice(units)}),
                stated(own("Bool"), Tuple([rng.random() < 0.5, None, own("Callback", unit, "notice"), []])),
                space,
            )
        )


_CHANGES: tuple[Callable[[Changer], None], ...] = (
    *([Changer.replace] * 12),
    *(Changer.swap, Changer.drop, Changer.add, Changer.add, Changer.rename, Changer.reclass),
)


def _dumps(value: Any) -> bytes:
    buffer = io.BytesIO()
    StatePickler(buffer).dump(value)
    return buffer.getvalue()


def _tensors() -> list[Any]:
    import torch

    made = [
        *(torch.zeros(()), torch.zeros(0), torch.full((3,), torch.nan), torch.ones(8, 6), torch.ones(3, 8), torch.ones(3)),
        *(torch.tensor([True]), torch.tensor([-1, 5]), torch.ones(2, dtype=torch.complex64), torch.ones(1).expand(10**12)),
        *(torch.ones(1).expand(8, 10**6), torch.ones(8, 6).t(), torch.ones(8, 6, dtype=torch.float64), torch.zeros(50)),
        *(torch.nn.Parameter(torch.ones(8, 6)), torch.ones(8, 6).to_sparse(), torch.ones(8, 6, requires_grad=True)),
        *(torch.get_rng_state(), torch.zeros(5056, dtype=torch.uint8), torch.zeros(100, dtype=torch.int32)),
    ]
    return [read(_dumps(value)) for value in made]


def _content(container: Any) -> Any:
    """Returns the list or the dict in a container."""
    match container:
        case Made():
            return container.parts
        case Tuple():
            return container.items
        case _:
            return container


def _refill(container: Any, content: Any) -> None:
    held = _content(container)
    held.clear()
    held.update(content) if type(held) is dict else held.extend(content)


def _slots(tree: Any) -> Iterator[Slot]:
    """Yields each place in a tree."""
    waiting, seen = [tree], {id(tree)}
    while waiting:
        container = waiting.pop()
        content = _content(container)
        for key, value in content.items() if type(content) is dict else enumerate(content):
            yield container, key
            if type(value) in (Made, Tuple, list, dict) and id(value) not in seen:
                seen.add(id(value))
                waiting.append(value)
        if type(container) is Made:
            waiting.extend(held for held in (container.items, container.pairs) if held)


def _containers(slots: list[Slot]) -> list[Any]:
    return list({id(container): container for container, _ in slots}.values())


def _states(tree: Any) -> Iterator[Any]:
    """Yields the states of a workflow and of its units."""
    state = tree.parts[-1]
    yield state["own"]
    for unit_state in state["states"]:
        if "own" in unit_state:
            yield unit_state["own"]
        yield unit_state


def _value(slot: Slot) -> Any:
    """Returns what is in a place, or None if another change has taken it away."""
    container, key = slot
    try:
        return _content(container)[key]
    except (KeyError, IndexError):
        return None


def _class_name(value: Any) -> str | None:
    """Returns what an object is made by, or of which class it is."""
    if type(value) is not Made:
        return None
    function = value.parts[0]
    if type(function) is Made and function.parts and type(function.parts[-1]) is Tuple:
        return str(function.parts[-1].items[:1])
    return f"{function.module}.{function.name}" if type(function) is Global else None


def _kind(value: Any) -> str:
    name = _class_name(value)
    if name is not None:
        return "unit" if name == "runner.pickled.unit" else name
    return type(value).__name__


def _by_kind(slots: list[Slot]) -> dict[str, list[Any]]:
    found: dict[str, dict[int, Any]] = {}
    for slot in slots:
        value = _value(slot)
        found.setdefault(_kind(value), {})[id(value)] = value
    return {kind: list(values.values()) for kind, values in found.items()}
