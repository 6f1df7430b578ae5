"""What the default restore would refuse is said when the snapshot is taken."""

import functools
import itertools
import logging
import operator
import os
import re
import warnings
from collections.abc import Callable
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
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_said_with_the_first_snapshot(tmp_path: Path, name: str) -> None:
    _, holder, snapshotter = holding(REFUSED[name](), tmp_path, compression="none")
    snapshotter.export()
    with pytest.raises(StateError, match=r"Holder\('holder'\)\.value could not be restored .*'value_'.*restore\.trust=full"):
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


def test_large_contents_are_passed_over(tmp_path: Path) -> None:
    value = [b"x" * 70_000, "é" * 70_000, bytearray(1 << 17), np.zeros(1 << 16), torch.zeros(1 << 16), [own.Point(1, 2)] * 3]
    _, holder, snapshotter = holding(value, tmp_path)
    snapshotter.export()
    snapshotter.finish()
    holder.value = [*value, int]
    snapshotter.export()
    with pytest.raises(StateError, match=r"builtins\.int"):
        snapshotter.finish()
