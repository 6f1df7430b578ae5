"""A module of a user's own, which a run declares with `restore.trusted=[tests.own]`."""

import dataclasses
import enum
import os
import subprocess
from collections import Counter, OrderedDict
from typing import Any, NamedTuple

import torch

from runner.graph import Unit
from runner.snapshots.unpickling.allowed import snapshot_safe

make_folder = os.mkdir
"""Another module's function under a name of this one's: not to be had by a snapshot."""
Process = subprocess.Popen


class Colour(enum.Enum):
    RED = "red"
    BLUE = ("b", 1)


class Flags(enum.Flag):
    A = 1
    B = 2


class Number(enum.IntEnum):
    ONE = 1


class Scaled(torch.nn.Module):
    """Has another attribute than it had, and says how, as units do and as all others do."""

    version = 2

    def migrate(self, state: dict[str, Any], version: int) -> None:
        raise AssertionError

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "g" in state:
            state["gain"] = state.pop("g")
        super().__setstate__(state)


@dataclasses.dataclass
class Point:
    x: Any = 0
    y: Any = 0


@dataclasses.dataclass(frozen=True)
class Frozen:
    x: Any
    y: Any


@dataclasses.dataclass(slots=True)
class Slotted:
    x: Any


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenSlots:
    x: Any
    y: Any


class Pair(NamedTuple):
    x: Any
    y: Any


class Plain:
    def __init__(self, x: Any) -> None:
        self.x = x


class BySlots:
    __slots__ = ("x", "y")

    def __init__(self, x: Any) -> None:
        self.x = x


class Stateful:
    def __init__(self, x: Any) -> None:
        self.x = x

    def __getstate__(self) -> Any:
        return ["state", self.x]

    def __setstate__(self, state: Any) -> None:
        _, self.x = state


@snapshot_safe
class Called:
    """A class that its pickle calls."""

    def __init__(self, x: Any) -> None:
        self.x = x

    def __reduce__(self) -> Any:
        return Called, (self.x,)


class Deferred:
    """Made by a registered function."""

    def __init__(self, x: Any) -> None:
        self.x = x

    def __reduce__(self) -> Any:
        return make_deferred, (self.x,)


@snapshot_safe
def make_deferred(x: Any) -> Deferred:
    return Deferred(x)


class WithArguments:
    """Made by `__new__` with keywords."""

    def __new__(cls, *, x: Any) -> "WithArguments":
        made = super().__new__(cls)
        made.x = x
        return made

    def __getnewargs_ex__(self) -> Any:
        return (), {"x": self.x}


class Bound:
    limit = 3

    def __init__(self, x: Any) -> None:
        self.x = x

    def call(self) -> Any:
        return self.x


class Meta(type):
    pass


class Names(list):
    pass


class Table(dict):
    pass


class Bag(set):
    pass


class Length(int):
    pass


class Label(str):
    pass


class Ratio(float):
    pass


class Row(tuple):
    pass


class Ordered(OrderedDict):
    pass


class Outcome(Counter):
    pass


@snapshot_safe
def scaled(value: float, factor: float = 1.0) -> float:
    return value * factor


def unregistered(path: str) -> None:
    os.mkdir(path)


class Marked(torch.Tensor):
    pass


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(2, 2)


class Doubler(Unit):
    callbacks = frozenset({"notice"})

    def notice(self) -> None:
        self.noticed = True


@snapshot_safe
def raise_key_error(value: Any) -> None:
    raise KeyError(value)
