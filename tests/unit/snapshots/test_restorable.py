"""What the default restore would refuse is said when the snapshot is taken."""

import functools
import itertools
import logging
import operator
import os
import re
import warnings
from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from runner.errors import StateError
from tests import own
from tests.objects import CALLABLES, OBJECTS
from tests.workflows import holding, restored


class Outer:
    class Inner:
        """A class that no pickle of ours can name."""


class Measured(np.ndarray):
    """An array of one's own kind."""


def in_array(value: Any) -> Any:
    array = np.empty(1, dtype=object)
    array[0] = value
    return array


def hooked() -> torch.nn.Module:
    module = torch.nn.Linear(2, 2)
    module.register_forward_hook(own.scaled)
    return module


REFUSED: dict[str, Callable[[], Any]] = {
    **CALLABLES,
    "a function of the system": lambda: os.getcwd,
    "a partial of the library": lambda: functools.partial(os.path.join, "a"),
    "a pattern": lambda: re.compile("a"),
    "an operator": lambda: operator.itemgetter(1),
    "an error": lambda: ValueError("x"),
    "an iterator": lambda: itertools.count(3),
    "a class in containers": lambda: [1, {"a": (int,)}],
    "a class in an object": lambda: own.Plain([own.Point]),
    "a class beside its instance": lambda: [own.Plain(1), own.Plain],
    "a class in an array": lambda: np.array([int], dtype=object),
    "a class within a class": Outer.Inner,
    "a hook": hooked,
    "an array of one's own kind": lambda: np.zeros(3).view(Measured),
    "arrays of objects in one another": lambda: functools.reduce(lambda value, _: in_array(value), range(40), None),
    "keys of one hash": lambda: {Decimal(factor * (2**61 - 1)): None for factor in range(1, 70)},
    "a set of one hash": lambda: {Fraction(factor * (2**61 - 1)) for factor in range(1, 70)},
    "a frozen set of one hash": lambda: frozenset(Decimal(factor * (2**61 - 1)) for factor in range(1, 70)),
    "a large key": lambda: {1 << 100: None},
    "a large number in a key": lambda: {(1, (2, 1 << 100)): None},
    "a deep key": lambda: {functools.reduce(lambda value, _: (value,), range(300), 1): None},
    "a large number": lambda: 1 << 600_000,
    "a defaultdict of another kind": lambda: defaultdict(own.Plain),
}


@pytest.mark.filterwarnings("ignore:Pickle, copy, and deepcopy support will be removed from itertools")
@pytest.mark.parametrize("name", REFUSED)
def test_it_is_said_with_the_first_snapshot(tmp_path: Path, name: str) -> None:
    _, holder, snapshotter = holding(REFUSED[name](), tmp_path, compression="none")
    snapshotter.export()
    what, advice = (".value._forward_hooks", "__getstate__") if name == "a hook" else (".value", "'value_'")
    expected = rf"Holder\('holder'\){re.escape(what)} could not be restored .*{advice}.*restore\.trust=full"
    with pytest.raises(StateError, match=expected):
        snapshotter.finish()
    assert len(list(tmp_path.glob("holding*.pickle"))) == 2  # the snapshot and the link: nothing is lost
    holder.value = None


@pytest.mark.parametrize("name", [name for name in OBJECTS if name != "workflow"])
def test_what_can_be_restored_is_taken_without_a_word(tmp_path: Path, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, _, snapshotter = holding(OBJECTS[name](), tmp_path, compression="none", on_unrestorable="raise")
        snapshotter.export()
        snapshotter.finish()
        assert restored(snapshotter.last_location).workflow["holder"].runs == 0


def test_a_warning_if_that_is_wanted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, _, snapshotter = holding(os.getcwd, tmp_path, on_unrestorable="warn")
    snapshotter.export()
    with caplog.at_level(logging.WARNING):
        snapshotter.finish()
    assert "posix.getcwd" in caplog.text


def test_what_turns_up_later_is_said_too(tmp_path: Path) -> None:
    _, holder, snapshotter = holding(None, tmp_path)
    for value in (torch.ones(3), own.Point(1, 2)):
        holder.value = value
        snapshotter.export()
    snapshotter.finish()
    holder.value = re.compile("a")
    snapshotter.export()
    with pytest.raises(StateError, match=r"holder.*value"):
        snapshotter.finish()


def test_another_workflow_is_said_whenever_it_is_referred_to(tmp_path: Path) -> None:
    workflow, holder, snapshotter = holding(None, tmp_path)
    snapshotter.export()
    snapshotter.finish()
    for take in (lambda other: other, lambda other: [other.start_point]):
        holder.value = take(type(workflow)(name="other"))
        snapshotter.export()
        with pytest.raises(StateError, match="to another workflow, or to a unit there"):
            snapshotter.finish()


def test_large_contents_are_passed_over(tmp_path: Path) -> None:
    value = [
        np.rec.array(np.zeros(1 << 16, [("a", float)])),
        b"x" * 70_000,
        "é" * 70_000,
        bytearray(1 << 17),
        np.zeros(1 << 16),
        torch.zeros(1 << 16),
        [own.Point(1, 2)] * 3,
    ]
    _, holder, snapshotter = holding(value, tmp_path)
    snapshotter.export()
    snapshotter.finish()
    holder.value = [*value, int]
    snapshotter.export()
    with pytest.raises(StateError, match=r"builtins\.int"):
        snapshotter.finish()
